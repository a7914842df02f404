"""What a network says of each pixel that it saw, laid back into the whole image."""

import numpy as np

from triune.data.boxes import Box
from triune.data.decode import IGNORE, Array
from triune.data.preprocessing import Preprocessing


def laid_back(ids: Array, seen: Preprocessing, size: tuple[int, int], box: Box | None = None) -> Array:
    """Mask ids ``(h, w)`` uint8 of a whole image: what was cropped, and what lies outside of a box, is 255.

    Args:
        ids: as large as the image, or as the box.
        seen: how the image was prepared.
        size: height and width of the whole image.
        box: the part of it that was looked at; all of it where not given.
    """
    part = size if box is None else box.size
    placed = seen.placed(part)
    firsts = (placed.top, placed.left)
    unseen = [~_seen(*each) for each in zip(part, placed.resized, firsts, placed.frame, strict=True)]
    if any(each.any() for each in unseen):
        ids = ids.copy()
        ids[unseen[0], :] = IGNORE
        ids[:, unseen[1]] = IGNORE
    return ids if box is None else in_box(ids, size, box)


def in_box(ids: Array, size: tuple[int, int], box: Box) -> Array:
    """Mask ids of a box in those of the whole image; 255 around it.

    Args:
        ids: ``(h, w)`` uint8, as large as the box.
        size: height and width of the whole image.
        box: where they lie.
    """
    whole: Array = np.full(size, IGNORE, np.uint8)
    whole[box.place] = ids
    return whole


def _seen(own: int, resized: int, first: int, frame: int) -> Array:
    """Which pixels of an image's side have their middle in the frame: ``(own,)`` bool."""
    places = (np.arange(own) + 0.5) * resized / own + first
    inside: Array = (places >= 0) & (places < frame)
    return inside
