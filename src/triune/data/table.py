"""The table of items: its columns, its checks (every problem at once) and its splits."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from triune.data.decode import IGNORE, probe_image, read_mask
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
_LISTED = 100


class Problem(NamedTuple):
    """One thing that is wrong with a table, where it is, and what to do about it.

    Args:
        file: the table's file or folder.
        row: line of the file (the header is line 1); ``None`` where the table as a whole is meant.
        column: the column, or ``None``.
        problem: what is wrong.
        remedy: what to do.
    """

    file: str
    row: int | None
    column: str | None
    problem: str
    remedy: str

    def __str__(self) -> str:
        row = "" if self.row is None else f", row {self.row}"
        column = "" if self.column is None else f", column {self.column}"
        return f"{self.file}{row}{column}: {self.problem}; {self.remedy}"


class DataError(InputError):
    """A table with problems: all of them, one a line; ``problems`` holds them as data."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        lines = [str(problem) for problem in self.problems[:_LISTED]]
        if len(self.problems) > _LISTED:
            columns = Counter(problem.column or "table" for problem in self.problems[_LISTED:])
            rest = ", ".join(f"{count} in {column}" for column, count in sorted(columns.items()))
            lines.append(f"and {len(self.problems) - _LISTED} more ({rest})")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type["DataError"], tuple[list[Problem]]]:
        # By default a copy, or one sent from another process, would be made from the message.
        return DataError, (self.problems,)


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


def check_table(
    table: ItemTable,
    *,
    masks: bool = True,
    mask_ids: int | None = None,
    identities: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Problem]:
    """Look at every row and every file and list everything that is wrong, sorted by row.

    Found are: wrong cell values; images and masks that are missing, cut short or unreadable; a mask of
    another size than its image; mask pixels beyond the expected ids; masks in which nothing but 0 and 255
    occurs (255 means: ignore, so there would be no foreground); an image listed twice; an identity with a
    single image where training needs two (it can give no positive pair). Every image is read to its end, in
    threads.

    Args:
        table: as it was read or split.
        masks: look at the masks; not needed where no mask is trained on.
        mask_ids: how many ids the masks may hold, 0 to ``mask_ids - 1``; any where ``None``.
        identities: look for identities with a single image; not needed where no embedding is trained.
        workers: how many threads; a few a core where not given.
        progress: called with (done, total) now and then.

    Returns:
        The problems; none for a sound table. Raise them as ``DataError(problems)``.
    """
    frame = table.frame
    problems = list(table.problems)
    if identities:
        problems += _lonely_identities(table)
    problems += _repeated_images(table)

    rows = frame["row"].to_list()
    images = frame["image"].to_list()
    mask_paths = frame["mask"].to_list() if masks else [None] * len(rows)
    found: set[int] = set()
    first_mask: int | None = None
    outcomes = _in_threads(_inspect, list(zip(images, mask_paths)), workers)
    for done, (row, outcome) in enumerate(zip(rows, outcomes), start=1):
        for column, problem, remedy in outcome.problems:
            problems.append(Problem(table.source, row, column, problem, remedy))
        if outcome.ids is not None:
            first_mask = row if first_mask is None else first_mask
            found |= outcome.ids
            beyond = sorted(i for i in outcome.ids if mask_ids is not None and mask_ids <= i < IGNORE)
            if beyond:
                problem = f"the mask holds the id {beyond[0]}, but ids go from 0 to {mask_ids - 1}" if mask_ids else ""
                remedy = "correct the mask, or train with more mask channels"
                problems.append(Problem(table.source, row, "mask", problem, remedy))
        if progress is not None and (done % 64 == 0 or done == len(rows)):
            progress(done, len(rows))
    if IGNORE in found and found <= {0, IGNORE}:
        problem = "the masks hold nothing but 0 and 255, and 255 means ignore, so no foreground is left to learn"
        problems.append(Problem(table.source, first_mask, "mask", problem, "write the foreground as 1"))
    return sorted(problems, key=lambda p: (-1 if p.row is None else p.row, COLUMNS.index(p.column) if p.column else -1))


