"""What somebody has seen already: a list of image paths, of which a gallery's rows are found again."""

import csv
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from triune.data.columns import Columns, name_key
from triune.data.decode import image_suffixes
from triune.data.tables import read_cells, read_text, split_lines

HISTORY = Columns(("image",), ("image",), {"path": "image"}, "a history is a table with a column image, or a list")

TABLES = (".parquet", ".pq")


class Seen(NamedTuple):
    """What a history names.

    Args:
        images: those of them that the gallery holds.
        listed: how many paths the history lists.
    """

    images: frozenset[str]
    listed: int


def seen_of(path: str | Path, images: Iterable[str]) -> Seen:
    """Which images of a gallery a history lists.

    Paths are looked for as they are written, from the history's folder, and from the working directory. They need not
    exist any more, and those that the gallery does not hold are passed over.

    Args:
        path: a table (CSV or Parquet) with a column ``image``, or a text with one path a line.
        images: what the gallery calls its images.

    Raises:
        InputError: there is no such file, or it is neither, as a table of other columns.
    """
    place = Path(path)
    folder, there = place.parent, frozenset(images)
    listed = _listed(place, there)
    names = {name for each in listed for name in (each, os.path.abspath(folder / each), os.path.abspath(each))}
    return Seen(there & names, len(listed))


def _listed(path: Path, images: frozenset[str]) -> list[str]:
    if path.suffix.lower() not in TABLES:
        lines = split_lines(read_text(path))
        first = re.split(r"[,;\t]", lines[0]) if lines else []
        if not {"image", "path"} & {name_key(cell.strip('"')) for cell in first} and not _is_table(lines, images):
            return list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    cells = read_cells(path, HISTORY).text("image")
    return list(dict.fromkeys(cell for cell in cells if cell is not None))


def _is_table(lines: list[str], images: frozenset[str]) -> bool:
    """Whether lines are a table: the first is no path, and all have one number of cells, two or more."""
    filled = [line.strip() for line in lines if line.strip()]
    if not filled or Path(filled[0]).suffix.lower() in image_suffixes() or not images.isdisjoint(filled):
        return False
    return any(_has_columns(filled, mark) for mark in ",;\t")


def _has_columns(lines: list[str], mark: str) -> bool:
    if mark not in lines[0]:
        return False
    try:
        return len({len(row) for row in csv.reader(lines, delimiter=mark)}) == 1
    except csv.Error:  # a line is longer than any cell
        return False
