"""All hinge triplets within one set on the CPU: a distance is computed once and serves both its ends as anchors.

The README beside this file explains the algorithm.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from triune.kernels.compiling import compile_kernel
from triune.kernels.threads import one_torch_thread_each
from triune.kernels.triplets_cpu import LINEAR_POSITIVES, SortedArrays, distances, slope, threads_for

# Rows and columns of a tile, in small sets and in large ones: the smaller divides a small set better, the larger means
# fewer calls.
TILES = (256, 512)


LARGE = 4096


# Side of the squares by which a tile is transposed.
SQUARE = 8


_jit = compile_kernel({"reassoc", "contract", "nsz", "nnan"})


Tile: TypeAlias = tuple[slice, slice]


class OneSet(NamedTuple):
    """N rows sorted by label, what is known of them, and what is added up over tiles."""

    x: Any
    """Rows (N, D)."""
    norm: Any
    """‖x‖², (N,)."""
    start: Any
    """Where each row's class begins, (N,)."""
    stop: Any
    """Where it ends, (N,)."""
    slot: Any
    """Where each anchor's positives begin among all P positives, in row order, (N + 1,)."""
    ap: Any
    """d(a,p) of each positive, (P,)."""
    limit: Any
    """d(a,p) + margin, (P,)."""
    active: Any
    """How many of the anchor's negatives lie within the limit, and within the gap, int32 (P,)."""
    mined: Any
    """How many lie within the gap, int32 (P,); without a gap, empty."""
    row_sum: Any
    """Row sums of S, float64 (N,)."""
    low: Any
    high: Any
    has_gap: bool
    metric: int


def fits(batch: SortedArrays) -> bool:
    """Whether :func:`all_triplets` is for a batch: one set, in classes that are compared positive by positive."""
    widest = (batch.stop - batch.start).max(initial=0)
    return batch.one_set and bool(widest <= LINEAR_POSITIVES)


@torch.no_grad()
@torch.autocast("cpu", enabled=False)
def all_triplets(
    batch: SortedArrays, margin: float, gap: tuple[float, float] | None, differentiate: bool
) -> tuple[Tensor, Tensor | None]:
    """Sums over every triplet of a batch that :func:`fits`, and their loss's gradient.

    One and a half products of N × N × D, where two sets take three. Memory: O(N·(D + K)) and five tiles a thread.

    Args:
        batch: anchors that are the reference rows.
        margin: a number.
        gap: only triplets with low < d(a,n) − d(a,p) ≤ high.
        differentiate: whether the gradient is wanted.

    Returns:
        (loss, triplets, active, Σ d(a,p), Σ d(a,n)) in float64, shape (5,); if asked to differentiate, the gradient of
        the summed loss, (N, D), rows in their original order.
    """
    items = _prepare(batch, gap)
    count, width = items.x.shape
    size = TILES[count >= LARGE]
    blocks = [slice(begin, min(begin + size, count)) for begin in range(0, count, size)]
    threads = min(threads_for(count * count), len(blocks))
    x, products = torch.from_numpy(items.x), torch.zeros(count, width)
    buffers = [
        _Buffers(torch.empty(3, min(size, count) ** 2), np.empty((2, min(size, count) ** 2), np.int32))
        for _ in range(threads)
    ]
    gradient = np.empty((count, width), np.float32)

    @torch.inference_mode()
    def visit(share: tuple[_Buffers, list[Tile]]) -> Any:
        buffer, tiles = share
        sums = np.zeros(2)
        for rows, columns in tiles:
            gram, *rest = buffer.shaped(rows.stop - rows.start, columns.stop - columns.start)
            torch.mm(x[rows], x[columns].T, out=gram)
            sums += _hinge_tile(gram.numpy(), *rest, items, rows.start, columns.start, differentiate)
            if differentiate:  # the tile now holds S with d loss / dx = Σ S (x − y)
                products[rows].addmm_(gram, x[columns])
                if rows != columns:
                    products[columns].addmm_(gram.T, x[rows])
        return sums

    sums = np.zeros(2)
    with one_torch_thread_each(threads) as each:
        each(lambda rows: _positives(rows.start, rows.stop, items, np.float32(margin)), blocks)
        for tiles in rounds(blocks):
            sums += np.sum(each(visit, [(buffer, tiles[k::threads]) for k, buffer in enumerate(buffers)]), axis=0)
        if differentiate:
            order, done = batch.order, products.numpy()
            each(lambda rows: _finish(rows.start, rows.stop, items, done, order, gradient), blocks)
    totals = _totals(items, *sums)
    return torch.from_numpy(totals), torch.from_numpy(gradient) if differentiate else None


