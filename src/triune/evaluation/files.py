"""Files of embeddings, labels, names, groups and templates, read and checked against each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars

from triune.data.columns import Columns, name_key, named_columns
from triune.data.parquet import read_frame
from triune.data.problems import DataError, Problem
from triune.data.tables import MISSING, YES_NO, Table, read_cells, read_lines
from triune.errors import InputError
from triune.evaluation.results import NAMES
from triune.evaluation.search import Roles, roles_of
from triune.files import regular_file
from triune.verification.templates import pool_templates

Array: TypeAlias = np.ndarray[Any, Any]


def read_embeddings(path: Path) -> Array:
    """Embeddings ``(N, D)``, floats as they are; those beyond 64 bits become float64.

    Args:
        path: a ``.npy`` file, or a Parquet file with a column ``embedding``, as `triune embed` writes it.

    Raises:
        InputError: it cannot be read, has no row, or holds something else.
    """
    rows = _read_column(path) if path.suffix == ".parquet" else _read_array(path)
    if rows.ndim != 2 or rows.dtype.kind != "f" or rows.shape[1] == 0:
        raise InputError(f"{path} holds {rows.dtype} of shape {rows.shape}; floats of shape (N, D) are needed")
    if len(rows) == 0:
        raise InputError(f"{path} holds no embeddings: it has 0 rows")
    return rows.astype(np.float64) if rows.dtype.itemsize > 8 else rows


def read_against(path: Path, count: int, embeddings: Path) -> Array:
    """Another model's embeddings of the same items, ``(N, D)``; D may be another.

    Args:
        path: a ``.npy`` file.
        count: N, how many rows the embeddings have.
        embeddings: the file of the embeddings, for messages.

    Raises:
        InputError: it cannot be read, or has another number of rows.
    """
    rows = read_embeddings(path)
    if len(rows) != count:
        raise InputError(f"{path} has {len(rows)} rows but {embeddings} has {count}: the same items in the same order")
    return rows


def read_labels(path: Path, count: int, embeddings: Path, known: Array | None = None) -> Array:
    """N labels from a file: whole numbers or strings, ``(N,)``.

    Args:
        path: a ``.npy`` file, a text file with a label a line, or a Parquet file with a column ``identity``.
        count: N, how many rows the embeddings have.
        embeddings: the file of the embeddings, for messages.
        known: which rows of a Parquet file are read; all of them where not given.

    Raises:
        InputError: it cannot be read, a label is missing, or there are not N.
    """
    if path.suffix == ".parquet":
        names = _read_identities(path, known)
    else:
        names = _read_array(path) if path.suffix == ".npy" else np.array(read_lines(path, missing=MISSING))
    if names.shape != (count,):
        found = f"{len(names)} labels" if names.ndim == 1 else f"labels of shape {names.shape}"
        raise InputError(f"{path} has {found} but {embeddings} has {count} rows: one for each")
    if names.dtype.kind not in "iubUS":
        raise InputError(f"{path} holds {names.dtype}: labels are whole numbers or words")
    return names


def without_identity(labels: Path, embeddings: Path) -> Array | None:
    """Which rows of a Parquet file of embeddings have no identity, ``(N,)`` booleans; ``None`` where all have one.

    Args:
        labels: the file of the labels, which may be that of the embeddings.
        embeddings: the file of the embeddings.

    Raises:
        InputError: it cannot be read.
    """
    if labels != embeddings or labels.suffix != ".parquet":
        return None
    lacking: Array = _column(labels, "identity").is_null().to_numpy()
    return lacking if lacking.any() and not lacking.all() else None


def read_names(path: Path, count: int, embeddings: Path) -> list[str]:
    """N names from the lines of a text file.

    Args:
        path: a text file, or a Parquet file with a column ``image``.
        count: N, how many rows the embeddings have.
        embeddings: the file of the embeddings, for messages.

    Raises:
        InputError: it cannot be read, or there are not N.
    """
    names = list(map(str, _column(path, "image"))) if path.suffix == ".parquet" else read_lines(path)
    if len(names) != count:
        raise InputError(f"{path} has {len(names)} names but {embeddings} has {count} rows")
    return names


ROLES = ("is_query", "is_gallery")
"""The columns that say who asks and who answers in retrieval; an empty cell means no."""


def read_roles(groups: Path | None, embeddings: Path | None, count: int) -> Roles | None:
    """Who of N items asks and who answers: from the table of groups, else from the Parquet file of the embeddings.

    Args:
        groups: the table, CSV or Parquet, where there is one.
        embeddings: the file of the embeddings, where its own columns may be looked at.
        count: N.

    Raises:
        InputError: a table cannot be read, or a cell is neither yes nor no.
    """
    for path in (groups, embeddings):
        if path is None or (path == embeddings and path.suffix != ".parquet"):
            continue
        table = _role_columns(path)
        if table is not None and len(table) == count:
            flags = {name: _flags_of(table, name) for name in ROLES}
            cameras = table.text("camera") if "camera" in table.frame.columns else None
            return roles_of(flags["is_query"], flags["is_gallery"], cameras)
    return None


def _role_columns(path: Path) -> Table | None:
    """The columns of a table that retrieval goes by; ``None`` where it has none of :data:`ROLES`."""
    if path.suffix == ".parquet":
        if not any(name_key(name) in ROLES for name in polars.read_parquet_schema(path)):
            return None
        frame = read_frame(path, vouched=True)  # it was read before: as embeddings, or as groups
        names = named_columns(frame.columns, Columns(ROLES), str(path))
        frame = frame.rename(dict(zip(frame.columns, names)))
        table = Table(frame, tuple(range(1, len(frame) + 1)), str(path))
    else:
        table = read_cells(path, Columns(ROLES), aligned=True)
    return table if any(name in table.frame.columns for name in ROLES) else None


def _flags_of(table: Table, name: str) -> list[bool | None]:
    if name not in table.frame.columns:
        return [None] * len(table)
    cells = table.text(name)
    problems = [
        Problem(table.source, line, name, f"{cell!r} is not a known value", "write true or false")
        for line, cell in zip(table.lines, cells)
        if cell is not None and cell.lower() not in YES_NO
    ]
    if problems:
        raise DataError(problems)
    return [None if cell is None else YES_NO[cell.lower()] for cell in cells]


def read_groups(path: Path, count: int, embeddings: Path) -> dict[str, Array]:
    """The columns of a table of N rows, as strings, without those of :data:`ROLES`.

    Args:
        path: the table, CSV or Parquet.
        count: N, how many rows the embeddings have.
        embeddings: the file of the embeddings, for messages.

    Raises:
        InputError: the table cannot be read, has another number of rows, or an empty cell.
    """
    table = _aligned(read_cells(path, Columns(ROLES), aligned=True), count, embeddings)
    return {name: np.array(table.words(name)) for name in table.frame.columns if name not in ROLES}


@dataclass(frozen=True)
class Templates:
    """Which template (a set of images of one subject, as in IJB) each of N images is part of, and which video.

    Args:
        path: the table that says so, for messages.
        template: ``(N,)`` ids of templates, as strings.
        media: ``(N,)`` ids of the video or photo within the template; ``None`` where that is not known.
    """

    path: Path
    template: Array
    media: Array | None

    def pooled(self, rows: Array, embeddings: Path) -> Array:
        """The mean embedding of each template, in the order of their ids."""
        try:
            means, _ = pool_templates(rows, self.template, self.media)
        except ValueError as error:
            raise InputError(f"{embeddings}: {error}") from error
        pooled: Array = means.numpy()
        return pooled

    def labels(self, names: Array, path: Path) -> Array:
        """The label of each template, in the order of their ids."""
        _, first, inverse = np.unique(self.template, return_index=True, return_inverse=True)
        other = np.flatnonzero(names[first][inverse] != names)
        if len(other):
            raise InputError(f"{self.path}: template {self.template[other[0]]} holds images of two labels of {path}")
        of_templates: Array = names[first]
        return of_templates


def read_templates(path: Path, count: int, embeddings: Path) -> Templates:
    """The columns ``template`` and maybe ``media`` of a table of N rows.

    Args:
        path: the table, CSV or Parquet.
        count: N, how many rows the embeddings have.
        embeddings: the file of the embeddings, for messages.

    Raises:
        InputError: the table cannot be read, has no column ``template``, another number of rows, or an empty cell.
    """
    columns = Columns(("template", "media"), ("template",), advice="template is needed, and media may follow")
    table = _aligned(read_cells(path, columns, aligned=True), count, embeddings)
    media = np.array(table.words("media")) if "media" in table.frame.columns else None
    return Templates(path, np.array(table.words("template")), media)


def _aligned(table: Table, count: int, embeddings: Path) -> Table:
    """The table, if each of its rows belongs to one of N embeddings."""
    if table.problems:
        raise DataError(table.problems)
    if len(table) != count:
        raise InputError(
            f"{table.source} has {len(table)} rows below its header but {embeddings} has {count}: one for each"
        )
    return table


def other_name(path: Path, embeddings: Path) -> str:
    """The name of the other model in results: its file's, with that of its folder where both files are called alike."""
    name = path.stem if path.stem != embeddings.stem else f"{path.parent.name}/{path.stem}"
    return f"{name} (other)" if name in NAMES.values() else name


