"""Triplet kernels for the GPU, in Triton: tiles of the distance matrix are computed, used and thrown away.

The README beside this file explains the algorithms. Memory is O(N·(D + K) + M·D) for K positives an anchor. Everything
is float32 (products in full precision, not TF32); sums over triplets are float64.
"""

# mypy: disable-error-code="no-untyped-def"

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from triune.functional.distances import Metric, paired_distance

METRICS = {"euclidean": 0, "squared_euclidean": 1, "cosine": 2}
CLOSE = tl.constexpr(1e-3)
TILE_ROWS, TILE_COLUMNS, TILE_WIDTH = 64, 64, 32
# Values gathered at a time when positives, of which there are few, are worked out by torch.
GATHERED_VALUES = 1 << 24


class Problem(NamedTuple):
    """N anchors and M reference rows sorted by label, as tensors on one device."""

    x: Tensor
    """Anchors (N, D), of unit length (or zero) for the cosine."""
    y: Tensor
    """Reference rows (M, D) in label order."""
    x_norm: Tensor
    y_norm: Tensor
    start: Tensor
    """Where each anchor's class begins among the reference rows, (N,)."""
    stop: Tensor
    order: Tensor
    """The original index of each sorted reference row, (M,)."""
    column: Tensor
    """Sorted rows of each anchor's positives, (N, K); any row where there is none."""
    ap: Tensor
    """Their distances (N, K); −1 where there is none."""
    metric: Metric


def pose(x: Tensor, y: Tensor, order: Tensor, start: Tensor, stop: Tensor, own: Tensor, metric: Metric) -> Problem:
    """A problem from float32 tensors, with y not yet sorted by label; see the fields of :class:`Problem`.

    Waits for the device once, for K, the size of the largest class.
    """
    x, y = x.detach().contiguous(), y.detach()[order].contiguous()
    widest = int((stop - start).max()) if len(x) else 0
    column = start[:, None] + torch.arange(widest, device=x.device)
    exists = column < stop[:, None]
    column = column.clamp_max(max(len(y) - 1, 0))
    if len(y):
        exists &= order[column] != own[:, None]
    ap = torch.full(column.shape, -1.0, device=x.device)
    for rows in _gathers(len(x), widest * x.shape[1]):
        pairs = x[rows].repeat_interleave(widest, 0)
        ap[rows] = paired_distance(pairs, y[column[rows].flatten()], metric).view(-1, widest)
    ap = torch.where(exists, ap, -1.0)
    return Problem(x, y, x.square().sum(1), y.square().sum(1), start, stop, order, column, ap, metric)


