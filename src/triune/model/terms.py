"""What each head costs by itself: cross-entropy of classes, of pixels, and the Dice loss of masks."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from triune.data.decode import IGNORE
from triune.model.heads import single


def classification_loss(logits: Tensor, classes: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy over the items whose class is known; 0 where none is.

    Args:
        logits: ``(B, C)``.
        classes: ``(B,)`` int64, -1 where missing.
        label_smoothing: ε: the target is 1 − ε for the item's class, and ε / C more for each of all C.
    """
    known = classes >= 0
    losses = cross_entropy(single(logits), classes.where(known, -100), reduction="sum", label_smoothing=label_smoothing)
    return losses / known.sum().clamp(min=1)


def segmentation_loss(logits: Tensor, masks: Tensor, dice: float = 0.0) -> Tensor:
    """Mean cross-entropy a pixel over the pixels that count, and ``dice`` times the Dice loss; 0 where none counts.

    With one channel it is binary cross-entropy: every id above 0 is foreground.

    Args:
        logits: ``(B, M, H, W)``.
        masks: ``(B, H, W)`` int64 ids; 255: the pixel does not count.
        dice: weight of :func:`dice_loss`.
    """
    logits = single(logits)
    known = masks != IGNORE
    if logits.shape[1] == 1:
        target = (masks > 0).float().where(known, 0.0)
        losses = binary_cross_entropy_with_logits(logits[:, 0], target, reduction="none")
        loss = losses.where(known, 0.0).sum() / known.sum().clamp(min=1)
        probabilities, targets = logits.sigmoid(), target[:, None]
    else:
        loss = cross_entropy(logits, masks, ignore_index=IGNORE, reduction="sum") / known.sum().clamp(min=1)
        probabilities = logits.softmax(dim=1)
        targets = one_hot(masks.where(known, 0), logits.shape[1]).movedim(-1, 1).float()
    return loss + dice * dice_loss(probabilities, targets, known) if dice else loss


def dice_loss(probabilities: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """1 - soft Dice coefficient over the batch, mean over the channels that occur (Milletari et al. 2016).

    Args:
        probabilities: ``(B, M, H, W)``, from 0 to 1.
        targets: ``(B, M, H, W)``, 0 or 1.
        known: ``(B, H, W)`` which pixels count.
    """
    weight = known[:, None].float()
    overlap = (probabilities * targets * weight).sum(dim=(0, 2, 3))
    size = ((probabilities + targets) * weight).sum(dim=(0, 2, 3))
    present = (targets * weight).sum(dim=(0, 2, 3)) > 0
    losses = 1 - (2 * overlap) / size.clamp(min=1e-6)
    return torch.where(present, losses, 0.0).sum() / present.sum().clamp(min=1)
