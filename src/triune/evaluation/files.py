"""Files of embeddings, labels, names, groups and templates, read and checked against each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars

from triune.errors import InputError
from triune.evaluation.measures import NAMES
from triune.verification.templates import pool_templates

Array: TypeAlias = np.ndarray[Any, Any]


def read_embeddings(path: Path) -> Array:
    """Embeddings ``(N, D)`` from a ``.npy`` file, floats as they are."""
    rows = _read_array(path)
    if rows.ndim != 2 or rows.dtype.kind != "f" or rows.shape[1] == 0:
        raise InputError(f"{path} holds {rows.dtype} of shape {rows.shape}; floats of shape (N, D) are needed")
    return rows


def read_against(path: Path, count: int, embeddings: Path) -> Array:
    """Another model's embeddings of the same items."""
    rows = read_embeddings(path)
    if len(rows) != count:
        raise InputError(f"{path} has {len(rows)} rows but {embeddings} has {count}: the same items in the same order")
    return rows


def read_labels(path: Path, count: int, embeddings: Path) -> Array:
    """N labels from a ``.npy`` file or from the lines of a text file."""
    names = _read_array(path) if path.suffix == ".npy" else np.array(_lines(path))
    if names.shape != (count,):
        found = f"{len(names)} labels" if names.ndim == 1 else f"labels of shape {names.shape}"
        raise InputError(f"{path} has {found} but {embeddings} has {count} rows: one for each")
    if names.dtype.kind not in "iubUS":
        raise InputError(f"{path} holds {names.dtype}: labels are whole numbers or words")
    return names


def read_names(path: Path, count: int, embeddings: Path) -> list[str]:
    """N names from the lines of a text file."""
    names = _lines(path)
    if len(names) != count:
        raise InputError(f"{path} has {len(names)} names but {embeddings} has {count} rows")
    return names


def read_groups(path: Path, count: int, embeddings: Path) -> dict[str, Array]:
    """The columns of a CSV of N rows, as strings.

    Raises:
        InputError: the CSV cannot be read, has another number of rows, or an empty cell.
    """
    frame = read_csv(path)
    if len(frame) != count:
        raise InputError(f"{path} has {len(frame)} rows below its header but {embeddings} has {count}: one for each")
    return {name: np.array(words_of(frame[name], path)) for name in frame.columns}


@dataclass(frozen=True)
class Templates:
    """Which of N images belong together (IJB): a set of one subject, and within it the frames of one video."""

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
    """The columns ``template`` and maybe ``media`` of a CSV of N rows."""
    columns = read_groups(path, count, embeddings)
    if "template" not in columns:
        raise InputError(f"{path} has the columns {', '.join(columns)}; template is needed, and media may follow")
    return Templates(path, columns["template"], columns.get("media"))


def other_name(path: Path, embeddings: Path) -> str:
    """What the other model is called beside this one: its file, with its folder where both files are called alike."""
    name = path.stem if path.stem != embeddings.stem else f"{path.parent.name}/{path.stem}"
    return f"{name} (other)" if name in NAMES else name


def _read_array(path: Path) -> Array:
    try:
        array: Array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, EOFError) as error:
        reason = str(error).split(". ")[0]  # NumPy goes on to advise unpickling, which runs code of the file
        raise InputError(f"{path} is not a whole .npy file of plain numbers or strings: {reason}") from error
    return array


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text file ({error}): one entry a line is needed") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def read_csv(path: Path) -> polars.DataFrame:
    """The table of a CSV file."""
    try:
        return polars.read_csv(path, infer_schema_length=None)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except polars.exceptions.PolarsError as error:
        raise InputError(f"{path} cannot be read as CSV: {str(error).splitlines()[0]}") from error


def words_of(column: polars.Series, path: Path) -> list[str]:
    """The cells of a column as words, none of them empty."""
    words = column.cast(polars.String).str.strip_chars()
    empty = words.is_null() | (words == "")
    if empty.any():
        raise InputError(f"{path} row {int(empty.arg_true()[0]) + 2}, column {column.name}: empty; fill it in")
    return words.to_list()
