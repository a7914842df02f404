"""Sums over the triplets of a block of anchors in plain torch: the reference that the kernels must equal."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from triune.distances.pairwise import pairwise_distance
from triune.losses.batch import LabelledBatch, masks
from triune.losses.mining import choose, inside_gap
from triune.losses.outcome import TripletSums, no_triplets, sums_of
from triune.losses.triplet_settings import Gap, TripletSettings


def block_sums(
    batch: LabelledBatch, rows: slice, settings: TripletSettings, generator: torch.Generator | None = None
) -> TripletSums:
    """Sums over the triplets of some anchors, differentiable in the embeddings.

    Args:
        batch: anchors and reference rows with their labels.
        rows: which anchors.
        settings: which triplets, and what they cost.
        generator: source of the random strategy's draws.
    """
    distances = pairwise_distance(batch.x[rows], batch.y, settings.metric)
    positive, negative = masks(batch, rows)
    if distances.numel() == 0:
        return no_triplets(distances)
    if settings.mining == "all":
        if settings.swap or settings.smooth or settings.margin == "soft":
            return _all_by_positives(distances, positive, negative, settings, batch.y)
        return _all_hinge(distances, positive, negative, settings.margin, settings.gap)
    choice = choose(distances, positive, negative, settings, generator)
    d_ap, d_an = distances.gather(1, choice.positive), distances.gather(1, choice.negative)
    return sums_of(d_ap, d_an, settings.margin, choice.kept, settings.smooth)


def _all_hinge(distances: Tensor, positive: Tensor, negative: Tensor, margin: float, gap: Gap | None) -> TripletSums:
    """Every triplet's hinge loss as Σ W·d + margin·active, from ranks among sorted positives.

    The loss is piecewise linear in the distances: W[a,n] = −(active triplets of n), W[a,p] = active triplets
    of p. For a negative the positives that keep the triplet active, and inside the gap, are a range of the
    sorted positives, found by binary search. Counting how many ranges cover a positive is a cumulative sum.
    W is constant almost everywhere, so first and second derivatives are right.
    """
    d = distances.detach()
    rows, columns = d.shape
    ordered, order = torch.where(positive, d, torch.inf).sort(dim=1)
    d = d.contiguous()
    size = positive.sum(1, keepdim=True)
    low, high = torch.zeros_like(order), size.expand(rows, columns)
    if gap is not None and gap[1] < torch.inf:
        low = torch.searchsorted(ordered + gap[1], d)
    if gap is not None and gap[0] > -torch.inf:
        high = torch.searchsorted(ordered + gap[0], d).minimum(size)
    first_active = torch.maximum(low, torch.searchsorted(ordered + margin, d, right=True))

    def weights(first: Tensor) -> tuple[Tensor, Tensor]:
        """How many triplets each positive, and each negative, is in, if they begin at rank ``first``."""
        begin, end = torch.minimum(first, high), high
        covering = torch.zeros(rows, columns + 1, dtype=torch.float64, device=d.device)
        once = negative.to(torch.float64)
        covering = covering.scatter_add(1, begin, once).scatter_add(1, end, -once).cumsum(1)[:, :columns]
        of_positive = torch.zeros_like(covering).scatter(1, order, covering) * positive
        return of_positive, (end - begin) * negative

    with torch.no_grad():
        active_positive, active_negative = weights(first_active)
        mined_positive, mined_negative = weights(low)
        wide = torch.where(positive | negative, d, 0.0).double()
        triplets, active = mined_positive.sum(), active_positive.sum()
        sum_positive, sum_negative = (mined_positive * wide).sum(), (mined_negative * wide).sum()
        weight = active_positive - active_negative
    loss = (weight * torch.where(weight != 0, distances, 0.0)).sum() + margin * active
    return TripletSums(loss, triplets, active, sum_positive, sum_negative)


def _all_by_positives(
    distances: Tensor, positive: Tensor, negative: Tensor, settings: TripletSettings, y: Tensor
) -> TripletSums:
    """Every triplet's smooth or swapped loss: one pass over the block for each of the K positives of an anchor.

    Args:
        distances: of R anchors to the reference, (R, M).
        positive: which are positives, bool (R, M).
        negative: which are negatives, bool (R, M).
        settings: what triplets cost; a soft margin is a smooth one of 0.
        y: the reference rows (M, D), which swapped triplets compare with each other.
    """
    margin, metric, _, gap, swap, smooth = settings
    if margin == "soft":
        margin, smooth = 0.0, True
    if torch.compiler.is_compiling() and not swap:  # K is not known to the compiler: it sees one opaque operation
        totals, _ = _all_smooth_opaque(distances, positive, negative, float(margin), *(gap or (-torch.inf, torch.inf)))
        return TripletSums(*totals.unbind())
    size, order = _sorted_positives(distances, positive)
    sums = no_triplets(distances)
    for k in range(int(size.max())):
        nearest = order[:, k]
        d_ap, d_an = distances.gather(1, nearest[:, None]).expand(distances.shape), distances
        kept = negative & (k < size)
        if gap is not None:
            kept = kept & inside_gap(d_ap.detach(), d_an.detach(), gap)
        if swap:
            d_an = torch.minimum(d_an, pairwise_distance(y[nearest], y, metric))
        sums = TripletSums(*(total + term for total, term in zip(sums, sums_of(d_ap, d_an, margin, kept, smooth))))
    return sums


@torch.library.custom_op("triune::all_smooth", mutates_args=())
def _all_smooth_opaque(
    distances: Tensor, positive: Tensor, negative: Tensor, margin: float, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """The sums of smooth triplets, shape (5,), and the gradient of their loss, shape (R, M)."""
    size, order = _sorted_positives(distances, positive)
    totals = torch.stack(list(no_triplets(distances)))
    weight = torch.zeros_like(distances)
    for k in range(int(size.max())):
        column = order[:, k : k + 1]
        d_ap = distances.gather(1, column).expand(distances.shape)
        kept = negative & (k < size) & inside_gap(d_ap, distances, (low, high))
        totals = totals + torch.stack(list(sums_of(d_ap, distances, margin, kept, True)))
        share = torch.where(kept, (d_ap - distances + margin).sigmoid(), 0.0)
        weight = (weight - share).scatter_add(1, column, share.sum(1, keepdim=True))
    return totals, weight


@_all_smooth_opaque.register_fake
def _(
    distances: Tensor, positive: Tensor, negative: Tensor, margin: float, low: float, high: float
) -> tuple[Tensor, Tensor]:
    return distances.new_empty(5, dtype=torch.float64), torch.empty_like(distances)


def _keep_weight(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])


def _scale_weight(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    (weight,) = ctx.saved_tensors
    return grad[0].to(weight.dtype) * weight, None, None, None, None, None


_all_smooth_opaque.register_autograd(_scale_weight, setup_context=_keep_weight)


def _sorted_positives(distances: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """How many positives each anchor has (R, 1), and their columns first in each row, closest first (R, M)."""
    order = torch.where(positive, distances.detach(), torch.inf).argsort(dim=1)
    return positive.sum(1, keepdim=True), order
