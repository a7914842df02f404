"""A contact sheet: queries and what was found for them, as one self-contained HTML file of small images."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from triune._version import __version__
from triune.data.boxes import Box
from triune.errors import InputError
from triune.files import on_one_line, write_text
from triune.plurals import count, plural
from triune.report.thumbnails import thumbnail

Mark: TypeAlias = Literal["good", "bad", "plain"]

MOST_IMAGES = 3000
"""Images of a sheet, queries and hits together: about 20 MB, which a browser on a phone still opens."""

MOST_HITS = 100
"""Images of a row."""

SIDE = 176
"""Pixels of the longer side of an image."""

LONGEST = 60
"""Characters of a longer path's last parts that are shown; all of it is told when pointed at."""

DECODERS = 8
"""Images that are decoded at a time."""


@dataclass(frozen=True)
class SheetImage:
    """An image of a sheet and what is said of it. Any text may stand anywhere: it is escaped.

    Args:
        source: its file, or the image. One that cannot be read any more is an empty tile with its words.
        caption: what is said of it, in bold: its label and score, say.
        detail: where it lies, or anything else. The folder that all hits lie in, by absolute paths, is told once.
        mark: a tick and a frame (``"good"``), a cross and a broken frame (``"bad"``), or neither (``"plain"``).
        box: the part that is shown; all of it where not given.
    """

    source: str | Path | Image.Image
    caption: str
    detail: str = ""
    mark: Mark = "plain"
    box: Box | None = None


@dataclass(frozen=True)
class SheetRow:
    """A query on the left, what was found for it on the right.

    Args:
        query: ``None`` where there is none: the hits take the whole width.
        hits: in their order.
        note: a line above the row.
        heading: of this row and those below it.
    """

    query: SheetImage | None
    hits: Sequence[SheetImage]
    note: str = ""
    heading: str = ""


def write_sheet(path: str | Path, title: str, rows: Iterable[SheetRow], *, about: Sequence[str] = ()) -> Path:
    """Write a sheet, whole or not at all; an earlier file of that name is replaced.

    The page needs no network, no script and no other file: images are made small and lie inside it, upright. Of very
    many, the first :data:`MOST_IMAGES` are shown, and of a row the first :data:`MOST_HITS`; the page says how many are
    not.

    >>> write_sheet("found.html", "Cups", [SheetRow(SheetImage("a.jpg", "query"), [SheetImage("b.jpg", "cup 0.93")])])
    PosixPath('found.html')

    Args:
        path: the file, which ends in ``.html``.
        title: of the page.
        rows: in their order.
        about: lines below the title: what was asked of what.

    Returns:
        The file.

    Raises:
        InputError: ``path`` has another suffix.
        OSError: it cannot be written.
    """
    place = Path(path)
    if place.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{place} is no name of a page: let it end in .html")
    given = list(rows)
    shown = list(_bounded(given))
    images = [image for row in shown for image in (row.query, *row.hits) if image is not None]
    hits = [image for row in shown for image in row.hits]
    folder = _common_folder([on_one_line(image.detail) for image in hits or images])
    with ThreadPoolExecutor(DECODERS) as pool:
        thumbnails = iter(list(pool.map(lambda image: thumbnail(image.source, SIDE, image.box), images)))
    text = (
        _environment()
        .get_template("sheet.html")
        .render(
            title=on_one_line(title),
            about=[on_one_line(line) for line in (*about, *([f"Paths are below {folder}"] if folder else []))],
            rows=[
                {
                    "query": None if row.query is None else _tile(row.query, next(thumbnails), folder),
                    "hits": [_tile(hit, next(thumbnails), folder) for hit in row.hits],
                    "more": _more(len(whole.hits) - len(row.hits)),
                    "note": on_one_line(row.note),
                    "heading": on_one_line(row.heading),
                }
                for row, whole in zip(shown, given, strict=False)
            ],
            left_out=_left_out(len(given) - len(shown), len(given)),
            version=__version__,
        )
    )
    write_text(place, text)
    return place


def _bounded(rows: Sequence[SheetRow]) -> Iterator[SheetRow]:
    """The first rows, each cut to its first hits, as far as there may be images."""
    room = MOST_IMAGES
    for row in rows:
        cut = replace(row, hits=tuple(row.hits[:MOST_HITS]))
        room -= len(cut.hits) + (row.query is not None)
        if room < 0:
            return
        yield cut


def _tile(image: SheetImage, source: str | None, folder: str) -> dict[str, Any]:
    detail = on_one_line(image.detail)
    name = Path(image.source).name if isinstance(image.source, str | Path) else ""
    return {
        "source": source,
        "name": on_one_line(name) or "image",
        "caption": on_one_line(image.caption),
        "detail": detail,
        "parts": _parts(detail.removeprefix(folder) if folder else detail),
        "mark": image.mark,
    }


def _parts(detail: str) -> list[str]:
    """Where a line may be broken: a path after each of its folders. Of a long one only the last parts are shown."""
    parts = [f"{part}/" for part in detail.split("/")]
    parts[-1] = parts[-1][:-1]
    shown = len(parts)
    while shown > 2 and len("".join(parts[-shown:])) > LONGEST:
        shown -= 1
    return parts if shown == len(parts) else ["…/", *parts[-shown:]]


def _common_folder(details: Sequence[str]) -> str:
    """The folder, a slash behind it, in which all details lie that are absolute paths; empty where there is none."""
    folders = {os.path.dirname(detail) for detail in details if detail.startswith("/")}
    common = os.path.commonpath(folders) if folders else "/"
    return "" if common == "/" else f"{common}/"


def _more(number: int) -> str:
    return f"and {count(number)} more" if number else ""


def _left_out(number: int, of: int) -> str:
    return f"{count(number)} of {plural(of, 'row')} are not shown: a page of all images could not be opened." * (
        number > 0
    )


@cache
def _environment() -> Environment:
    """Templates that escape every value, and refuse names they do not know."""
    environment = Environment(
        loader=PackageLoader("triune.serving", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    styles = (files("triune.report") / "assets" / "report.css", files("triune.serving") / "templates" / "sheet.css")
    environment.globals["css"] = Markup("".join(style.read_text(encoding="utf-8") for style in styles))
    return environment
