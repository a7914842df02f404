"""Counting impostor scores among sorted match scores on the CPU: one to three nanoseconds a pair, no list of pairs.

The README beside this file explains the algorithm.
"""

from typing import Any, NamedTuple

import numpy as np

from triune.kernels.compiling import compile_kernel

# The line that says in which cell a score lands has so many straight pieces.
PIECES = 4


# Where pieces may meet: so many evenly spaced places, as many quantiles of the scores, as many of the knots.
JOINTS = 65


# Scores farther from zero than this share the outermost cells; the tables' own numbers stay far from overflow.
FARTHEST = 1e30


# A range shorter than this is taken to be this long.
SHORTEST = 1e-20


# Fewest and most cells in all: the counters of those that scores fall into, two bytes each, should stay in the
# second-level cache.
CELLS = (1 << 12, 1 << 19)


# Fewest cells of the whole range if all were as wide as the widest: a histogram is made of them.
EVEN_CELLS = 1 << 10


# The share of the scores that may fall into cells with a knot, if the cells are not too many then.
MARKED_SHARE = 0.025


# A cell at the end of an interval to keep holds about this share of the scores to keep, at most; it is kept whole.
KEPT_CELL_SHARE = 1 / 8


# Marked scores wait to be ranked by bins of cells, so many bins at most.
BINS = 256


# Scores of one bin that wait: enough of them that the bin's knots are fetched into the cache once.
WAITING = 8192


# Where the counter of a cell begins that holds what counting does not settle: the sign says so. Other counters begin at
# 0 and turn negative too when they overflow, but then lie below this.
MARK = np.int16(-(1 << 14))


# A marked counter that has come this far is emptied; what a row can add to it leaves it negative.
NEARLY_FULL = np.int16(-(1 << 11))


# No reassociation: a score and a knot must land in cells by exactly the same arithmetic.
_jit = compile_kernel({"nsz", "nnan"})


class Tables(NamedTuple):
    """Where a score stands among the knots (the U distinct match scores): in one of C cells.

    The cell is read off a line of a few straight pieces, which is steep where there are many scores and many knots: it
    is the sum over the pieces of (score − start)·slope in whole cells, at least 0 and at most the piece's cells.
    """

    pieces: Any
    """Where each piece begins, its cells a unit of score, and its cells, float32. (PIECES, 3)"""
    knots: Any
    """Distinct match scores, ascending, and +∞. (U + 1,)"""
    before: Any
    """Cell → how many knots lie in the cells before it, int32. (C + 1,)"""
    kept: Any
    """Cell → whether its scores are kept. (C,)"""
    shift: Any
    """The bin of a cell is its number without so many of its last bits, uint32."""
    keeps: Any
    """Bin → whether it has a cell to keep. (BINS,)"""

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
    places: Any
    """Scratch: the cells of a row's scores, uint32. (columns,)"""
    ranked: Any
    """Scratch: the cells of scores that have waited, uint32. (WAITING,)"""
    picked: Any
    """Scratch: which of a row's scores lie in cells with a negative counter, uint32. (columns,)"""


