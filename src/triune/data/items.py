"""The table of items: what its columns mean, and how it is read."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import polars as pl

from triune.data.box_columns import box_columns, has_boxes
from triune.data.boxes import BOX_COLUMNS
from triune.data.columns import Columns, named_columns
from triune.data.problems import DataError, Problem
from triune.data.reading import AS_IT_IS, Reading
from triune.data.tables import MISSING, YES_NO, as_text, read_cells
from triune.errors import InputError
from triune.names import INVISIBLE

SplitKind: TypeAlias = Literal["open-set", "closed-set"]


Progress: TypeAlias = Callable[[int, int], None]


SPLITS = ("train", "val", "calibration", "test", "holdout")


SPLITS_IN_WORDS = f"{', '.join(SPLITS[:-1])} or {SPLITS[-1]}"


COLUMNS = ("image", "label", "identity", "mask", "split", "is_query", "is_gallery")


SPLIT_WORDS = {name: name for name in SPLITS} | {
    "training": "train",
    "validation": "val",
    "valid": "val",
    "testing": "test",
    "calib": "calibration",
}
"""What tables and folders call the splits, in small letters."""


_COLUMNS = Columns(
    known=(*COLUMNS, *BOX_COLUMNS),
    needed=("image",),
    other_names={"path": "image"},  # of Open Metric Learning
    advice="name the column of image paths 'image'",
)


@dataclass(frozen=True)
class ItemTable:
    """Items as rows.

    Args:
        frame: columns ``row`` (the line in the file; the first item of a CSV is row 2), ``image`` (absolute
            path), ``label`` (class), ``identity`` (what the embedding tells apart), ``mask`` (absolute path),
            ``split`` (train, val, calibration, test, holdout), all strings or null; ``is_query``, ``is_gallery``
            (boolean or null); where the table has boxes ``x_1, y_1, x_2, y_2`` (whole pixels of the upright image, left
            and top within the box, right and bottom just beyond; all null for the whole image); and whatever else the
            file had (a column of the file that is called ``row`` is ``row_`` here).
            ``holdout`` rows are images of training identities that are set aside, so that class accuracy can be
            measured where the test identities' classes were never trained on.
        source: the file or folder, for messages.
        split_kind: how the splits came about; "given" means the table said so.
        identity_column: which column the identities came from, for messages.
        problems: what was found wrong while reading; :func:`check_table` reports them with its own.
        notes: what a user should know but need not mend.
        reading: how the pixels of images and masks are read.
    """

    frame: pl.DataFrame
    source: str
    split_kind: Literal["open-set", "closed-set", "given"] = "given"
    identity_column: str = "identity"
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    reading: Reading = AS_IT_IS

    @property
    def has_split(self) -> bool:
        """Whether any row says which split it belongs to."""
        return self.frame["split"].is_not_null().any()

    @property
    def classes_are_identities(self) -> bool:
        """Whether each class is one identity and each identity of one class: there are no classes beside them."""
        known = self.frame.filter(pl.col("label").is_not_null() & pl.col("identity").is_not_null())
        pairs = known.select("label", "identity").unique()
        return len(pairs) > 0 and len(pairs) == pairs["label"].n_unique() == pairs["identity"].n_unique()

    def part(self, split: str) -> pl.DataFrame:
        """The rows of one split."""
        return self.frame.filter(pl.col("split") == split)


def read_table(path: str | Path) -> ItemTable:
    """Read a CSV (comma, semicolon or tab) or Parquet table of items.

    Columns are those of :class:`ItemTable`, whatever their capitals; ``image`` alone is required. Open Metric
    Learning's tables are read as they are: ``path`` is the image, ``validation`` the val split, and of an image with a
    box ``x_1, y_1, x_2, y_2`` (left, top, right, bottom in pixels) the part within it is looked at. Without an
    ``identity`` column the ``label`` is the identity. Labels and identities become strings ("7", never 7.0; "007"
    stays "007"); NaN, NA and None mean that they are not known. Relative paths are relative to the table. Rows are
    counted as lines of a CSV (the header is line 1) and from 1 in Parquet. Wrong cell values do not raise here: they
    are kept in ``problems``, so that :func:`check_table` can list everything at once.

    Raises:
        InputError: no such file, not a table, no rows, no image column, a column that looks misspelt, or a box without
            one of its sides.
    """
    path = Path(path)
    cells = read_cells(path, _COLUMNS)
    if not len(cells) and cells.problems:
        raise DataError(cells.problems)
    table = from_frame(cells.frame, source=str(path), folder=path.parent, rows=cells.lines)
    return replace(table, problems=(*cells.problems, *table.problems))


def from_frame(
    frame: pl.DataFrame, *, source: str, folder: Path | None = None, rows: Sequence[int] | None = None
) -> ItemTable:
    """Make a table of a polars frame with the columns that :func:`read_table` reads.

    Args:
        frame: the items.
        source: what messages call it.
        folder: what relative paths are relative to; the working directory where not given.
        rows: what messages call the rows; 1, 2, … where not given.

    Raises:
        InputError: no image column, no rows, a column that looks misspelt, or a box without one of its sides.
    """
    names = named_columns(frame.columns, _COLUMNS, source)
    frame = frame.rename(dict(zip(frame.columns, names)))
    if frame.is_empty():
        raise InputError(f"{source} has no rows: a table needs one row an image, below its header")
    notes: list[str] = []
    problems: list[Problem] = []
    boxed = has_boxes(names, source)
    identity_column = "identity" if "identity" in names else "label"

    numbers = list(range(1, len(frame) + 1) if rows is None else rows)
    nothing = [None] * len(frame)
    columns: dict[str, pl.Series] = {"row": pl.Series("row", numbers, pl.Int64)}
    base = str((folder or Path.cwd()).absolute())
    for name in ("image", "mask"):
        cells = as_text(frame[name], source) if name in names else pl.Series(name, nothing, pl.String)
        columns[name] = _absolute(cells, base)
    for name in ("label", "identity"):
        columns[name] = (
            _known_names(frame[name], source, notes) if name in names else pl.Series(name, nothing, pl.String)
        )
    if identity_column == "label":
        columns["identity"] = columns["label"].alias("identity")

    def words(name: str, meanings: dict[str, Any], kind: Any, remedy: str) -> pl.Series:
        """A column of few allowed words as what they stand for; the others become null and a problem."""
        values: list[Any] = []
        for row, text in zip(numbers, as_text(frame[name], source).to_list() if name in names else nothing):
            value = None if text is None else meanings.get(text.lower())
            if text is not None and value is None:
                problems.append(Problem(source, row, name, f"{text!r} is not a known value", remedy))
            values.append(value)
        return pl.Series(name, values, kind)

    columns["split"] = words("split", SPLIT_WORDS, pl.String, f"write {SPLITS_IN_WORDS}")
    for name in ("is_query", "is_gallery"):
        columns[name] = words(name, YES_NO, pl.Boolean, "write true or false")

    boxes: list[pl.Series] = []
    if boxed:
        boxes, wrong_boxes = box_columns(frame, numbers, source)
        problems += wrong_boxes
    for row, image in zip(numbers, columns["image"].to_list()):
        if image is None:
            problems.append(Problem(source, row, "image", "the image is empty", "name a file or remove the row"))
    if "split" in names:
        wrong = {problem.row for problem in problems if problem.column == "split"}
        empty = [row for row, split in zip(numbers, columns["split"].to_list()) if split is None and row not in wrong]
        if len(empty) + len(wrong) < len(frame):
            remedy = f"write {SPLITS_IN_WORDS}, as in the other rows"
            problems += [Problem(source, row, "split", "the split is empty", remedy) for row in empty]
    # Column by column: a name such as * would select several.
    others = pl.DataFrame([frame[name] for name in names if name not in (*COLUMNS, *BOX_COLUMNS)])
    notes += _not_there(source, names, others.columns)
    return ItemTable(
        frame=pl.DataFrame([*(columns[name] for name in ("row", *COLUMNS)), *boxes]).hstack(
            _beside_row(others).get_columns()
        ),
        source=source,
        identity_column=identity_column,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _known_names(cells: pl.Series, source: str, notes: list[str]) -> pl.Series:
    """Labels or identities as text, null where they are not known."""
    text = as_text(cells, source).str.normalize("NFC")
    missing = text.is_in(sorted(MISSING))
    if missing.any():
        words = ", ".join(text.filter(missing).unique().sort().to_list())
        notes.append(f"{source}: {missing.sum()} cells of the column {cells.name} say {words}: taken as not known")
    text = text.set(missing, None)
    hidden = sorted(name for name in text.drop_nulls().unique() if INVISIBLE.search(name))
    if hidden:
        count, shown = text.is_in(hidden).sum(), ", ".join(map(ascii, hidden[:3])) + (", …" if len(hidden) > 3 else "")
        notes.append(f"{source}: {count} cells of the column {cells.name} hold characters that are not seen ({shown})")
    known = text.drop_nulls()
    # What a data frame makes of whole numbers where some are missing.
    return text.str.strip_suffix(".0") if len(known) and known.str.contains(r"^-?\d+\.0$").all() else text


def _not_there(source: str, names: Sequence[str], others: Sequence[str]) -> list[str]:
    """Which columns are not there although others, of whose names nothing is known, may be meant for them."""
    lacking = [name for name in ("identity", "split") if name not in names]
    if not lacking or not others or "label" not in names:
        return []
    said = {"identity": "no column identity: the label is taken for it", "split": "no column split: one is made"}
    return [f"{source} has {'; '.join(said[name] for name in lacking)} (columns not used: {', '.join(others)})"]


def _beside_row(others: pl.DataFrame) -> pl.DataFrame:
    """The file's other columns; one that is called ``row``, as ours is, gets a name that is free."""
    name = "row"
    while name in others.columns:
        name += "_"
    return others.rename({"row": name}) if "row" in others.columns else others


def _absolute(series: pl.Series, folder: str) -> pl.Series:
    joined = [None if p is None else os.path.normpath(os.path.join(folder, p)) for p in series.to_list()]
    return pl.Series(series.name, joined, pl.String)
