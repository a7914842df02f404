"""What triplets cost: sums that can be added up over parts of a batch, and the outcome they are reduced to."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from triune.losses.triplet_settings import Margin

Reduction: TypeAlias = Literal["mean_active", "mean", "sum", "per_anchor", "none"]
"""Over the triplets with a loss above 0, over all that were mined, or their sum; the mean over anchors of the mean over
an anchor's triplets; or the loss of each triplet."""


class TripletOutcome(NamedTuple):
    """A triplet loss and what it was made of: scalar tensors, of which only ``loss`` has a gradient."""

    loss: Tensor
    """The reduced loss; with ``reduction="none"`` that of each triplet, shape (T,)."""
    triplets: Tensor
    """How many triplets were mined, int64."""
    active: Tensor
    """How many of them cost something, int64; with a soft margin that is every one."""
    positive_distance: Tensor
    """Mean d(a,p) over the mined triplets; NaN if there are none."""
    negative_distance: Tensor
    """Mean d(a,n) over the mined triplets; NaN if there are none."""


class TripletSums(NamedTuple):
    """Sums over triplets, float64 scalars, so that those of blocks, processes and devices can be added up."""

    loss: Tensor
    """Σ max(0, d(a,p) − d(a,n) + margin), or of the softplus; the only one with a gradient."""
    triplets: Tensor
    """How many triplets."""
    active: Tensor
    """How many of them cost something."""
    positive_distance: Tensor
    """Σ d(a,p)."""
    negative_distance: Tensor
    """Σ d(a,n)."""


class TripletCosts(NamedTuple):
    """T listed triplets with what each costs, in the order of the list; ``loss`` has a gradient."""

    anchor: Tensor
    """Which anchor, int64 (T,)."""
    loss: Tensor
    """max(0, d(a,p) − d(a,n) + margin), or softplus, (T,)."""
    positive_distance: Tensor
    """d(a,p), (T,)."""
    negative_distance: Tensor
    """d(a,n), or d(p,n) where swapped, (T,)."""


def sums_of(
    positive_distance: Tensor,
    negative_distance: Tensor,
    margin: Margin,
    kept: Tensor | None = None,
    smooth: bool = False,
) -> TripletSums:
    """Sums over triplets given by their two distances, tensors of one shape.

    Args:
        positive_distance: d(a,p).
        negative_distance: d(a,n).
        margin: a number, or ``"soft"``.
        kept: bool; triplets that are not kept are left out.
        smooth: softplus in place of the hinge.
    """
    if kept is None:
        kept = torch.ones_like(positive_distance, dtype=torch.bool)
    cost = torch.where(kept, cost_of(positive_distance, negative_distance, margin, smooth), 0.0)
    triplets = kept.sum(dtype=torch.float64)
    active = triplets if smooth or margin == "soft" else (cost.detach() > 0).sum(dtype=torch.float64)
    return TripletSums(
        cost.sum(dtype=torch.float64),
        triplets,
        active,
        torch.where(kept, positive_distance.detach(), 0.0).sum(dtype=torch.float64),
        torch.where(kept, negative_distance.detach(), 0.0).sum(dtype=torch.float64),
    )


def no_triplets(distances: Tensor) -> TripletSums:
    """Zero of everything, with a graph that begins at the distances."""
    zero = torch.zeros((), dtype=torch.float64, device=distances.device)
    return TripletSums((distances * 0).sum(dtype=torch.float64), zero, zero, zero, zero)


def reduce(sums: TripletSums, reduction: Reduction) -> TripletOutcome:
    """Sums over triplets to an outcome, with the loss in float64. Does not wait for the device."""
    triplets, active = sums.triplets.detach(), sums.active.detach()
    if reduction == "sum":
        loss = sums.loss
    else:
        loss = sums.loss / (active if reduction == "mean_active" else triplets).clamp_min(1)
    return TripletOutcome(
        loss,
        triplets.long(),
        active.long(),
        (sums.positive_distance.detach() / triplets).float(),
        (sums.negative_distance.detach() / triplets).float(),
    )


def each(costs: TripletCosts) -> TripletOutcome:
    """The losses of listed triplets as they are, with their statistics."""
    loss, d_ap, d_an = costs.loss, costs.positive_distance.detach(), costs.negative_distance.detach()
    triplets = torch.full((), len(loss), device=loss.device)
    return TripletOutcome(loss, triplets, (loss.detach() > 0).sum(), d_ap.float().mean(), d_an.float().mean())


def anchor_sums(costs: TripletCosts, anchors: int) -> Tensor:
    """Sums over anchors that can be added up over processes, for :func:`per_anchor`; float64 (6,).

    Args:
        costs: of T triplets.
        anchors: how many anchors there are.

    Returns:
        The sum over anchors of the mean over an anchor's triplets, which has a gradient; how many anchors have one; how
        many triplets there are, and active ones; Σ d(a,p) and Σ d(a,n).
    """
    loss, counts = costs.loss, torch.bincount(costs.anchor, minlength=anchors)
    means = loss.new_zeros(anchors).index_add(0, costs.anchor, loss) / counts.clamp(min=1)
    d_ap, d_an = costs.positive_distance.detach(), costs.negative_distance.detach()
    parts = means.sum(), (counts > 0).sum(), counts.sum(), (loss.detach() > 0).sum(), d_ap.sum(), d_an.sum()
    return torch.stack([part.double() for part in parts])


def per_anchor(sums: Tensor) -> TripletOutcome:
    """The mean over anchors that have a triplet of the mean over an anchor's triplets, from :func:`anchor_sums`."""
    _, anchors, triplets, active, d_ap, d_an = sums.detach().unbind()
    loss = sums[0] / anchors.clamp(min=1)
    return TripletOutcome(loss, triplets.long(), active.long(), (d_ap / triplets).float(), (d_an / triplets).float())


def check_reduction(reduction: str, known: tuple[str, ...] = get_args(Reduction)) -> None:
    """Raise ValueError, listing the known ones, if the reduction is none of them."""
    if reduction not in known:
        raise ValueError(f"reduction is {reduction!r}; known are {', '.join(map(repr, known))}")


def cost_of(positive_distance: Tensor, negative_distance: Tensor, margin: Margin, smooth: bool = False) -> Tensor:
    """Loss of each triplet; softplus neither overflows nor rounds large gaps away.

    Args:
        positive_distance: d(a,p), any shape.
        negative_distance: d(a,n), the same shape.
        margin: a number, or ``"soft"``, which is smooth with a margin of 0.
        smooth: softplus in place of the hinge.
    """
    if margin == "soft":
        return -logsigmoid(negative_distance - positive_distance)
    if smooth:
        return -logsigmoid(negative_distance - positive_distance - margin)
    return (positive_distance + margin - negative_distance).relu()