class _Buffers(NamedTuple):
    """A thread's memory for a tile: products, distances and those transposed, and two arrays of counts."""

    floats: Tensor
    counts: Any

    def shaped(self, height: int, width: int) -> tuple[Tensor, Any, Any, Any, Any]:
        size = height * width
        gram, d, across = (part[:size] for part in self.floats)
        counts, counts_across = (part[:size] for part in self.counts)
        return (
            gram.view(height, width),
            d.view(height, width).numpy(),
            across.view(width, height).numpy(),
            counts.reshape(height, width),
            counts_across.reshape(width, height),
        )


def _prepare(batch: SortedArrays, gap: tuple[float, float] | None) -> OneSet:
    start, stop = batch.start[batch.order], batch.stop[batch.order]
    slot = np.concatenate([[0], np.cumsum(stop - start - 1)])
    count = int(slot[-1])
    low, high = (-np.inf, np.inf) if gap is None else gap
    return OneSet(
        batch.y,
        batch.y_norm,
        start,
        stop,
        slot,
        np.empty(count, np.float32),
        np.empty(count, np.float32),
        np.zeros(count, np.int32),
        np.zeros(0 if gap is None else count, np.int32),
        np.zeros(len(start)),
        np.float32(low),
        np.float32(high),
        gap is not None,
        batch.metric,
    )


