"""What somebody has seen already: a list of image paths, of which a gallery's rows are found again."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from triune.data.columns import Columns, name_key
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
        InputError: there is no such file, or it is neither.
    """
    place = Path(path)
    folder, there = place.parent, frozenset(images)
    listed = _listed(place)
    names = {name for each in listed for name in (each, os.path.abspath(folder / each), os.path.abspath(each))}
    return Seen(there & names, len(listed))


def _listed(path: Path) -> list[str]:
    if path.suffix.lower() not in TABLES:
        lines = split_lines(read_text(path))
        first = re.split(r"[,;\t]", lines[0]) if lines else []
        if not {"image", "path"} & {name_key(cell.strip('"')) for cell in first}:
            return list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    cells = read_cells(path, HISTORY).text("image")
    return list(dict.fromkeys(cell for cell in cells if cell is not None))
