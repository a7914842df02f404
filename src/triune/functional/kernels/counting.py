"""Counting impostor scores among sorted match scores on the CPU: one to three nanoseconds a pair, no list of pairs.

The README beside this file explains the algorithm.
"""

from typing import Any, NamedTuple

import numpy as np

from triune.functional.kernels.cpu import compile_kernel

# Scores of one bin that wait to be ranked: enough of them that the bin's knots are fetched into the cache once.
WAITING = 1024
# Equal bins that the range of the scores is cut into; each is cut into cells of its own width.
BINS = 1024
# Most cells of a bin: rounding then moves a score by less than the quarter of a cell that both ends have to spare.
BIN_CELLS = 1024
# Scores farther from zero than this share the outermost cells; the tables' own numbers stay far from overflow.
FARTHEST = 1e30
# Fewest cells of a bin that an interval to keep reaches into.
KEPT_BIN_CELLS = 64
# Fewest and most cells in all: their counters, two bytes each, should stay in the second-level cache beside a tile.
CELLS = (1 << 12, 1 << 18)
# The share of the scores that may fall into cells with a knot, if the cells are not too many then.
MARKED_SHARE = 0.01
# Where the counter of a cell begins that holds what counting does not settle: the sign says so. Other counters begin at
# 0 and turn negative too when they overflow, but then lie below this.
MARK = np.int16(-(1 << 14))
# A marked counter that has come this far is emptied; what a row can add to it leaves it negative.
NEARLY_FULL = np.int16(-(1 << 11))

# No reassociation: a score and a knot must land in cells by exactly the same arithmetic.
_jit = compile_kernel({"nsz", "nnan"})


class Tables(NamedTuple):
    """Where a score stands among the knots (the U distinct match scores): a bin, then one of C cells."""

    low: Any
    """Left edge of the first bin, float32."""
    top: Any
    """Width of all bins together, float32."""
    scale: Any
    """Bins a unit of score, float32."""
    left: Any
    """Bin → what is subtracted, float32. (BINS,)"""
    slope: Any
    """Bin → cells a unit of score, float32. (BINS,)"""
    begin: Any
    """Bin → its first cell. (BINS + 1,)"""
    knots: Any
    """Distinct match scores, ascending, and +∞. (U + 1,)"""
    before: Any
    """Cell → how many knots lie in the cells before it, int32. (C + 1,)"""
    kept: Any
    """Cell → whether its scores are kept. (C,)"""
    keeps: Any
    """Bin → whether it has such a cell. (BINS,)"""

    def marked(self) -> Any:
        """Cells that hold a knot, or whose scores are kept. (C,)"""
        return (np.diff(self.before) > 0) | self.kept


class State(NamedTuple):
    """What one thread has counted so far."""

    cells: Any
    """Scores in each cell since its counter was last emptied, int16; plus MARK in marked ones. (C,)"""
    carried: Any
    """Scores in each cell before that, int32. (C,)"""
    rank: Any
    """Scores of marked cells with exactly r knots below them, uint32. (U + 1,)"""
    tied: Any
    """Scores equal to a knot, uint32. (U + 1,)"""
    waiting: Any
    """Scores of marked cells, to be ranked. (BINS, WAITING)"""
    filled: Any
    """How many wait. (BINS,)"""
    kept: Any
    """Scores of the cells to keep. (capacity,)"""
    kept_count: Any
    """How many there were; more than the capacity means that some were lost. (1,)"""
    chosen: Any
    """Scratch: a row's scores without those of excluded pairs. (columns,)"""
    offset: Any
    """Scratch: how far scores lie above ``low``. (columns,)"""
    bins: Any
    """Scratch: their bins, uint32. (columns,)"""
    places: Any
    """Scratch: their cells, uint32. (columns,)"""
    ranked: Any
    """Scratch: the cells of scores that have waited, uint32. (WAITING,)"""
    picked: Any
    """Scratch: which of them lie in cells with a negative counter, uint32. (columns,)"""


