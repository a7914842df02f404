"""What triplets cost: hinge and soft margin, over listed triplets or over all of a batch unlisted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.distances.pairwise import paired_distance
from triune.losses.batch import labelled_batch, unit_rows, zero_or_nan
from triune.losses.compared import BatchLabels, left_out
from triune.losses.keywords import PeerNames, by_either_name
from triune.losses.miner import settings_of
from triune.losses.outcome import (
    Reduction,
    TripletOutcome,
    anchor_sums,
    check_reduction,
    cost_of,
    each,
    per_anchor,
    reduce,
    sums_of,
)
from triune.losses.remembered import Remembered
from triune.losses.triplet_settings import Gap, Margin, Strategy, TripletSettings, check_settings
from triune.losses.triplet_sums import triplet_costs, triplet_sums


def triplet_margin_loss(
    anchor: Embeddings,
    positive: Embeddings,
    negative: Embeddings,
    margin: Margin = 0.2,
    metric: Metric = "euclidean",
    reduction: Reduction = "mean",
    *,
    swap: bool = False,
    smooth: bool = False,
) -> Tensor:
    """The loss of T given triplets: max(0, d(a,p) − d(a,n) + margin), or softplus(d(a,p) − d(a,n)).

    >>> anchor, positive, negative = torch.tensor([[0.0]]), torch.tensor([[0.5]]), torch.tensor([[0.6]])
    >>> triplet_margin_loss(anchor, positive, negative, margin=0.2)
    tensor(0.1000)

    Args:
        anchor: shape (T, D); all three carry gradients.
        positive: shape (T, D).
        negative: shape (T, D).
        margin: a number ≥ 0, or ``"soft"``.
        metric: the distance, as in :func:`triune.distances.pairwise.pairwise_distance`.
        reduction: ``"mean"`` over all triplets, ``"mean_active"`` over those with a loss above 0, ``"sum"``, or
            ``"none"`` for the loss of each, shape (T,).
        swap: take d(p,n) for d(a,n) where it is smaller (Balntas et al. 2016).
        smooth: softplus(d(a,p) − d(a,n) + margin) in place of the hinge; ``"soft"`` is this with a margin of 0.

    Returns:
        A scalar; 0 with a graph if there are no (active) triplets. Memory: O(T·D).

    Raises:
        ValueError: the shapes differ or an option is unknown.
    """
    check_settings(TripletSettings(margin, metric, swap=swap, smooth=smooth))
    check_reduction(reduction, ("mean_active", "mean", "sum", "none"))
    d_ap, d_an = paired_distance(anchor, positive, metric), paired_distance(anchor, negative, metric)
    if swap:
        d_an = torch.minimum(d_an, paired_distance(positive, negative, metric))
    if reduction == "none":
        return cost_of(d_ap, d_an, margin, smooth)
    sums = sums_of(d_ap, d_an, margin, smooth=smooth)
    return reduce(sums, reduction).loss.to(torch.promote_types(d_ap.dtype, d_an.dtype))


def triplet_loss(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    margin: Margin = 0.2,
    metric: Metric = "euclidean",
    mining: Strategy = "all",
    reduction: Reduction = "mean_active",
    gap: Gap | None = None,
    swap: bool = False,
    smooth: bool = False,
    indices: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> TripletOutcome:
    """The triplet loss of a batch: mine, then reduce max(0, d(a,p) − d(a,n) + margin) over them.

    ``mining="all"`` costs O(N·M·log K) after one matrix product, K positives an anchor, never the cubic list: for one
    anchor the loss of a negative depends only on its rank among the thresholds d(a,p) + margin. Its soft margin costs
    O(N·M·K). A NaN or infinite embedding makes the loss NaN, whatever was mined
    (:func:`triune.distances.embeddings.check_finite` names the row).

    >>> x = torch.tensor([[0.0], [0.5], [0.6], [5.0]])
    >>> triplet_loss(x, [0, 0, 1, 1], mining="semihard").loss
    tensor(0.1000)

    Args:
        embeddings: shape (N, D); float16 and bfloat16 are computed, and the loss returned, in float32.
        labels: the identity of each embedding, N integers or strings.
        margin: a number ≥ 0, or ``"soft"`` for softplus(d(a,p) − d(a,n)).
        metric: the distance, as in :func:`triune.distances.pairwise.pairwise_distance`.
        mining: which triplets, as in :func:`triune.losses.mining.mine_triplets`.
        reduction: ``"mean_active"`` over triplets with a loss above 0, ``"mean"`` over all mined, ``"sum"``;
            ``"per_anchor"``, the mean over the anchors that have a triplet of the mean over an anchor's triplets; or
            ``"none"``, the loss of each triplet, in the order of :func:`triune.losses.mining.mine_triplets`.
        gap: keep, of the mined triplets, those with low < d(a,n) − d(a,p) ≤ high. ``mining="all"`` with
            gap=(0, margin) takes every semi-hard triplet, with (−inf, 0) every hard one.
        swap: take d(p,n) for d(a,n) where it is smaller (Balntas et al. 2016); mining, and gap, go by d(a,n).
        smooth: softplus(d(a,p) − d(a,n) + margin) in place of the hinge; ``"soft"`` is this with a margin of 0.
        indices: triplets (anchor, positive, negative) of any miner, used instead of mining; or its pairs
            (anchor, positive, anchor, negative), which are joined on their anchors.
        reference: where positives and negatives are taken from, shape (M, D); gradients flow to it too.
        reference_labels: the identity of each reference row.
        own_rows: which reference row is embedding i, see :func:`triune.losses.mining.mine_triplets`.
        generator: source of the random strategy's draws; the same seed draws the triplets of
            :func:`triune.losses.mining.mine_triplets`, except under torch.compile.

    Returns:
        The loss and its statistics. No valid triplet, or no active one: the loss is 0 and its gradients are 0.

    Memory: O(D·(N + M)) and a block of 2 Mi distances by the kernels of float32 (see kernels/README.md), 4 Mi by plain
    torch; on the CPU ``"hard"``, ``"semihard"`` and ``"random"`` list their P pairs, too: O(P). On a GPU, in float32,
    nothing is listed, and the host waits for nothing. The kernels, and blocks, are differentiated in the forward pass,
    once: asking for a second derivative raises an error that says the way out. In float64, up to one block, second
    derivatives are right. What the kernels do not compute takes plain torch, in blocks of distances: a smooth margin
    other than 0, labels that a rule compares, and swapped triplets, whose ``mining="all"`` costs one more matrix
    product for each of an anchor's positives and is not compiled whole. The reductions ``"per_anchor"`` and ``"none"``
    list the T triplets and hold all distances, O(N·M + T).

    Raises:
        ValueError: shapes or label counts disagree, or an option is unknown.
    """
    check_reduction(reduction)
    settings = TripletSettings(margin, metric, mining, gap, swap, smooth)
    check_settings(settings)
    batch = labelled_batch(embeddings, labels, reference, reference_labels, own_rows)
    if reduction == "none":
        outcome = each(triplet_costs(batch, settings, indices, generator))
    elif reduction == "per_anchor":
        outcome = per_anchor(anchor_sums(triplet_costs(batch, settings, indices, generator), len(batch.x)))
    else:
        outcome = reduce(triplet_sums(batch, settings, indices, generator), reduction)
    if reduction in ("none", "per_anchor"):  # as the sums do: a mask, or an empty list, hides no NaN
        outcome = outcome._replace(loss=outcome.loss + (zero_or_nan(batch.x.detach()) + zero_or_nan(batch.y.detach())))
    return outcome._replace(loss=outcome.loss.to(torch.promote_types(batch.x.dtype, batch.y.dtype)))


class TripletLoss(nn.Module):
    """max(0, d(a,p) − d(a,n) + margin) over the triplets of a batch, mined or given.

    >>> criterion = TripletLoss(margin=0.2, mining="semihard")
    >>> embeddings, labels = torch.randn(8, 16, requires_grad=True), [0, 0, 1, 1, 2, 2, 3, 3]
    >>> criterion(embeddings, labels).backward()

    Args:
        margin: a number ≥ 0, or ``"soft"``.
        metric: ``"euclidean"``, ``"squared_euclidean"`` or ``"cosine"``.
        mining: ``"all"``, ``"hard"``, ``"batch_hard"``, ``"semihard"`` or ``"random"``.
        reduction: ``"mean_active"``, ``"mean"``, ``"sum"``, ``"per_anchor"`` or ``"none"``.
        normalize: divide every embedding, and reference row, by its length first.
        gap: keep, of the mined triplets, those with low < d(a,n) − d(a,p) ≤ high.
        swap: take d(p,n) for d(a,n) where it is smaller.
        smooth: softplus in place of the hinge.

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
        swap: bool = False,
        smooth: bool = False,
    ) -> None:
        super().__init__()
        check_settings(TripletSettings(margin, metric, mining, gap, swap, smooth))
        check_reduction(reduction)
        self.margin: Margin = margin
        self.metric: Metric = metric
        self.mining: Strategy = mining
        self.reduction: Reduction = reduction
        self.normalize = normalize
        self.gap = gap
        self.swap = swap
        self.smooth = smooth

    def forward(
        self,
        embeddings: Embeddings,
        labels: BatchLabels | None = None,
        indices: Sequence[Tensor] | None = None,
        reference: Embeddings | None = None,
        reference_labels: BatchLabels | None = None,
        *,
        own_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
        **peer_names: Unpack[PeerNames],
    ) -> Tensor:
        """The loss: a scalar, but for ``reduction="none"``.

        Args:
            embeddings: the anchors, shape (N, D).
            labels: N integers or strings; may be left out beside indices.
            indices: triplets or pairs of any miner, used instead of mining.
            reference: where positives and negatives are taken from, shape (M, D).
            reference_labels: the label of each reference row.
            own_rows: which reference row is embedding i, −1 for none.
            generator: source of the random strategy's draws.
            peer_names: ``indices_tuple`` for indices, ``ref_emb`` for reference, ``ref_labels`` for reference_labels.
        """
        indices, reference, reference_labels = by_either_name(
            peer_names, indices=indices, reference=reference, reference_labels=reference_labels
        )
        return self.outcome(
            embeddings, labels, indices, reference, reference_labels, own_rows=own_rows, generator=generator
        ).loss

    def outcome(
        self,
        embeddings: Embeddings,
        labels: BatchLabels | None = None,
        indices: Sequence[Tensor] | None = None,
        reference: Embeddings | None = None,
        reference_labels: BatchLabels | None = None,
        *,
        own_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> TripletOutcome:
        """The loss with its statistics.

        Args:
            embeddings: the anchors, shape (N, D).
            labels: N integers or strings; may be left out beside indices.
            indices: triplets or pairs of any miner, used instead of mining.
            reference: where positives and negatives are taken from, shape (M, D).
            reference_labels: the label of each reference row.
            own_rows: which reference row is embedding i, −1 for none.
            generator: source of the random strategy's draws.
        """
        if labels is None:
            labels, reference_labels = left_out(indices, len(embeddings), None if reference is None else len(reference))
        x: Embeddings = embeddings
        y: Embeddings | None = reference
        if self.normalize:
            x, y = unit_rows(embeddings, reference)
        return triplet_loss(
            x, labels, margin=self.margin, metric=self.metric, mining=self.mining, reduction=self.reduction,
            gap=self.gap, swap=self.swap, smooth=self.smooth, indices=indices, reference=y,
            reference_labels=reference_labels, own_rows=own_rows, generator=generator,
        )  # fmt: skip

    def with_memory(self, x: Tensor, codes: Tensor, memory: Remembered) -> tuple[TripletOutcome, Tensor, Tensor]:
        """The outcome of a batch whose positives and negatives come from itself and from remembered rows.

        Args:
            x: shape (N, D).
            codes: the labels, int64 (N,).
            memory: embeddings of earlier batches.

        Returns:
            The outcome, and the batch with its codes: what the memory should take in.
        """
        reference, reference_codes = memory.reference(x, codes)
        own_rows = torch.arange(len(x), device=x.device)
        indices = memory.mined(x, codes, reference, reference_codes, own_rows)
        outcome = self.outcome(x, codes, indices, reference, reference_codes, own_rows=own_rows)
        return outcome, x.detach(), codes

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        return settings_of(self)
