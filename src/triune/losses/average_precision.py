"""Losses that are a smooth average precision: Smooth-AP and FastAP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from triune.distances.embeddings import Embeddings
from triune.distances.pairwise import pairwise_distance
from triune.labels import Labels
from triune.losses.pairs import (
    PairLoss,
    block_rows,
    check_above_zero,
    mean_over,
    pair_batch,
    positive_columns,
    similarity,
)


def smooth_ap_loss(
    embeddings: Embeddings,
    labels: Labels,
    *,
    temperature: float = 0.01,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: Labels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """1 − mean over queries of average precision with sigmoids for steps (Brown et al. 2020, eq. 7).

    The rank of a positive p is 1 + Σ σ((s_j − s_p)/τ) over the other items j, the query left out; s is the inner
    product of unit embeddings. Queries without a positive are left out. The authors' code counts the query among its
    own positives, which gives every query one hit for nothing; with the batch as ``reference`` and ``own_rows`` of −1
    this function does too.

    Time O(N·M·K) for K positives a query at most. Memory O(N·M) plus one block of at most max(4 Mi, K·M) comparisons:
    past one block, blocks of queries are computed again in the backward pass. Waits for the GPU once, for K. Under
    torch.compile it has a first derivative only.

    Args:
        embeddings: shape (N, D), unit rows.
        labels: N integers or strings.
        temperature: τ, above 0.
        pairs, reference, reference_labels, own_rows: see the head of this file.
    """
    check_above_zero(temperature=temperature)
    batch = pair_batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    s = similarity(batch.x, batch.y) / temperature
    counts = batch.positive.sum(1)
    if torch.compiler.is_compiling():  # K is not known to the compiler: it sees one opaque operation
        precision, _ = _smooth_precision_opaque(s, batch.positive, batch.negative)
        return batch.cost(mean_over(1 - precision, counts > 0))
    parts = (s, positive_columns(batch.positive), batch.positive, batch.negative, counts)
    step = block_rows(parts[1], s)
    if step >= len(s):
        precision = _smooth_precision(*parts)
    else:
        # split, not indexing: its gradient is joined once, where each index would fill an N×M matrix of its own.
        blocks = zip(*(torch.split(part, step) for part in parts))
        precision = torch.cat([checkpoint(_smooth_precision, *block, use_reentrant=False) for block in blocks])
    return batch.cost(mean_over(1 - precision, counts > 0))


def fast_ap_loss(
    embeddings: Embeddings,
    labels: Labels,
    *,
    bins: int = 10,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: Labels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """1 − mean over queries of average precision from soft histograms of distances (Cakir et al. 2019, eq. 7).

    Squared distances of unit rows lie in [0, 4]; each falls into the two nearest of ``bins`` + 1 centres in proportion,
    so memory is O(N·M + N·bins). Queries without a positive are left out.

    Args:
        embeddings: shape (N, D), unit rows; squared distances above 4 are taken for 4.
        labels: N integers or strings.
        bins: how many intervals [0, 4] is divided into, at least 1.
        pairs, reference, reference_labels, own_rows: see the head of this file.
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
    return batch.cost(mean_over(1 - hits / counts.clamp(min=1), counts > 0))


def _smooth_precision(s: Tensor, columns: Tensor, positive: Tensor, negative: Tensor, counts: Tensor) -> Tensor:
    """Smoothed average precision (R,) of R queries, whose positives are in the first ``counts`` of ``columns``."""
    above = torch.sigmoid(s[:, None, :] - s.gather(1, columns)[:, :, None])
    # A positive is compared with itself too, which gives σ(0) = ½ and no gradient: 1 + the others is ½ + all.
    among_positives = 0.5 + (above * positive[:, None, :]).sum(2)
    among_all = among_positives + (above * negative[:, None, :]).sum(2)
    real = torch.arange(columns.shape[1], device=s.device) < counts[:, None]
    return (among_positives / among_all).where(real, 0.0).sum(1) / counts.clamp(min=1)


@torch.library.custom_op("triune::smooth_precision", mutates_args=())
def _smooth_precision_opaque(s: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """The precision of every query (N,), and its gradient with respect to the query's row of s (N, M)."""
    counts, columns = positive.sum(1), positive_columns(positive)
    precision, slope = s.new_zeros(len(s)), torch.zeros_like(s)
    step = block_rows(columns, s)
    for rows in (slice(start, start + step) for start in range(0, len(s), step)):
        column, few = columns[rows], counts[rows, None].clamp(min=1)
        above = torch.sigmoid(s[rows, None, :] - s[rows].gather(1, column)[:, :, None])
        hit, other = positive[rows, None, :], (positive | negative)[rows, None, :]
        hits, among_all = 0.5 + (above * hit).sum(2), 0.5 + (above * other).sum(2)
        real = torch.arange(column.shape[1], device=s.device) < counts[rows, None]
        precision[rows] = (hits / among_all).where(real, 0.0).sum(1) / few[:, 0]
        share = hit / among_all[:, :, None] - other * (hits / among_all.square())[:, :, None]
        share = (share * above * (1 - above)).where(real[:, :, None], 0.0) / few[:, :, None]
        slope[rows] = share.sum(1).scatter_add(1, column, -share.sum(2))
    return precision, slope


@_smooth_precision_opaque.register_fake
def _(s: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    return s.new_empty(s.shape[0]), torch.empty_like(s)


def _keep_slope(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])


def _scale_slope(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    (slope,) = ctx.saved_tensors
    return grad[:, None] * slope, None, None


_smooth_precision_opaque.register_autograd(_scale_slope, setup_context=_keep_slope)


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

    def _loss(self, x: Embeddings, labels: Labels, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        return smooth_ap_loss(x, labels, temperature=self.temperature, **batch)


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

    def _loss(self, x: Embeddings, labels: Labels, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        return fast_ap_loss(x, labels, bins=self.bins, **batch)