def tables(knots: Any, low: float, high: float, keep: list[tuple[float, float]], sample: Any) -> Tables:
    """Look-up tables of the knots, the U distinct match scores.

    The share of the scores that meet a knot in their cell is made small: of a piece of width L and n cells it is about
    S·L/n, with S the sum over its parts of (share of the scores)·(knots)/(width). The sum over the pieces is least for
    n in proportion to √(S·L), and then (Σ √(S·L))² / Σ n, which a shortest path through the joints makes least.

    Args:
        knots: ``(U,)`` float32, ascending and distinct.
        low: where the range begins that most scores lie in; lower ones fall into the first cell.
        high: where it ends; higher ones fall into the last cell.
        keep: intervals whose scores are to be kept.
        sample: some of the scores that will be counted.
    """
    low = float(np.clip(low, -FARTHEST, FARTHEST))
    span = min(max(float(high) - low, SHORTEST, abs(low) * 2**-20), 2 * FARTHEST)
    # A cell may reach beyond the end of an interval: scores kept from there cost as much, for nothing, as scores that
    # share a cell with a knot. So the ends count as knots here.
    ends = np.array(keep, dtype=np.float64).reshape(-1, 2)
    among = np.concatenate([knots, ends.ravel()])
    sample, among = (np.clip(np.append(part, low), low, low + span) for part in (np.sort(sample), among))
    joints = _joints(low, span, sample, among)
    width = np.diff(joints)
    share = (np.histogram(sample, joints)[0] + 1e-9) / len(sample)
    density = np.histogram(among, joints)[0] / width
    first = _pieces(joints, share * density)
    start, length = joints[first], np.diff(np.append(joints[first], joints[-1]))
    least = np.ceil(length / span * EVEN_CELLS)
    if keep:
        wanted = np.diff(np.searchsorted(sample, ends), axis=1).sum() / len(sample) * KEPT_CELL_SHARE
        crowd = np.maximum.reduceat(share / width, first) * length
        here = np.unique(np.searchsorted(start, ends.ravel(), side="right") - 1).clip(0)
        least[here] = np.maximum(least[here], np.minimum(crowd[here] / max(wanted, 1e-12), CELLS[1] / PIECES))
    weights = np.sqrt(np.add.reduceat(share * density, first) * length)
    weights /= max(weights.sum(), 1e-300)
    total = CELLS[0]
    while True:
        sizes = np.maximum(total * weights, least).astype(np.int64)
        knots_a_cell = density * np.repeat(length / sizes, np.diff(np.append(first, len(width))))
        if total >= CELLS[1] or (share * np.minimum(knots_a_cell, 1)).sum() <= MARKED_SHARE:
            break
        total *= 2
    cells = int(sizes.sum()) + 1
    pieces = np.tile(np.array([joints[-1], 1, 0], np.float32), (PIECES, 1))
    pieces[: len(first)] = np.stack([start, sizes / length, sizes], axis=1)
    table = Tables(
        pieces=pieces,
        knots=np.append(knots, np.float32(np.inf)).astype(np.float32),
        before=np.zeros(cells + 1, np.int32),
        kept=np.zeros(cells, dtype=bool),
        shift=np.uint32(max((cells - 1).bit_length() - (BINS - 1).bit_length(), 0)),
        keeps=np.zeros(BINS, dtype=bool),
    )
    table.before[:] = np.searchsorted(cells_of(knots, table), np.arange(cells + 1))
    for pair in keep:
        first, last = cells_of(np.array(pair, dtype=np.float32), table)
        table.kept[first : last + 1] = True
    table.keeps[np.flatnonzero(table.kept) >> table.shift] = True
    return table


def _joints(low: float, span: float, sample: Any, knots: Any) -> Any:
    """Where pieces may meet, ascending; apart by some whole steps, so that no piece is too short for its slope."""
    evenly = np.linspace(0, 1, JOINTS)
    shares = np.concatenate([evenly, *((np.quantile(part, evenly) - low) / span for part in (sample, knots))])
    return low + np.unique(np.rint(shares * 2**20)) / 2**20 * span


def _pieces(joints: Any, crowd: Any) -> Any:
    """Where up to PIECES pieces begin, as places among the J joints: those for which Σ √(S·L) is least.

    Args:
        joints: ascending (J,).
        crowd: what S is the sum of, between each two joints (J − 1,).
    """
    sums = np.concatenate([[0], np.cumsum(crowd)])
    place = np.arange(len(joints))
    cost = np.sqrt(np.maximum((sums - sums[:, None]) * (joints - joints[:, None]), 0))
    cost = np.where(place > place[:, None], cost, np.inf)
    # A shortest path from the first joint to the last: the best way to each joint by one piece, by two, and so on.
    best, steps = np.where(place == 0, 0.0, np.inf), []
    for _ in range(min(PIECES, len(joints) - 1)):
        through = best[:, None] + cost
        steps.append(through.argmin(axis=0))
        best = through.min(axis=0)
    path = [len(joints) - 1]
    for step in reversed(steps):
        path.append(int(step[path[-1]]))
    return np.array(path[:0:-1])