def tables(knots: Any, low: float, high: float, keep: list[tuple[float, float]], sample: Any) -> Tables:
    """Look-up tables for sorted distinct ``knots (U,)`` and bins from ``low`` to ``high``.

    Cells are made small where both knots and scores are many: the share of the scores that meet a knot in their cell,
    Σ p·k / n over bins with a share p of the scores, k knots and n cells, is least for n in proportion to √(p·k).

    Args:
        knots: float32, ascending.
        low, high: the range that most scores lie in; others fall into the outermost cells.
        keep: intervals whose scores are to be kept.
        sample: some of the scores that will be counted.
    """
    low32 = np.float32(np.clip(low, -FARTHEST, FARTHEST))
    span = min(max(float(high) - float(low32), 1 / FARTHEST), 2 * FARTHEST)
    scale, top = np.float32(BINS / span), np.float32(span)
    share = (np.bincount(_bins(_offset(sample, low32, top), scale), minlength=BINS) + 0.5) / (len(sample) + BINS / 2)
    held = np.bincount(_bins(_offset(knots, low32, top), scale), minlength=BINS)
    least = np.ones(BINS, dtype=np.int64)
    keeps = np.zeros(BINS, dtype=bool)
    for pair in keep:
        first, last = _bins(_offset(np.array(pair, dtype=np.float32), low32, top), scale)
        least[first : last + 1] = KEPT_BIN_CELLS
        keeps[first : last + 1] = True
    weights = np.sqrt(share * held)
    weights /= max(weights.sum(), 1e-300)
    total = CELLS[0]
    while True:
        sizes = np.clip(total * weights, least, BIN_CELLS).astype(np.int64)
        if total >= CELLS[1] or (share * np.minimum(held / sizes, 1)).sum() <= MARKED_SHARE:
            break
        total *= 2
    begin = np.concatenate([[0], np.cumsum(sizes)])
    width = 1 / float(scale)
    steep = (sizes - 0.5) / width
    left = np.arange(BINS) * width - (begin[:-1] + 0.25) / steep
    table = Tables(
        low=low32, top=top, scale=scale, left=left.astype(np.float32), slope=steep.astype(np.float32), begin=begin,
        knots=np.append(knots, np.float32(np.inf)).astype(np.float32), before=np.zeros(begin[-1] + 1, np.int32),
        kept=np.zeros(begin[-1], dtype=bool), keeps=keeps,
    )  # fmt: skip
    table.before[:] = np.searchsorted(cells_of(knots, table), np.arange(begin[-1] + 1))
    for pair in keep:
        first, last = cells_of(np.array(pair, dtype=np.float32), table)
        table.kept[first : last + 1] = True
    return table


def cells_of(scores: Any, table: Tables) -> Any:
    """The cell of each score, by the arithmetic of the kernels; int32, same shape."""
    offset = _offset(scores, table.low, table.top)
    bins = _bins(offset, table.scale)
    return ((offset - table.left[bins]) * table.slope[bins]).astype(np.int32)


def _offset(scores: Any, low: Any, top: Any) -> Any:
    return np.clip(scores.astype(np.float32) - low, np.float32(0), top)


def _bins(offset: Any, scale: Any) -> Any:
    return np.minimum(offset * scale, np.float32(BINS - 1)).astype(np.int32)


def fresh_state(table: Tables, columns: int, capacity: int) -> State:
    """Nothing counted yet, for rows of up to ``columns`` < 2,048 scores, with room to keep ``capacity`` of them."""
    ranks = len(table.knots)
    return State(
        cells=np.where(table.marked(), MARK, np.int16(0)),
        carried=np.zeros(len(table.kept), np.int32),
        rank=np.zeros(ranks, np.uint32),
        tied=np.zeros(ranks, np.uint32),
        waiting=np.empty((BINS, WAITING), np.float32),
        filled=np.zeros(BINS, np.uint64),
        kept=np.empty(capacity, np.float32),
        kept_count=np.zeros(1, np.int64),
        chosen=np.empty(columns, np.float32),
        offset=np.empty(columns, np.float32),
        bins=np.empty(columns, np.uint32),
        places=np.empty(columns, np.uint32),
        ranked=np.empty(WAITING, np.uint32),
        picked=np.empty(columns, np.uint32),
    )


def emptied_cells(table: Tables, state: State) -> Any:
    """How many scores each cell has met, int32 (C,); the counters begin anew."""
    marked = table.marked()
    counts = state.carried + np.where(marked, state.cells - MARK, state.cells.view(np.uint16))
    state.cells[:] = np.where(marked, MARK, np.int16(0))
    state.carried[:] = 0
    return counts


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


