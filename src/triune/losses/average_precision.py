"""Losses that are a smooth average precision: Smooth-AP and FastAP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from triune.distances.embeddings import Embeddings
from triune.distances.pairwise import pairwise_distance
from triune.losses.compared import BatchLabels
from triune.losses.derivatives import first_derivative_only
from triune.losses.masked import masked_mean
from triune.losses.pairs import (
    PairLoss,
    PairOptions,
    check_above_zero,
    pair_batch,
    positive_columns,
    similarity,
)

CPU_BLOCK_CELLS, BLOCK_CELLS = 1 << 17, 1 << 22
"""Smooth-AP compares this many (query, positive, item) at a time, on the CPU so few that they stay in the cache, or all
those of one query if they are more."""

SECOND_DERIVATIVE = "smooth_ap_loss has no second derivative: its gradient is computed along with its value"


def smooth_ap_loss(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    temperature: float = 0.01,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """1 − mean over queries of average precision with sigmoids for steps (Brown et al. 2020, eq. 7).

    The rank of a positive p is 1 + Σ σ((s_j − s_p)/τ) over the other items j, the query left out; s is the inner
    product of unit embeddings. Queries without a positive are left out. The authors' code counts the query among its
    own positives, which gives every query one hit for nothing; with the batch as ``reference`` and ``own_rows`` of −1
    this function does too.

    Time O(N·M·K) for K positives a query at most. Memory O(N·M) plus one block of at most max(4 Mi, K·M) comparisons.
    Waits for the GPU once, for K. The gradient is computed along with the value: there is no second derivative, and
    asking for one raises an error.

    Args:
        embeddings: shape (N, D), unit rows.
        labels: N integers or strings.
        temperature: τ, above 0.
        pairs: of any miner, in place of all pairs; or triplets, which mean their two pairs each, once.
        reference: what the embeddings are compared with, shape (M, D); gradients flow to it too.
        reference_labels: the label of each reference row.
        own_rows: which reference row is embedding i, int64 (N,), −1 for none; where not given, a reference that is the
            same object as the embeddings holds each at its own row, and another holds none of them.
    """
    check_above_zero(temperature=temperature)
    batch = pair_batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    s = similarity(batch.x, batch.y) / temperature
    precision, _ = smooth_precision(s, batch.positive, batch.negative)
    return batch.guarded(masked_mean(1 - precision, batch.positive.any(1)))


class SmoothAPLoss(PairLoss):
    """Average precision with sigmoids for steps (Brown et al. 2020).

    See :func:`triune.losses.average_precision.smooth_ap_loss`.

    Args:
        temperature: how wide a step is, above 0.
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(self, temperature: float = 0.01, normalize: bool = True) -> None:
        super().__init__(normalize)
        check_above_zero(temperature=temperature)
        self.temperature = temperature

    def _loss(
        self, x: Embeddings, labels: BatchLabels, options: PairOptions, generator: torch.Generator | None
    ) -> Tensor:
        return smooth_ap_loss(x, labels, temperature=self.temperature, **options)


