"""Numbers of a grid at another size, between the grid's points, as torch interpolates them; without torch."""

from typing import Final

import numpy as np

from triune.data.decode import Array
from triune.data.preprocessing import Placement

BAND: Final = 256
"""Rows of a mask that are interpolated at a time."""


def bilinear(plane: Array, size: tuple[int, int], rows: slice = slice(None)) -> Array:
    """A plane ``(h, w)`` float32 at another height and width.

    What ``torch.nn.functional.interpolate`` does with ``mode="bilinear", align_corners=False``, in its order of
    operations. Of a pixel whose middle lies between the middles of four of the plane, the mean of these weighed by
    nearness; beyond the outermost middles, what is at the edge.

    Args:
        plane: float32.
        size: height and width of what comes out.
        rows: those of them that are wanted; all where not given.
    """
    (top, bottom, down), (left, right, across) = (_places(*each) for each in zip(plane.shape, size, strict=True))
    top, bottom, down = top[rows], bottom[rows], down[rows]
    first = int(top[0]) if len(top) else 0
    part = plane[first : int(bottom[-1]) + 1 if len(bottom) else 0]
    wide = (1 - across) * part[:, left] + across * part[:, right]
    found: Array = (1 - down)[:, None] * wide[top - first] + down[:, None] * wide[bottom - first]
    return found


def _places(own: int, other: int) -> tuple[Array, Array, Array]:
    """The two neighbours of each of ``other`` places among ``own``, and the weight of the second, in float32."""
    places = np.float32(own / other) * (np.arange(other, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
    places = np.maximum(places, np.float32(0))
    first = np.minimum(places.astype(np.int64), own - 1)
    return first, np.minimum(first + 1, own - 1), np.clip(places - first.astype(np.float32), 0, 1)


def ids_in_size(logits: Array, size: tuple[int, int]) -> Array:
    """Mask ids ``(h, w)`` uint8 of another size: one channel is cut at 0, of several the largest counts.

    Args:
        logits: ``(M, H, W)`` float32.
        size: height and width that come out. In memory: the ids, and :data:`BAND` rows of M planes.
    """
    ids = np.empty(size, np.uint8)
    for start in range(0, size[0], BAND):
        rows = slice(start, start + BAND)
        ids[rows] = ids_of(np.stack([bilinear(each, size, rows) for each in logits]))
    return ids


def ids_of(logits: Array) -> Array:
    """Mask ids ``(h, w)`` uint8: one channel is cut at 0, of several the largest counts, of equal ones the first.

    Args:
        logits: ``(M, h, w)``.
    """
    if len(logits) == 1:
        above: Array = logits[0] > 0
        return above.astype(np.uint8)
    best: Array = logits[0]
    ids: Array = np.zeros(best.shape, np.uint8)
    for channel in range(1, len(logits)):  # NumPy's argmax over planes takes several times as long
        ids[logits[channel] > best] = channel
        best = np.maximum(best, logits[channel])
    return ids


def of_resized(logits: Array, placed: Placement) -> Array:
    """What a network says of a frame, laid on the resized image.

    It is cut where the image was filled, and continued by what stands at the edge where the image was cropped.

    Args:
        logits: ``(M, H, W)`` of the frame.
        placed: where the image lies in it.

    Returns:
        ``(M, h, w)``, as large as the resized image.
    """
    if placed.fills:
        return logits
    (high, wide), top, left, (height, width) = placed
    inner = logits[:, max(0, top) : min(height, top + high), max(0, left) : min(width, left + wide)]
    beyond = ((0, 0), (max(0, -top), max(0, top + high - height)), (max(0, -left), max(0, left + wide - width)))
    return np.pad(inner, beyond, mode="edge")