def all_triplets(
    problem: Problem, margin: float | str, gap: tuple[float, float] | None, differentiate: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Sums over every triplet and their loss's gradients, as :func:`triune.functional.kernels.cpu.all_triplets`."""
    x, y, ap, column = problem.x, problem.y, problem.ap, problem.column
    count, widest = ap.shape
    slopes = torch.zeros_like(ap)  # of a positive's distance: Σ over its negatives of the loss's slope
    mined = torch.zeros_like(ap)
    row_sum, x_grad = torch.zeros_like(problem.x_norm), torch.zeros_like(x)
    column_sum, y_grad = torch.zeros_like(problem.y_norm), torch.zeros_like(y)
    row_tiles, column_tiles = triton.cdiv(count, TILE_ROWS), triton.cdiv(len(y), TILE_COLUMNS)
    partial = torch.zeros(max(row_tiles, 1), 2, dtype=torch.float64, device=x.device)
    low, high = (-torch.inf, torch.inf) if gap is None else gap
    shape = (count, len(y), x.shape[1], widest)
    options: dict[str, Any] = {
        "METRIC": METRICS[problem.metric], "GAP": gap is not None, "SOFT": margin == "soft",
        "DIFFERENTIATE": differentiate, "BM": TILE_ROWS, "BN": TILE_COLUMNS, "BD": TILE_WIDTH,
    }  # fmt: skip
    bounds = (0.0 if margin == "soft" else float(margin), float(low), float(high))
    inputs = (x, y, problem.x_norm, problem.y_norm, problem.start, problem.stop, ap)
    if count and len(y) and widest:
        _anchor_kernel[(row_tiles,)](*inputs, slopes, mined, row_sum, x_grad, partial, *shape, *bounds, **options)
        if differentiate:
            del options["DIFFERENTIATE"]
            _reference_kernel[(column_tiles,)](*inputs, column_sum, y_grad, *shape, *bounds, **options)
    if gap is None:
        negatives = len(y) - (problem.stop - problem.start)
        mined = torch.where(ap >= 0, negatives[:, None].to(mined.dtype), 0.0)
    loss, negative_distance = partial.sum(0).unbind()
    triplets = mined.sum(dtype=torch.float64)
    active = triplets if margin == "soft" else slopes.sum(dtype=torch.float64)
    positive_distance = (mined.double() * ap.double()).sum()
    totals = torch.stack([loss, triplets, active, positive_distance, negative_distance])
    if not differentiate:
        return totals, None, None
    x_grad = row_sum[:, None] * x - x_grad
    y_grad = column_sum[:, None] * y - y_grad
    slopes = _slope(slopes, ap, problem.metric)
    for rows in _gathers(count, widest * x.shape[1]):
        difference = slopes[rows, :, None] * (x[rows, None, :] - y[column[rows]])
        x_grad[rows] += difference.sum(1)
        y_grad.index_add_(0, column[rows].flatten(), -difference.flatten(0, 1))
    return totals, x_grad, y_grad


def mine(
    problem: Problem, strategy: str, margin: float, gap: tuple[float, float] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Positive, negative (original indices) and whether there is such a triplet, each (N, Q), in fixed shapes.

    Q is 1 for ``"batch_hard"`` and K, the size of the largest class, for ``"hard"`` and ``"semihard"``.
    """
    ap, column = problem.ap, problem.column
    if strategy == "batch_hard" and ap.shape[1]:
        farthest = ap.argmax(1, keepdim=True)
        ap, column = ap.gather(1, farthest), column.gather(1, farthest)
    floors = ap if strategy == "semihard" else torch.full((len(ap), 1), -1.0, device=ap.device)
    an = torch.full(floors.shape, torch.inf, device=ap.device)
    negative = torch.full(floors.shape, len(problem.y), dtype=torch.int64, device=ap.device)
    if ap.numel():
        _nearest_kernel[(triton.cdiv(len(ap), TILE_ROWS),)](
            problem.x, problem.y, problem.x_norm, problem.y_norm, problem.start, problem.stop, problem.order, floors,
            an, negative, len(ap), len(problem.y), problem.x.shape[1], floors.shape[1],
            METRIC=METRICS[problem.metric], BM=TILE_ROWS, BN=TILE_COLUMNS, BD=TILE_WIDTH,
        )  # fmt: skip
    an, negative = an.expand_as(ap), negative.expand_as(ap)
    kept = (ap >= 0) & (an < torch.inf)
    if strategy == "semihard":
        kept &= an < ap + margin
    if gap is not None:
        kept &= (ap + gap[0] < an) & (an <= ap + gap[1])
    positive = problem.order[column] if len(problem.y) else column
    return positive, torch.where(kept, negative, 0), kept


def _slope(weight: Tensor, d: Tensor, metric: Metric) -> Tensor:
    """V from the weight of a distance: its gradient with respect to x is V (x − y)."""
    if metric == "euclidean":
        return torch.where(d > 0, weight / d, 0.0)
    return 2 * weight if metric == "squared_euclidean" else weight


def _gathers(rows: int, values: int) -> list[slice]:
    """Slices of the rows, of ``values`` gathered values each, that stay below GATHERED_VALUES."""
    step = max(1, GATHERED_VALUES // max(1, values))
    return [slice(begin, min(begin + step, rows)) for begin in range(0, rows if values else 0, step)]


@triton.jit
def _tile(
    x, y, x_norm, y_norm, start, stop, rows, columns, N, M, D,
    METRIC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """A tile of distances and which of its cells are negatives; close cells are computed from differences."""
    is_row, is_column = rows < N, columns < M
    first = tl.load(start + rows, mask=is_row, other=0)
    last = tl.load(stop + rows, mask=is_row, other=0)
    negative = (columns[None, :] < first[:, None]) | (columns[None, :] >= last[:, None])
    negative = negative & is_row[:, None] & is_column[None, :]
    gram = tl.zeros((BM, BN), dtype=tl.float32)
    for left in range(0, D, BD):
        k = left + tl.arange(0, BD)
        a = tl.load(x + rows[:, None] * D + k[None, :], mask=is_row[:, None] & (k < D)[None, :], other=0.0)
        b = tl.load(y + columns[:, None] * D + k[None, :], mask=is_column[:, None] & (k < D)[None, :], other=0.0)
        gram += tl.dot(a, tl.trans(b), input_precision="ieee")
    a_norm = tl.load(x_norm + rows, mask=is_row, other=0.0)
    b_norm = tl.load(y_norm + columns, mask=is_column, other=0.0)
    both = a_norm[:, None] + b_norm[None, :]
    squared = both - 2 * gram
    close = negative & (squared < CLOSE * both)
    if tl.sum(tl.sum(close.to(tl.int32), axis=1), axis=0) > 0:
        exact = tl.zeros((BM, BN), dtype=tl.float32)
        for k in range(D):
            u = tl.load(x + rows * D + k, mask=is_row, other=0.0)
            v = tl.load(y + columns * D + k, mask=is_column, other=0.0)
            difference = u[:, None] - v[None, :]
            exact += difference * difference
        squared = tl.where(close, exact, squared)
    squared = tl.maximum(squared, 0.0)
    if METRIC == 0:
        d = tl.sqrt_rn(squared)  # as torch rounds it, so that ties between the two stay ties
    elif METRIC == 1:
        d = squared
    else:
        zeros = tl.where(a_norm == 0, 0.5, 0.0)[:, None] + tl.where(b_norm == 0, 0.5, 0.0)[None, :]
        d = squared / 2 + zeros
    return d, negative


@triton.jit
def _one_positive(d, negative, t, margin, low, high, GAP: tl.constexpr, SOFT: tl.constexpr):
    """For one positive an anchor, at distance t: which cells are mined, their loss and its slope."""
    kept = negative & (t >= 0)[:, None]
    if GAP:
        kept = kept & (t[:, None] + low < d) & (d <= t[:, None] + high)
    if SOFT:
        z = t[:, None] - d
        e = tl.exp(-tl.abs(z))
        log1p = tl.where(e < 1e-3, e - e * e / 2 + e * e * e / 3, tl.log(1 + e))
        loss = tl.maximum(z, 0.0) + log1p
        slope = tl.where(z > 0, 1.0, e) / (1 + e)
    else:
        z = (t[:, None] + margin) - d
        loss = tl.maximum(z, 0.0)
        slope = tl.where(z > 0, 1.0, 0.0)
    return kept, tl.where(kept, loss, 0.0), tl.where(kept, slope, 0.0)


@triton.jit
def _v(c, d, METRIC: tl.constexpr):
    """V of the negatives' weights −c."""
    if METRIC == 0:
        v = tl.where(d > 0, -c / tl.where(d > 0, d, 1.0), 0.0)
    elif METRIC == 1:
        v = -2 * c
    else:
        v = -c
    return v


@triton.jit
def _anchor_kernel(
    x, y, x_norm, y_norm, start, stop, ap, slopes, mined, row_sum, x_grad, partial, N, M, D, K, margin, low, high,
    METRIC: tl.constexpr, GAP: tl.constexpr, SOFT: tl.constexpr, DIFFERENTIATE: tl.constexpr, BM: tl.constexpr,
    BN: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """All triplets of BM anchors: sums, slopes of their positives, and Σ V·y over their negatives."""
    program = tl.program_id(0)
    rows = (program * BM + tl.arange(0, BM)).to(tl.int64)
    is_row = rows < N
    total, distance = tl.zeros((BM,), dtype=tl.float64), tl.zeros((BM,), dtype=tl.float64)
    v_sum = tl.zeros((BM,), dtype=tl.float32)
    for top in range(0, M, BN):
        columns = (top + tl.arange(0, BN)).to(tl.int64)
        is_column = columns < M
        d, negative = _tile(x, y, x_norm, y_norm, start, stop, rows, columns, N, M, D, METRIC, BM, BN, BD)
        c = tl.zeros((BM, BN), dtype=tl.float32)
        for k in range(K):
            t = tl.load(ap + rows * K + k, mask=is_row, other=-1.0)
            kept, loss, slope = _one_positive(d, negative, t, margin, low, high, GAP, SOFT)
            c += slope
            total += tl.sum(loss, axis=1).to(tl.float64)
            distance += tl.sum(tl.where(kept, d, 0.0), axis=1).to(tl.float64)
            here = slopes + rows * K + k
            tl.store(here, tl.load(here, mask=is_row, other=0.0) + tl.sum(slope, axis=1), mask=is_row)
            if GAP:
                here = mined + rows * K + k
                tl.store(
                    here,
                    tl.load(here, mask=is_row, other=0.0) + tl.sum(kept.to(tl.float32), axis=1),
                    mask=is_row,
                )
        if DIFFERENTIATE:
            v = _v(c, d, METRIC)
            v_sum += tl.sum(v, axis=1)
            for left in range(0, D, BD):
                w = left + tl.arange(0, BD)
                b = tl.load(
                    y + columns[:, None] * D + w[None, :], mask=is_column[:, None] & (w < D)[None, :], other=0.0
                )
                at, inside = x_grad + rows[:, None] * D + w[None, :], is_row[:, None] & (w < D)[None, :]
                tl.store(at, tl.load(at, mask=inside, other=0.0) + tl.dot(v, b, input_precision="ieee"), mask=inside)
    tl.store(partial + program * 2, tl.sum(total, axis=0))
    tl.store(partial + program * 2 + 1, tl.sum(distance, axis=0))
    if DIFFERENTIATE:
        tl.store(row_sum + rows, v_sum, mask=is_row)


@triton.jit
def _reference_kernel(
    x, y, x_norm, y_norm, start, stop, ap, column_sum, y_grad, N, M, D, K, margin, low, high,
    METRIC: tl.constexpr, GAP: tl.constexpr, SOFT: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """The same tiles seen from BN reference rows: Σ Vᵀ·x over the anchors they are negatives of."""
    columns = (tl.program_id(0) * BN + tl.arange(0, BN)).to(tl.int64)
    is_column = columns < M
    v_sum = tl.zeros((BN,), dtype=tl.float32)
    for top in range(0, N, BM):
        rows = (top + tl.arange(0, BM)).to(tl.int64)
        is_row = rows < N
        d, negative = _tile(x, y, x_norm, y_norm, start, stop, rows, columns, N, M, D, METRIC, BM, BN, BD)
        c = tl.zeros((BM, BN), dtype=tl.float32)
        for k in range(K):
            t = tl.load(ap + rows * K + k, mask=is_row, other=-1.0)
            _, _, slope = _one_positive(d, negative, t, margin, low, high, GAP, SOFT)
            c += slope
        v = _v(c, d, METRIC)
        v_sum += tl.sum(v, axis=0)
        for left in range(0, D, BD):
            w = left + tl.arange(0, BD)
            a = tl.load(x + rows[:, None] * D + w[None, :], mask=is_row[:, None] & (w < D)[None, :], other=0.0)
            at, inside = y_grad + columns[:, None] * D + w[None, :], is_column[:, None] & (w < D)[None, :]
            product = tl.dot(tl.trans(v), a, input_precision="ieee")
            tl.store(at, tl.load(at, mask=inside, other=0.0) + product, mask=inside)
    tl.store(column_sum + columns, v_sum, mask=is_column)


@triton.jit
def _nearest_kernel(
    x, y, x_norm, y_norm, start, stop, order, floors, an, chosen, N, M, D, F,
    METRIC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """For BM anchors and each of F floors: the closest negative beyond the floor, ties to the lowest original index."""
    rows = (tl.program_id(0) * BM + tl.arange(0, BM)).to(tl.int64)
    is_row = rows < N
    for top in range(0, M, BN):
        columns = (top + tl.arange(0, BN)).to(tl.int64)
        d, negative = _tile(x, y, x_norm, y_norm, start, stop, rows, columns, N, M, D, METRIC, BM, BN, BD)
        index = tl.load(order + columns, mask=columns < M, other=M)
        for f in range(F):
            floor = tl.load(floors + rows * F + f, mask=is_row, other=0.0)
            beyond = tl.where(negative & (d > floor[:, None]), d, float("inf"))
            nearest = tl.min(beyond, axis=1)
            is_nearest = (beyond == nearest[:, None]) & (beyond < float("inf"))
            lowest = tl.min(tl.where(is_nearest, index[None, :], M), axis=1)
            best = tl.load(an + rows * F + f, mask=is_row, other=float("inf"))
            holder = tl.load(chosen + rows * F + f, mask=is_row, other=M)
            better = (nearest < best) | ((nearest == best) & (lowest < holder))
            tl.store(an + rows * F + f, tl.where(better, nearest, best), mask=is_row)
            tl.store(chosen + rows * F + f, tl.where(better, lowest, holder), mask=is_row)
