"""Triplet kernels for the GPU, in Triton: tiles of the distance matrix are computed, used and thrown away.

The README beside this file explains the algorithms. Memory is O((N + M)·(D + SLOTS)), whatever the sizes of the
classes. Everything is float32 (products in full precision, not TF32); sums over triplets are float64. No loss waits for
the device. What lists hard or semi-hard triplets waits once, for the size K of the largest class, and is O(N·K).
"""

# mypy: disable-error-code="no-untyped-def"

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from triune.distances.metric import Metric
from triune.distances.pairwise import paired_distance

METRICS = {"euclidean": 0, "squared_euclidean": 1, "cosine": 2}


STRATEGIES = {"hard": 0, "batch_hard": 1, "semihard": 2, "random": 3}


HARD, BATCH_HARD, SEMIHARD, RANDOM = (tl.constexpr(number) for number in STRATEGIES.values())


# Squared distances below this share of ‖x‖² + ‖y‖² have lost digits and are computed from differences.
CLOSE = tl.constexpr(1e-3)


TILE_ROWS, TILE_COLUMNS = 64, 64


# Eight warps: with four, a tile and what hangs on it spill out of the registers.
TILE: dict[str, Any] = {"BM": TILE_ROWS, "BN": TILE_COLUMNS, "BD": 32, "num_warps": 8}


# Positives of an anchor whose thresholds are kept at a time; an anchor with more goes over its negatives again.
SLOTS = 128


# Values gathered at a time when positives, of which there are few, are worked out by torch.
GATHERED_VALUES = 1 << 24


class SortedTensors(NamedTuple):
    """N anchors and M reference rows, both sorted by label, as tensors on one device."""

    x: Tensor
    """Anchors (N, D), of unit length (or zero) for the cosine: neighbours share their positives."""
    y: Tensor
    """Reference rows (M, D) in label order."""
    x_norm: Tensor
    """‖x‖², (N,)."""
    y_norm: Tensor
    """‖y‖², (M,)."""
    start: Tensor
    """Where each anchor's class begins among the reference rows, (N,)."""
    stop: Tensor
    """Where it ends, (N,)."""
    own: Tensor
    """The sorted reference row that is the anchor itself, −1 where there is none, (N,)."""
    anchors: Tensor
    """The original index of each sorted anchor, (N,)."""
    order: Tensor
    """The original index of each sorted reference row, (M,)."""
    place: Tensor
    """The sorted row of each original reference row, (M,)."""
    metric: Metric


def sorted_tensors(
    x: Tensor, y: Tensor, order: Tensor, start: Tensor, stop: Tensor, own: Tensor, metric: Metric
) -> SortedTensors:
    """Float32 tensors, not yet sorted by label, as the kernels take them.

    Args:
        x: anchors (N, D), of unit length (or zero) for the cosine.
        y: reference rows (M, D), likewise.
        order: permutation that sorts y by label (M,).
        start: first row of each anchor's class in the sorted y (N,).
        stop: one past the last (N,).
        own: the anchor's own row in the unsorted y, −1 for none (N,).
        metric: which distance.
    """
    anchors = start.argsort(stable=True)
    x, y = x.detach()[anchors].contiguous(), y.detach()[order].contiguous()
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(y), device=order.device))
    if len(y):
        own = torch.where(own >= 0, place[own.clamp_min(0)], -1)
    norms = x.square().sum(1), y.square().sum(1)
    return SortedTensors(x, y, *norms, start[anchors], stop[anchors], own[anchors], anchors, order, place, metric)


class Gradients(NamedTuple):
    """What kernels add to: dX = Σ V ⊙ X − V·Y and dY = Σ Vᵀ ⊙ Y − Vᵀ·X, of sorted rows."""

    row_sum: Tensor
    """Σ V of each anchor, (N,)."""
    x: Tensor
    """V·Y, (N, D)."""
    column_sum: Tensor
    """Σ Vᵀ of each reference row, (M,)."""
    y: Tensor
    """Vᵀ·X, (M, D)."""

    @classmethod
    def zeros(cls, batch: SortedTensors) -> "Gradients":
        """Nothing added yet."""
        return cls(*(torch.zeros_like(part) for part in (batch.x_norm, batch.x, batch.y_norm, batch.y)))

    def complete(self, batch: SortedTensors) -> tuple[Tensor, Tensor]:
        """dX in the order that the anchors were given in, and dY sorted."""
        x_grad = torch.empty_like(self.x)
        x_grad[batch.anchors] = self.row_sum[:, None] * batch.x - self.x
        return x_grad, self.column_sum[:, None] * batch.y - self.y


