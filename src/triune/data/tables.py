"""One reader for every table and list: cells are text until a column's meaning says otherwise."""

import csv
import datetime
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from triune.data.columns import ANY, Columns, name_key, named_columns, require_few
from triune.data.decode import Array
from triune.data.parquet import read_frame
from triune.data.problems import DataError, Problem
from triune.errors import InputError
from triune.files import regular_file
from triune.names import MISSING_WORDS

YES_NO = dict.fromkeys(("1", "1.0", "true", "t", "yes", "y"), True) | dict.fromkeys(
    ("0", "0.0", "false", "f", "no", "n"), False
)
"""The words for yes and no, in small letters: one list for every table."""

MISSING = MISSING_WORDS
"""What libraries write where a label is not known: in a cell, not known; in a list of labels, an error."""

MOST_BYTES = 1 << 31
"""No text table or list is larger: 2 GiB."""

MOST_CHARACTERS = 131_072
"""No cell of a CSV has more: the limit of Python's reader, which a quote that is never closed runs into."""

_SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers", ".json", ".jsonl")
_PARQUET = (".parquet", ".pq")
_SEPARATORS = ",;\t"
_FORMS = "save it as a CSV in UTF-8 ('CSV UTF-8')"


@dataclass(frozen=True)
class Table:
    """A table as it lies in its file.

    Args:
        frame: N rows under the names that :func:`named_columns` gives. Cells of a CSV are trimmed strings, null where
            empty; those of Parquet keep their types.
        lines: N numbers for messages: the line of a CSV where the row begins (the header is line 1), or the place
            of the row in a Parquet file, from 1.
        source: the file.
        problems: rows that have another number of cells than the header; they are not in ``frame``.
    """

    frame: pl.DataFrame
    lines: tuple[int, ...]
    source: str
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def text(self, name: str) -> list[str | None]:
        """The cells of a column as trimmed strings in Unicode's composed form (NFC), ``None`` where empty.

        Raises:
            InputError: the column (of a Parquet file) holds lists.
        """
        cells: list[str | None] = as_text(self.frame[name], self.source).str.normalize("NFC").to_list()
        return cells

    def words(self, name: str) -> list[str]:
        """The cells of a column as strings, of which none may be empty.

        Raises:
            DataError: cells are empty: all of them.
        """
        cells = self.text(name)
        empty = [line for line, cell in zip(self.lines, cells) if cell is None]
        if empty:
            raise DataError([Problem(self.source, line, name, "empty", "fill it in") for line in empty])
        return [cell for cell in cells if cell is not None]

    def flags(self, name: str) -> Array:
        """The cells of a column of :data:`YES_NO` words as ``(N,)`` booleans.

        Raises:
            DataError: cells hold something else: all of them.
        """
        cells = self.text(name)
        values = [YES_NO.get((cell or "").lower()) for cell in cells]
        problems = [
            Problem(self.source, line, name, _no_flag(cell), "write true or false")
            for line, cell, value in zip(self.lines, cells, values)
            if value is None
        ]
        if problems:
            raise DataError(problems)
        return np.array(values, dtype=bool)

    def numbers(self, name: str) -> Array:
        """The cells of a column as ``(N,)`` float64.

        Raises:
            DataError: cells are no numbers: all of them.
        """
        column = self.frame[name]
        if column.dtype.is_numeric():
            column = column.cast(pl.Float64)
        else:
            column = as_text(column, self.source).cast(pl.Float64, strict=False)
        cells = self.text(name)
        problems = [
            Problem(self.source, self.lines[place], name, _no_number(cells[place]), "correct or drop the row")
            for place in (column.is_null() | column.is_nan()).arg_true().to_list()
        ]
        if problems:
            raise DataError(problems)
        values: Array = column.to_numpy()
        return values