# Indices are unsigned in these loops: Numba tests a signed one for being negative, which costs as much as the rest.
@_jit
def _count(scores: Any, table: Any, state: Any) -> None:
    """Count each score in its cell; those of marked cells wait to be ranked."""
    zero, last, one = np.float32(0), np.float32(BINS - 1), np.uint64(1)
    low, top, scale, left, slope = table.low, table.top, table.scale, table.left, table.slope
    offset, bins, places, picked, cells = state.offset, state.bins, state.places, state.picked, state.cells
    for j in range(len(scores)):
        u = min(max(scores[j] - low, zero), top)
        offset[j] = u
        bins[j] = np.uint32(min(u * scale, last))
    for j in range(len(scores)):
        b = bins[j]
        places[j] = np.uint32((offset[j] - left[b]) * slope[b])
    n = np.uint64(0)
    for j in range(len(scores)):
        c = places[j]
        seen = cells[c]
        cells[c] = np.int16(seen + np.int16(1))
        picked[n] = j
        n += np.uint64(seen < 0)
    waiting, filled, carried = state.waiting, state.filled, state.carried
    for e in range(n):
        j = picked[e]
        c = places[j]
        seen = cells[c]
        if seen > NEARLY_FULL or seen < MARK:
            if seen >= 0:  # an overflow that an earlier score of this row has carried
                continue
            if seen < MARK:
                carried[c] += np.int32(seen) + np.int32(1 << 16)
                cells[c] = np.int16(0)
                continue
            carried[c] += np.int32(seen) - np.int32(MARK)
            cells[c] = MARK
        b = bins[j]
        k = filled[b]
        waiting[b, k] = scores[j]
        k += one
        if k == np.uint64(WAITING):
            _rank(b, k, table, state)
            k = np.uint64(0)
        filled[b] = k


@_jit
def _rank(b: int, count: int, table: Any, state: Any) -> None:
    """Rank the waiting scores of a bin among its knots, and keep those that are to be kept."""
    zero, one = np.float32(0), np.uint64(1)
    low, top, left, slope = table.low, table.top, table.left[b], table.slope[b]
    knots, before, rank, tied = table.knots, table.before, state.rank, state.tied
    scores, places = state.waiting[b], state.ranked
    for e in range(count):
        u = min(max(scores[e] - low, zero), top)
        places[e] = np.uint32((u - left) * slope)
    for e in range(count):
        s = scores[e]
        c = np.uint64(places[e])
        r = np.uint64(before[c])
        # Knots of later cells lie above, so a step too many does nothing: few steps for all cost less than branches.
        r += np.uint64(knots[r] < s)
        r += np.uint64(knots[r] < s)
        r += np.uint64(knots[r] < s)
        if knots[r] < s:  # a crowded cell
            end = np.uint64(before[c + one])
            while end - r > np.uint64(8):
                middle = (r + end) >> one
                if knots[middle] < s:
                    r = middle + one
                else:
                    end = middle
            while r < end and knots[r] < s:
                r += one
        rank[r] += np.uint32(1)
        if knots[r] == s:
            tied[r] += np.uint32(1)
    if table.keeps[b]:
        n = state.kept_count[0]
        for e in range(count):
            if table.kept[places[e]]:
                if n < len(state.kept):
                    state.kept[n] = scores[e]
                n += 1
        state.kept_count[0] = n


@compile_kernel({"nsz", "nnan", "reassoc", "contract"})
def scores_of_pairs(x: Any, y: Any, rows: Any, columns: Any, dot: bool) -> Any:
    """x[rows]·y[columns], or minus their squared distances, to rounding; no copy of the rows is made.

    Args:
        x, y: embeddings (N, D) and (M, D).
        rows, columns: which of them, int64 (P,).
        dot: whether products are wanted.

    Returns:
        float32 (P,).
    """
    scores = np.empty(len(rows), np.float32)
    for p in range(len(rows)):
        a, b = x[rows[p]], y[columns[p]]
        total = np.float32(0)
        if dot:
            for k in range(len(a)):
                total += a[k] * b[k]
        else:
            for k in range(len(a)):
                difference = a[k] - b[k]
                total -= difference * difference
        scores[p] = total
    return scores


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
