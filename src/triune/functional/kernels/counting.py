"""Counting impostor scores among sorted match scores on the CPU: a few nanoseconds a pair, no list of pairs.

The README beside this file explains the algorithm.
"""

from typing import Any, NamedTuple

import numpy as np

from triune.functional.kernels.cpu import compile_kernel

# Scores of one bin that wait to be ranked: enough of them that the bin's knots are fetched into the cache once.
WAITING = 2048
# Bins that the scores are spread over; one buffer of waiting scores each.
BINS = 1024
# Cells of a bin's own table, for each knot in it.
CELLS_A_KNOT = 4

# No reassociation: a score and a knot must land in bins by exactly the same arithmetic.
_jit = compile_kernel({"nsz", "nnan"})


class Tables(NamedTuple):
    """Where a score stands among the knots (the U distinct match scores), looked up in two steps."""

    low: Any
    """Left edge of the first bin, float32."""
    scale: Any
    """Bins a unit of score, float32."""
    bucket: Any
    """Bin → its bucket, −1 where the bin holds no knot and nothing is kept: its scores are only counted. (BINS,)"""
    knots: Any
    """Distinct match scores, ascending, and +∞. (U + 1,)"""
    begin: Any
    """Bucket → its first knot. (buckets + 1,)"""
    inner_low: Any
    """Bucket → left edge of its table. (buckets,)"""
    inner_scale: Any
    """Bucket → cells a unit of score. (buckets,)"""
    cell_begin: Any
    """Bucket → its first cell. (buckets + 1,)"""
    cells: Any
    """Cell → how many of the bucket's knots lie in the cells before it."""
    keep_low: Any
    """Bucket → scores from here are kept. (buckets,)"""
    keep_high: Any
    """Bucket → up to here. (buckets,)"""


class State(NamedTuple):
    """What one thread has counted so far."""

    plain: Any
    """Scores in each bin without a bucket, uint32. (BINS,)"""
    rank: Any
    """Scores with exactly r knots below them, uint32. (U + 1,)"""
    tied: Any
    """Scores equal to a knot, uint32. (U + 1,)"""
    seen: Any
    """Scores ranked in each bucket, int64. (buckets,)"""
    under: Any
    """Of these, those below ``keep_low``, int64. (buckets,)"""
    waiting: Any
    """Scores to be ranked. (buckets, WAITING)"""
    filled: Any
    """How many wait. (buckets,)"""
    kept: Any
    """Scores inside the intervals to keep. (capacity,)"""
    kept_count: Any
    """How many there were; more than the capacity means that some were lost. (1,)"""
    chosen: Any
    """Scratch: a row's scores without those of excluded pairs. (columns,)"""
    places: Any
    """Scratch: bins of a row. (columns,)"""
    inner: Any
    """Scratch: cells of the waiting scores. (WAITING,)"""