def read_cells(path: str | Path, columns: Columns = ANY, *, aligned: bool = False) -> Table:
    """Read a CSV (comma, semicolon or tab; any line ends; with or without byte-order mark) or a Parquet file.

    Nothing is guessed from what cells look like: ``007`` stays ``007``. The path is a path, never a pattern.

    Args:
        path: the file; ``.parquet`` or ``.pq`` is Parquet, everything else a CSV.
        columns: the columns that have a meaning; any other may be there, too.
        aligned: rows belong to the rows of another file, so that a blank one in between is a row of empty cells;
            else blank rows are passed over. Blank rows at the end are passed over always.

    Raises:
        InputError: there is no such file, it is no table, it is empty, it has too many columns, two of one name, or
            lacks a needed one.
    """
    path = Path(path)
    if path.suffix.lower() in _SPREADSHEETS:
        raise InputError(f"{path} is neither .csv nor .parquet: save the table as one of the two")
    if path.suffix.lower() in _PARQUET:
        raw = _from_parquet(path, aligned)
    else:
        raw = _from_csv(path, columns, aligned)
    names = named_columns(raw.names, columns, str(path))
    frame = pl.DataFrame([column.alias(name) for name, column in zip(names, raw.columns)])
    return Table(frame, tuple(raw.lines), str(path), tuple(raw.problems))


def as_text(column: pl.Series, source: str) -> pl.Series:
    """A column as trimmed strings, null where empty; floats that are all whole become whole numbers ("7", not "7.0").

    Args:
        column: of any type that stands for one value a cell.
        source: what messages call the table.

    Raises:
        InputError: it holds lists, bytes or time spans, or dates that no calendar has.
    """
    if column.dtype.is_nested() or column.dtype in (pl.Object, pl.Binary, pl.Duration):
        raise InputError(f"{source}, column {column.name}: it holds {column.dtype}; one value a cell is needed")
    if column.dtype.is_temporal() and not _in_calendar(column):
        raise InputError(f"{source}, column {column.name}: a date or time in it lies outside the years 1 to 9999")
    if column.dtype.is_float():
        column = column.fill_nan(None)
        values = column.drop_nulls()
        if (values == values.floor()).all() and values.abs().lt(2**53).all():
            column = column.cast(pl.Int64)
    return _or_null(column.cast(pl.String).str.strip_chars())


def read_lines(path: str | Path, *, missing: frozenset[str] = frozenset()) -> list[str]:
    """The entries of a text file, one a line, trimmed; blank lines at its end are passed over.

    Args:
        path: the file.
        missing: words that mean that an entry is missing, as an empty cell does.

    Raises:
        InputError: there is no such file, or it is no text.
        DataError: entries are missing: all of them, with their lines.
    """
    entries = [line.strip() for line in split_lines(read_text(path))]
    while entries and not entries[-1]:
        entries.pop()
    problems = [
        Problem(str(path), line, None, f"it is missing ({entry or 'empty'})", "write one entry a line")
        for line, entry in enumerate(entries, start=1)
        if not entry or entry in missing
    ]
    if problems:
        raise DataError(problems)
    return [unicodedata.normalize("NFC", entry) for entry in entries]


def read_text(path: str | Path, remedy: str = _FORMS) -> str:
    """The text of a UTF-8 file, without a byte-order mark; line ends are left as they are.

    Args:
        path: the file.
        remedy: what to do where it is something else, for the message.

    Raises:
        InputError: there is no such file, it is larger than :data:`MOST_BYTES`, or it is no UTF-8 text.
        OSError: the machine cannot read it.
    """
    path = regular_file(path)
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} is larger than {MOST_BYTES >> 30} GiB: save it as Parquet, or in parts")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {remedy}") from error
    if "\0" in text:
        raise InputError(f"{path} is not UTF-8 text but holds zero bytes: {remedy}")
    return text


def split_lines(text: str) -> list[str]:
    """The lines of a text: they end at a line feed, a carriage return or both, and at nothing else."""
    lines = re.split(r"\r\n|\r|\n", text)
    return lines[:-1] if lines[-1] == "" else lines


class _Raw(NamedTuple):
    """What a file holds, before its columns are told by their names."""

    names: list[str]
    columns: list[pl.Series]
    lines: list[int]
    problems: list[Problem]


