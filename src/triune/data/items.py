"""The table of items: what its columns mean, and how it is read."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import polars as pl

from triune.data.problems import Problem
from triune.errors import InputError

SplitKind: TypeAlias = Literal["open-set", "closed-set"]


Progress: TypeAlias = Callable[[int, int], None]


SPLITS = ("train", "val", "test", "holdout")


COLUMNS = ("image", "label", "identity", "mask", "split", "is_query", "is_gallery")


_SPLIT_WORDS = {name: name for name in SPLITS} | {
    "training": "train",
    "validation": "val",
    "valid": "val",
    "testing": "test",
}


_YES_NO = {
    "true": True,
    "1": True,
    "yes": True,
    "1.0": True,
    "false": False,
    "0": False,
    "no": False,
    "0.0": False,
}


_BOXES = ("x_1", "x_2", "y_1", "y_2")


@dataclass(frozen=True)
class ItemTable:
    """Items as rows.

    Args:
        frame: columns ``row`` (the line in the file; the first item of a CSV is row 2), ``image`` (absolute
            path), ``label`` (class), ``identity`` (what the embedding tells apart), ``mask`` (absolute path),
            ``split`` (train, val, test, holdout), all strings or null; ``is_query``, ``is_gallery`` (boolean
            or null); and whatever else the file had. ``holdout`` rows are images of training identities that
            are set aside, so that class accuracy can be measured where the test identities' classes were
            never trained on.
        source: the file or folder, for messages.
        split_kind: how the splits came about; "given" means the table said so.
        identity_column: which column the identities came from, for messages.
        problems: what was found wrong while reading; :func:`check_table` reports them with its own.
        notes: what a user should know but need not mend.
    """

    frame: pl.DataFrame
    source: str
    split_kind: Literal["open-set", "closed-set", "given"] = "given"
    identity_column: str = "identity"
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_split(self) -> bool:
        """Whether any row says which split it belongs to."""
        return self.frame["split"].is_not_null().any()

    @property
    def is_open_set(self) -> bool:
        """Whether no identity of val or test occurs in train or holdout."""
        trained = self.frame.filter(pl.col("split").is_in(["train", "holdout"]))["identity"].drop_nulls()
        judged = self.frame.filter(pl.col("split").is_in(["val", "test"]))["identity"].drop_nulls()
        return set(trained).isdisjoint(judged)

    def part(self, split: str) -> pl.DataFrame:
        """The rows of one split."""
        return self.frame.filter(pl.col("split") == split)


def read_table(path: str | Path) -> ItemTable:
    """Read a CSV (comma, semicolon or tab) or Parquet table of items.

    Columns are those of :class:`ItemTable`; ``image`` alone is required. Open Metric Learning's tables are
    read as they are: ``path`` is the image, ``validation`` the val split. Without an ``identity`` column the
    ``label`` is the identity. Labels and identities become strings ("7", never 7.0). Relative paths are
    relative to the table. Rows count from 2 in a CSV (the header is line 1) and from 1 in Parquet. Wrong cell
    values do not raise here: they are kept in ``problems``, so that :func:`check_table` can list everything
    at once.

    Raises:
        InputError: no such file, not a table, no rows, or no image column.
    """
    path = Path(path)
    frame, first_row = _read_columns(path)
    frame = frame.with_row_index("row", offset=first_row).with_columns(pl.col("row").cast(pl.Int64))
    cells = [name for name in frame.columns if name != "row"]
    if cells:
        frame = frame.filter(~pl.all_horizontal(_is_blank(frame, name) for name in cells))
    if frame.is_empty():
        raise InputError(f"{path} has no rows: a table needs one row an image, below its header")
    return from_frame(frame, source=str(path), folder=path.parent)


def from_frame(frame: pl.DataFrame, *, source: str, folder: Path | None = None) -> ItemTable:
    """Make a table of a polars frame with the columns that :func:`read_table` reads.

    Args:
        frame: the items; a ``row`` column is kept, else rows are numbered from 1.
        source: what messages call it.
        folder: what relative paths are relative to; the working directory where not given.

    Raises:
        InputError: no image column, or no rows.
    """
    notes: list[str] = []
    problems: list[Problem] = []
    if "image" not in frame.columns and "path" in frame.columns:
        frame = frame.rename({"path": "image"})
    if "image" not in frame.columns:
        found = [name for name in frame.columns if name != "row"]
        near = [name for name in found if name.strip().lower() in ("image", "path")]
        advice = f"rename {near[0]!r} to 'image'" if near else "name the column of image paths 'image'"
        raise InputError(f"{source} has no image column (its columns: {', '.join(found)}): {advice}")
    if frame.is_empty():
        raise InputError(f"{source} has no rows: a table needs one row an image")
    if "row" not in frame.columns:
        frame = frame.with_row_index("row", offset=1).with_columns(pl.col("row").cast(pl.Int64))
    if all(name in frame.columns for name in _BOXES):
        notes.append(f"{source}: the boxes x_1, x_2, y_1, y_2 are not used; whole images are")
    identity_column = "identity" if "identity" in frame.columns else "label"

    rows = frame["row"].to_list()
    columns: dict[str, pl.Series] = {}
    for name in ("image", "label", "identity", "mask"):
        columns[name] = (
            _as_text(frame[name]) if name in frame.columns else pl.Series(name, [None] * len(rows), pl.String)
        )
    if identity_column == "label":
        columns["identity"] = columns["label"].alias("identity")
    base = str((folder or Path.cwd()).absolute())
    for name in ("image", "mask"):
        columns[name] = _absolute(columns[name], base)
    columns["split"] = _read_words(
        frame, "split", _SPLIT_WORDS, pl.String, source, "write train, val, test or holdout", problems
    )
    for name in ("is_query", "is_gallery"):
        columns[name] = _read_words(frame, name, _YES_NO, pl.Boolean, source, "write true or false", problems)

    for row, image in zip(rows, columns["image"].to_list()):
        if image is None:
            problems.append(Problem(source, row, "image", "the image is empty", "name a file or remove the row"))
    if "split" in frame.columns:
        wrong = {problem.row for problem in problems if problem.column == "split"}
        empty = [row for row, split in zip(rows, columns["split"].to_list()) if split is None and row not in wrong]
        if len(empty) + len(wrong) < len(rows):
            remedy = "write train, val, test or holdout, as in the other rows"
            problems += [Problem(source, row, "split", "the split is empty", remedy) for row in empty]
    others = [name for name in frame.columns if name not in COLUMNS and name != "row"]
    ordered = frame.select("row").with_columns(*columns.values()).select("row", *COLUMNS)
    return ItemTable(
        frame=pl.concat([ordered, frame.select(others)], how="horizontal") if others else ordered,
        source=source,
        identity_column=identity_column,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _read_columns(path: Path) -> tuple[pl.DataFrame, int]:
    """The raw columns of a file, and the number of its first row."""
    if not path.is_file():
        raise InputError(f"{path} does not exist: name a table (.csv or .parquet), a folder of images, or a data set")
    try:
        if path.suffix.lower() == ".parquet":
            return pl.read_parquet(path), 1
        if path.suffix.lower() not in (".csv", ".tsv", ".txt"):
            raise InputError(f"{path} is neither .csv nor .parquet: save the table as one of the two")
        with open(path, "rb") as file:
            header = file.readline()
        if b"\x00" in header:
            raise InputError(f"{path} is no UTF-8 text: save it as 'CSV UTF-8'")
        separator = max(",;\t", key=lambda mark: header.count(mark.encode()))
        frame = pl.read_csv(path, infer_schema=False, separator=separator)
    except pl.exceptions.NoDataError as error:
        raise InputError(f"{path} is empty: a table needs a header and one row an image") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read as a table ({reason}): mend the file or save it again") from error
    twice = [name for name in frame.columns if "_duplicated_" in name]
    if twice:
        name = twice[0].split("_duplicated_")[0]
        raise InputError(f"{path} has two columns called {name!r}: rename or remove one")
    return frame.rename({name: name.strip() for name in frame.columns}), 2


def _is_blank(frame: pl.DataFrame, name: str) -> pl.Expr:
    if frame.schema[name] == pl.String:
        return pl.col(name).str.strip_chars().fill_null("") == ""
    return pl.col(name).is_null()


def _as_text(series: pl.Series) -> pl.Series:
    """A column as trimmed strings, null where empty, whole floats as integers ("7", not "7.0")."""
    if series.dtype.is_float():
        whole = (series.drop_nulls() == series.drop_nulls().floor()).all()
        series = series.fill_nan(None)
        series = series.cast(pl.Int64) if whole and series.drop_nulls().abs().lt(2**53).all() else series
    if series.dtype == pl.List or series.dtype == pl.Struct:
        raise InputError(f"column {series.name!r} holds lists: one value a cell is needed")
    text = series.cast(pl.String).str.strip_chars()
    text = text.set(text == "", None)
    known = text.drop_nulls()
    if len(known) and known.str.contains(r"^-?\d+\.0$").all():
        text = text.str.strip_suffix(".0")
    return text


def _absolute(series: pl.Series, folder: str) -> pl.Series:
    joined = [None if p is None else os.path.normpath(os.path.join(folder, p)) for p in series.to_list()]
    return pl.Series(series.name, joined, pl.String)


def _read_words(
    frame: pl.DataFrame,
    name: str,
    words: dict[str, Any],
    kind: Any,
    source: str,
    remedy: str,
    problems: list[Problem],
) -> pl.Series:
    """A column of few allowed words as what they stand for; the others become null and a problem."""
    if name not in frame.columns:
        return pl.Series(name, [None] * len(frame), kind)
    values: list[Any] = []
    for row, text in zip(frame["row"].to_list(), _as_text(frame[name]).to_list()):
        value = None if text is None else words.get(text.lower())
        if text is not None and value is None:
            problems.append(Problem(source, row, name, f"{text!r} is not a known value", remedy))
        values.append(value)
    return pl.Series(name, values, kind)
