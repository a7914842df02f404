"""Numbers of a grid at another size, between the grid's points, as torch interpolates them; without torch."""

import numpy as np

from triune.data.decode import Array
from triune.data.preprocessing import Placement


def bilinear(plane: Array, size: tuple[int, int]) -> Array:
    """A plane ``(h, w)`` float32 at another height and width.

    What ``torch.nn.functional.interpolate`` does with ``mode="bilinear", align_corners=False``, in its order of
    operations. Of a pixel whose middle lies between the middles of four of the plane, the mean of these weighed by
    nearness; beyond the outermost middles, what is at the edge.

    Args:
        plane: float32.
        size: height and width that come out.
    """
    (top, bottom, down), (left, right, across) = (_places(*each) for each in zip(plane.shape, size, strict=True))
    rows = (1 - across) * plane[:, left] + across * plane[:, right]
    found: Array = (1 - down)[:, None] * rows[top] + down[:, None] * rows[bottom]
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
        size: height and width that come out. In memory: two planes of that size, whatever M.
    """
    best = bilinear(logits[0], size)
    if len(logits) == 1:
        return (best > 0).astype(np.uint8)
    ids = np.zeros(size, np.uint8)
    for channel in range(1, len(logits)):
        other = bilinear(logits[channel], size)
        ids[other > best] = channel
        np.maximum(best, other, out=best)
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
