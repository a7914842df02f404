"""The loss: alpha * classification + beta * segmentation + gamma * triplet, whatever targets an item has."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from triune.losses.memory import CrossBatchMemory
from triune.losses.outcome import TripletOutcome
from triune.losses.triplet import TripletLoss
from triune.model.network import Prediction

IGNORE = 255


class Targets(NamedTuple):
    """What is known of B images; ``None`` where nothing is.

    Args:
        classes: ``(B,)`` int64, -1 where missing.
        masks: ``(B, H, W)`` int64 ids, 255 where a pixel is to be ignored or the mask is missing.
        identities: ``(B,)`` int64, -1 where missing.
    """

    classes: Tensor | None
    masks: Tensor | None
    identities: Tensor | None


class LossTerms(NamedTuple):
    """The total and its three terms, unweighted scalars; a term that has nothing to learn from is 0.

    Args:
        total: what is minimised.
        classification, segmentation, triplet: the terms.
        outcome: of the triplets, for the log; ``None`` without them.
    """

    total: Tensor
    classification: Tensor
    segmentation: Tensor
    triplet: Tensor
    outcome: TripletOutcome | None


class MultiTaskObjective(nn.Module):
    """ℓ = α·ℓ_cls + β·ℓ_seg + γ·ℓ_triplet.

    ℓ_cls is cross-entropy over the items with a class; ℓ_seg binary cross-entropy for one mask channel and
    cross-entropy over channels for several, over the pixels that are not ignored; ℓ_triplet the metric term over the
    items with an identity. A term whose weight is 0 is not computed.

    Args:
        alpha, beta, gamma: the weights.
        triplet: a :class:`TripletLoss`, or any criterion called as ``criterion(embeddings, labels)``.
        weighting: ``fixed``; or ``uncertainty``: each term is further weighted by exp(-s) and s is added, with a
            learnt s a term (Kendall, Gal and Cipolla 2018).
        dice: weight of a soft Dice loss added to ℓ_seg.
        label_smoothing: of ℓ_cls.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        triplet: nn.Module | None = None,
        weighting: Literal["fixed", "uncertainty"] = "fixed",
        *,
        dice: float = 0.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        for name, weight in {"alpha": alpha, "beta": beta, "gamma": gamma, "dice": dice}.items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"{name} is {weight}: a weight is a finite number, at least 0")
        if weighting not in ("fixed", "uncertainty"):
            raise ValueError(f"weighting is {weighting!r}: it is 'fixed' or 'uncertainty'")
        self.weights = (alpha, beta, gamma)
        self.triplet = triplet if triplet is not None else TripletLoss()
        self.dice = dice
        self.label_smoothing = label_smoothing
        self.log_variances = nn.Parameter(torch.zeros(3)) if weighting == "uncertainty" else None

    def forward(self, prediction: Prediction, targets: Targets) -> LossTerms:
        """The loss of one batch; every term is computed in float32."""
        zero = _zero(prediction)
        classification = segmentation = triplet = zero
        outcome = None
        alpha, beta, gamma = self.weights
        if alpha and prediction.class_logits is not None and targets.classes is not None:
            classification = classification_loss(prediction.class_logits, targets.classes, self.label_smoothing)
        if beta and prediction.mask_logits is not None and targets.masks is not None:
            segmentation = segmentation_loss(prediction.mask_logits, targets.masks, self.dice)
        if gamma and prediction.embedding is not None and targets.identities is not None:
            triplet, outcome = self._triplet(prediction.embedding.float(), targets.identities)
        terms = (classification, segmentation, triplet)
        total = zero + sum(self.weighted(terms))
        return LossTerms(total, *terms, outcome)

    def weighted(self, terms: Sequence[Tensor]) -> list[Tensor]:
        """The three terms times their weights; a weight of 0 leaves its term out."""
        kept = [(i, w, t) for i, (w, t) in enumerate(zip(self.weights, terms, strict=True)) if w]
        if self.log_variances is None:
            return [weight * term for _, weight, term in kept]
        s = self.log_variances
        return [weight * (torch.exp(-s[i]) * term + s[i]) for i, weight, term in kept]

    def _triplet(self, embedding: Tensor, identities: Tensor) -> tuple[Tensor, TripletOutcome | None]:
        known = identities >= 0
        embedding, identities = embedding[known], identities[known]
        if isinstance(self.triplet, TripletLoss | CrossBatchMemory):
            outcome = self.triplet.outcome(embedding, identities)
            return outcome.loss, outcome
        loss: Tensor = self.triplet(embedding, identities)
        return loss, None


def classification_loss(logits: Tensor, classes: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of ``logits (B, C)`` over the items whose class is known (not -1); 0 where none is."""
    known = classes >= 0
    losses = cross_entropy(logits.float(), classes.where(known, -100), reduction="sum", label_smoothing=label_smoothing)
    return losses / known.sum().clamp(min=1)


def segmentation_loss(logits: Tensor, masks: Tensor, dice: float = 0.0) -> Tensor:
    """Mean cross-entropy a pixel of ``logits (B, M, H, W)`` over pixels that are not 255, and ``dice`` times Dice.

    With one channel it is binary cross-entropy: every id above 0 is foreground.
    """
    logits = logits.float()
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
        probabilities, targets: ``(B, M, H, W)``.
        known: ``(B, H, W)`` which pixels count.
    """
    weight = known[:, None].float()
    overlap = (probabilities * targets * weight).sum(dim=(0, 2, 3))
    size = ((probabilities + targets) * weight).sum(dim=(0, 2, 3))
    present = (targets * weight).sum(dim=(0, 2, 3)) > 0
    losses = 1 - (2 * overlap) / size.clamp(min=1e-6)
    return (losses * present).sum() / present.sum().clamp(min=1)


def gradient_norms(
    objective: MultiTaskObjective, terms: LossTerms, parameters: Sequence[nn.Parameter]
) -> dict[str, float]:
    """How hard each weighted term pulls at shared parameters: the norm of its gradient.

    A term's share of the loss is not its share of the gradient; this tells the latter. Costs one backward pass a
    term; the graph is kept.
    """
    names = [name for name, weight in zip(("classification", "segmentation", "triplet"), objective.weights) if weight]
    norms = dict.fromkeys(("classification", "segmentation", "triplet"), 0.0)
    weighted = objective.weighted((terms.classification, terms.segmentation, terms.triplet))
    for name, term in zip(names, weighted, strict=True):
        gradients = torch.autograd.grad(term, list(parameters), retain_graph=True, allow_unused=True)
        squares = [g.float().square().sum() for g in gradients if g is not None]
        norms[name] = float(torch.stack(squares).sum().sqrt()) if squares else 0.0
    return norms


def _zero(prediction: Prediction) -> Any:
    """A zero that hangs on the graph of every head, so that a batch without any target still has a backward pass."""
    parts = [part.flatten()[:0].sum() for part in prediction if part is not None]
    return torch.stack([part.float() for part in parts]).sum()
