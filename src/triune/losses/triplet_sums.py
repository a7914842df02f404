"""The sums that a triplet loss is made of, by the path that fits the device: kernels, or blocks of plain torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from triune.distances.pairwise import paired_distance, pairwise_distance
from triune.kernels.paths import choose_path
from triune.losses.batch import Groups, LabelledBatch, group_by_label, zero_or_nan
from triune.losses.derivatives import first_derivative_only
from triune.losses.draws import draw_seed
from triune.losses.mining import (
    Triplets,
    as_triplets,
    draw_random,
    inside_gap,
    list_by_kernel,
    list_triplets,
    row_blocks,
)
from triune.losses.outcome import TripletCosts, TripletSums, cost_of, sums_of
from triune.losses.triplet_blocks import block_sums
from triune.losses.triplet_settings import TripletSettings

SumsAndGradients: TypeAlias = "tuple[Tensor, Tensor | None, Tensor | None]"
"""Sums (5,) in the order of :class:`TripletSums`, and their loss's gradients with respect to x and y, if wanted."""

SECOND_DERIVATIVE = (
    "triplet_loss has no second derivative here, because its gradient was computed in blocks; "
    "list the triplets with mine_triplets and use triplet_margin_loss(x[a], x[p], x[n]) instead"
)


def triplet_sums(
    batch: LabelledBatch,
    settings: TripletSettings,
    indices: Sequence[Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> TripletSums:
    """What :func:`triune.losses.triplet.triplet_loss` reduces: sums over the triplets of these anchors.

    Sums of parts of a batch's anchors, each with the whole batch as reference, add up to those of the batch, in value
    and in gradient; :func:`triune.losses.outcome.reduce` turns them into a loss.

    Args:
        batch: anchors and reference rows with their labels.
        settings: which triplets, and what they cost.
        indices: of any miner, used instead of mining.
        generator: source of the random strategy's draws.
    """
    if indices is not None:
        sums = _listed_sums(batch, as_triplets(indices), settings)
    elif settings.swap and settings.mining != "all":  # no kernel compares the partners of a triplet with each other
        mined = list_triplets(batch.detached(), settings, generator)
        sums = _listed_sums(batch, mined, settings._replace(gap=None))
    else:
        sums = _mined_sums(batch, settings, generator)
    return sums._replace(loss=sums.loss + (zero_or_nan(batch.x.detach()) + zero_or_nan(batch.y.detach())))


def triplet_costs(
    batch: LabelledBatch,
    settings: TripletSettings,
    indices: Sequence[Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> TripletCosts:
    """What each triplet costs, in the order of :func:`triune.losses.mining.mine_triplets` or of the indices.

    By plain torch; memory O(N·M + T) for T triplets, and O(T·D) for swapped ones with a reference.

    Args:
        batch: anchors and reference rows with their labels.
        settings: which triplets, and what they cost.
        indices: of any miner, used instead of mining.
        generator: source of the random strategy's draws.
    """
    margin, metric, _, gap, swap, smooth = settings
    listed = list_triplets(batch.detached(), settings, generator) if indices is None else as_triplets(indices)
    anchor, positive, negative = (column.to(batch.x.device) for column in listed)
    distances = pairwise_distance(batch.x, batch.y, metric)
    d_ap, d_an = distances[anchor, positive], distances[anchor, negative]
    if indices is not None and gap is not None:
        kept = inside_gap(d_ap.detach(), d_an.detach(), gap)
        anchor, positive, negative, d_ap, d_an = (part[kept] for part in (anchor, positive, negative, d_ap, d_an))
    if swap:
        y = batch.y
        d_an = torch.minimum(
            d_an, distances[positive, negative] if y is batch.x else paired_distance(y[positive], y[negative], metric)
        )
    return TripletCosts(anchor, cost_of(d_ap, d_an, margin, smooth), d_ap, d_an)


def _mined_sums(batch: LabelledBatch, settings: TripletSettings, generator: torch.Generator | None) -> TripletSums:
    """Sums over mined triplets by the path that fits the device, see kernels/README.md."""
    path = choose_path(batch.x, batch.y)
    if settings.swap or (settings.smooth and (settings.mining == "all" or path == "triton")):
        path = "torch"  # no kernel swaps, or has a smooth margin other than 0
    if batch.same is not None:
        path = "torch"  # kernels, and draws, go by the order of the labels
    elif settings.mining == "random" and path != "triton" and not torch.compiler.is_compiling():
        mined = draw_random(group_by_label(batch.codes, batch.reference_codes), batch.own_rows, generator)
        return _listed_sums(batch, mined, settings)
    if path == "torch":

        def measure(x: Tensor, y: Tensor, rows: slice) -> TripletSums:
            return block_sums(batch._replace(x=x, y=y), rows, settings, generator)

        return _add_up_blocks(batch.x, batch.y, measure, len(batch.x), len(batch.y))
    if settings.mining != "all" and path == "numba":
        mined = list_by_kernel(batch, settings, path)
        return _listed_sums(batch, mined, settings._replace(gap=None))
    if settings.metric == "cosine":
        batch = batch.at_unit_length()
    groups = group_by_label(batch.codes, batch.reference_codes)
    # Not by comparing addresses: a detached reference has the same, and takes no gradient.
    one_set = batch.y is batch.x
    seed = draw_seed(batch.x.device, generator) if settings.mining == "random" else None

    def compute(x: Tensor, y: Tensor, differentiate: bool) -> SumsAndGradients:
        held = batch._replace(x=x, y=y)
        if path == "triton":
            return _by_triton(held, groups, settings, seed, differentiate)
        return _all_by_numba(held, groups, settings, one_set, differentiate)

    return TripletSums(*_WithGradients.apply(batch.x, batch.y, compute))


def _by_triton(
    batch: LabelledBatch, groups: Groups, settings: TripletSettings, seed: Tensor | None, differentiate: bool
) -> SumsAndGradients:
    """Sums over triplets of any strategy, and the gradients of their loss, by the Triton kernels."""
    from triune.kernels import triplets_gpu

    margin, metric, mining, gap = settings[:4]
    sorted_batch = triplets_gpu.sorted_tensors(batch.x, batch.y, *groups, batch.own_rows, metric)
    if mining == "all":
        totals, x_grad, y_grad = triplets_gpu.all_triplets(sorted_batch, margin, gap, differentiate)
    else:
        totals, x_grad, y_grad = triplets_gpu.mined_triplets(sorted_batch, mining, margin, gap, seed, differentiate)
    return totals, x_grad, _in_given_order(y_grad, groups)


def _all_by_numba(
    batch: LabelledBatch, groups: Groups, settings: TripletSettings, one_set: bool, differentiate: bool
) -> SumsAndGradients:
    """Sums over all triplets, and the gradients of their loss, by the Numba kernels."""
    from triune.kernels import triplets_cpu, triplets_one_set_cpu

    margin, metric, _, gap = settings[:4]
    sorted_batch = triplets_cpu.sorted_arrays(batch.x, batch.y, *groups, batch.own_rows, metric, one_set)
    if margin != "soft" and triplets_one_set_cpu.fits(sorted_batch):
        return *triplets_one_set_cpu.all_triplets(sorted_batch, margin, gap, differentiate), None
    totals, x_grad, y_grad = triplets_cpu.all_triplets(sorted_batch, margin, gap, differentiate)
    return totals, x_grad, _in_given_order(y_grad, groups)


def _in_given_order(sorted_grad: Tensor | None, groups: Groups) -> Tensor | None:
    """The gradient of the reference rows in the order that they were given in."""
    if sorted_grad is None:
        return None
    y_grad = torch.empty_like(sorted_grad)
    y_grad[groups.order] = sorted_grad
    return y_grad


def _listed_sums(batch: LabelledBatch, triplets: Triplets, settings: TripletSettings) -> TripletSums:
    """Sums over listed triplets, in blocks of the list."""
    margin, metric, _, gap, swap, smooth = settings
    anchor, positive, negative = (column.to(batch.x.device) for column in triplets)

    def measure(x: Tensor, y: Tensor, part: slice) -> TripletSums:
        rows = x[anchor[part]]
        d_ap, d_an = paired_distance(rows, y[positive[part]], metric), paired_distance(rows, y[negative[part]], metric)
        kept = None if gap is None else inside_gap(d_ap.detach(), d_an.detach(), gap)
        if swap:
            d_an = torch.minimum(d_an, paired_distance(y[positive[part]], y[negative[part]], metric))
        return sums_of(d_ap, d_an, margin, kept, smooth)

    return _add_up_blocks(batch.x, batch.y, measure, anchor.shape[0], batch.x.shape[1])


def _add_up_blocks(
    x: Tensor, y: Tensor, measure: Callable[[Tensor, Tensor, slice], TripletSums], rows: int, columns: int
) -> TripletSums:
    """Sums over blocks of rows: a single block is left to autograd, several are differentiated one by one.

    Args:
        x: the anchors.
        y: the reference rows.
        measure: the sums of one block, differentiable in x and y.
        rows: how many there are to be divided into blocks.
        columns: how many cells each of them has, which says how many rows make a block.
    """
    if torch.compiler.is_compiling() or len(row_blocks(rows, columns)) <= 1:
        return measure(x, y, slice(0, rows))

    def compute(x: Tensor, y: Tensor, differentiate: bool) -> SumsAndGradients:
        totals = torch.zeros(5, dtype=torch.float64, device=x.device)
        gradients = [torch.zeros_like(x), torch.zeros_like(y)] if differentiate else []
        for block in row_blocks(rows, columns):
            with torch.set_grad_enabled(differentiate):
                leaves = [each.detach().requires_grad_(differentiate) for each in (x, y)]
                sums = measure(leaves[0], leaves[1], block)
                if differentiate:
                    for total, part in zip(gradients, torch.autograd.grad(sums.loss, leaves)):
                        total += part
            totals += torch.stack([term.detach() for term in sums])
        return totals, *(gradients or (None, None))

    return TripletSums(*_WithGradients.apply(x, y, compute))


class _WithGradients(torch.autograd.Function):
    """Sums whose gradients were computed along with them, by ``compute(x, y, differentiate)``.

    Where x and y are one tensor, the gradient of x may be the whole and that of y None.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, compute: Callable[[Tensor, Tensor, bool], SumsAndGradients]
    ) -> tuple[Tensor, ...]:
        totals, *ctx.gradients = compute(x.detach(), y.detach(), any(ctx.needs_input_grad))
        ctx.save_for_backward(x, y)
        parts = totals.unbind()
        ctx.mark_non_differentiable(*parts[1:])
        return parts

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        scaled = [
            gradient * grad.to(gradient.dtype) if needed and gradient is not None else None
            for gradient, needed in zip(ctx.gradients, ctx.needs_input_grad)
        ]
        if torch.is_grad_enabled():  # backward(create_graph=True)
            scaled = [
                part if part is None else first_derivative_only(part, of, SECOND_DERIVATIVE)
                for part, of in zip(scaled, ctx.saved_tensors)
            ]
        return scaled[0], scaled[1], None