def _column(path: Path, name: str) -> polars.Series:
    frame = read_frame(path)
    if name not in frame.columns:
        raise InputError(f"{path} has no column {name}: it has {', '.join(frame.columns) or 'none'}")
    return frame[name]


def _read_column(path: Path) -> Array:
    """The rows of the column ``embedding``, ``(N, D)``."""
    cells = _column(path, "embedding")
    lengths = cells.list.len().unique() if isinstance(cells.dtype, polars.List) else polars.Series([1])
    if not isinstance(cells.dtype, polars.List | polars.Array) or cells.is_null().any() or len(lengths) > 1:
        raise InputError(f"{path}, column embedding: each cell must be a list of numbers, all of one length")
    if len(cells) == 0:
        raise InputError(f"{path} holds no embeddings: it has 0 rows")
    if isinstance(cells.dtype, polars.List):
        cells = cells.list.to_array(int(lengths[0]))
    rows: Array = cells.to_numpy()
    return rows


def _read_identities(path: Path, known: Array | None) -> Array:
    names = _column(path, "identity")
    names = names if known is None else names.filter(polars.Series(known))
    if len(names) and names.is_null().all():
        raise InputError(
            f"{path} says of no row what it shows (its column identity is empty): give --labels, one a row"
        )
    if names.is_null().any():
        raise InputError(f"{path}, column identity, row {int(names.is_null().arg_true()[0]) + 1}: it is empty")
    found: Array = names.to_numpy()
    return found.astype(str) if found.dtype == object else found


def _read_array(path: Path) -> Array:
    regular_file(path)
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:
        # A damaged header or archive raises whatever NumPy's parser trips over: a dozen kinds, RecursionError among
        # them. All mean the same here, but for what the machine is at fault for.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if isinstance(error, MemoryError) and str(error):
            raise InputError(f"{path} claims more numbers than there is memory for: {error}") from error
        # NumPy goes on to advise unpickling, which runs code of the file.
        reason = str(error).split(". ")[0] or type(error).__name__
        raise InputError(f"{path} is not a whole .npy file of plain numbers or strings: {reason}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is an archive of several arrays: save the one that is meant with np.save")
    return array