def fast_ap_loss(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    bins: int = 10,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """1 − mean over queries of average precision from soft histograms of distances (Cakir et al. 2019, eq. 7).

    Squared distances of unit rows lie in [0, 4]; each falls into the two nearest of ``bins`` + 1 centres in proportion,
    so memory is O(N·M + N·bins). Queries without a positive are left out.

    Args:
        embeddings: shape (N, D), unit rows; squared distances above 4 are taken for 4.
        labels: N integers or strings.
        bins: how many intervals [0, 4] is divided into, at least 1.
        pairs: of any miner, in place of all pairs; or triplets, which mean their two pairs each, once.
        reference: what the embeddings are compared with, shape (M, D); gradients flow to it too.
        reference_labels: the label of each reference row.
        own_rows: which reference row is embedding i, int64 (N,), −1 for none; where not given, a reference that is the
            same object as the embeddings holds each at its own row, and another holds none of them.
    """
    check_above_zero(bins=bins)
    batch = pair_batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    place = pairwise_distance(batch.x, batch.y, "squared_euclidean").clamp(0, 4) * (bins / 4)
    below = place.detach().nan_to_num().floor().clamp(max=bins - 1).long()
    upper = place - below

    def histogram(kept: Tensor) -> Tensor:
        empty = place.new_zeros(len(place), bins + 1)
        lower_shares, upper_shares = (1 - upper).where(kept, 0.0), upper.where(kept, 0.0)
        return empty.scatter_add(1, below, lower_shares).scatter_add(1, below + 1, upper_shares)

    matching = histogram(batch.positive)
    matching_so_far = matching.cumsum(1)
    so_far = matching_so_far + histogram(batch.negative).cumsum(1)
    hits = (matching * matching_so_far / torch.where(so_far > 0, so_far, 1.0)).sum(1)
    counts = batch.positive.sum(1)
    return batch.guarded(masked_mean(1 - hits / counts.clamp(min=1), counts > 0))


class FastAPLoss(PairLoss):
    """Average precision from soft histograms of distances (Cakir et al. 2019).

    See :func:`triune.losses.average_precision.fast_ap_loss`.

    Args:
        bins: of the histograms, at least 1.
        normalize: divide every embedding, and reference row, by its length first; the histograms need unit rows.
    """

    def __init__(self, bins: int = 10, normalize: bool = True) -> None:
        super().__init__(normalize)
        check_above_zero(bins=bins)
        self.bins = bins

    def _loss(
        self, x: Embeddings, labels: BatchLabels, options: PairOptions, generator: torch.Generator | None
    ) -> Tensor:
        return fast_ap_loss(x, labels, bins=self.bins, **options)


@torch.library.custom_op("triune::smooth_precision", mutates_args=())
def smooth_precision(s: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Smoothed average precision of every query, and its slope, in blocks of queries.

    One operation to torch.compile, which cannot know the largest number of positives.

    Args:
        s: similarities of N queries and M items, divided by the temperature, (N, M).
        positive: which items match the query, bool (N, M).
        negative: which do not, bool (N, M).

    Returns:
        The precision (N,), 0 for a query without a positive, and its gradient with respect to the query's row of s,
        (N, M).
    """
    columns = positive_columns(positive)
    precision, slope = s.new_zeros(len(s)), torch.zeros_like(s)
    cells = CPU_BLOCK_CELLS if s.device.type == "cpu" else BLOCK_CELLS
    step = max(1, cells // max(1, columns.shape[1] * s.shape[1]))
    for rows in (slice(start, start + step) for start in range(0, len(s), step)):
        _precision_of_block(s[rows], columns[rows], positive[rows], negative[rows], precision[rows], slope[rows])
    return precision, slope


@smooth_precision.register_fake
def _(s: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    return s.new_empty(s.shape[0]), torch.empty_like(s)


def _keep_slope(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], output[1])
    ctx.mark_non_differentiable(output[1])


def _scale_slope(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    s, slope = ctx.saved_tensors
    scaled = grad[:, None] * slope
    if torch.is_grad_enabled():  # backward(create_graph=True)
        scaled = first_derivative_only(scaled, s, SECOND_DERIVATIVE)
    return scaled, None, None


smooth_precision.register_autograd(_scale_slope, setup_context=_keep_slope)


def _precision_of_block(
    s: Tensor, columns: Tensor, positive: Tensor, negative: Tensor, precision: Tensor, slope: Tensor
) -> None:
    """Write :func:`smooth_precision` of R queries, whose positives come first in ``columns`` (R, K).

    With σ of (s_j − s_p)/τ, h_p = ½ + Σ σ over the positives and t_p = ½ + Σ σ over all items, the precision is the
    mean of h_p / t_p; its slope in σ is 1/t_p for a positive, less h_p/t_p² for every item.
    """
    counts = positive.sum(1, keepdim=True)
    real = (torch.arange(columns.shape[1], device=s.device) < counts).to(s.dtype)
    compared = s.where(positive | negative, -torch.inf)  # σ is 0 at what is neither, such as the query itself
    above = torch.sigmoid(compared[:, None, :] - s.gather(1, columns)[:, :, None])
    at_positives = columns[:, None, :].expand(-1, columns.shape[1], -1)
    # A positive is compared with itself too, which gives σ(0) = ½ and no gradient: 1 + the others is ½ + all.
    hits = 0.5 + (above.gather(2, at_positives) * real[:, None, :]).sum(2)
    among_all = 0.5 + above.sum(2)
    weight = real / counts.clamp(min=1)
    precision.copy_((hits / among_all * weight).sum(1))
    of_hit, of_all = weight / among_all, -weight * hits / among_all.square()
    steep = torch.addcmul(above, above, above, value=-1)  # σ' = σ − σ²
    steep_hits = steep.gather(2, at_positives) * real[:, None, :]
    torch.sum(steep * of_all[:, :, None], 1, out=slope)
    from_positive = (of_hit[:, :, None] * steep_hits).sum(1) - of_hit * steep_hits.sum(2) - of_all * steep.sum(2)
    slope.scatter_add_(1, columns, from_positive)
