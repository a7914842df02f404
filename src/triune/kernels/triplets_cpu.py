"""Triplet kernels for the CPU: matrix products by torch, everything else on one row of them at a time in Numba.

The README beside this file explains the algorithms. Every function takes float32; torch's thread count is used.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from triune.kernels.compiling import compile_kernel
from triune.kernels.threads import one_torch_thread_each

# Cells of the Gram matrix that a thread works on at a time: 1 MiB, so that they are in the cache when they are used.
SHARE_CELLS = 1 << 18


# With fewer than this for each, starting threads takes longer than they save.
THREAD_CELLS = 1 << 20


# Shares held at a time. The gradient of the reference rows waits for all of them.
SHARES = 8


# Gram-based squared distances below this share of ‖x‖² + ‖y‖² have lost digits and are computed from differences.
CLOSE = np.float32(1e-3)


# With more positives than this an anchor's negatives are ranked by binary search instead of by comparing to each.
LINEAR_POSITIVES = 100


# Up to this many positives an anchor, each looks for its semi-hard negative by itself.
LINEAR_SEMIHARD = 3


# Cells a positive: the more, the fewer negatives share one with a positive.
SEMIHARD_CELLS = 16


# Up to this many sorted values a rank is found by comparing to each of them, beyond by binary search.
LINEAR_RANK = 100


# Columns of a row worked on at a time, so that they stay in the first-level cache.
TILE = 2048


METRICS = {"euclidean": 0, "squared_euclidean": 1, "cosine": 2}


STRATEGIES = {"hard": 0, "batch_hard": 1, "semihard": 2}


# Sums may be reordered so that they vectorise. choose_path lets no NaN in; infinity keeps its meaning.
_FAST = {"reassoc", "contract", "nsz", "nnan"}


_jit = compile_kernel(_FAST)


# Where equal values have to give equal results in another loop too.
_jit_strictly = compile_kernel({"nsz", "nnan"})


Share: TypeAlias = tuple[slice, Tensor]  # rows, and room for their products with the reference rows


class SortedArrays(NamedTuple):
    """N anchors and M reference rows sorted by label, as NumPy float32 and int64 arrays."""

    x: Any
    """Anchors (N, D), of unit length (or zero) for the cosine."""
    y: Any
    """Reference rows (M, D) in label order."""
    x_norm: Any
    """‖x‖², shape (N,)."""
    y_norm: Any
    """‖y‖², shape (M,)."""
    start: Any
    """Where each anchor's class begins among the reference rows, (N,)."""
    stop: Any
    """Where it ends, (N,)."""
    own: Any
    """Which sorted reference row is the anchor itself, −1 for none, (N,)."""
    order: Any
    """The original index of each sorted reference row, (M,)."""
    metric: int
    """Which distance, by :data:`METRICS`."""
    one_set: bool
    """The anchors are the reference rows, one variable, and each is its own."""


def sorted_arrays(
    x: Tensor, y: Tensor, order: Tensor, start: Tensor, stop: Tensor, own: Tensor, metric: str, one_set: bool = False
) -> SortedArrays:
    """Float32 tensors, the reference rows not yet sorted by label, as the arrays that the kernels take.

    Args:
        x: anchors (N, D), of unit length (or zero) for the cosine.
        y: reference rows (M, D), likewise.
        order: permutation that sorts y by label (M,).
        start: first row of each anchor's class in the sorted y (N,).
        stop: one past the last (N,).
        own: the anchor's own row in the unsorted y, −1 for none (N,).
        metric: which distance.
        one_set: x and y are one variable: its gradient is that with respect to x.
    """
    x, y = x.detach().contiguous(), y.detach()[order]
    place = torch.empty_like(order)
    place[order] = torch.arange(order.shape[0])
    if len(order):  # an own row of another class is an ordinary negative
        own = torch.where(own >= 0, place[own.clamp_min(0)], -1)
        own = torch.where((start <= own) & (own < stop), own, -1)
    norms = x.square().sum(1), y.square().sum(1)
    arrays: list[Any] = [each.numpy() for each in (x, y, *norms, start, stop, own, order)]
    each_is_its_own = one_set and bool(torch.equal(own, place))
    return SortedArrays(*arrays, METRICS[metric], each_is_its_own)  # type: ignore[call-arg]