def rounds(blocks: list[slice]) -> Iterator[list[Tile]]:
    """All pairs of blocks in rounds, none of which has a block twice: a tournament by the circle method.

    So threads that share a round add to different rows, and every sum has one order, however many threads there are.
    """
    yield [(block, block) for block in blocks]
    ring = list(range(1, len(blocks) + len(blocks) % 2))
    for _ in ring:
        line = [0, *ring]
        pairs = [sorted((line[k], line[-1 - k])) for k in range(len(line) // 2)]
        yield [(blocks[a], blocks[b]) for a, b in pairs if b < len(blocks)]
        ring = ring[1:] + ring[:1]


def _totals(items: OneSet, active_distance: float, negative_distance: float) -> Any:
    """The five sums; the loss is Σ limit less Σ d(a,n), ``active_distance``, over the active triplets."""
    if items.has_gap:
        mined = items.mined.astype(np.float64)
    else:
        positives = items.stop - items.start - 1
        mined = np.repeat((len(items.start) - positives - 1).astype(np.float64), positives)
    active = items.active.astype(np.float64)
    loss = active @ items.limit.astype(np.float64) - active_distance
    return np.array([loss, mined.sum(), active.sum(), mined @ items.ap.astype(np.float64), negative_distance])


@_jit
def _positives(first: int, last: int, items: Any, margin: Any) -> None:
    """Distances of anchors to their positives, from differences; each pair is computed at its earlier row."""
    half, zero = np.float32(0.5), np.float32(0)
    for i in range(first, last):
        start = items.start[i]
        for p in range(i + 1, items.stop[i]):
            d = zero
            for k in range(items.x.shape[1]):
                difference = items.x[i, k] - items.x[p, k]
                d += difference * difference
            if items.metric == 0:
                d = np.sqrt(d)
            elif items.metric == 2:
                d = half * d + (half if items.norm[i] == 0 else zero) + (half if items.norm[p] == 0 else zero)
            a, b = items.slot[i] + p - start - 1, items.slot[p] + i - start
            items.ap[a] = items.ap[b] = d
            items.limit[a] = items.limit[b] = d + margin


@_jit
def _hinge_tile(
    gram: Any, d: Any, across: Any, counts: Any, counts_across: Any, items: Any, row: int, column: int,
    differentiate: bool,
) -> Any:  # fmt: skip
    """A tile of the Gram matrix becomes a tile of S; returns (Σ d of active triplets, Σ d(a,n) of all).

    A tile on the diagonal has both ends of its pairs among its rows. Of any other the columns are anchors too, and
    they are counted in the tile transposed.
    """
    height, width = gram.shape
    columns = slice(column, column + width)
    for i in range(height):
        x, norm = items.x[row + i], items.norm[row + i]
        distances(gram[i], x, norm, items.x[columns], items.norm[columns], items.metric, d[i])
    total = _count_rows(d, counts, items, row, column)
    if row == column:
        counts_across[:] = counts
    else:
        _transpose(d, across)
        total += _count_rows(across, counts_across, items, column, row)
    back = across.reshape(height, width).view(np.int32)
    _transpose(counts_across, back)
    weighted = 0.0
    down = np.zeros(width, dtype=np.float32)
    for i in range(height):
        if row == column:
            weighted += _weighted_sum(counts[i], d[i])
        for j in range(width):
            counts[i, j] += back[i, j]
        if row != column:
            weighted += _weighted_sum(counts[i], d[i])
        if differentiate:
            _weigh(counts[i], d[i], items.metric, gram[i])
            along = np.float32(0)
            for j in range(width):
                along += gram[i, j]
                down[j] += gram[i, j]
            items.row_sum[row + i] += np.float64(along)
    if row != column:
        for j in range(width):
            items.row_sum[column + j] += np.float64(down[j])
    return np.array([weighted, total])


@_jit
def _count_rows(d: Any, counts: Any, items: Any, row: int, column: int) -> Any:
    """Count, for the rows of a tile as anchors, how many limits lie beyond each negative; returns Σ d(a,n)."""
    counts[:] = 0
    total = 0.0
    width = d.shape[1]
    for i in range(d.shape[0]):
        some = slice(items.slot[row + i], items.slot[row + i + 1])
        if some.start == some.stop:
            continue
        left = max(0, min(width, items.start[row + i] - column))
        right = max(0, min(width, items.stop[row + i] - column))
        for begin, end in ((0, left), (right, width)):
            if begin == end:
                continue
            near, near_counts = d[i, begin:end], counts[i, begin:end]
            if items.has_gap:
                total += _count_in_gap(
                    near, near_counts, items.ap[some], items.limit[some], items.active[some], items.mined[some],
                    items.low, items.high,
                )  # fmt: skip
            else:
                _count(near, near_counts, items.limit[some], items.active[some])
                distance = np.float32(0)
                for j in range(len(near)):
                    distance += near[j]
                total += np.float64(distance) * (some.stop - some.start)
    return total


@_jit
def _count(d: Any, counts: Any, limit: Any, active: Any) -> None:
    """Compare a run of negatives to each limit, four at a time and without branches.

    Adds to counts[n] how many limits lie beyond d(a,n), and to active[p] how many negatives lie within the limit. Sums
    of 32-bit numbers are cast back, or Numba would count in 64 bits, half as many at a time.
    """
    one, zero = np.int32(1), np.int32(0)
    k = 0
    while k + 4 <= len(limit):
        t0, t1, t2, t3 = limit[k], limit[k + 1], limit[k + 2], limit[k + 3]
        r0 = r1 = r2 = r3 = zero
        for j in range(len(d)):
            value = d[j]
            a0 = one if t0 > value else zero
            a1 = one if t1 > value else zero
            a2 = one if t2 > value else zero
            a3 = one if t3 > value else zero
            r0, r1, r2, r3 = np.int32(r0 + a0), np.int32(r1 + a1), np.int32(r2 + a2), np.int32(r3 + a3)
            counts[j] += np.int32(np.int32(a0 + a1) + np.int32(a2 + a3))
        active[k] += r0
        active[k + 1] += r1
        active[k + 2] += r2
        active[k + 3] += r3
        k += 4
    while k < len(limit):
        t0, r0 = limit[k], zero
        for j in range(len(d)):
            a0 = one if t0 > d[j] else zero
            r0 = np.int32(r0 + a0)
            counts[j] += a0
        active[k] += r0
        k += 1


@_jit
def _count_in_gap(d: Any, counts: Any, ap: Any, limit: Any, active: Any, mined: Any, low: Any, high: Any) -> Any:
    """:func:`_count` for the triplets inside the gap, which it also counts into mined[p]; returns their Σ d(a,n)."""
    one, zero = np.int32(1), np.int32(0)
    total = 0.0
    for k in range(len(ap)):
        floor, ceiling = ap[k] + low, ap[k] + high
        threshold = limit[k]
        within, near, distance = zero, zero, np.float32(0)
        for j in range(len(d)):
            value = d[j]
            inside = (one if value > floor else zero) & (one if value <= ceiling else zero)
            costly = inside & (one if value < threshold else zero)
            within = np.int32(within + inside)
            near = np.int32(near + costly)
            distance += value if inside else np.float32(0)
            counts[j] += costly
        active[k] += near
        mined[k] += within
        total += np.float64(distance)
    return total


@_jit
def _weighted_sum(counts: Any, d: Any) -> Any:
    """Σ counts·d. In float64, for the loss is a small difference of such sums."""
    total = 0.0
    for j in range(len(d)):
        total += np.float64(counts[j]) * (np.float64(d[j]) if counts[j] else 0.0)
    return total


@_jit
def _weigh(counts: Any, d: Any, metric: int, out: Any) -> None:
    """S of a row of pairs whose distances have the weights −counts; :func:`triune.kernels.triplets_cpu.slope`."""
    if metric == 0:
        for j in range(len(out)):
            out[j] = -np.float32(counts[j]) / d[j] if d[j] > 0 else np.float32(0)
    else:
        factor = np.float32(-2) if metric == 1 else np.float32(-1)
        for j in range(len(out)):
            out[j] = factor * np.float32(counts[j])


@_jit
def _transpose(source: Any, target: Any) -> None:
    """Write sourceᵀ to target, both contiguous; by squares of a fixed size, whose loops the compiler unrolls."""
    height, width = source.shape
    flat, out = source.reshape(-1), target.reshape(-1)
    h, w = np.uint64(height), np.uint64(width)
    for left in range(0, width - SQUARE + 1, SQUARE):
        for top in range(0, height - SQUARE + 1, SQUARE):
            for j in range(SQUARE):
                read = np.uint64(top) * w + np.uint64(left + j)
                write = np.uint64(left + j) * h + np.uint64(top)
                for i in range(SQUARE):
                    out[write + np.uint64(i)] = flat[read + np.uint64(i) * w]
    for i in range(height):
        for j in range(width - width % SQUARE if i < height - height % SQUARE else 0, width):
            target[j, i] = source[i, j]


@_jit
def _finish(first: int, last: int, items: Any, products: Any, order: Any, gradient: Any) -> None:
    """The gradient of rows, at their original places: what the tiles gave, and their positives."""
    for i in range(first, last):
        out = gradient[order[i]]
        row_sum = np.float32(items.row_sum[i])
        for k in range(len(out)):
            out[k] = row_sum * items.x[i, k] - products[i, k]
        start = items.start[i]
        for p in range(start, items.stop[i]):
            if p == i:
                continue
            a, b = items.slot[i] + p - start - (p > i), items.slot[p] + i - start - (i > p)
            s = slope(np.float32(items.active[a]) + np.float32(items.active[b]), items.ap[a], items.metric)
            for k in range(len(out)):
                out[k] += s * (items.x[i, k] - items.x[p, k])
