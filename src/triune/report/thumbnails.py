"""Images made small and put into the page itself, as data URIs: single ones, one sheet of many, masks laid over."""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from triune.data.boxes import Box
from triune.data.decode import IGNORE, decode_image, read_mask, upright_size
from triune.data.reading import AS_IT_IS, Reading

Array = np.ndarray[Any, Any]


SIDE = 144


TINTS = ((0, 168, 132), (230, 159, 0), (64, 150, 240), (214, 110, 168), (160, 120, 240), (220, 90, 60))


class Sheet(NamedTuple):
    """Many thumbnails in one picture, row by row.

    Args:
        source: the picture, a data URI.
        columns: thumbnails in a row.
        side: pixels of a thumbnail's side.
    """

    source: str
    columns: int
    side: int


def thumbnail(source: str | Path | Image.Image, side: int = SIDE, box: Box | None = None) -> str | None:
    """An image within ``side`` × ``side`` pixels, its shape kept; ``None`` where it cannot be read.

    Args:
        source: the file, or an image.
        side: the longer side in pixels.
        box: the part that is shown; all of it where not given.
    """
    image = _image(source, 2 * side, box)
    return None if image is None else _encoded(image.resize(_fitted(image.size, side), _filter(image.size, side)))


def overlay(
    path: str | Path, mask: str | Path, side: int = SIDE, reading: Reading = AS_IT_IS, box: Box | None = None
) -> str | None:
    """An image with its mask laid over it, as a data URI: each id in its own tint, with an edge of full colour.

    Args:
        path: the image.
        mask: the file of mask ids; pixels of 0 (background) and 255 (ignored) stay as they are.
        side: the longer side in pixels.
        reading: says which pixel values of the mask stand for which ids.
        box: the part of both that is shown; all where not given.

    Returns:
        ``None`` where one of the files cannot be read.
    """
    image, ids = _image(path, box=box), _ids(mask, reading, box)
    if image is None or ids is None:
        return None
    size = _fitted(image.size, side)
    pixels = np.asarray(image.resize(size, _filter(image.size, side)), dtype=np.float32)
    places = np.asarray(ids.resize(size, Image.Resampling.NEAREST))
    painted = pixels.copy()
    for mask_id in np.unique(places[(places > 0) & (places < IGNORE)]).tolist():
        tint = np.asarray(TINTS[(mask_id - 1) % len(TINTS)], dtype=np.float32)
        inside = places == mask_id
        edge = inside & ~_shrunk(inside)
        painted[inside] = 0.6 * pixels[inside] + 0.4 * tint
        painted[edge] = tint
    return _encoded(Image.fromarray(painted.astype(np.uint8)))


def mask_overlap(true: str | Path, predicted: str | Path, reading: Reading = AS_IT_IS) -> float | None:
    """Intersection over union of everything that is not background, where both are known, at the predicted mask's size.

    Args:
        true: the file of the true mask.
        predicted: that of the predicted one, whose pixels are ids.
        reading: says which pixel values of the true mask stand for which ids.
    """
    left, right = _ids(true, reading), _ids(predicted, AS_IT_IS)
    if left is None or right is None:
        return None
    known = np.asarray(left.resize(right.size, Image.Resampling.NEAREST))
    a, b = known > 0, np.asarray(right) > 0
    valid = (known != IGNORE) & (np.asarray(right) != IGNORE)
    either = int(((a | b) & valid).sum())
    return int((a & b & valid).sum()) / either if either else None


def sheet(paths: Sequence[str], side: int = 48, boxes: Sequence[Box | None] | None = None) -> Sheet | None:
    """All images on one sheet, in order, unreadable ones blank; ``None`` where none can be read.

    Args:
        paths: the files.
        side: of a thumbnail, in pixels.
        boxes: the part of each that is shown; all of them where not given.
    """
    columns = max(1, math.ceil(math.sqrt(len(paths))))
    canvas = Image.new("RGB", (columns * side, max(1, math.ceil(len(paths) / columns)) * side), (128, 128, 128))
    found = False
    for place, path in enumerate(paths):
        image = _image(path, box=None if boxes is None else boxes[place])
        if image is not None:
            found = True
            size = _fitted(image.size, side)
            left, top = place % columns * side + (side - size[0]) // 2, place // columns * side + (side - size[1]) // 2
            canvas.paste(image.resize(size, _filter(image.size, side)), (left, top))
    return Sheet(_encoded(canvas, quality=72), columns, side) if found else None


def _image(source: str | Path | Image.Image, enough: int | None = None, box: Box | None = None) -> Image.Image | None:
    """An image; one of a file that is far larger than ``enough`` pixels a side may come smaller, which is quicker."""
    try:
        size = None
        if enough is not None and box is None and not isinstance(source, Image.Image):
            own = upright_size(source)
            size = _fitted(own, enough) if max(own) >= 4 * enough else None
        return Image.fromarray(decode_image(source, 3, size, box=box).pixels)
    except (OSError, ValueError):
        return None


def _ids(path: str | Path, reading: Reading, box: Box | None = None) -> Image.Image | None:
    try:
        return Image.fromarray(read_mask(path, reading=reading, box=box))
    except (OSError, ValueError):
        return None


def _fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _filter(size: tuple[int, int], side: int) -> Image.Resampling:
    """Smooth when made smaller; square pixels when a tiny image is blown up, for that is what the network saw."""
    return Image.Resampling.BICUBIC if max(size) * 2 > side else Image.Resampling.NEAREST


def _shrunk(inside: Array) -> Array:
    """The places whose four neighbours lie inside too."""
    wide = np.pad(inside, 1, constant_values=False)
    shrunk: Array = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return shrunk


def _encoded(image: Image.Image, quality: int = 84) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