def tables(knots: Any, low: float, high: float, keep: list[tuple[float, float]]) -> Tables:
    """Look-up tables for sorted distinct ``knots (U,)`` and bins from ``low`` to ``high``.

    Args:
        knots: float32, ascending.
        low, high: the range that most scores lie in; others fall into the outermost bins.
        keep: intervals whose scores are to be kept.
    """
    low32 = np.float32(low)
    span = max(float(np.float32(high)) - float(low32), 1e-30)
    scale = np.float32(min(BINS / span, 3e37))
    home = bins_of(knots, low32, scale)
    wanted = np.zeros(BINS, dtype=bool)
    wanted[home] = True
    ends = [bins_of(np.array(pair, dtype=np.float32), low32, scale) for pair in keep]
    for first, last in ends:
        wanted[first : last + 1] = True
    bucket = np.where(wanted, np.cumsum(wanted) - 1, -1).astype(np.int32)
    used = np.flatnonzero(wanted)
    begin = np.concatenate([np.searchsorted(home, used), [len(knots)]]).astype(np.int64)
    keep_low = np.full(len(used), np.inf, dtype=np.float32)
    keep_high = np.full(len(used), -np.inf, dtype=np.float32)
    for (bottom, top), (first, last) in zip(keep, ends, strict=True):
        for b in bucket[first : last + 1]:
            keep_low[b], keep_high[b] = min(keep_low[b], np.float32(bottom)), max(keep_high[b], np.float32(top))
    sizes = np.maximum(CELLS_A_KNOT * np.diff(begin), 1)
    cell_begin = np.concatenate([[0], np.cumsum(sizes + 1)]).astype(np.int64)
    cells = np.empty(cell_begin[-1], dtype=np.int32)
    inner_low = np.zeros(len(used), dtype=np.float32)
    inner_scale = np.ones(len(used), dtype=np.float32)
    for b in range(len(used)):
        own = knots[begin[b] : begin[b + 1]]
        if len(own):
            # From the knots themselves: an outermost bin may reach far beyond its edge.
            inner_low[b] = own[0]
            inner_scale[b] = np.float32(min(sizes[b] / max(float(own[-1]) - float(own[0]), 1e-30), 3e37))
        place = bins_of(own, inner_low[b], inner_scale[b], int(sizes[b]))
        cells[cell_begin[b] : cell_begin[b + 1]] = np.searchsorted(place, np.arange(sizes[b] + 1))
    padded = np.append(knots, np.float32(np.inf)).astype(np.float32)
    return Tables(low32, scale, bucket, padded, begin, inner_low, inner_scale, cell_begin, cells, keep_low, keep_high)


def bins_of(scores: Any, low: Any, scale: Any, count: int = BINS) -> Any:
    """The bin of each score, by the arithmetic of the kernels; int32, same shape."""
    place = np.clip((scores.astype(np.float32) - low) * scale, np.float32(0), np.float32(count - 1))
    return place.astype(np.int32)


def fresh_state(table: Tables, columns: int, capacity: int) -> State:
    """Nothing counted yet, for rows of up to ``columns`` scores, with room to keep ``capacity`` of them."""
    buckets = len(table.begin) - 1
    ranks = len(table.knots)
    return State(
        plain=np.zeros(BINS, np.uint32),
        rank=np.zeros(ranks, np.uint32),
        tied=np.zeros(ranks, np.uint32),
        seen=np.zeros(buckets, np.int64),
        under=np.zeros(buckets, np.int64),
        waiting=np.empty((buckets, WAITING), np.float32),
        filled=np.zeros(buckets, np.int64),
        kept=np.empty(capacity, np.float32),
        kept_count=np.zeros(1, np.int64),
        chosen=np.empty(columns, np.float32),
        places=np.empty(columns, np.int32),
        inner=np.empty(WAITING, np.int32),
    )


@_jit
def count_rows(scores: Any, row: int, column: int, spans: Any, groups: Any, table: Any, state: Any) -> None:
    """Count the impostor scores of a tile.

    Args:
        scores: the tile (R, C).
        row, column: which row and column of all pairs the tile begins with.
        spans: for each row its first column and its run of matching columns, int64 (N, 3).
        groups: group codes of all rows and of all columns, int64; both empty where no pair is excluded.
        table, state: see above.
    """
    columns = scores.shape[1]
    for i in range(scores.shape[0]):
        first, start, stop = spans[row + i, 0] - column, spans[row + i, 1] - column, spans[row + i, 2] - column
        left = (max(first, 0), min(start, columns))
        right = (max(stop, 0), columns)
        for a, b in (left, right):
            if a >= b:
                continue
            if len(groups[0]):
                n = 0
                own = groups[0][row + i]
                for j in range(a, b):
                    state.chosen[n] = scores[i, j]
                    n += groups[1][column + j] != own
                _count(state.chosen[:n], table, state)
            else:
                _count(scores[i, a:b], table, state)


@_jit
def finish(table: Any, state: Any) -> None:
    """Rank the scores that still wait."""
    for b in range(len(state.filled)):
        _rank(b, state.filled[b], table, state)
        state.filled[b] = 0


