"""The sums that a triplet loss is made of, by the path that fits the device: kernels, or blocks of plain torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from triune.distances.embeddings import Embeddings, Metric, as_embeddings, check_metric, unit
from triune.distances.pairwise import paired_distance, pairwise_distance
from triune.kernels import choose_path
from triune.labels import Labels
from triune.losses.batch import Groups, group_by_label, masks, resolve_reference
from triune.losses.draws import draw_seed
from triune.losses.mining import (
    Gap,
    Margin,
    Strategy,
    Triplets,
    as_triplets,
    check_gap,
    check_margin,
    check_strategy,
    choose,
    draw_random,
    inside_gap,
    list_by_kernel,
    row_blocks,
)


def triplet_sums(
    embeddings: Embeddings,
    labels: Labels,
    *,
    margin: Margin = 0.2,
    metric: Metric = "euclidean",
    mining: Strategy = "all",
    gap: Gap | None = None,
    indices: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: Labels | None = None,
    own_rows: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Sums:
    """What :func:`triplet_loss` reduces: sums over the triplets of these anchors, to be added to those of others.

    Sums of parts of a batch's anchors, each with the whole batch as reference, add up to those of the batch, in value
    and in gradient; :func:`reduce` turns them into a loss.
    """
    check_strategy(mining)
    check_metric(metric)
    check_margin(margin)
    check_gap(gap)
    x = as_embeddings(embeddings)
    y, codes, reference_codes, own = resolve_reference(x, labels, embeddings, reference, reference_labels, own_rows)
    if indices is not None:
        sums = _indexed(x, y, as_triplets(indices), margin, metric, gap)
    else:
        sums = _mined(x, y, codes, reference_codes, own, margin, metric, mining, gap, generator)
    poison = (x.detach() * 0).sum() + (y.detach() * 0).sum()
    return sums._replace(loss=sums.loss + poison)


Solution: TypeAlias = "tuple[Tensor, Tensor | None, Tensor | None]"


Measure: TypeAlias = "Callable[[Tensor, Tensor, slice], Sums]"


class Sums(NamedTuple):
    """Additive parts of an outcome: float64 scalars, so that blocks, processes and paths can be added up."""

    loss: Tensor
    triplets: Tensor
    active: Tensor
    positive_distance: Tensor
    negative_distance: Tensor


def _cost(positive_distance: Tensor, negative_distance: Tensor, margin: Margin) -> Tensor:
    """Loss of each triplet; the soft margin neither overflows nor rounds large gaps away."""
    if margin == "soft":
        return -logsigmoid(negative_distance - positive_distance)
    return (positive_distance + margin - negative_distance).relu()


def listed_sums(
    positive_distance: Tensor, negative_distance: Tensor, margin: Margin, kept: Tensor | None = None
) -> Sums:
    """Sums over triplets given by their two distances, of any shape; those not kept are left out."""
    if kept is None:
        kept = torch.ones_like(positive_distance, dtype=torch.bool)
    cost = torch.where(kept, _cost(positive_distance, negative_distance, margin), 0.0)
    triplets = kept.sum(dtype=torch.float64)
    active = triplets if margin == "soft" else (cost.detach() > 0).sum(dtype=torch.float64)
    return Sums(
        cost.sum(dtype=torch.float64),
        triplets,
        active,
        torch.where(kept, positive_distance.detach(), 0.0).sum(dtype=torch.float64),
        torch.where(kept, negative_distance.detach(), 0.0).sum(dtype=torch.float64),
    )


def _mined(
    x: Tensor,
    y: Tensor,
    codes: Tensor,
    reference_codes: Tensor,
    own: Tensor,
    margin: Margin,
    metric: Metric,
    mining: Strategy,
    gap: Gap | None,
    generator: torch.Generator | None,
) -> Sums:
    """Sums over mined triplets by the path that fits the device, see kernels/README.md."""
    path = choose_path(x, y)
    if mining == "random" and path != "triton" and not torch.compiler.is_compiling():
        mined = draw_random(group_by_label(codes, reference_codes), own, generator)
        return _indexed(x, y, mined, margin, metric, gap)
    if path == "torch":
        measure = partial(
            _block, codes=codes, reference_codes=reference_codes, own=own, margin=margin, metric=metric,
            mining=mining, gap=gap, generator=generator,
        )  # fmt: skip
        return _in_blocks(x, y, measure, x.shape[0], y.shape[0])
    if mining != "all" and path == "numba":
        mined = list_by_kernel(x, y, codes, reference_codes, own, mining, metric, margin, gap, path)
        return _indexed(x, y, mined, margin, metric, None)
    if metric == "cosine":
        x, y = (u := unit(x)), u if y is x else unit(y)
    groups = group_by_label(codes, reference_codes)
    solve: Callable[[Tensor, Tensor, bool], Solution]
    if path == "triton":
        seed = draw_seed(x.device, generator) if mining == "random" else None
        solve = partial(
            _by_triton, groups=groups, own=own, margin=margin, metric=metric, mining=mining, gap=gap, seed=seed
        )
    else:
        # Not by comparing addresses: a detached reference has the same, and takes no gradient.
        solve = partial(_all_by_numba, groups=groups, own=own, margin=margin, metric=metric, gap=gap, same=y is x)
    return Sums(*_Solved.apply(x, y, solve))


def _by_triton(
    x: Tensor,
    y: Tensor,
    differentiate: bool,
    *,
    groups: Groups,
    own: Tensor,
    margin: Margin,
    metric: Metric,
    mining: Strategy,
    gap: Gap | None,
    seed: Tensor | None,
) -> Solution:
    """Sums over triplets of any strategy, and the gradients of their loss, by the Triton kernels."""
    from triune.kernels import triplets_gpu

    problem = triplets_gpu.pose(x, y, *groups, own, metric)
    if mining == "all":
        totals, x_grad, sorted_grad = triplets_gpu.all_triplets(problem, margin, gap, differentiate)
    else:
        totals, x_grad, sorted_grad = triplets_gpu.mined_triplets(problem, mining, margin, gap, seed, differentiate)
    return totals, x_grad, _as_given(sorted_grad, groups)


def _all_by_numba(
    x: Tensor,
    y: Tensor,
    differentiate: bool,
    *,
    groups: Groups,
    own: Tensor,
    margin: Margin,
    metric: Metric,
    gap: Gap | None,
    same: bool,
) -> Solution:
    """Sums over all triplets, and the gradients of their loss, by the Numba kernels."""
    from triune.kernels import triplets_cpu, triplets_one_set_cpu

    problem = triplets_cpu.pose(x, y, *groups, own, metric, same)
    if margin != "soft" and triplets_one_set_cpu.fits(problem):
        return *triplets_one_set_cpu.all_triplets(problem, margin, gap, differentiate), None
    totals, x_grad, sorted_grad = triplets_cpu.all_triplets(problem, margin, gap, differentiate)
    return totals, x_grad, _as_given(sorted_grad, groups)


def _as_given(sorted_grad: Tensor | None, groups: Groups) -> Tensor | None:
    """The gradient of the reference rows in the order that they were given in."""
    if sorted_grad is None:
        return None
    y_grad = torch.empty_like(sorted_grad)
    y_grad[groups.order] = sorted_grad
    return y_grad


def _indexed(x: Tensor, y: Tensor, triplets: Triplets, margin: Margin, metric: Metric, gap: Gap | None) -> Sums:
    """Sums over listed triplets, in blocks of the list."""
    anchor, positive, negative = (column.to(x.device) for column in triplets)

    def measure(x: Tensor, y: Tensor, part: slice) -> Sums:
        rows = x[anchor[part]]
        d_ap, d_an = paired_distance(rows, y[positive[part]], metric), paired_distance(rows, y[negative[part]], metric)
        return listed_sums(d_ap, d_an, margin, None if gap is None else inside_gap(d_ap.detach(), d_an.detach(), gap))

    return _in_blocks(x, y, measure, anchor.shape[0], x.shape[1])


def _in_blocks(x: Tensor, y: Tensor, measure: Measure, rows: int, columns: int) -> Sums:
    """Add up blocks of triplets: a single block is left to autograd, several are differentiated one by one."""
    if torch.compiler.is_compiling() or len(row_blocks(rows, columns)) <= 1:
        return measure(x, y, slice(0, rows))

    def solve(x: Tensor, y: Tensor, differentiate: bool) -> Solution:
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

    return Sums(*_Solved.apply(x, y, solve))


def _block(
    x: Tensor,
    y: Tensor,
    rows: slice,
    *,
    codes: Tensor,
    reference_codes: Tensor,
    own: Tensor,
    margin: Margin,
    metric: Metric,
    mining: Strategy,
    gap: Gap | None,
    generator: torch.Generator | None,
) -> Sums:
    """Sums over the triplets of a block of anchors, differentiable."""
    distances = pairwise_distance(x[rows], y, metric)
    positive, negative = masks(codes[rows], reference_codes, own[rows])
    if distances.numel() == 0:
        return _no_triplets(distances)
    if mining == "all":
        if margin == "soft":
            return _all_soft(distances, positive, negative, gap)
        return _all_hinge(distances, positive, negative, margin, gap)
    choice = choose(distances, positive, negative, mining, margin, gap, generator=generator)
    d_ap, d_an = distances.gather(1, choice.positive), distances.gather(1, choice.negative)
    return listed_sums(d_ap, d_an, margin, choice.kept)


def _all_hinge(distances: Tensor, positive: Tensor, negative: Tensor, margin: float, gap: Gap | None) -> Sums:
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
    return Sums(loss, triplets, active, sum_positive, sum_negative)


def _all_soft(distances: Tensor, positive: Tensor, negative: Tensor, gap: Gap | None) -> Sums:
    """Every triplet's soft-margin loss: one pass over the block for each of the K positives of an anchor."""
    if torch.compiler.is_compiling():  # K is not known to the compiler: it sees one opaque operation
        totals, _ = _all_soft_opaque(distances, positive, negative, *(gap or (-torch.inf, torch.inf)))
        return Sums(*totals.unbind())
    size, order = _sorted_positives(distances, positive)
    sums = _no_triplets(distances)
    for k in range(int(size.max())):
        d_ap = distances.gather(1, order[:, k : k + 1]).expand(distances.shape)
        kept = negative & (k < size)
        if gap is not None:
            kept = kept & inside_gap(d_ap.detach(), distances.detach(), gap)
        sums = Sums(*(total + term for total, term in zip(sums, listed_sums(d_ap, distances, "soft", kept))))
    return sums