@torch.no_grad()
@torch.autocast("cpu", enabled=False)
def all_triplets(
    batch: SortedArrays, margin: float | str, gap: tuple[float, float] | None, differentiate: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Sums over every triplet, and their loss's gradients, in O(N·M·log K) after one matrix product.

    Args:
        batch: anchors and reference rows.
        margin: a number, or ``"soft"``.
        gap: only triplets with low < d(a,n) − d(a,p) ≤ high.
        differentiate: whether the gradients are wanted.

    Returns:
        (loss, triplets, active, Σ d(a,p), Σ d(a,n)) in float64, shape (5,); if asked to differentiate, the gradients of
        the summed loss with respect to ``x`` (N, D) and to the *sorted* ``y`` (M, D), each one matrix product more.
    """
    x, y = torch.from_numpy(batch.x), torch.from_numpy(batch.y)
    x_one, y_one = (torch.cat([each, torch.ones(len(each), 1)], 1) for each in (x, y))
    x_grad, y_grad = torch.zeros_like(x_one), torch.zeros_like(y_one)
    low, high = (-np.inf, np.inf) if gap is None else gap
    work, first = (_soft_rows, []) if margin == "soft" else (_hinge_rows, [np.float32(margin)])
    options: list[Any] = [*first, np.float32(low), np.float32(high), gap is not None, differentiate]

    @torch.inference_mode()
    def sum_rows(share: Share) -> Any:
        rows, block = share
        torch.mm(x[rows], y.T, out=block)
        sums = work(block.numpy(), batch, rows.start, *options)
        if differentiate:  # the block now holds V with d loss / dx = Σ V (x − y)
            torch.mm(block, y_one, out=x_grad[rows])
        return sums

    @torch.inference_mode()
    def add_to_reference(columns: slice, rows: slice, block: Tensor) -> None:
        y_grad[columns].addmm_(block[:, columns].T, x_one[rows])

    totals = np.zeros(5)
    with one_torch_thread_each(threads_for(len(x) * len(y))) as each:
        for rows, block, shares in _rounds(batch):
            totals += np.sum(each(sum_rows, shares), axis=0)
            if differentiate:  # divided by columns: no two threads may add to one row of the gradient
                each(partial(add_to_reference, rows=rows, block=block), _slices(len(y), -(-len(y) // SHARES)))
    if not differentiate:
        return torch.from_numpy(totals), None, None
    return (
        torch.from_numpy(totals),
        x_grad[:, -1:] * x - x_grad[:, :-1],
        y_grad[:, -1:] * y - y_grad[:, :-1],
    )


@torch.no_grad()
@torch.autocast("cpu", enabled=False)
def mine(
    batch: SortedArrays, strategy: str, margin: float, gap: tuple[float, float] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Anchor, positive and negative of hard, batch-hard or semi-hard triplets, sorted; each int64 (T,).

    O(N·M) time after one matrix product (and O(N·K·log K) for semi-hard); memory one block and the result.

    Args:
        batch: anchors and reference rows.
        strategy: ``"hard"``, ``"batch_hard"`` or ``"semihard"``.
        margin: upper end of the semi-hard band.
        gap: only triplets with low < d(a,n) − d(a,p) ≤ high.
    """
    positives = np.maximum(batch.stop - batch.start - (batch.own >= 0), 0)
    slots = np.minimum(positives, 1) if strategy == "batch_hard" else positives
    ends = np.cumsum(slots)
    count = int(ends[-1]) if len(ends) else 0
    positive, negative = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    low, high = (-np.inf, np.inf) if gap is None else gap
    options = (STRATEGIES[strategy], np.float32(margin), np.float32(low), np.float32(high), gap is not None)
    x, y = torch.from_numpy(batch.x), torch.from_numpy(batch.y)

    @torch.inference_mode()
    def mine_rows(share: Share) -> None:
        rows, block = share
        torch.mm(x[rows], y.T, out=block)
        _mine_rows(block.numpy(), batch, rows.start, *options, ends - slots, positive, negative)

    with one_torch_thread_each(threads_for(len(x) * len(y))) as each:
        for _, _, shares in _rounds(batch):
            each(mine_rows, shares)
    kept = negative >= 0
    anchor = np.repeat(np.arange(len(slots)), slots)
    first, second, third = (torch.from_numpy(each[kept]) for each in (anchor, positive, negative))
    return first, second, third


def threads_for(cells: int) -> int:
    """How many threads are worth starting for so many distances."""
    return max(1, min(torch.get_num_threads(), cells // THREAD_CELLS))


def _rounds(batch: SortedArrays) -> Iterator[tuple[slice, Tensor, list[Share]]]:
    """Rows in rounds, with room for their products with y in one buffer that is used again, and each round in shares.

    What is summed with what depends on the sizes alone, not on how many threads there are (up to SHARES of them).
    """
    count, width = len(batch.x), len(batch.y)
    if count == 0 or width == 0:
        return
    height = max(16, SHARE_CELLS // width)
    # Short shares of many columns are few at a time: they fill the memory.
    shares_a_round = SHARES if height > 16 else min(SHARES, torch.get_num_threads())
    buffer = torch.empty(min(count, shares_a_round * height), width)
    for rows in _slices(count, shares_a_round * height):
        block = buffer[: rows.stop - rows.start]
        shares = [
            (slice(rows.start + part.start, rows.start + part.stop), block[part])
            for part in _slices(len(block), height)
        ]
        yield rows, block, shares


def _slices(count: int, size: int) -> list[slice]:
    """Consecutive slices of a size that cover ``range(count)``."""
    return [slice(begin, min(begin + size, count)) for begin in range(0, count, size)]


@_jit
def _distance_row(gram: Any, batch: Any, i: int, d: Any) -> None:
    """Distances of anchor i to every reference row, from its row of the Gram matrix; infinite to itself."""
    if batch.own[i] >= 0:
        gram[batch.own[i]] = -np.inf
    distances(gram, batch.x[i], batch.x_norm[i], batch.y, batch.y_norm, batch.metric, d)


@_jit
def distances(gram: Any, x: Any, norm: Any, y: Any, y_norm: Any, metric: int, d: Any) -> None:
    """Distances of a row x to rows y, from their products.

    Args:
        gram: products of x with every y, (M,).
        x: (D,).
        norm: ‖x‖².
        y: (M, D).
        y_norm: ‖y‖², (M,).
        metric: which distance, by :data:`METRICS`.
        d: where the distances are written, (M,).
    """
    lost = np.float32(0)  # a sum vectorises, the smallest does not
    for j in range(len(d)):
        both = norm + y_norm[j]
        squared = both - np.float32(2) * gram[j]
        d[j] = squared
        lost += np.float32(1) if squared < CLOSE * both else np.float32(0)
    if lost > 0:
        for j in range(len(d)):
            if d[j] < CLOSE * (norm + y_norm[j]):
                total = np.float32(0)
                for k in range(len(x)):
                    difference = x[k] - y[j, k]
                    total += difference * difference
                d[j] = total
    if metric == 0:
        for j in range(len(d)):
            d[j] = np.sqrt(d[j])
    elif metric == 2:
        zero = np.float32(0.5) if norm == 0 else np.float32(0)
        for j in range(len(d)):
            d[j] = np.float32(0.5) * d[j] + zero + (np.float32(0.5) if y_norm[j] == 0 else np.float32(0))


@_jit
def _positives(d: Any, batch: Any, i: int, ap: Any, column: Any) -> int:
    """Distances of anchor i's positives, in index order, and their columns; how many there are."""
    count = 0
    for j in range(batch.start[i], batch.stop[i]):
        if j != batch.own[i]:
            ap[count] = d[j]
            column[count] = j
            count += 1
    return count


@_jit
def _widest(batch: Any) -> int:
    """Size of the largest class, 1 at least."""
    widest = 1
    for i in range(len(batch.start)):
        widest = max(widest, batch.stop[i] - batch.start[i])
    return widest


@_jit
def _sort(values: Any, payload: Any, size: int) -> None:
    """Shell sort of the first ``size`` values, payload along: NumPy's argsort would double the time to compile."""
    gap = 1
    while gap < size // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for k in range(gap, size):
            value, carried, hole = values[k], payload[k], k
            while hole >= gap and values[hole - gap] > value:
                values[hole], payload[hole] = values[hole - gap], payload[hole - gap]
                hole -= gap
            values[hole], payload[hole] = value, carried
        gap //= 3


@_jit
def slope(weight: Any, d: Any, metric: int) -> Any:
    """V from the weight of a distance: its gradient with respect to x is V (x − y).

    Args:
        weight: the slope of the loss in the distance.
        d: the distance.
        metric: which distance, by :data:`METRICS`.
    """
    if metric == 0:
        return weight / d if d > 0 else np.float32(0)
    return np.float32(2) * weight if metric == 1 else weight


@_jit
def _slopes(c: Any, d: Any, metric: int, out: Any) -> None:
    """:func:`slope` of the weights −c of a run of negatives."""
    if metric == 0:
        for j in range(len(c)):
            out[j] = -c[j] / d[j] if d[j] > 0 else np.float32(0)
    else:
        factor = np.float32(-2) if metric == 1 else np.float32(-1)
        for j in range(len(c)):
            out[j] = factor * c[j]


@_jit
def _rank(t: Any, d: Any, inclusive: bool, position: Any) -> None:
    """How many of the sorted values t are < each d (≤ if inclusive), for a whole run; nothing branches on data.

    Few values are compared one by one. Among many, all binary searches go in step: every one halves the same lengths,
    so the steps are the outer loop.
    """
    position[: len(d)] = 0
    if len(t) <= LINEAR_RANK and not inclusive:
        k = 0
        while k + 4 <= len(t):
            t0, t1, t2, t3 = t[k], t[k + 1], t[k + 2], t[k + 3]
            for j in range(len(d)):
                value = d[j]
                position[j] += (
                    (np.int32(1) if t0 < value else np.int32(0))
                    + (np.int32(1) if t1 < value else np.int32(0))
                    + (np.int32(1) if t2 < value else np.int32(0))
                    + (np.int32(1) if t3 < value else np.int32(0))
                )
            k += 4
        while k < len(t):
            t0 = t[k]
            for j in range(len(d)):
                position[j] += np.int32(1) if t0 < d[j] else np.int32(0)
            k += 1
        return
    length = len(t)
    while length > 0:
        half = (length + 1) // 2
        for j in range(len(d)):
            value = t[position[j] + half - 1]
            taken = value <= d[j] if inclusive else value < d[j]
            position[j] += half if taken else 0
        length -= half


@_jit
def _hinge_rows(
    block: Any, batch: Any, offset: int, margin: Any, low: Any, high: Any, has_gap: bool,
    differentiate: bool,
) -> Any:  # fmt: skip
    """Rows of the Gram matrix become rows of V, in place; returns the sums."""
    count = batch.y.shape[0]
    totals = np.zeros(5)
    d, c = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.float32)
    widest = _widest(batch)
    ap, column = np.empty(widest, dtype=np.float32), np.empty(widest, dtype=np.int64)
    r = np.empty(widest, dtype=np.float32)
    covering, mined = np.empty(widest + 1), np.empty(widest + 1)
    for row in range(len(block)):
        i, out = offset + row, block[row]
        start, stop = batch.start[i], batch.stop[i]
        if stop - start - (batch.own[i] >= 0) <= 0 or stop - start == count:
            out[:] = 0
            continue
        _distance_row(out, batch, i, d)
        size = _positives(d, batch, i, ap, column)
        c[:] = 0
        by_rank = size > LINEAR_POSITIVES
        if by_rank:  # a range of sorted positives is counted by where it begins and ends
            _sort(ap, column, size)
        covering[: size + 1] = 0
        mined[: size + 1] = 0
        for begin, end in ((0, start), (stop, count)):
            for left in range(begin, end, TILE):
                right = min(left + TILE, end)
                near, near_c = d[left:right], c[left:right]
                if by_rank:
                    _rank_tile(near, near_c, ap[:size], covering, mined, margin, low, high, has_gap, totals)
                elif has_gap:
                    _compare_gap_tile(near, near_c, ap[:size], covering, mined, margin, low, high, totals)
                else:
                    _compare_tile(near, near_c, ap[:size], covering, margin, totals)
        if not (by_rank or has_gap):
            totals[1] += np.float64(size) * (count - (stop - start))
            mined[:size] = count - (stop - start)
        active, in_gap = 0.0, 0.0
        for k in range(size):
            active, in_gap = covering[k] + (active if by_rank else 0.0), mined[k] + (in_gap if by_rank else 0.0)
            r[k] = np.float32(active)
            totals[2] += active
            totals[3] += in_gap * np.float64(ap[k])
        if differentiate:
            metric = batch.metric
            _slopes(c[:start], d[:start], metric, out[:start])
            _slopes(c[stop:], d[stop:], metric, out[stop:])
            out[start:stop] = 0
            for k in range(size):
                out[column[k]] = slope(r[k], ap[k], metric)
    return totals


@_jit
def _compare_tile(d: Any, c: Any, ap: Any, active: Any, margin: Any, totals: Any) -> None:
    """Compare a run of negatives to each threshold d(a,p) + margin, four at a time and without branches.

    Adds to c[n] how many thresholds lie beyond d(a,n), and to active[p] how many negatives lie within the threshold.
    """
    one, zero = np.float32(1), np.float32(0)
    size = len(ap)
    total = zero
    for j in range(len(d)):
        total += d[j]
    totals[4] += np.float64(total) * size
    k = 0
    while k + 4 <= size:
        t0, t1, t2, t3 = ap[k] + margin, ap[k + 1] + margin, ap[k + 2] + margin, ap[k + 3] + margin
        r0 = r1 = r2 = r3 = loss = zero
        for j in range(len(d)):
            z0, z1, z2, z3 = t0 - d[j], t1 - d[j], t2 - d[j], t3 - d[j]
            a0 = one if z0 > zero else zero
            a1 = one if z1 > zero else zero
            a2 = one if z2 > zero else zero
            a3 = one if z3 > zero else zero
            r0 += a0
            r1 += a1
            r2 += a2
            r3 += a3
            loss += (max(z0, zero) + max(z1, zero)) + (max(z2, zero) + max(z3, zero))
            c[j] += (a0 + a1) + (a2 + a3)
        active[k] += r0
        active[k + 1] += r1
        active[k + 2] += r2
        active[k + 3] += r3
        totals[0] += np.float64(loss)
        k += 4
    while k < size:
        t0 = ap[k] + margin
        r0 = loss = zero
        for j in range(len(d)):
            z0 = t0 - d[j]
            a0 = one if z0 > zero else zero
            r0 += a0
            loss += max(z0, zero)
            c[j] += a0
        active[k] += r0
        totals[0] += np.float64(loss)
        k += 1


@_jit
def _compare_gap_tile(
    d: Any, c: Any, ap: Any, active: Any, mined: Any, margin: Any, low: Any, high: Any, totals: Any
) -> None:
    """:func:`_compare_tile` for the triplets inside the gap, which it also counts into mined[p]."""
    one, zero = np.float32(1), np.float32(0)
    for k in range(len(ap)):
        threshold, floor, ceiling = ap[k] + margin, ap[k] + low, ap[k] + high
        within = near = loss = distance = zero
        for j in range(len(d)):
            inside = (one if d[j] > floor else zero) * (one if d[j] <= ceiling else zero)
            costly = inside if d[j] < threshold else zero
            within += inside
            distance += inside * d[j]
            near += costly
            loss += costly * (threshold - d[j])
            c[j] += costly
        active[k] += near
        mined[k] += within
        totals[0] += np.float64(loss)
        totals[1] += np.float64(within)
        totals[4] += np.float64(distance)


@_jit
def _rank_tile(
    d: Any, c: Any, ap: Any, covering: Any, mined: Any, margin: Any, low: Any, high: Any, has_gap: bool, totals: Any
) -> None:
    """Rank a run of negatives among the *sorted* positives by binary search: a negative's triplets are a range of them.

    The sums of :func:`_compare_gap_tile` in O(log K) a negative, except that a range begins by adding 1 to its first
    positive in ``covering`` (active) or ``mined`` and ends by taking 1 from the one after its last: running sums count.
    """
    size, run = len(ap), len(d)
    limit = ap + margin
    prefix = np.zeros(size + 1)
    for k in range(size):
        prefix[k + 1] = prefix[k] + np.float64(limit[k])
    first = np.empty(run, dtype=np.int32)
    head, tail = np.zeros(run, dtype=np.int32), np.empty(run, dtype=np.int32)
    tail[:] = size
    _rank(limit, d, True, first)
    if has_gap:
        _rank(ap + high, d, False, head)
        _rank(ap + low, d, False, tail)
    for j in range(run):
        if head[j] < tail[j]:
            mined[head[j]] += 1
            mined[tail[j]] -= 1
            totals[1] += tail[j] - head[j]
            totals[4] += np.float64(d[j]) * (tail[j] - head[j])
            begin = max(head[j], first[j])
            if begin < tail[j]:
                covering[begin] += 1
                covering[tail[j]] -= 1
                c[j] = tail[j] - begin
                totals[0] += prefix[tail[j]] - prefix[begin] - (tail[j] - begin) * np.float64(d[j])


@_jit
def _soft_rows(
    block: Any,
    batch: Any,
    offset: int,
    low: Any,
    high: Any,
    has_gap: bool,
    differentiate: bool,
) -> Any:
    """As :func:`_hinge_rows` for the soft margin, O(K) a negative, with one exponential and few logarithms each.

    With u = exp(d_ap − d_an) = exp(d_ap − m)·exp(m − d_an) the slope is u / (1 + u), and Σ_p log(1 + u_p) is the
    logarithm of a product, kept as q = Π(1 + u) − 1 so that small losses keep their digits. Where distances of a row
    spread so far that u could overflow, or with a gap, each triplet is worked out by itself in float64.
    """
    count = batch.y.shape[0]
    totals = np.zeros(5)
    d, c = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.float32)
    e, q = np.empty(TILE, dtype=np.float32), np.empty(TILE, dtype=np.float32)
    widest = _widest(batch)
    ap, column = np.empty(widest, dtype=np.float32), np.empty(widest, dtype=np.int64)
    r = np.empty(widest)
    for row in range(len(block)):
        i, out = offset + row, block[row]
        start, stop = batch.start[i], batch.stop[i]
        if stop - start - (batch.own[i] >= 0) <= 0 or stop - start == count:
            out[:] = 0
            continue
        _distance_row(out, batch, i, d)
        size = _positives(d, batch, i, ap, column)
        c[:] = 0
        r[:] = 0
        _sort(ap, column, size)
        smallest, largest = ap[0], ap[size - 1]
        nearest, farthest = np.float32(np.inf), np.float32(0)
        for run in (d[:start], d[stop:]):
            for j in range(len(run)):
                nearest = min(nearest, run[j])
                farthest = max(farthest, run[j])
        if has_gap or not (largest - nearest < 40 and farthest - smallest < 60 and largest - smallest < 40):
            _soft_slowly(d, c, ap, r, size, start, stop, low, high, has_gap, totals)
        else:
            group = max(1, int(80 / np.log1p(np.exp(max(np.float64(largest - nearest), 0.0)))))
            q[:] = 0
            factors = 0
            for begin, end in ((0, start), (stop, count)):
                for left in range(begin, end, TILE):
                    right = min(left + TILE, end)
                    factors = _soft_tile(
                        d[left:right], c[left:right], e, q, ap[:size], r, largest, group, factors, totals
                    )
            _take_logarithms(q, totals)
            negatives = count - (stop - start)
            totals[1] += np.float64(size) * negatives
            for k in range(size):
                totals[3] += np.float64(ap[k]) * negatives
        if differentiate:
            metric = batch.metric
            _slopes(c[:start], d[:start], metric, out[:start])
            _slopes(c[stop:], d[stop:], metric, out[stop:])
            out[start:stop] = 0
            for k in range(size):
                out[column[k]] = slope(np.float32(r[k]), ap[k], metric)
    totals[2] = totals[1]
    return totals


@_jit
def _soft_tile(
    d: Any, c: Any, e: Any, q: Any, ap: Any, r: Any, largest: Any, group: int, factors: int, totals: Any
) -> int:
    """The product form of :func:`_soft_rows` for a run of negatives; logarithms after every ``group`` factors.

    The products also run on over tiles: q already holds ``factors`` factors, and the new number is returned.
    """
    one, zero = np.float32(1), np.float32(0)
    total = zero
    for j in range(len(d)):
        total += d[j]
    totals[4] += np.float64(total) * len(ap)
    exponentials(largest, d, e)
    for k in range(len(ap)):
        factor = np.exp(ap[k] - largest)
        share = zero
        for j in range(len(d)):
            u = factor * e[j]
            s = u / (one + u)
            c[j] += s
            share += s
            q[j] += u + q[j] * u
        r[k] += np.float64(share)
        factors += 1
        if factors == group:
            _take_logarithms(q, totals)
            factors = 0
    return factors


@_jit
def _take_logarithms(q: Any, totals: Any) -> None:
    """Add Σ log(1 + q) to the loss and start new products."""
    for j in range(len(q)):
        totals[0] += np.log1p(q[j])
        q[j] = 0


@compile_kernel({"contract"})
def exponentials(largest: Any, d: Any, e: Any) -> None:
    """e = exp(largest − d) within 2 units of rounding, for |largest − d| < 80: Cephes' expf, which vectorises.

    With n the nearest integer to z / log 2 and f = z − n·log 2 (log 2 in two parts, subtracted in this order),
    exp(z) = 2ⁿ·exp(f), and exp(f) is a polynomial.

    Args:
        largest: a float32.
        d: float32 (M,).
        e: where the exponentials are written, float32 (M,).
    """
    for j in range(len(d)):
        z = largest - d[j]
        n = np.floor(z * np.float32(1.44269504088896341) + np.float32(0.5))
        f = (z - n * np.float32(0.693359375)) + n * np.float32(2.12194440e-4)
        p = np.float32(1.9875691500e-4)
        p = p * f + np.float32(1.3981999507e-3)
        p = p * f + np.float32(8.3334519073e-3)
        p = p * f + np.float32(4.1665795894e-2)
        p = p * f + np.float32(1.6666665459e-1)
        p = p * f + np.float32(5.0000001201e-1)
        power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
        e[j] = (p * (f * f) + f + np.float32(1)) * power


@_jit
def _soft_slowly(
    d: Any, c: Any, ap: Any, r: Any, size: int, start: int, stop: int, low: Any, high: Any, has_gap: bool, totals: Any
) -> None:
    """One triplet at a time in float64: neither spread nor gap matters."""
    for segment in range(2):
        begin, end = (0, start) if segment == 0 else (stop, len(d))
        for j in range(begin, end):
            total = 0.0
            for k in range(size):
                if has_gap and not (ap[k] + np.float32(low) < d[j] and d[j] <= ap[k] + np.float32(high)):
                    continue
                z = np.float64(ap[k]) - np.float64(d[j])
                small = np.exp(-abs(z))
                s = 1 / (1 + small) if z > 0 else small / (1 + small)
                totals[0] += max(z, 0.0) + np.log1p(small)
                totals[1] += 1
                totals[3] += np.float64(ap[k])
                totals[4] += np.float64(d[j])
                total += s
                r[k] += s
            c[j] = np.float32(total)


@_jit
def _mine_rows(
    block: Any, batch: Any, offset: int, strategy: int, margin: Any, low: Any, high: Any,
    has_gap: bool, slot: Any, positive: Any, negative: Any,
) -> None:  # fmt: skip
    """Write each anchor's triplets into its slots: original indices, negative −1 where a slot stays empty."""
    count = batch.y.shape[0]
    d = np.empty(count, dtype=np.float32)
    widest = _widest(batch)
    ap, column = np.empty(widest, dtype=np.float32), np.empty(widest, dtype=np.int64)
    found, chosen = np.empty(widest, dtype=np.float32), np.empty(widest, dtype=np.int64)
    for row in range(len(block)):
        i, out = offset + row, block[row]
        start, stop = batch.start[i], batch.stop[i]
        if stop - start - (batch.own[i] >= 0) <= 0:
            continue
        _distance_row(out, batch, i, d)
        size = _positives(d, batch, i, ap, column)
        if strategy == 1:  # only the farthest positive, the first of equals
            best = 0
            for k in range(size):
                if ap[k] > ap[best]:
                    best = k
            ap[0], column[0], size = ap[best], column[best], 1
        if strategy == 2:
            if size <= LINEAR_SEMIHARD:
                for k in range(size):
                    found[k], chosen[k] = closest_beyond(d, batch.order, start, stop, ap[k])
            else:
                closest_beyond_each(d, batch.order, start, stop, ap, size, found, chosen)
            for k in range(size):
                if not found[k] < ap[k] + margin:
                    chosen[k] = -1
        else:
            nearest, index = closest_beyond(d, batch.order, start, stop, np.float32(-np.inf))
            found[:size] = nearest
            chosen[:size] = index
        for k in range(size):
            if has_gap and not (ap[k] + low < found[k] and found[k] <= ap[k] + high):
                chosen[k] = -1
            positive[slot[i] + k] = batch.order[column[k]]
            negative[slot[i] + k] = chosen[k]


@_jit
def closest_beyond(d: Any, order: Any, start: int, stop: int, floor: Any) -> Any:
    """The smallest negative distance above a floor and the lowest original index that has it; −1 if there is none.

    Args:
        d: distances of an anchor to all reference rows in label order, float32 (M,).
        order: the original index of each, (M,).
        start: where the anchor's class begins; its rows are no negatives.
        stop: where it ends.
        floor: the distance that the negative's has to be above.
    """
    nearest = np.float32(np.inf)
    for run in (d[:start], d[stop:]):
        for j in range(len(run)):
            nearest = min(nearest, run[j] if run[j] > floor else np.float32(np.inf))
    index = len(d)
    if nearest < np.inf:
        for run, indices in ((d[:start], order[:start]), (d[stop:], order[stop:])):
            for j in range(len(run)):
                index = min(index, indices[j] if run[j] == nearest else len(d))
    return nearest, index if index < len(d) else -1


@_jit_strictly
def _cells(values: Any, low: Any, scale: Any, last: Any, cell: Any) -> None:
    """Which of ``last + 2`` cells each value lies in: 0 well below ``low``, then in the order of the values."""
    for j in range(len(values)):
        cell[j] = np.uint32(np.int32(min(max((values[j] - low) * scale, np.float32(-1)), last)) + np.int32(1))


@_jit
def closest_beyond_each(d: Any, order: Any, start: int, stop: int, ap: Any, size: int, found: Any, chosen: Any) -> None:
    """:func:`closest_beyond` for every positive at once: O(M + K·log K), and O(log K) for few of the negatives.

    The range of the positives is cut into cells. Of a cell without a positive only the closest negative can be chosen.
    A negative in a cell with one waits: it is ranked among the positives, and noted at the last that it is beyond. What
    holds for a farther positive holds for a closer one: a running minimum from the farthest positive inwards.

    A negative is one whole number, the bits of its distance (in the order of the floats, as none is below zero) before
    its original index: the least of them is the closest and of equals the first, and to find it takes no branch.

    Args:
        d: distances of an anchor to all reference rows in label order, float32 (M,).
        order: the original index of each, (M,).
        start: where the anchor's class begins; its rows are no negatives.
        stop: where it ends.
        ap: distances of its positives, (size,) or longer.
        size: how many they are.
        found: where the negatives' distances are written, float32.
        chosen: where their original indices are written, −1 where there is none.
    """
    ordered, by_distance = np.empty(size, dtype=np.float32), np.empty(size, dtype=np.int64)
    for k in range(size):
        ordered[k] = ap[k]
        by_distance[k] = k
    _sort(ordered, by_distance, size)
    last = min(SEMIHARD_CELLS * size, len(d))
    span = max(ordered[size - 1] - ordered[0], np.float32(1e-6) * ordered[0], np.float32(1e-30))
    low, scale, top = ordered[0], np.float32(last - 1) / span, np.float32(last)
    own = np.empty(size, dtype=np.uint32)
    _cells(ordered, low, scale, top, own)
    shared = np.zeros(last + 2, dtype=np.uint64)
    for k in range(size):
        shared[own[k]] = 1
    none, shift = np.uint64(0x7F800000 << 32), np.uint64(32)
    closest, noted = np.full(last + 2, none), np.full(size + 1, none)
    waiting, count = np.empty(len(d), dtype=np.uint64), np.uint64(0)
    cell, position = np.empty(TILE, dtype=np.uint32), np.empty(TILE, dtype=np.int32)
    for begin, end in ((0, start), (stop, len(d))):
        for left in range(begin, end, TILE):
            run, indices = d[left : min(left + TILE, end)], order[left : min(left + TILE, end)]
            _cells(run, low, scale, top, cell)
            bits = run.view(np.uint32)
            # Indices are unsigned here: Numba tests a signed one for being negative, a third of the loop's time.
            for j in range(np.uint64(len(run))):
                c, key = cell[j], (np.uint64(bits[j]) << shift) | np.uint64(indices[j])
                closest[c] = min(closest[c], key)
                waiting[count] = key
                count += shared[c]
    for left in range(0, count, TILE):
        keys = waiting[left : min(left + TILE, count)]
        for j in range(len(keys)):
            cell[j] = keys[j] >> shift
        _rank(ordered, cell[: len(keys)].view(np.float32), False, position)
        for j in range(len(keys)):
            rank = position[j]  # how many positives are closer
            noted[rank] = min(noted[rank], keys[j])
    nearest, c, found_bits = none, last + 1, found.view(np.uint32)
    for k in range(size - 1, -1, -1):
        while c > own[k]:
            if not shared[c]:
                nearest = min(nearest, closest[c])
            c -= 1
        nearest = min(nearest, noted[k + 1])
        found_bits[by_distance[k]] = nearest >> shift
        chosen[by_distance[k]] = np.int64(nearest & np.uint64(0xFFFFFFFF)) if nearest < none else -1
