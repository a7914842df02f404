"""What was found, or who it is, as a contact sheet: queries on the left, images of the gallery on the right."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from triune.serving.gallery.hits import Hit, Hits
from triune.serving.gallery.identified import UNKNOWN, Identification
from triune.serving.sheets import SheetImage, SheetRow, write_sheet

if TYPE_CHECKING:
    from triune.serving.gallery.gallery import Gallery


def write_found(
    path: Path,
    title: str,
    found: Sequence[Hits],
    gallery: "Gallery",
    about: Sequence[str] = (),
    above: Sequence[SheetRow] = (),
) -> Path:
    """Write a sheet of what was found; a hit whose file is gone is shown by the gallery's own small picture.

    Args:
        path: the file, which ends in ``.html``.
        title: of the page.
        found: a row each.
        gallery: where it was found.
        about: lines below the title.
        above: rows that come first.

    Raises:
        InputError: ``path`` has another suffix.
    """
    sources = _sources([hit.image for each in found for hit in each.hits], gallery)

    def shown(hit: Hit) -> SheetImage:
        words = [word for word in dict.fromkeys((hit.label, hit.identity)) if word is not None]
        return SheetImage(sources[hit.image], "  ".join([*words, f"{hit.score:.3f}"]), hit.image)

    rows = list(above)
    for each in found:
        query = SheetImage(each.query, "query", each.query) if os.path.exists(each.query) else None
        note = "" if query is not None else each.query
        rows.append(SheetRow(query, [shown(hit) for hit in each.hits], note=note))
    return write_sheet(path, title, rows, about=about)


def taste_row(liked: Sequence[str], disliked: Sequence[str], gallery: "Gallery") -> SheetRow:
    """What is liked, with a tick, and what is not, with a cross.

    Args:
        liked: paths.
        disliked: paths.
        gallery: shows those whose files are gone.
    """
    sources = _sources([*liked, *disliked], gallery)
    ticks = [SheetImage(sources[each], "liked", each, "good") for each in liked]
    crosses = [SheetImage(sources[each], "disliked", each, "bad") for each in disliked]
    return SheetRow(None, [*ticks, *crosses], note="looked for")


def write_identified(path: Path, found: Sequence[Identification], gallery: "Gallery", about: Sequence[str]) -> Path:
    """Write a sheet of who is on each image: on the right the closest image of the best identity and of the runner-up.

    Args:
        path: the file, which ends in ``.html``.
        found: a row each; one that is named has a tick.
        gallery: where they are enrolled.
        about: lines below the title.

    Raises:
        InputError: ``path`` has another suffix.
    """
    sources = _sources([one.image for each in found for one in each.candidates], gallery)
    rows = []
    for each in found:
        who = UNKNOWN if each.identity is None else each.identity
        query = SheetImage(each.query, who, each.query) if os.path.exists(each.query) else None
        hits = [
            SheetImage(
                sources[one.image],
                f"{one.identity}  {one.score:.3f}",
                one.image,
                "good" if one.identity == each.identity else "plain",
            )
            for one in each.candidates
        ]
        rows.append(
            SheetRow(query, hits, note="" if query is not None else f"{each.query}: {each.identity or UNKNOWN}")
        )
    return write_sheet(path, "Who it is", rows, about=about)


def _sources(images: Sequence[str], gallery: "Gallery") -> dict[str, str | Image.Image]:
    """Each image's path; of those whose file is gone, the gallery's own small picture as far as it has one."""
    gone = {image for image in images if not os.path.exists(image)}
    small = gallery.thumbnails(sorted(gone)) if gone else {}
    return {image: Image.open(io.BytesIO(small[image])) if image in small else image for image in images}
