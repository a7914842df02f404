"""The loss: alpha * classification + beta * segmentation + gamma * triplet, whatever targets an item has."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from triune.arrays import at_least_single
from triune.losses.joined import JoinedLoss
from triune.losses.memory import CrossBatchMemory
from triune.losses.outcome import TripletOutcome
from triune.losses.triplet import TripletLoss
from triune.model.conflicts import Reduce, SharedAndRest, same
from triune.model.network import MultiTaskModel, Prediction
from triune.model.terms import classification_loss, segmentation_loss
from triune.model.weighting import TERMS, Weighting, balance_of, check_weighting, gradient_norm, weighted_terms


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
        weighting: ``fixed``; ``uncertainty``: each term is further weighted by exp(-s) and s is added, with a learnt s
            a term (Kendall, Gal and Cipolla 2018); or one that needs :meth:`loss` at every step and, for ``dwa``,
            :meth:`end_epoch`: ``dwa``, ``gradnorm``, ``upgrad``, ``pcgrad``, ``cagrad``, ``mgda``, ``nash-mtl``.
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
        self.balance = balance_of(weighting, [name for name in TERMS if self.weights[name]])
        self.log_variances = nn.Parameter(torch.zeros(len(TERMS))) if weighting == "uncertainty" else None

    def forward(self, prediction: Prediction, targets: Targets) -> LossTerms:
        """The loss of one batch, in float32 at least; while training, of the joined batch of all processes."""
        zero, joined = _zero(prediction), self.training
        classification = segmentation = triplet = zero
        outcome = None
        weights = self.weights
        if weights["classification"] and prediction.class_logits is not None and targets.classes is not None:
            classification = classification_loss(
                prediction.class_logits, targets.classes, self.label_smoothing, joined=joined
            )
        if weights["segmentation"] and prediction.mask_logits is not None and targets.masks is not None:
            segmentation = segmentation_loss(prediction.mask_logits, targets.masks, self.dice, joined=joined)
        if weights["triplet"] and prediction.embedding is not None and targets.identities is not None:
            triplet, outcome = self._triplet(at_least_single(prediction.embedding), targets.identities)
        terms = LossTerms(zero, classification, segmentation, triplet, outcome)
        return terms._replace(total=zero + sum(self.weighted(terms).values()))

    def weighted(self, terms: LossTerms) -> dict[str, Tensor]:
        """What each term adds to the total, by name; a term whose weight is 0 is left out."""
        weights = self.weights
        if self.balance is not None:
            factors = self.balance.factors
            weights = {name: weight * factors.get(name, 1.0) for name, weight in weights.items()}
        return weighted_terms({name: getattr(terms, name) for name in TERMS}, weights, self.log_variances)

    def loss(self, terms: LossTerms, model: MultiTaskModel, reduce: Reduce = same) -> Tensor:
        """What a training step's backward pass begins with: the total, or one that hands out aggregated gradients.

        Weightings that change take notice of the step.

        Args:
            terms: of the step's batch, with their graph.
            model: the network, whose backbone's weights the tasks share.
            reduce: takes the mean of a tensor over all processes.

        Raises:
            InputError: gradients are to be weighed, and the terms do not reach the backbone.
        """
        if self.balance is None:
            return terms.total
        shared = [each for each in model.shared_parameters() if each.requires_grad]
        known = set(map(id, shared))
        rest = [each for part in (model, self) for each in part.parameters() if each.requires_grad]
        plain = weighted_terms({name: getattr(terms, name) for name in TERMS}, self.weights)
        heads = [each for each in rest if id(each) not in known]
        return self.balance.loss(terms.total, plain, SharedAndRest(shared, heads), reduce)

    def end_epoch(self) -> None:
        """Let the weighting know that an epoch of training is over."""
        if self.balance is not None:
            self.balance.end_epoch()

    def weights_now(self) -> dict[str, float]:
        """The weight of each task beside alpha, beta and gamma, by name; nothing where these are all."""
        if self.log_variances is not None:
            factors = dict(zip(TERMS, torch.exp(-self.log_variances.detach()).tolist(), strict=True))
            return {name: factor for name, factor in factors.items() if self.weights[name]}
        return {} if self.balance is None else self.balance.shown

    def _triplet(self, embedding: Tensor, identities: Tensor) -> tuple[Tensor, TripletOutcome | None]:
        """The metric term of the items with an identity, and the outcome of a triplet loss."""
        known = identities >= 0
        embedding, identities = embedding[known], identities[known]
        held = self.triplet.criterion if isinstance(self.triplet, CrossBatchMemory) else self.triplet
        if isinstance(self.triplet, TripletLoss | CrossBatchMemory) and isinstance(held, TripletLoss):
            outcome = self.triplet.outcome(embedding, identities)
            return outcome.loss, outcome
        joins = isinstance(self.triplet, JoinedLoss | CrossBatchMemory) or not self.training
        # Not kept, so that what the loss learns itself, such as proxies, has the names that checkpoints know.
        criterion = self.triplet if joins else JoinedLoss(self.triplet)
        loss: Tensor = criterion(embedding, identities)
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
    return torch.stack([at_least_single(part) for part in parts]).sum()
