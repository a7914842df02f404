"""The mask of an image in the image's own size, from what the network said of the part that it saw."""

import numpy as np
from torch import Tensor
from torch.nn.functional import pad

from triune.data.boxes import Box
from triune.data.decode import IGNORE, Array
from triune.data.preprocessing import Placement, Preprocessing
from triune.model.network import masks_in_size


def mask_of_image(logits: Tensor, seen: Preprocessing, size: tuple[int, int], box: Box | None = None) -> Array:
    """Mask ids ``(h, w)`` uint8 of an image in its own size; 255 where the network did not see it.

    What was filled is taken away; what was cropped, and what lies outside of a box, is 255: nothing is known of it.

    Args:
        logits: ``(1, M, H, W)`` of what the network saw.
        seen: how the image was prepared.
        size: height and width of the whole image.
        box: the part of it that was looked at; all of it where not given.
    """
    part = size if box is None else box.size
    placed = seen.placed(part)
    ids = masks_in_size(of_resized(logits, placed), part)[0].cpu().numpy()
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


def of_resized(logits: Tensor, placed: Placement) -> Tensor:
    """What a network says of a frame, laid on the resized image.

    It is cut where the image was filled, and continued by what stands at the edge where the image was cropped.

    Args:
        logits: ``(B, M, H, W)`` of the frame.
        placed: where the image lies in it.

    Returns:
        ``(B, M, h, w)``, as large as the resized image.
    """
    if placed.fills:
        return logits
    (high, wide), top, left, (height, width) = placed
    inner = logits[..., max(0, top) : min(height, top + high), max(0, left) : min(width, left + wide)]
    beyond = [max(0, -left), max(0, left + wide - width), max(0, -top), max(0, top + high - height)]
    return pad(inner, beyond, mode="replicate") if any(beyond) else inner


def _seen(own: int, resized: int, first: int, frame: int) -> Array:
    """Which pixels of an image's side have their middle in the frame: ``(own,)`` bool."""
    places = (np.arange(own) + 0.5) * resized / own + first
    inside: Array = (places >= 0) & (places < frame)
    return inside
