"""The loss: alpha * classification + beta * segmentation + gamma * triplet, whatever targets an item has."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from triune.losses.memory import CrossBatchMemory
from triune.losses.outcome import TripletOutcome
from triune.losses.triplet import TripletLoss
from triune.model.heads import single
from triune.model.network import Prediction
from triune.model.terms import classification_loss, segmentation_loss
from triune.model.weighting import TERMS, Weighting, check_weighting, gradient_norm, weighted_terms


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
        classification: mean over the items with a class.
        segmentation: mean over the pixels that count.
        triplet: the metric term, of the items with an identity.
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
        alpha: weight of ℓ_cls.
        beta: weight of ℓ_seg.
        gamma: weight of ℓ_triplet.
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
        weighting: Weighting = "fixed",
        *,
        dice: float = 0.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        check_weighting(weighting, alpha=alpha, beta=beta, gamma=gamma, dice=dice)
        self.weights = dict(zip(TERMS, (alpha, beta, gamma), strict=True))
        self.triplet = triplet if triplet is not None else TripletLoss()
        self.dice = dice
        self.label_smoothing = label_smoothing
        self.log_variances = nn.Parameter(torch.zeros(len(TERMS))) if weighting == "uncertainty" else None

    def forward(self, prediction: Prediction, targets: Targets) -> LossTerms:
        """The loss of one batch; every term is computed in float32, or float64 where the answers are."""
        zero = _zero(prediction)
        classification = segmentation = triplet = zero
        outcome = None
        weights = self.weights
        if weights["classification"] and prediction.class_logits is not None and targets.classes is not None:
            classification = classification_loss(prediction.class_logits, targets.classes, self.label_smoothing)
        if weights["segmentation"] and prediction.mask_logits is not None and targets.masks is not None:
            segmentation = segmentation_loss(prediction.mask_logits, targets.masks, self.dice)
        if weights["triplet"] and prediction.embedding is not None and targets.identities is not None:
            triplet, outcome = self._triplet(single(prediction.embedding), targets.identities)
        terms = LossTerms(zero, classification, segmentation, triplet, outcome)
        return terms._replace(total=zero + sum(self.weighted(terms).values()))

    def weighted(self, terms: LossTerms) -> dict[str, Tensor]:
        """What each term adds to the total, by name; a term whose weight is 0 is left out."""
        return weighted_terms({name: getattr(terms, name) for name in TERMS}, self.weights, self.log_variances)

    def _triplet(self, embedding: Tensor, identities: Tensor) -> tuple[Tensor, TripletOutcome | None]:
        """The metric term of the items with an identity, and the outcome of a triplet loss."""
        known = identities >= 0
        embedding, identities = embedding[known], identities[known]
        held = self.triplet.criterion if isinstance(self.triplet, CrossBatchMemory) else self.triplet
        if isinstance(self.triplet, TripletLoss | CrossBatchMemory) and isinstance(held, TripletLoss):
            outcome = self.triplet.outcome(embedding, identities)
            return outcome.loss, outcome
        loss: Tensor = self.triplet(embedding, identities)
        return loss, None


def gradient_norms(
    objective: MultiTaskObjective, terms: LossTerms, parameters: Sequence[nn.Parameter]
) -> dict[str, float]:
    """How much each weighted term moves shared parameters: the norm of its gradient, by name; 0 for a weight of 0.

    A term's share of the loss is not its share of the gradient; this tells the latter. Costs one backward pass a
    term; the graph is kept.

    Args:
        objective: whose weights are used.
        terms: of a batch, with their graph.
        parameters: those that all terms share, such as :meth:`MultiTaskModel.shared_parameters`.
    """
    weighted = objective.weighted(terms)
    return {name: gradient_norm(weighted[name], parameters) if name in weighted else 0.0 for name in TERMS}


def _zero(prediction: Prediction) -> Tensor:
    """A zero that hangs on the graph of every head, so that a batch without any target still has a backward pass."""
    parts = [part.flatten()[:0].sum() for part in prediction if part is not None]
    return torch.stack([single(part) for part in parts]).sum()