def _from_csv(path: Path, columns: Columns, aligned: bool) -> _Raw:
    source, text = str(path), read_text(path)
    records = _records(source, text, _separator(text, columns))
    header = _header(records)
    if not header:
        raise InputError(f"{path} is empty: a table needs a header and rows below it")
    require_few(len(header), source)
    width, lines, problems = len(header), list[int](), list[Problem]()
    # All cells in one list: a list a row would be a million objects for the garbage collector to go through.
    flat: list[str] = []
    for line, cells in records:
        filled = any(cells) and not "".join(cells).isspace()
        if filled and len(cells) != width:
            problem = f"it has {len(cells)} cells, but the header has {width}"
            remedy = "quote cells that hold the separator, and leave no separator away beside empty cells"
            problems.append(Problem(source, line, None, problem, remedy))
        elif filled or aligned:
            lines.append(line)
            flat += cells if filled else [""] * width
    while lines and not any(flat[-width:]):
        del flat[-width:]
        lines.pop()
    # Trimmed a column at a time, which takes a fraction of the time that cells one by one do.
    texts = [_or_null(pl.Series(flat[place::width], dtype=pl.String).str.strip_chars()) for place in range(width)]
    # A separator at the end of every line makes a column without a name and without a cell.
    kept = [place for place, name in enumerate(header) if name or texts[place].null_count() < len(lines)]
    names = [header[place] or f"column {place + 1}" for place in kept]
    return _Raw(names, [texts[place] for place in kept], lines, problems)


def _from_parquet(path: Path, aligned: bool) -> _Raw:
    frame = read_frame(path)
    if not frame.width:
        raise InputError(f"{path} is empty: a table needs columns and rows")
    require_few(frame.width, str(path))
    lines = pl.Series(range(1, len(frame) + 1))
    if not aligned:
        filled = ~pl.all_horizontal(_is_blank(frame, name) for name in frame.columns)
        chosen = frame.select(filled.alias("filled"))["filled"]
        frame, lines = frame.filter(chosen), lines.filter(chosen)
    return _Raw(frame.columns, frame.get_columns(), lines.to_list(), [])


def _is_blank(frame: pl.DataFrame, name: str) -> pl.Expr:
    if frame.schema[name] == pl.String:
        return pl.col(name).str.strip_chars().fill_null("") == ""
    return pl.col(name).is_null()


def _in_calendar(column: pl.Series) -> bool:
    """Whether all dates and times are of the years 1 to 9999 and of a day's 24 hours; polars panics beyond its own."""
    numbers, day = column.to_physical().drop_nulls(), 86_400_000_000_000
    if column.dtype == pl.Time:
        return bool(((numbers >= 0) & (numbers < day)).all())
    unit = getattr(column.dtype, "time_unit", None)
    days = numbers if unit is None else numbers // {"ms": day // 10**6, "us": day // 10**3, "ns": day}[unit]
    return bool(((days >= _FIRST_DAY) & (days <= _LAST_DAY)).all())


_EPOCH = datetime.date(1970, 1, 1).toordinal()
_FIRST_DAY, _LAST_DAY = datetime.date.min.toordinal() - _EPOCH, datetime.date.max.toordinal() - _EPOCH
"""Counted from 1970, as Parquet does."""


def _or_null(text: pl.Series) -> pl.Series:
    """Null in place of nothing."""
    return text.set(text == "", None)


def _header(records: Iterator[tuple[int, list[str]]]) -> list[str]:
    """The first record that is not blank, trimmed."""
    return next(([cell.strip() for cell in cells] for _, cells in records if "".join(cells).strip()), [])


def _records(source: str, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV, each with the line where it begins: a quoted cell may go over several."""
    csv.field_size_limit(MOST_CHARACTERS)
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
    begins = 1
    try:
        for cells in reader:
            yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{source}, row {begins}: it is no CSV from here on ({error}); check its quotes") from error


def _separator(text: str, columns: Columns) -> str:
    """The mark that parts the header into the most known columns, and then into the most columns."""
    known = {*columns.known, *columns.other_names}

    def parts(mark: str) -> tuple[int, int]:
        try:
            header = _header(_records("", text, mark))
        except InputError:
            return 0, 0
        return sum(name_key(name) in known for name in header), len(header)

    return max(_SEPARATORS, key=parts)


def _no_flag(cell: str | None) -> str:
    return "empty" if cell is None else f"{cell!r} is neither yes nor no"


def _no_number(cell: str | None) -> str:
    if cell is None:
        return "empty"
    decimal_comma = re.fullmatch(r"[+-]?\d+,\d+", cell)
    return f"{cell!r} is not a number" + (f" (write {cell.replace(',', '.')})" if decimal_comma else "")
