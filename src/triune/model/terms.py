"""What each head costs by itself: cross-entropy of classes, of pixels, and the Dice loss of masks."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from triune.arrays import at_least_single
from triune.data.decode import IGNORE
from triune.losses.joined import joined_sum


def classification_loss(
    logits: Tensor, classes: Tensor, label_smoothing: float = 0.0, *, joined: bool = False
) -> Tensor:
    """Mean cross-entropy over the items whose class is known; 0 where none is.

    Args:
        logits: ``(B, C)``.
        classes: ``(B,)`` int64, -1 where missing.
        label_smoothing: ε: the target is 1 − ε for the item's class, and ε / C more for each of all C.
        joined: the mean is over the items of all processes.
    """
    known = classes >= 0
    losses = cross_entropy(
        at_least_single(logits), classes.where(known, -100), reduction="sum", label_smoothing=label_smoothing
    )
    return _mean(losses, known, joined)


def segmentation_loss(logits: Tensor, masks: Tensor, dice: float = 0.0, *, joined: bool = False) -> Tensor:
    """Mean cross-entropy a pixel over the pixels that count, and ``dice`` times the Dice loss; 0 where none counts.

    With one channel it is binary cross-entropy: every id above 0 is foreground.

    Args:
        logits: ``(B, M, H, W)``.
        masks: ``(B, H, W)`` int64 ids; 255: the pixel does not count.
        dice: weight of :func:`dice_loss`.
        joined: the mean is over the pixels of all processes.
    """
    logits = at_least_single(logits)
    known = masks != IGNORE
    if logits.shape[1] == 1:
        target = (masks > 0).to(logits.dtype).where(known, 0.0)
        losses = binary_cross_entropy_with_logits(logits[:, 0], target, reduction="none")
        loss = _mean(losses.where(known, 0.0).sum(), known, joined)
        probabilities, targets = logits.sigmoid(), target[:, None]
    else:
        loss = _mean(cross_entropy(logits, masks, ignore_index=IGNORE, reduction="sum"), known, joined)
        probabilities = logits.softmax(dim=1)
        targets = one_hot(masks.where(known, 0), logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    return loss + dice * dice_loss(probabilities, targets, known, joined=joined) if dice else loss


def dice_loss(probabilities: Tensor, targets: Tensor, known: Tensor, *, joined: bool = False) -> Tensor:
    """1 - soft Dice coefficient over the batch, mean over the channels that occur (Milletari et al. 2016).

    Args:
        probabilities: ``(B, M, H, W)``, from 0 to 1.
        targets: ``(B, M, H, W)``, 0 or 1.
        known: ``(B, H, W)`` which pixels count.
        joined: the batch is that of all processes.
    """
    weight = known[:, None].to(probabilities.dtype)
    parts = (probabilities * targets * weight, (probabilities + targets) * weight, targets * weight)
    sums = torch.stack([part.sum(dim=(0, 2, 3)) for part in parts])
    if joined:
        sums = joined_sum(sums)
    overlap, size, area = sums[0], sums[1], sums[2]
    present = area > 0
    losses = 1 - (2 * overlap) / size.clamp(min=1e-6)
    return torch.where(present, losses, 0.0).sum() / present.sum().clamp(min=1)


def _mean(total: Tensor, known: Tensor, joined: bool) -> Tensor:
    """A sum of losses over how many there are, here or in all processes; 0 where there are none."""
    count = known.sum()
    if joined:
        both = joined_sum(torch.stack([total, count.to(total.dtype)]))
        total, count = both[0], both[1]
    return total / count.clamp(min=1)