def cells_of(scores: Any, table: Tables) -> Any:
    """The cell of each score, by the arithmetic of the kernels; int32, same shape."""
    scores = np.asarray(scores, dtype=np.float32)
    cells = np.zeros(scores.shape, dtype=np.int32)
    with np.errstate(over="ignore"):
        for start, slope, size in table.pieces:
            cells += np.minimum(np.maximum(scores - start, np.float32(0)) * slope, size).astype(np.int32)
    return cells


def lowest_of(cells: Any, table: Tables) -> Any:
    """The lowest float32 that lands in each of some cells from 1 on, or in a later one; same shape."""
    below, above = (np.full(cells.shape, infinity, dtype=np.int64) for infinity in (-0x7F800000, 0x7F800000))
    for _ in range(32):
        middle = (below + above) >> 1
        reached = cells_of(_float_of(middle), table) >= cells
        above, below = np.where(reached, middle, above), np.where(reached, below, middle)
    return _float_of(above)


def outline(table: Tables, counts: Any) -> tuple[Any, Any]:
    """A histogram of about ``EVEN_CELLS`` bins of about one width, made of whole cells.

    Args:
        counts: how many scores each cell has met (C,).

    Returns:
        Edges (B + 1,), exact to the last bit but for the two ends, beyond which the outermost bins reach; counts (B,).
    """
    start, slope, size = table.pieces[-1].astype(np.float64)
    evenly = np.linspace(table.pieces[0, 0], start + size / slope, EVEN_CELLS + 1)
    begin = np.unique(cells_of(evenly[:-1], table))
    edges = lowest_of(begin, table)
    edges[0] = evenly[0]
    return np.append(edges, np.float32(evenly[-1])), np.add.reduceat(counts, begin)


def _float_of(places: Any) -> Any:
    """The float32 at a place of their order; 0 is at 0."""
    return np.where(places < 0, -places | 0x80000000, places).astype(np.uint32).view(np.float32)


def fresh_state(table: Tables, columns: int, capacity: int) -> State:
    """Counters of one thread, at 0.

    Args:
        table: where a score stands among the knots.
        columns: the most scores that a row of a tile has, below 2,048.
        capacity: room for so many kept scores.
    """
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
        row: the row of all pairs that the tile begins with.
        column: the column of all pairs that it begins with.
        spans: for each row its first column and its run of matching columns, int64 (N, 3).
        groups: group codes of all rows and of all columns, int64; both empty where no pair is excluded.
        table: where a score stands among the knots.
        state: what the thread has counted so far, changed.
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
def _piece(score: Any, start: Any, slope: Any, size: Any) -> Any:
    """How many cells of a piece lie below the score's."""
    return np.int32(min(max(score - start, np.float32(0)) * slope, size))


@_jit
def _places(scores: Any, table: Any, places: Any) -> None:
    """The cell of each score, by the arithmetic of ``cells_of``. The pieces are written out so that all vectorises."""
    b0, b1, b2, b3 = table.pieces[0, 0], table.pieces[1, 0], table.pieces[2, 0], table.pieces[3, 0]
    m0, m1, m2, m3 = table.pieces[0, 1], table.pieces[1, 1], table.pieces[2, 1], table.pieces[3, 1]
    n0, n1, n2, n3 = table.pieces[0, 2], table.pieces[1, 2], table.pieces[2, 2], table.pieces[3, 2]
    for j in range(len(scores)):
        s = scores[j]
        places[j] = _piece(s, b0, m0, n0) + _piece(s, b1, m1, n1) + _piece(s, b2, m2, n2) + _piece(s, b3, m3, n3)


# Indices are unsigned in these loops: Numba tests a signed one for being negative, which costs as much as the rest.
@_jit
def _count(scores: Any, table: Any, state: Any) -> None:
    """Count each score in its cell; those of marked cells wait to be ranked."""
    one = np.uint64(1)
    places, picked, cells = state.places, state.picked, state.cells
    _places(scores, table, places)
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
        b = c >> table.shift
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
    one = np.uint64(1)
    knots, before, rank, tied = table.knots, table.before, state.rank, state.tied
    scores, places = state.waiting[b][:count], state.ranked
    _places(scores, table, places)
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