def mask_ids(table: ItemTable, *, workers: int | None = None) -> tuple[int, ...]:
    """The ids that occur in the table's masks, sorted, without 255; unreadable masks are passed over."""
    paths = table.frame["mask"].drop_nulls().unique(maintain_order=True).to_list()
    found: set[int] = set()
    for ids in _in_threads(_ids_of, paths, workers):
        found |= ids
    return tuple(sorted(found - {IGNORE}))


def assign_splits(
    table: ItemTable,
    kind: SplitKind = "open-set",
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    holdout: float = 0.15,
) -> ItemTable:
    """Share the items out among train, val and test; whatever split the table had is replaced.

    Open-set: by identity, so that no identity of val or test occurs in train, evenly over the classes where
    classes hold several identities. Where the test classes are then never trained on, ``holdout`` is that
    share of each training identity's images, set aside to measure the class head on. Closed-set: by image,
    every identity in all three as far as its images go, at least two of them in train. Items without an
    identity are shared out by image. The same table, arguments and seed give the same splits on every
    machine.

    Args:
        table: the items.
        kind: which of the two.
        fractions: of train, val and test; they sum to 1.
        seed: of the draw.
        holdout: share of the images of a training identity; at least two stay in train; 0 for none.

    Raises:
        DataError: too few identities (open-set) or images (closed-set) for the three splits.
        ValueError: the fractions are no fractions.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            f"fractions are {fractions}: three positive shares (train, val, test) that sum to 1 are needed"
        )
    if not 0 <= holdout < 1:
        raise ValueError(f"holdout is {holdout}: a share from 0 to below 1 is needed")
    generator = np.random.default_rng(seed)
    frame = table.frame
    splits = np.full(len(frame), "train", dtype=object)
    labels = frame["label"].to_list()
    members = _members(frame["identity"].to_list())
    nameless = _members(
        [label or "" if identity is None else None for label, identity in zip(labels, frame["identity"].to_list())]
    )
    if kind == "open-set":
        classes = {name: _commonest(labels[i] for i in places) for name, places in members.items()}
        shares = _share_identities(table, members, classes, fractions, generator) if members else {}
        for name, split in shares.items():
            splits[members[name]] = split
        _share_images(splits, nameless, fractions, generator)
        trained = {labels[i] for i in np.flatnonzero(splits == "train")} - {None}
        tested = {labels[i] for i in np.flatnonzero(splits == "test")} - {None}
        if holdout and tested and not tested & trained:
            for places in members.values():
                if splits[places[0]] == "train":
                    count = min(round(holdout * len(places)), len(places) - 2)
                    splits[generator.permutation(places)[: max(count, 0)]] = "holdout"
    else:
        _share_images(splits, members, fractions, generator)
        _share_images(splits, nameless, fractions, generator)
        _require_pairs(table, members, splits)
    divided = frame.with_columns(pl.Series("split", splits.tolist(), pl.String))
    return replace(table, frame=divided, split_kind=kind)


def complete_splits(table: ItemTable, seed: int = 0, share: float = 0.2) -> ItemTable:
    """Give a table with splits of its own the val or test split it lacks, by identity; noting what was done.

    Without val, a ``share`` of the training identities becomes val. Without test, half of the val identities
    become test, since a threshold cannot be judged on the images it was set on.

    Raises:
        DataError: there is no train split, or too few identities to take from.
    """
    frame = table.frame
    here = set(frame["split"].drop_nulls().to_list())
    if "train" not in here:
        problem = f"no row has the split train (there are: {', '.join(sorted(here))})"
        raise DataError([Problem(table.source, None, "split", problem, "mark the rows to train on with train")])
    generator = np.random.default_rng(seed)
    notes = list(table.notes)
    names, labels = frame["identity"].to_list(), frame["label"].to_list()
    splits = np.array(frame["split"].to_list(), dtype=object)
    for lacking, giving, part in (("val", "train", share), ("test", "val", 0.5)):
        if (splits == lacking).any():
            continue
        giver = giving if lacking == "test" or "test" in here else "train"
        members = _members([n if s == giver else None for n, s in zip(names, splits)])
        paired = [name for name, places in members.items() if len(places) >= 2]
        count = max(2, round(part * len(members)))
        if len(members) - count < 2 or len(paired) < 2:
            problem = f"the split {lacking} is missing, and {giver} has {len(members)} identities, too few to share"
            remedy = f"mark the rows of at least two identities as {lacking}"
            raise DataError([Problem(table.source, None, "split", problem, remedy)])
        classes = {name: _commonest(labels[i] for i in places) for name, places in members.items()}
        for name in _stratified(sorted(members), classes, count, generator):
            splits[members[name]] = lacking
        notes.append(f"{table.source} has no {lacking} split: {count} identities of {giver} were taken for it")
    divided = frame.with_columns(pl.Series("split", splits.tolist(), pl.String))
    return replace(table, frame=divided, notes=tuple(notes))


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


class _Outcome(NamedTuple):
    problems: list[tuple[str, str, str]]
    ids: set[int] | None


def _inspect(paths: tuple[str | None, str | None]) -> _Outcome:
    """What is wrong with one image and its mask, as (column, problem, remedy), and the mask's ids."""
    image, mask = paths
    problems: list[tuple[str, str, str]] = []
    size: tuple[int, int] | None = None
    if image is not None:
        try:
            size = probe_image(image)
        except Exception as error:
            problems.append(_unreadable("image", image, error))
    if mask is None:
        return _Outcome(problems, None)
    try:
        pixels = read_mask(mask)
    except Exception as error:
        problems.append(_unreadable("mask", mask, error))
        return _Outcome(problems, None)
    if size is not None and pixels.shape != size:
        problem = f"{mask} is {pixels.shape[1]} x {pixels.shape[0]} pixels, its image {size[1]} x {size[0]}"
        problems.append(("mask", problem, "make both the same size"))
    return _Outcome(problems, set(np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)).tolist()))


