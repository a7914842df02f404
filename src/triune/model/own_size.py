"""The mask of an image in the image's own size, from what the network said of the part that it saw."""

from torch import Tensor
from torch.nn.functional import pad

from triune.data.boxes import Box
from triune.data.decode import Array
from triune.data.laid_back import laid_back
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
    ids = masks_in_size(of_resized(logits, seen.placed(part)), part)[0].cpu().numpy()
    return laid_back(ids, seen, size, box)


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