def _settings(
    batch: SortedTensors, margin: float | str, gap: tuple[float, float] | None
) -> tuple[tuple[int | float, ...], dict[str, Any]]:
    """Sizes, margin and gap, and the constants, that the kernels of a loss are launched with."""
    low, high = (-torch.inf, torch.inf) if gap is None else gap
    sizes = len(batch.x), len(batch.y), batch.x.shape[1]
    constants = {"METRIC": METRICS[batch.metric], "GAP": gap is not None, "SOFT": margin == "soft", "SLOTS": SLOTS}
    return (*sizes, 0.0 if margin == "soft" else float(margin), float(low), float(high)), {**constants, **TILE}


def all_triplets(
    batch: SortedTensors, margin: float | str, gap: tuple[float, float] | None, differentiate: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Sums over every triplet and their loss's gradients, as :func:`triune.kernels.triplets_cpu.all_triplets`.

    Args:
        batch: anchors and reference rows.
        margin: a number, or ``"soft"``.
        gap: only triplets with low < d(a,n) − d(a,p) ≤ high.
        differentiate: whether the gradients are wanted.
    """
    x, y = batch.x, batch.y
    count, device = len(x), x.device
    row_tiles, column_tiles = triton.cdiv(count, TILE_ROWS), triton.cdiv(len(y), TILE_COLUMNS)
    # Distances of positives: rows of the anchors, then some for each tile of columns, which may compute them anew.
    ap = torch.empty((row_tiles + column_tiles) * TILE_ROWS, SLOTS, device=device)
    # Of a positive's distance: Σ over its negatives of the loss's slope.
    slopes = torch.empty(count, SLOTS, device=device)
    mined = torch.empty_like(slopes) if gap is not None else slopes
    gradients = Gradients.zeros(batch)
    partial = torch.zeros(max(row_tiles, 1), 5, dtype=torch.float64, device=device)
    rest, options = _settings(batch, margin, gap)
    inputs = (x, y, batch.x_norm, batch.y_norm, batch.start, batch.stop, batch.own, ap)
    if count and len(y):
        _anchor_kernel[(row_tiles,)](
            *inputs, slopes, mined, *gradients, partial, *rest, **options,
            DIFFERENTIATE=differentiate,
        )  # fmt: skip
        if differentiate:
            _reference_kernel[(column_tiles,)](*inputs, *gradients[2:], *rest, **options)
    loss, triplets, active, positive_distance, negative_distance = partial.sum(0).unbind()
    active = triplets if margin == "soft" else active
    totals = torch.stack([loss, triplets, active, positive_distance, negative_distance])
    return (totals, *gradients.complete(batch)) if differentiate else (totals, None, None)


def mined_triplets(
    batch: SortedTensors,
    strategy: str,
    margin: float | str,
    gap: tuple[float, float] | None,
    seed: Tensor | None,
    differentiate: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Sums over hard, batch-hard, semi-hard or random triplets and their loss's gradients, as :func:`all_triplets`.

    Args:
        batch: anchors and reference rows.
        strategy: which triplets.
        margin: a number, or ``"soft"``.
        gap: only triplets with low < d(a,n) − d(a,p) ≤ high.
        seed: of the random strategy's draws, int64 of one element on the device.
        differentiate: whether the gradients are wanted.
    """
    y, count, device = batch.y, len(batch.x), batch.x.device
    slots = torch.empty(3, count, SLOTS, device=device)  # of positives: distances, slopes, their negatives' distances
    chosen = torch.full((count, SLOTS), len(y), device=device)
    gradients = Gradients.zeros(batch)
    blocks = triton.cdiv(count, TILE_ROWS)
    partial = torch.zeros(max(blocks, 1), 5, dtype=torch.float64, device=device)
    rest, options = _settings(batch, margin, gap)
    bound = margin if strategy == "semihard" and not isinstance(margin, str) else torch.inf
    if count and len(y):
        _mined_kernel[(blocks,)](
            *batch[:10], *slots, chosen, seed, *gradients, partial, *rest, float(bound), **options,
            STRATEGY=STRATEGIES[strategy], DIFFERENTIATE=differentiate,
        )  # fmt: skip
    totals = partial.sum(0)
    return (totals, *gradients.complete(batch)) if differentiate else (totals, None, None)


def mine(
    batch: SortedTensors, strategy: str, margin: float, gap: tuple[float, float] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Positive, negative (original indices) and whether there is such a triplet, each (N, Q), in fixed shapes.

    Q is 1 for ``"batch_hard"``. For ``"hard"`` and ``"semihard"`` it is K, the size of the largest class, for which the
    device is waited for.

    Args:
        batch: anchors and reference rows.
        strategy: ``"hard"``, ``"batch_hard"`` or ``"semihard"``.
        margin: upper end of the semi-hard band.
        gap: only triplets with low < d(a,n) − d(a,p) ≤ high.
    """
    column, ap = _farthest_positive(batch) if strategy == "batch_hard" else _positives(batch)
    floors = ap if strategy == "semihard" else torch.full((len(ap), 1), -1.0, device=ap.device)
    an = torch.full(floors.shape, torch.inf, device=ap.device)
    negative = torch.full(floors.shape, len(batch.y), dtype=torch.int64, device=ap.device)
    if ap.numel() and len(batch.y):
        _nearest_kernel[(triton.cdiv(len(ap), TILE_ROWS),)](
            *batch[:7], batch.order, floors, an, negative, len(ap), len(batch.y), batch.x.shape[1],
            floors.shape[1], METRIC=METRICS[batch.metric], **TILE,
        )  # fmt: skip
    an, negative = an.expand_as(ap), negative.expand_as(ap)
    kept = (ap >= 0) & (an < torch.inf)
    if strategy == "semihard":
        kept &= an < ap + margin
    if gap is not None:
        kept &= (ap + gap[0] < an) & (an <= ap + gap[1])
    positive = batch.order[column] if len(batch.y) else column
    back = batch.anchors.argsort()
    return positive[back], torch.where(kept, negative, 0)[back], kept[back]


def _farthest_positive(batch: SortedTensors) -> tuple[Tensor, Tensor]:
    """The sorted row of each anchor's farthest positive and its distance, (N, 1) each; −1 where there is none."""
    count = len(batch.x)
    column = torch.zeros(count, 1, dtype=torch.int64, device=batch.x.device)
    ap = torch.full((count, 1), -1.0, device=batch.x.device)
    if count and len(batch.y):
        _farthest_kernel[(triton.cdiv(count, TILE_ROWS),)](
            *batch[:7], ap, column, count, len(batch.y), batch.x.shape[1],
            METRIC=METRICS[batch.metric], **TILE,
        )  # fmt: skip
    return column, ap


def _positives(batch: SortedTensors) -> tuple[Tensor, Tensor]:
    """Sorted rows of each anchor's positives (N, K), any row where there is none, and their distances, there −1."""
    x, y, start, stop = batch.x, batch.y, batch.start, batch.stop
    widest = int((stop - start).max()) if len(x) else 0
    column = start[:, None] + torch.arange(widest, device=x.device)
    exists = (column < stop[:, None]) & (column != batch.own[:, None])
    column = column.clamp_max(max(len(y) - 1, 0))
    ap = torch.full(column.shape, -1.0, device=x.device)
    step = max(1, GATHERED_VALUES // max(1, widest * x.shape[1]))
    for begin in range(0, len(x) if widest else 0, step):
        rows = slice(begin, begin + step)
        pairs = x[rows].repeat_interleave(widest, 0)
        ap[rows] = paired_distance(pairs, y[column[rows].flatten()], batch.metric).view(-1, widest)
    return column, torch.where(exists, ap, -1.0)


@triton.jit
def _tile(
    x, y, x_norm, y_norm, start, stop, own, rows, columns, N, M, D,
    METRIC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """A tile of distances, and which cells are negatives and positives; close cells are computed from differences."""
    is_row, is_column = rows < N, columns < M
    first = tl.load(start + rows, mask=is_row, other=0)
    last = tl.load(stop + rows, mask=is_row, other=0)
    itself = tl.load(own + rows, mask=is_row, other=-1)
    negative = (columns[None, :] < first[:, None]) | (columns[None, :] >= last[:, None])
    exists = is_row[:, None] & is_column[None, :]
    positive = exists & ~negative & (columns[None, :] != itself[:, None])
    negative = exists & negative
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
    close = (negative | positive) & (squared < CLOSE * both)
    if tl.sum(tl.sum(close.to(tl.int32), axis=1), axis=0) > 0:
        exact = tl.zeros((BM, BN), dtype=tl.float32)
        for k in range(D):
            u = tl.load(x + rows * D + k, mask=is_row, other=0.0)
            v = tl.load(y + columns * D + k, mask=is_column, other=0.0)
            difference = u[:, None] - v[None, :]
            exact += difference * difference
        squared = tl.where(close, exact, squared)
    d = _from_squared(tl.maximum(squared, 0.0), (a_norm == 0)[:, None], (b_norm == 0)[None, :], METRIC)
    return d, negative, positive


@triton.jit
def _from_squared(squared, a_is_zero, b_is_zero, METRIC: tl.constexpr):
    """The distance from ‖a − b‖²."""
    if METRIC == 0:
        d = tl.sqrt_rn(squared)  # as torch rounds it, so that ties between the two stay ties
    elif METRIC == 1:
        d = squared
    else:
        d = squared / 2 + (tl.where(a_is_zero, 0.5, 0.0) + tl.where(b_is_zero, 0.5, 0.0))
    return d


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
def _v(weight, d, METRIC: tl.constexpr):
    """V from the weights of distances: the gradient with respect to x is Σ V (x − y)."""
    if METRIC == 0:
        v = tl.where(d > 0, weight / tl.where(d > 0, d, 1.0), 0.0)
    elif METRIC == 1:
        v = 2 * weight
    else:
        v = weight
    return v


@triton.jit
def _classes(start, stop, rows, N, M):
    """Where the classes of some anchors begin and end, the longest of them, and the columns they lie in."""
    first = tl.load(start + rows, mask=rows < N, other=0).to(tl.int32)
    last = tl.load(stop + rows, mask=rows < N, other=0).to(tl.int32)
    return first, last, tl.max(last - first, axis=0), tl.min(tl.where(rows < N, first, M), axis=0), tl.max(last, axis=0)


@triton.jit
def _in_slots(columns, first, last, done, SLOTS: tl.constexpr):
    """The slot of each cell's column among the positives that come after ``done``, and whether it has one."""
    slot = columns[None, :] - first[:, None] - done
    return slot, (slot >= 0) & (slot < SLOTS) & (columns[None, :] < last[:, None])


@triton.jit
def _thresholds(
    x, y, x_norm, y_norm, start, stop, own, ap, rows, places, done, N, M, D, METRIC: tl.constexpr, SLOTS: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """Write distances of the anchors' positives after the first ``done`` to rows ``places`` of ap; −1 for itself."""
    first, last, _longest, begin, end = _classes(start, stop, rows, N, M)
    tl.debug_barrier()  # nobody still reads what is written over
    for left in range(begin, end, BN):
        columns = (left + tl.arange(0, BN)).to(tl.int64)
        slot, inside = _in_slots(columns, first, last, done, SLOTS)
        if tl.sum(tl.sum(inside.to(tl.int32), axis=1), axis=0) > 0:
            d, _negative, positive = _tile(
                x, y, x_norm, y_norm, start, stop, own, rows, columns, N, M, D, METRIC, BM, BN, BD
            )
            tl.store(ap + places[:, None] * SLOTS + slot, tl.where(positive, d, -1.0), mask=inside)
    tl.debug_barrier()


@triton.jit
def _add_up(at, values):
    """Add the sum of a tile to a number that only this program writes."""
    tl.store(at, tl.load(at) + tl.sum(tl.sum(values, axis=1), axis=0))


@triton.jit
def _add_product(into, v, of, rows, columns, row_count, column_count, D, ATOMIC: tl.constexpr, BD: tl.constexpr):
    """Add v·of to rows of ``into``, of columns of ``of``."""
    for left in range(0, D, BD):
        w = left + tl.arange(0, BD)
        b = tl.load(
            of + columns[:, None] * D + w[None, :], mask=(columns < column_count)[:, None] & (w < D)[None, :], other=0.0
        )
        at, inside = into + rows[:, None] * D + w[None, :], (rows < row_count)[:, None] & (w < D)[None, :]
        product = tl.dot(v, b, input_precision="ieee")
        if ATOMIC:
            tl.atomic_add(at, product, mask=inside, sem="relaxed")
        else:
            tl.store(at, tl.load(at, mask=inside, other=0.0) + product, mask=inside)


@triton.jit
def _add_positives(
    slope, t, x, y, x_grad, column_sum, y_grad, rows, columns, N, M, D, METRIC: tl.constexpr, BD: tl.constexpr
):  # fmt: skip
    """Add a tile of positives, at distances t with these slopes, to the gradients; Σ V of each anchor."""
    v = _v(slope, t, METRIC)
    _add_product(x_grad, v, y, rows, columns, N, M, D, False, BD)
    tl.atomic_add(column_sum + columns, tl.sum(v, axis=0), mask=columns < M, sem="relaxed")
    _add_product(y_grad, tl.trans(v), x, columns, rows, M, N, D, True, BD)
    return tl.sum(v, axis=1)


@triton.jit
def _add_one_row(
    weight, d, columns, x, y, x_grad, column_sum, y_grad, rows, N, M, D, METRIC: tl.constexpr, BD: tl.constexpr
):  # fmt: skip
    """Add one reference row an anchor, at distances d with these weights, to the gradients; each anchor's V."""
    v = _v(weight, d, METRIC)
    there = (rows < N) & (weight != 0)
    for left in range(0, D, BD):
        w = left + tl.arange(0, BD)
        inside = there[:, None] & (w < D)[None, :]
        at, there_at = rows[:, None] * D + w[None, :], columns[:, None] * D + w[None, :]
        a, b = tl.load(x + at, mask=inside, other=0.0), tl.load(y + there_at, mask=inside, other=0.0)
        tl.store(x_grad + at, tl.load(x_grad + at, mask=inside, other=0.0) + v[:, None] * b, mask=inside)
        tl.atomic_add(y_grad + there_at, v[:, None] * a, mask=inside, sem="relaxed")
    tl.atomic_add(column_sum + columns, v, mask=there, sem="relaxed")
    return v


@triton.jit
def _anchor_kernel(
    x, y, x_norm, y_norm, start, stop, own, ap, slopes, mined, row_sum, x_grad, column_sum, y_grad, partial,
    N, M, D, margin, low, high, METRIC: tl.constexpr, GAP: tl.constexpr, SOFT: tl.constexpr, SLOTS: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, DIFFERENTIATE: tl.constexpr,
):  # fmt: skip
    """All triplets of BM anchors: sums, Σ V·y over their negatives and positives, and Σ Vᵀ·x of their positives."""
    program = tl.program_id(0)
    rows = (program * BM + tl.arange(0, BM)).to(tl.int64)
    is_row = rows < N
    first, last, longest, begin, end = _classes(start, stop, rows, N, M)
    total, distance = tl.zeros((BM,), dtype=tl.float64), tl.zeros((BM,), dtype=tl.float64)
    here = partial + program * 5
    v_sum = tl.zeros((BM,), dtype=tl.float32)
    for done in range(0, longest, SLOTS):
        _thresholds(
            x, y, x_norm, y_norm, start, stop, own, ap, rows, rows, done, N, M, D, METRIC, SLOTS, BM, BN, BD
        )  # fmt: skip
        slots = tl.minimum(longest - done, SLOTS)
        for k in range(slots):
            tl.store(slopes + rows * SLOTS + k, tl.zeros((BM,), dtype=tl.float32), mask=is_row)
            if GAP:
                tl.store(mined + rows * SLOTS + k, tl.zeros((BM,), dtype=tl.float32), mask=is_row)
        tl.debug_barrier()
        for top in range(0, M, BN):
            columns = (top + tl.arange(0, BN)).to(tl.int64)
            d, negative, _positive = _tile(
                x, y, x_norm, y_norm, start, stop, own, rows, columns, N, M, D, METRIC, BM, BN, BD
            )
            c = tl.zeros((BM, BN), dtype=tl.float32)
            for k in range(slots):
                t = tl.load(ap + rows * SLOTS + k, mask=first + done + k < last, other=-1.0)
                kept, loss, slope = _one_positive(d, negative, t, margin, low, high, GAP, SOFT)
                c += slope
                total += tl.sum(loss, axis=1).to(tl.float64)
                distance += tl.sum(tl.where(kept, d, 0.0), axis=1).to(tl.float64)
                at = slopes + rows * SLOTS + k
                tl.store(at, tl.load(at, mask=is_row, other=0.0) + tl.sum(slope, axis=1), mask=is_row)
                if GAP:
                    at = mined + rows * SLOTS + k
                    more = tl.sum(kept.to(tl.float32), axis=1)
                    tl.store(at, tl.load(at, mask=is_row, other=0.0) + more, mask=is_row)
            if DIFFERENTIATE:
                v = _v(-c, d, METRIC)
                v_sum += tl.sum(v, axis=1)
                _add_product(x_grad, v, y, rows, columns, N, M, D, False, BD)
        tl.debug_barrier()
        for left in range(begin, end, BN):  # the slopes of these positives are known now
            columns = (left + tl.arange(0, BN)).to(tl.int64)
            slot, inside = _in_slots(columns, first, last, done, SLOTS)
            if tl.sum(tl.sum(inside.to(tl.int32), axis=1), axis=0) > 0:
                cell = rows[:, None] * SLOTS + slot
                t = tl.load(ap + cell, mask=inside, other=-1.0)
                slope = tl.load(slopes + cell, mask=inside, other=0.0)
                if GAP:
                    number = tl.load(mined + cell, mask=inside, other=0.0)
                else:
                    number = tl.where(t >= 0, (M - (last - first))[:, None].to(tl.float32), 0.0)
                number = number.to(tl.float64)
                _add_up(here + 1, number)
                _add_up(here + 2, slope.to(tl.float64))
                _add_up(here + 3, number * t)
                if DIFFERENTIATE:
                    v_sum += _add_positives(
                        slope, t, x, y, x_grad, column_sum, y_grad, rows, columns, N, M, D, METRIC, BD
                    )  # fmt: skip
        tl.debug_barrier()
    tl.store(here, tl.sum(total, axis=0))
    tl.store(here + 4, tl.sum(distance, axis=0))
    if DIFFERENTIATE:
        tl.store(row_sum + rows, v_sum, mask=is_row)


@triton.jit
def _reference_kernel(
    x, y, x_norm, y_norm, start, stop, own, ap, column_sum, y_grad, N, M, D, margin, low, high,
    METRIC: tl.constexpr, GAP: tl.constexpr, SOFT: tl.constexpr, SLOTS: tl.constexpr, BM: tl.constexpr,
    BN: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """The same tiles seen from BN reference rows: Σ Vᵀ·x over the anchors they are negatives of."""
    program = tl.program_id(0)
    columns = (program * BN + tl.arange(0, BN)).to(tl.int64)
    is_column = columns < M
    spare = (tl.cdiv(N, BM) + program) * BM + tl.arange(0, BM)
    v_sum = tl.zeros((BN,), dtype=tl.float32)
    for top in range(0, N, BM):
        rows = (top + tl.arange(0, BM)).to(tl.int64)
        first, last, longest, _begin, _end = _classes(start, stop, rows, N, M)
        d, negative, _positive = _tile(
            x, y, x_norm, y_norm, start, stop, own, rows, columns, N, M, D, METRIC, BM, BN, BD
        )
        places = tl.where(longest > SLOTS, spare, rows)
        c = tl.zeros((BM, BN), dtype=tl.float32)
        for done in range(0, longest, SLOTS):
            if longest > SLOTS:  # what the anchors left behind are their last positives only
                _thresholds(
                    x, y, x_norm, y_norm, start, stop, own, ap, rows, places, done, N, M, D, METRIC, SLOTS, BM, BN, BD
                )  # fmt: skip
            for k in range(tl.minimum(longest - done, SLOTS)):
                t = tl.load(ap + places * SLOTS + k, mask=first + done + k < last, other=-1.0)
                _kept, _loss, slope = _one_positive(d, negative, t, margin, low, high, GAP, SOFT)
                c += slope
        v = _v(-c, d, METRIC)
        v_sum += tl.sum(v, axis=0)
        _add_product(y_grad, tl.trans(v), x, columns, rows, M, N, D, False, BD)
    here = column_sum + columns
    tl.store(here, tl.load(here, mask=is_column, other=0.0) + v_sum, mask=is_column)


@triton.jit
def _farthest_kernel(
    x, y, x_norm, y_norm, start, stop, own, ap, column, N, M, D,
    METRIC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """For BM anchors: the farthest positive, ties to the first in label order, which is the lowest original index."""
    rows = (tl.program_id(0) * BM + tl.arange(0, BM)).to(tl.int64)
    first, last, _longest, begin, end = _classes(start, stop, rows, N, M)
    best = tl.full((BM,), -1.0, dtype=tl.float32)
    holder = tl.zeros((BM,), dtype=tl.int64)
    for left in range(begin, end, BN):
        columns = (left + tl.arange(0, BN)).to(tl.int64)
        inside = (columns[None, :] >= first[:, None]) & (columns[None, :] < last[:, None])
        if tl.sum(tl.sum(inside.to(tl.int32), axis=1), axis=0) > 0:
            d, _negative, positive = _tile(
                x, y, x_norm, y_norm, start, stop, own, rows, columns, N, M, D, METRIC, BM, BN, BD
            )
            d = tl.where(positive, d, -1.0)
            farthest = tl.max(d, axis=1)
            lowest = tl.min(tl.where(positive & (d == farthest[:, None]), columns[None, :], M), axis=1)
            holder = tl.where(farthest > best, lowest, holder)
            best = tl.maximum(best, farthest)
    tl.store(ap + rows, best, mask=rows < N)
    tl.store(column + rows, holder, mask=rows < N)


@triton.jit
def _nearest_kernel(
    x, y, x_norm, y_norm, start, stop, own, order, floors, an, chosen, N, M, D, F,
    METRIC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """For BM anchors and each of F floors: the closest negative beyond the floor, ties to the lowest original index."""
    rows = (tl.program_id(0) * BM + tl.arange(0, BM)).to(tl.int64)
    is_row = rows < N
    for top in range(0, M, BN):
        columns = (top + tl.arange(0, BN)).to(tl.int64)
        d, negative, _positive = _tile(
            x, y, x_norm, y_norm, start, stop, own, rows, columns, N, M, D, METRIC, BM, BN, BD
        )
        index = tl.load(order + columns, mask=columns < M, other=M)
        for f in range(F):
            floor = tl.load(floors + rows * F + f, mask=is_row, other=0.0)
            _closer(d, negative, index, floor, an + rows * F + f, chosen + rows * F + f, is_row, M)


@triton.jit
def _closer(d, negative, index, floor, an, chosen, is_row, M):
    """Keep, for each anchor, the closest negative beyond a floor so far, ties to the lowest original index."""
    beyond = tl.where(negative & (d > floor[:, None]), d, float("inf"))
    nearest = tl.min(beyond, axis=1)
    is_nearest = (beyond == nearest[:, None]) & (beyond < float("inf"))
    lowest = tl.min(tl.where(is_nearest, index[None, :], M), axis=1)
    best = tl.load(an, mask=is_row, other=float("inf"))
    holder = tl.load(chosen, mask=is_row, other=M)
    better = (nearest < best) | ((nearest == best) & (lowest < holder))
    tl.store(an, tl.where(better, nearest, best), mask=is_row)
    tl.store(chosen, tl.where(better, lowest, holder), mask=is_row)


@triton.jit
def _drawn(seed, key):
    """A number in [0, 1), float64, by its key: the arithmetic of :func:`triune.losses.draws.draw_by_key`."""
    z = seed.to(tl.uint64) + key.to(tl.uint64) * 0x9E3779B97F4A7C15
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return ((z ^ (z >> 31)) >> 11).to(tl.float64) * (1.0 / 9007199254740992.0)


@triton.jit
def _distance_to(
    x, y, x_norm, y_norm, rows, columns, wanted, D, METRIC: tl.constexpr, BM: tl.constexpr, BD: tl.constexpr
):
    """Distances of anchors to one reference row each, from the differences; infinite where none is wanted."""
    squared = tl.zeros((BM,), dtype=tl.float32)
    for left in range(0, D, BD):
        w = left + tl.arange(0, BD)
        inside = wanted[:, None] & (w < D)[None, :]
        a = tl.load(x + rows[:, None] * D + w[None, :], mask=inside, other=0.0)
        b = tl.load(y + columns[:, None] * D + w[None, :], mask=inside, other=0.0)
        squared += tl.sum((a - b) * (a - b), axis=1)
    a_is_zero = tl.load(x_norm + rows, mask=wanted, other=1.0) == 0
    b_is_zero = tl.load(y_norm + columns, mask=wanted, other=1.0) == 0
    return tl.where(wanted, _from_squared(squared, a_is_zero, b_is_zero, METRIC), float("inf"))


@triton.jit
def _nearest_found(an, chosen, place, is_row, M):
    """The distance of each anchor's closest negative, infinite where there is none, and its sorted row."""
    near = tl.load(an, mask=is_row, other=float("inf"))
    original = tl.load(chosen, mask=is_row, other=M)
    return near, tl.load(place + original, mask=original < M, other=0)


@triton.jit
def _one_each(here, t, near, margin, low, high, bound, GAP: tl.constexpr, SOFT: tl.constexpr):
    """Add up one triplet an anchor, at distances t and near; the slope of each loss, 0 where there is no triplet."""
    found = (near < float("inf")) & (near < t + bound)
    kept, loss, slope = _one_positive(near[:, None], found[:, None], t, margin, low, high, GAP, SOFT)
    _add_up(here, loss.to(tl.float64))
    _add_up(here + 1, kept.to(tl.float64))
    _add_up(here + 2, (kept & ((slope > 0) | SOFT)).to(tl.float64))
    _add_up(here + 3, tl.where(kept, t[:, None], 0.0).to(tl.float64))
    _add_up(here + 4, tl.where(kept, near[:, None], 0.0).to(tl.float64))
    tl.debug_barrier()  # what was added up is there for the next to read
    return tl.sum(slope, axis=1)


@triton.jit
def _mined_kernel(
    x, y, x_norm, y_norm, start, stop, own, anchors, order, place, ap, slopes, an, chosen, seed,
    row_sum, x_grad, column_sum, y_grad, partial, N, M, D, margin, low, high, bound, STRATEGY: tl.constexpr,
    METRIC: tl.constexpr, GAP: tl.constexpr, SOFT: tl.constexpr, SLOTS: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, DIFFERENTIATE: tl.constexpr,
):  # fmt: skip
    """Triplets of BM anchors, one for each positive or for the farthest: sums, and what they add to the gradients."""
    program = tl.program_id(0)
    rows = (program * BM + tl.arange(0, BM)).to(tl.int64)
    is_row = rows < N
    first, last, longest, begin, end = _classes(start, stop, rows, N, M)
    here = partial + program * 5  # in memory: sums of 64 bits for each anchor would fill the registers
    v_sum, hard_slope = tl.zeros((BM,), dtype=tl.float32), tl.zeros((BM,), dtype=tl.float32)
    farthest, holder = tl.full((BM,), -1.0, dtype=tl.float32), tl.zeros((BM,), dtype=tl.int64)
    for done in range(0, longest, SLOTS):
        _thresholds(
            x, y, x_norm, y_norm, start, stop, own, ap, rows, rows, done, N, M, D, METRIC, SLOTS, BM, BN, BD
        )  # fmt: skip
        slots = tl.minimum(longest - done, SLOTS)
        searched = slots
        if STRATEGY == HARD or STRATEGY == BATCH_HARD:  # noqa: SIM109 (Triton has no ``in``)
            searched = tl.where(done == 0, 1, 0)  # one negative for all positives, found with the first of them
        if STRATEGY != RANDOM:
            for k in range(searched):
                tl.store(an + rows * SLOTS + k, tl.full((BM,), float("inf"), dtype=tl.float32), mask=is_row)
                tl.store(chosen + rows * SLOTS + k, tl.full((BM,), M, dtype=tl.int64), mask=is_row)
            tl.debug_barrier()
            for top in range(0, tl.where(searched > 0, M, 0), BN):
                columns = (top + tl.arange(0, BN)).to(tl.int64)
                d, negative, _positive = _tile(
                    x, y, x_norm, y_norm, start, stop, own, rows, columns, N, M, D, METRIC, BM, BN, BD
                )
                index = tl.load(order + columns, mask=columns < M, other=M)
                for k in range(searched):
                    floor = tl.full((BM,), -1.0, dtype=tl.float32)
                    if STRATEGY == SEMIHARD:
                        floor = tl.load(ap + rows * SLOTS + k, mask=first + done + k < last, other=float("inf"))
                    _closer(d, negative, index, floor, an + rows * SLOTS + k, chosen + rows * SLOTS + k, is_row, M)
            tl.debug_barrier()
        for k in range(slots):
            t = tl.load(ap + rows * SLOTS + k, mask=first + done + k < last, other=-1.0)
            if STRATEGY == RANDOM:
                positive = tl.load(order + first + done + k, mask=first + done + k < last, other=0)
                # An anchor is known by its own row, which is the same in whatever process it is an anchor.
                itself = tl.load(own + rows, mask=is_row, other=-1)
                alone = tl.load(anchors + rows, mask=is_row, other=0)
                named = tl.load(order + itself, mask=is_row & (itself >= 0), other=0)
                key = tl.where(itself >= 0, named, alone) * M + positive
                negatives = M - (last - first)
                nth = (_drawn(tl.load(seed), key) * negatives.to(tl.float64)).to(tl.int64)
                nth = tl.maximum(tl.minimum(nth, negatives - 1), 0)
                column = tl.where(nth < first, nth, nth + last - first)
                wanted = (t >= 0) & (negatives > 0)
                near = _distance_to(x, y, x_norm, y_norm, rows, column, wanted, D, METRIC, BM, BD)
            elif STRATEGY == SEMIHARD:
                near, column = _nearest_found(an + rows * SLOTS + k, chosen + rows * SLOTS + k, place, is_row, M)
            elif STRATEGY == HARD:
                near, column = _nearest_found(an + rows * SLOTS, chosen + rows * SLOTS, place, is_row, M)
            if STRATEGY == BATCH_HARD:  # of equals the first in label order, which is the lowest original index
                holder = tl.where(t > farthest, first + done + k, holder)
                farthest = tl.maximum(t, farthest)
            else:
                slope = _one_each(here, t, near, margin, low, high, bound, GAP, SOFT)
                tl.store(slopes + rows * SLOTS + k, slope, mask=is_row)
                if STRATEGY == HARD:
                    hard_slope += slope
                elif DIFFERENTIATE:
                    v_sum += _add_one_row(
                        -slope, near, column, x, y, x_grad, column_sum, y_grad, rows, N, M, D, METRIC, BD
                    )  # fmt: skip
        tl.debug_barrier()
        if DIFFERENTIATE and STRATEGY != BATCH_HARD:
            for left in range(begin, end, BN):
                columns = (left + tl.arange(0, BN)).to(tl.int64)
                slot, inside = _in_slots(columns, first, last, done, SLOTS)
                if tl.sum(tl.sum(inside.to(tl.int32), axis=1), axis=0) > 0:
                    cell = rows[:, None] * SLOTS + slot
                    t = tl.load(ap + cell, mask=inside, other=-1.0)
                    slope = tl.load(slopes + cell, mask=inside, other=0.0)
                    v_sum += _add_positives(
                        slope, t, x, y, x_grad, column_sum, y_grad, rows, columns, N, M, D, METRIC, BD
                    )  # fmt: skip
            tl.debug_barrier()
    if STRATEGY == HARD or STRATEGY == BATCH_HARD:  # noqa: SIM109
        near, column = _nearest_found(an + rows * SLOTS, chosen + rows * SLOTS, place, is_row, M)
        if STRATEGY == BATCH_HARD:
            hard_slope = _one_each(here, farthest, near, margin, low, high, bound, GAP, SOFT)
            if DIFFERENTIATE:
                v_sum += _add_one_row(
                    hard_slope, farthest, holder, x, y, x_grad, column_sum, y_grad, rows, N, M, D, METRIC, BD
                )  # fmt: skip
        if DIFFERENTIATE:
            v_sum += _add_one_row(
                -hard_slope, near, column, x, y, x_grad, column_sum, y_grad, rows, N, M, D, METRIC, BD
            )  # fmt: skip
    if DIFFERENTIATE:
        tl.store(row_sum + rows, v_sum, mask=is_row)