def _unreadable(column: str, path: str, error: Exception) -> tuple[str, str, str]:
    if isinstance(error, FileNotFoundError):
        return column, f"{path} does not exist", "correct the path or remove the row"
    if isinstance(error, IsADirectoryError):
        return column, f"{path} is a folder", "name a file"
    reason = " ".join(str(error).split()).replace(repr(path), "it")
    return (
        column,
        f"{path} cannot be read ({reason or type(error).__name__})",
        "replace the file or remove the row",
    )


def _ids_of(path: str) -> set[int]:
    return _inspect((None, path)).ids or set()


def _in_threads(function: Callable[[Any], Any], items: list[Any], workers: int | None) -> Iterable[Any]:
    """Results in order; threads serve since decoding releases the interpreter lock."""
    count = workers or min(16, 2 * (os.cpu_count() or 1))
    with ThreadPoolExecutor(count) as pool:
        for start in range(0, len(items), 4096):
            yield from pool.map(function, items[start : start + 4096])


def _lonely_identities(table: ItemTable) -> list[Problem]:
    """Identities with one image where two are needed: in train if splits were given, else anywhere."""
    frame = table.frame
    if table.split_kind == "given" and table.has_split:
        frame = frame.filter(pl.col("split") == "train")
    alone = frame.filter(pl.col("identity").is_not_null()).filter(pl.len().over("identity") == 1)
    column = table.identity_column
    where = "in train" if table.split_kind == "given" and table.has_split else "in the table"
    return [
        Problem(
            table.source,
            row,
            column,
            f"{column} {name!r} has a single image {where}, so it can give no positive pair",
            f"add images of it, leave its {column} empty or remove the row",
        )
        for row, name in alone.select("row", "identity").iter_rows()
    ]


