"""What was found, as a contact sheet: queries on the left, hits on the right."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from triune.serving.gallery.hits import Hit, Hits
from triune.serving.sheets import SheetImage, SheetRow, write_sheet

if TYPE_CHECKING:
    from triune.serving.gallery.gallery import Gallery


def write_found(path: Path, title: str, found: Sequence[Hits], gallery: "Gallery", about: Sequence[str] = ()) -> Path:
    """Write a sheet of what was found; a hit whose file is gone is shown by the gallery's own small picture.

    Args:
        path: the file, which ends in ``.html``.
        title: of the page.
        found: a row each.
        gallery: where it was found.
        about: lines below the title.

    Raises:
        InputError: ``path`` has another suffix.
    """
    gone = {hit.image for each in found for hit in each.hits if not os.path.exists(hit.image)}
    small = gallery.thumbnails(sorted(gone)) if gone else {}

    def shown(hit: Hit) -> SheetImage:
        source = Image.open(io.BytesIO(small[hit.image])) if hit.image in small else hit.image
        words = [word for word in dict.fromkeys((hit.label, hit.identity)) if word is not None]
        return SheetImage(source, "  ".join([*words, f"{hit.score:.3f}"]), hit.image)

    rows = []
    for each in found:
        query = SheetImage(each.query, "query", each.query) if os.path.exists(each.query) else None
        note = "" if query is not None else each.query
        rows.append(SheetRow(query, [shown(hit) for hit in each.hits], note=note))
    return write_sheet(path, title, rows, about=about)
