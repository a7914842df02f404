"""Triplet loss as a module that holds its settings; the mathematics is in functional/losses.py."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from triune.functional.distances import Embeddings, Metric, as_embeddings, check_metric, unit
from triune.functional.labels import Labels
from triune.functional.losses import Reduction, TripletOutcome, check_reduction, triplet_loss
from triune.functional.triplets import Gap, Margin, Strategy, check_gap, check_margin, check_strategy


class TripletLoss(nn.Module):
    """max(0, d(a,p) − d(a,n) + margin) over the triplets of a batch, mined or given.

    >>> criterion = TripletLoss(margin=0.2, mining="semihard")
    >>> embeddings, labels = torch.randn(8, 16, requires_grad=True), [0, 0, 1, 1, 2, 2, 3, 3]
    >>> criterion(embeddings, labels).backward()

    Args:
        margin: a number ≥ 0, or ``"soft"``.
        metric: ``"euclidean"``, ``"squared_euclidean"`` or ``"cosine"``.
        mining: ``"all"``, ``"hard"``, ``"batch_hard"``, ``"semihard"`` or ``"random"``.
        reduction: ``"mean_active"``, ``"mean"`` or ``"sum"``.
        normalize: divide every embedding, and reference row, by its length first.
        gap: keep, of the mined triplets, those with low < d(a,n) − d(a,p) ≤ high.

    Raises:
        ValueError: a setting is unknown or out of range.
    """

    def __init__(
        self,
        margin: Margin = 0.2,
        metric: Metric = "euclidean",
        mining: Strategy = "all",
        reduction: Reduction = "mean_active",
        normalize: bool = True,
        gap: Gap | None = None,
    ) -> None:
        super().__init__()
        check_margin(margin)
        check_metric(metric)
        check_strategy(mining)
        check_reduction(reduction)
        check_gap(gap)
        self.margin: Margin = margin
        self.metric: Metric = metric
        self.mining: Strategy = mining
        self.reduction: Reduction = reduction
        self.normalize = normalize
        self.gap = gap

    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        indices: Sequence[Tensor] | None = None,
        reference: Embeddings | None = None,
        reference_labels: Labels | None = None,
        *,
        own_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The scalar loss of embeddings (N, D) with N labels; ``indices`` of any miner replace the mining."""
        return self.outcome(
            embeddings, labels, indices, reference, reference_labels, own_rows=own_rows, generator=generator
        ).loss

    def outcome(
        self,
        embeddings: Embeddings,
        labels: Labels,
        indices: Sequence[Tensor] | None = None,
        reference: Embeddings | None = None,
        reference_labels: Labels | None = None,
        *,
        own_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> TripletOutcome:
        """The loss with its statistics, see :func:`triune.functional.losses.triplet_loss`."""
        x, y = embeddings, reference
        if self.normalize:
            x = unit(as_embeddings(embeddings))
            if reference is not None:
                y = x if reference is embeddings else unit(as_embeddings(reference, "reference"))
        return triplet_loss(
            x, labels, margin=self.margin, metric=self.metric, mining=self.mining, reduction=self.reduction,
            gap=self.gap, indices=indices, reference=y, reference_labels=reference_labels, own_rows=own_rows,
            generator=generator,
        )  # fmt: skip

    def beside(
        self, embeddings: Tensor, codes: Tensor, earlier: Tensor, earlier_codes: Tensor
    ) -> tuple[TripletOutcome, Tensor, Tensor]:
        """The outcome of a batch whose positives and negatives come from itself and from rows of earlier batches.

        Args:
            embeddings: shape (N, D).
            codes: int64 (N,).
            earlier: shape (M, D), of the same type.
            earlier_codes: int64 (M,).

        Returns:
            The outcome, and the whole batch with its codes: what a memory should keep.
        """
        outcome = self.outcome(
            embeddings,
            codes,
            reference=torch.cat([embeddings, earlier]),
            reference_labels=torch.cat([codes, earlier_codes]),
            own_rows=torch.arange(len(embeddings), device=embeddings.device),
        )
        return outcome, embeddings.detach(), codes

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        return (
            f"margin={self.margin!r}, metric={self.metric!r}, mining={self.mining!r}, "
            f"reduction={self.reduction!r}, normalize={self.normalize}, gap={self.gap}"
        )