def _repeated_images(table: ItemTable) -> list[Problem]:
    first: dict[str, int] = {}
    problems = []
    for row, image in table.frame.select("row", "image").iter_rows():
        if image is None:
            continue
        if image in first:
            problem = f"the image is also that of row {first[image]}; it would be its own matching pair"
            problems.append(Problem(table.source, row, "image", problem, "remove one of the two rows"))
        else:
            first[image] = row
    return problems


def _members(names: Sequence[str | None]) -> dict[str, list[int]]:
    """Positions of every name, names in sorted order."""
    places: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        if name is not None:
            places.setdefault(name, []).append(position)
    return {name: places[name] for name in sorted(places)}


def _commonest(labels: Iterable[str | None]) -> str:
    counts = Counter(label or "" for label in labels)
    return min(counts, key=lambda label: (-counts[label], label))


def _share_identities(
    table: ItemTable,
    members: dict[str, list[int]],
    classes: dict[str, str],
    fractions: tuple[float, float, float],
    generator: np.random.Generator,
) -> dict[str, str]:
    """The split of every identity."""
    total = len(members)
    if total < 6:
        problem = f"there are {total} identities, but an open-set split needs 6: two for each of train, val, test"
        column = table.identity_column
        remedy = f"add identities in the column {column}, give a split column, or split closed-set (by image)"
        raise DataError([Problem(table.source, None, column, problem, remedy)])
    tests = min(max(2, round(fractions[2] * total)), total - 4)
    vals = min(max(2, round(fractions[1] * total)), total - tests - 2)
    shares = dict.fromkeys(members, "train")
    for name in _stratified(list(members), classes, tests, generator):
        shares[name] = "test"
    rest = [name for name in members if shares[name] == "train"]
    for name in _stratified(rest, classes, vals, generator):
        shares[name] = "val"
    for split in ("val", "test"):
        if not any(shares[name] == split and len(places) > 1 for name, places in members.items()):
            problem = f"no identity that fell to {split} has two images, so it holds no matching pair"
            remedy = "add images of the identities, or give a split column"
            raise DataError([Problem(table.source, None, table.identity_column, problem, remedy)])
    return shares


def _stratified(names: list[str], classes: dict[str, str], count: int, generator: np.random.Generator) -> list[str]:
    """``count`` of the names at equal steps through the names, shuffled within classes: even over classes."""
    shuffled = [names[i] for i in generator.permutation(len(names))]
    order = generator.permutation(sorted({classes[name] for name in names})).tolist()
    rank = {label: place for place, label in enumerate(order)}
    line = sorted(shuffled, key=lambda name: rank[classes[name]])
    start = generator.random()
    return [line[int((step + start) * len(line) / count)] for step in range(count)]


def _share_images(
    splits: Any,
    groups: dict[str, list[int]],
    fractions: tuple[float, float, float],
    generator: np.random.Generator,
) -> None:
    """Share each group's images out by the fractions, so that the totals come out; two stay in train.

    A split rather takes two images of every other identity than one of each, since one gives no matching pair.
    """
    owed_val = owed_test = 0.0
    for places in groups.values():
        owed_val += fractions[1] * len(places)
        owed_test += fractions[2] * len(places)
        spare = max(len(places) - 2, 0)
        tests = min(round(owed_test), spare)
        tests = 0 if tests == 1 < spare else tests
        vals = min(round(owed_val), spare - tests)
        vals = 0 if vals == 1 < spare else vals
        owed_val -= vals
        owed_test -= tests
        order = generator.permutation(places)
        splits[order[:tests]] = "test"
        splits[order[tests : tests + vals]] = "val"


def _require_pairs(table: ItemTable, members: dict[str, list[int]], splits: Any) -> None:
    for split in ("val", "test"):
        counts = [int((splits[places] == split).sum()) for places in members.values()]
        if members and (max(counts) < 2 or sum(count > 0 for count in counts) < 2):
            problem = f"there are too few images of an identity for the split {split} to hold a matching pair"
            remedy = "add images of the identities, or give a split column"
            raise DataError([Problem(table.source, None, table.identity_column, problem, remedy)])