@torch.library.custom_op("triune::all_soft", mutates_args=())
def _all_soft_opaque(
    distances: Tensor, positive: Tensor, negative: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """The sums of _all_soft, shape (5,), and the gradient of their loss, shape (R, M)."""
    size, order = _sorted_positives(distances, positive)
    totals = torch.stack(list(_no_triplets(distances)))
    weight = torch.zeros_like(distances)
    for k in range(int(size.max())):
        column = order[:, k : k + 1]
        d_ap = distances.gather(1, column).expand(distances.shape)
        kept = negative & (k < size) & inside_gap(d_ap, distances, (low, high))
        totals = totals + torch.stack(list(listed_sums(d_ap, distances, "soft", kept)))
        share = torch.where(kept, (d_ap - distances).sigmoid(), 0.0)
        weight = (weight - share).scatter_add(1, column, share.sum(1, keepdim=True))
    return totals, weight


@_all_soft_opaque.register_fake
def _(distances: Tensor, positive: Tensor, negative: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    return distances.new_empty(5, dtype=torch.float64), torch.empty_like(distances)


def _keep_weight(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])


def _scale_weight(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    (weight,) = ctx.saved_tensors
    return grad[0].to(weight.dtype) * weight, None, None, None, None


_all_soft_opaque.register_autograd(_scale_weight, setup_context=_keep_weight)


def _sorted_positives(distances: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """How many positives each anchor has (R, 1), and their columns first in each row, closest first (R, M)."""
    order = torch.where(positive, distances.detach(), torch.inf).argsort(dim=1)
    return positive.sum(1, keepdim=True), order


def _no_triplets(distances: Tensor) -> Sums:
    """Zero of everything, with a graph."""
    zero = torch.zeros((), dtype=torch.float64, device=distances.device)
    return Sums((distances * 0).sum(dtype=torch.float64), zero, zero, zero, zero)


class _Solved(torch.autograd.Function):
    """Sums whose gradient was computed along with them: ``solve(x, y, differentiate)`` → sums (5,), dx, dy.

    Where x and y are one tensor, dx may be the whole gradient and dy None.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, solve: Callable[[Tensor, Tensor, bool], Solution]
    ) -> tuple[Tensor, ...]:
        totals, *ctx.gradients = solve(x.detach(), y.detach(), any(ctx.needs_input_grad))
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
                part if part is None else _OnceOnly.apply(part, of) for part, of in zip(scaled, ctx.saved_tensors)
            ]
        return scaled[0], scaled[1], None


class _OnceOnly(torch.autograd.Function):
    """A gradient that refuses to be differentiated, instead of passing for a constant."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, of: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError(
            "triplet_loss has no second derivative here, because its gradient was computed in blocks; "
            "list the triplets with mine_triplets and use triplet_margin_loss(x[a], x[p], x[n]) instead"
        )


Reduction: TypeAlias = Literal["mean_active", "mean", "sum"]


class TripletOutcome(NamedTuple):
    """A triplet loss and what it was made of: scalar tensors, of which only ``loss`` has a gradient."""

    loss: Tensor
    """The reduced loss."""
    triplets: Tensor
    """How many triplets were mined, int64."""
    active: Tensor
    """How many of them cost something, int64; with a soft margin that is every one."""
    positive_distance: Tensor
    """Mean d(a,p) over the mined triplets; NaN if there are none."""
    negative_distance: Tensor
    """Mean d(a,n) over the mined triplets; NaN if there are none."""


def reduce(sums: Sums, reduction: Reduction) -> TripletOutcome:
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


def check_reduction(reduction: str) -> None:
    """Raise ValueError, listing the known ones, if the reduction is none of them."""
    if reduction not in get_args(Reduction):
        known = ", ".join(map(repr, get_args(Reduction)))
        raise ValueError(f"reduction is {reduction!r}; known are {known}")
