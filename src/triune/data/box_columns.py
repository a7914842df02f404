"""Boxes read from a table of items: four columns as whole numbers, and what is wrong with them."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from triune.data.boxes import BOX_COLUMNS
from triune.data.problems import Problem
from triune.data.tables import as_text
from triune.errors import InputError

LARGEST: Final = 1 << 30
"""No image has so many pixels a side."""


def has_boxes(names: Sequence[str], source: str) -> bool:
    """Whether a table has boxes.

    Args:
        names: its columns, the known ones by their own names.
        source: what messages call it.

    Raises:
        InputError: some of the four columns are there, and others are not.
    """
    there = [name for name in BOX_COLUMNS if name in names]
    if there and len(there) < len(BOX_COLUMNS):
        lacking = next(name for name in BOX_COLUMNS if name not in names)
        raise InputError(
            f"{source} has a column {there[0]!r} but none called {lacking!r}: a box needs x_1, y_1, x_2 and y_2; add "
            f"it, or rename {there[0]!r} if it is something else"
        )
    return bool(there)


def box_columns(frame: pl.DataFrame, rows: Sequence[int], source: str) -> tuple[list[pl.Series], list[Problem]]:
    """The four columns as whole numbers, null where an item has no box, and what is wrong with them.

    Args:
        frame: a table with the columns of :data:`BOX_COLUMNS`.
        rows: what messages call its rows.
        source: what messages call it.
    """
    cells = {name: as_text(frame[name], source).to_list() for name in BOX_COLUMNS}
    sides: dict[str, list[int | None]] = {name: [] for name in BOX_COLUMNS}
    problems: list[Problem] = []
    for place, row in enumerate(rows):
        read = {name: _whole(cells[name][place]) for name in BOX_COLUMNS}
        wrong = _wrong({name: cells[name][place] for name in BOX_COLUMNS}, read)
        if wrong is not None:
            problems.append(Problem(source, row, *wrong))
        for name, value in read.items():
            sides[name].append(None if wrong is not None else value)
    return [pl.Series(name, values, pl.Int64) for name, values in sides.items()], problems


def _whole(cell: str | None) -> int | None:
    """A cell as a whole number from 0 on; -1 where it is none, and ``None`` where it says nothing."""
    if cell is None or cell.lower() in ("nan", "na", "none", "null"):
        return None
    try:
        value = float(cell)
    except ValueError:
        return -1
    return int(value) if value.is_integer() and 0 <= value < LARGEST else -1


def _wrong(cells: dict[str, str | None], read: dict[str, int | None]) -> tuple[str, str, str] | None:
    """What is wrong with the box of a row: the column, the problem, what to do."""
    for name, value in read.items():
        if value == -1:
            return name, f"{cells[name]!r} is no whole number of pixels from 0 on", "write the pixel's number"
    lacking = [name for name, value in read.items() if value is None]
    if lacking:
        if len(lacking) == len(read):
            return None
        return lacking[0], "the box has no such side", "write all four of x_1, y_1, x_2, y_2, or none of them"
    for first, second, words in (("x_1", "x_2", "right"), ("y_1", "y_2", "bottom")):
        low, high = read[first], read[second]
        if low is not None and high is not None and high <= low:
            problem = f"the box is empty: its {words} edge {second} is {high}, and {first} is {low}"
            return second, problem, f"write {second} larger than {first}"
    return None