@_jit
def _count(scores: Any, table: Any, state: Any) -> None:
    """Put each score into its bin: count it there, or let it wait to be ranked."""
    zero, top = np.float32(0), np.float32(len(table.bucket) - 1)
    low, scale = table.low, table.scale
    places, plain, bucket, waiting, filled = state.places, state.plain, table.bucket, state.waiting, state.filled
    for j in range(len(scores)):
        places[j] = np.int32(min(max((scores[j] - low) * scale, zero), top))
    for j in range(len(scores)):
        place = places[j]
        b = bucket[place]
        if b < 0:
            plain[place] += np.uint32(1)
        else:
            n = filled[b]
            waiting[b, n] = scores[j]
            n += 1
            if n == WAITING:
                _rank(b, n, table, state)
                n = 0
            filled[b] = n


@_jit
def _rank(b: int, count: int, table: Any, state: Any) -> None:
    """Rank the waiting scores of a bucket among its knots, and keep those that are to be kept."""
    base = table.begin[b]
    knots, rank, tied = table.knots[base:], state.rank[base:], state.tied[base:]
    cells = table.cells[table.cell_begin[b] : table.cell_begin[b + 1]]
    low, scale = table.inner_low[b], table.inner_scale[b]
    zero, top = np.float32(0), np.float32(len(cells) - 2)
    scores, inner = state.waiting[b], state.inner
    for e in range(count):
        inner[e] = np.int32(min(max((scores[e] - low) * scale, zero), top))
    for e in range(count):
        s = scores[e]
        r = np.int64(cells[inner[e]])
        end = np.int64(cells[inner[e] + 1])
        # Most cells hold one knot or none. Without a knot of its own, a cell's next knot lies above: no branch on that.
        several = end - r > 1
        r += knots[r] < s
        if several:
            while end - r > 8:
                middle = (r + end) >> 1
                if knots[middle] < s:
                    r = middle + 1
                else:
                    end = middle
            while r < end and knots[r] < s:
                r += 1
        rank[r] += np.uint32(1)
        if knots[r] == s:
            tied[r] += np.uint32(1)
    state.seen[b] += count
    bottom, height = table.keep_low[b], table.keep_high[b]
    if bottom <= height:
        n, under = state.kept_count[0], 0
        for e in range(count):
            s = scores[e]
            if s < bottom:
                under += 1
            elif s <= height:
                if n < len(state.kept):
                    state.kept[n] = s
                n += 1
        state.kept_count[0] = n
        state.under[b] += under


@compile_kernel({"nsz"})
def distances_in_place(gram: Any, x: Any, y: Any, x_squares: Any, y_squares: Any, square: bool) -> None:
    """Turn x·yᵀ into minus the (squared) distance.

    Args:
        gram: the tile (R, C), overwritten.
        x, y: its rows (R, D) and columns (C, D).
        x_squares, y_squares: ‖x‖² (R,) and ‖y‖² (C,).
    """
    for i in range(gram.shape[0]):
        norm = x_squares[i]
        lost = False
        for j in range(gram.shape[1]):
            both = norm + y_squares[j]
            d = both - np.float32(2) * gram[i, j]
            # Near-duplicates have lost their digits; they are marked and computed again from the differences.
            close = d < np.float32(1e-3) * both
            lost |= close
            gram[i, j] = np.float32(np.nan) if close else d
        if lost:
            for j in range(gram.shape[1]):
                if np.isnan(gram[i, j]):
                    total = np.float32(0)
                    for k in range(x.shape[1]):
                        difference = x[i, k] - y[j, k]
                        total += difference * difference
                    gram[i, j] = total
        for j in range(gram.shape[1]):
            gram[i, j] = -gram[i, j] if square else -np.sqrt(gram[i, j])


@_jit
def match_rows(scores: Any, row: int, column: int, spans: Any, groups: Any, found: Any) -> int:
    """Write the scores of a tile's matching pairs to ``found``; returns how many there are."""
    columns = scores.shape[1]
    count = 0
    for i in range(scores.shape[0]):
        first, start, stop = spans[row + i, 0] - column, spans[row + i, 1] - column, spans[row + i, 2] - column
        for j in range(max(start, first, 0), min(stop, columns)):
            if len(groups[0]) and groups[0][row + i] == groups[1][column + j]:
                continue
            found[count] = scores[i, j]
            count += 1
    return count
