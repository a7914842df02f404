"""Impostor scores counted among the match scores, in one visit of all pairs (kernels/README.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from triune.kernels import counting_cpu
from triune.kernels.threads import sort_in_threads
from triune.pairs.tiles import PairTiles, Tile
from triune.verification import sampling
from triune.verification.impostors import Counted, Kept, Place, first_float32_from
from triune.verification.selection import select_impostor

Array: TypeAlias = np.ndarray[Any, Any]


OUTLINE = 1 << 18
"""Scores of the sample, evenly spaced in their order, by which cells are laid out."""


KEPT = 1 << 26
"""Most scores kept around thresholds, in all: 256 MiB."""


DEVICE_KEPT = 1 << 28
"""The same on other devices: with as large a sample, enough for 1,000,000 rows and the usual rates in one visit."""


COUNTER_PAIRS = 1 << 30
"""After so many pairs the threads' counters, which hold twice as much, are emptied."""


@dataclass(frozen=True, eq=False)
class MoreVisits:
    """Visits every pair again, for what was not counted the first time.

    Args:
        pairs: the pairs.
    """

    pairs: PairTiles

    def below(self, scores: Array) -> Array:
        """How many impostors score less than each of the given scores: one visit."""
        knots, places = np.unique(first_float32_from(scores), return_inverse=True)
        ends = knots[np.isfinite(knots)]
        low, high = (float(ends[0]), float(ends[-1])) if len(ends) else (0.0, 0.0)
        table = counting_cpu.tables(knots, low, high, [], knots)
        totals = COUNT[self.pairs.path](self.pairs, table, 0)
        below: Array = _joined(self.pairs, table, [], totals).knots_below[places]
        return below

    def select(self, place: int) -> Place:
        """The impostor score at a place of the ascending order, from 0: two visits, seldom three."""
        return select_impostor(self.pairs, place)


def count_impostors(pairs: PairTiles, knots: Array, fprs: Sequence[float]) -> Counted:
    """Impostor scores counted among the sorted distinct match scores ``knots (U,)``, in one visit of all pairs.

    Intervals that a sample of the pairs says will hold the thresholds of ``fprs`` are kept in full.

    Args:
        pairs: the pairs.
        knots: ``(U,)`` float32, ascending.
        fprs: false-positive rates.
    """
    sample = sampling.sample_impostors(pairs)
    most = KEPT if pairs.on_cpu else DEVICE_KEPT
    intervals, capacity = sampling.threshold_intervals(sample, pairs.total, fprs, most)
    # The rest needs a rough picture alone, and the memory is wanted for the counters.
    sample = sample[:: -(-len(sample) // OUTLINE)].copy() if len(sample) > OUTLINE else sample
    ends = np.concatenate([sample, knots[[0, -1]]])
    # Cells cover what nearly all scores lie in: a few far away must not make them coarse.
    low, high = np.quantile(ends, [0.0005, 0.9995]) if len(ends) > 100 else (ends.min(), ends.max())
    table = counting_cpu.tables(knots, float(low), float(high), intervals, sample)
    if intervals:
        # Cells are kept whole: a few more scores than the intervals hold.
        share = table.kept[counting_cpu.cells_of(sample, table)].mean()
        capacity = max(capacity, int(share * pairs.total * 1.2) + 1000)
    if capacity > 2 * most:  # many scores share the value of a threshold, or its cell
        intervals, capacity = [], 0
        table = counting_cpu.tables(knots, float(low), float(high), [], sample)
    return _joined(pairs, table, intervals, COUNT[pairs.path](pairs, table, capacity))


@dataclass
class Totals:
    """What one thread, device or process has counted, in 64 bits.

    Args:
        cells: scores in each cell of the table.
        rank: scores of marked cells with exactly r knots below them.
        tied: scores equal to each knot.
        kept: the scores that were kept, in parts.
        lost: whether more were to be kept than there was room for.
        unread: pairs counted since the counters were last emptied.
    """

    cells: Array
    rank: Array
    tied: Array
    kept: list[Array]
    lost: bool = False
    unread: int = 0

    @classmethod
    def of(cls, table: counting_cpu.Tables) -> "Totals":
        """Nothing counted yet."""
        sizes = (len(table.kept), len(table.knots), len(table.knots))
        cells, rank, tied = (np.zeros(size, dtype=np.int64) for size in sizes)
        return cls(cells, rank, tied, kept=[])

    def take(self, table: counting_cpu.Tables, state: counting_cpu.State) -> None:
        """Add what a thread has counted so far, and empty its counters."""
        self.cells += counting_cpu.emptied_cells(table, state)
        for mine, theirs in ((self.rank, state.rank), (self.tied, state.tied)):
            mine += theirs
            theirs[:] = 0
        count = int(state.kept_count[0])
        self.lost |= count > len(state.kept)
        self.kept.append(state.kept[: min(count, len(state.kept))].copy())
        state.kept_count[0] = 0
        self.unread = 0

    def add(self, other: "Totals") -> None:
        """Add what another thread has counted."""
        for mine, theirs in ((self.cells, other.cells), (self.rank, other.rank), (self.tied, other.tied)):
            mine += theirs
        self.kept += other.kept
        self.lost |= other.lost


def count_by_numba(pairs: PairTiles, table: counting_cpu.Tables, capacity: int) -> Totals:
    """One visit by the Numba kernels, each thread with counters of its own.

    Args:
        pairs: the pairs.
        table: where a score stands among the knots.
        capacity: room for so many kept scores.
    """
    threads = torch.get_num_threads()
    # A thread may come to see more than its share of an interval.
    room = capacity // threads + min(capacity, capacity // 4 + 65536)
    groups = pairs.impostor_groups()
    _, width = pairs.tile_size()

    def count(tile: Tile, own: tuple[counting_cpu.State, Totals]) -> None:
        state, totals = own
        scores = tile.scores.numpy()
        counting_cpu.count_rows(scores, tile.row, tile.column, pairs.spans, groups, table, state)
        totals.unread += scores.size
        if totals.unread > COUNTER_PAIRS:
            totals.take(table, state)

    def start() -> tuple[counting_cpu.State, Totals]:
        return counting_cpu.fresh_state(table, width, room), Totals.of(table)

    joined = Totals.of(table)
    done = pairs.visit(pairs.holds_impostors, count, start)
    while done:  # each thread's counters are let go before the next one's are read
        state, totals = done.pop()
        counting_cpu.finish(table, state)
        totals.take(table, state)
        joined.add(totals)
    return joined


def count_by_triton(pairs: PairTiles, table: counting_cpu.Tables, capacity: int) -> Totals:
    """One visit by the Triton kernels; the host waits for the device at the end.

    Args:
        pairs: the pairs, on a GPU.
        table: where a score stands among the knots.
        capacity: room for so many kept scores.
    """
    from triune.kernels import counting_gpu

    spans, groups = pairs.spans_on_device()
    place = counting_gpu.places(table, pairs.x.device)
    state = counting_gpu.fresh_counters(place, capacity)
    cells = torch.zeros(len(table.kept), dtype=torch.int64, device=pairs.x.device)

    def empty() -> None:
        cells.add_(state.cells.sum(0))
        state.cells.zero_()

    def count(tile: Tile, totals: Totals) -> None:
        if totals.unread + tile.scores.numel() > counting_gpu.COUNTER_PAIRS:
            empty()
            totals.unread = 0
        counting_gpu.count_tile(tile.scores, tile.row, tile.column, spans, groups, place, state)
        totals.unread += tile.scores.numel()

    (totals,) = pairs.visit(pairs.holds_impostors, count, partial(Totals.of, table))
    empty()
    totals.cells, totals.rank, totals.tied = (
        part.cpu().numpy() for part in (cells, state.rank.sum(0), state.tied.sum(0))
    )
    found = int(state.kept_count)
    totals.lost = found > len(state.kept)
    totals.kept = [state.kept[:found].sort().values.cpu().numpy()]
    return totals


def count_by_torch(pairs: PairTiles, table: counting_cpu.Tables, capacity: int) -> Totals:
    """One visit by torch, for other devices; what the kernels are tested against.

    Args:
        pairs: the pairs.
        table: where a score stands among the knots.
        capacity: kept scores beyond twice as many, and 65,536 more, are lost.
    """
    device = pairs.x.device
    pieces, knots, marked, kept = (
        torch.from_numpy(part).to(device) for part in (table.pieces, table.knots[:-1], table.marked(), table.kept)
    )

    def tally(places: Tensor, counts: Array) -> None:
        counts += torch.bincount(places, minlength=len(counts)).cpu().numpy()

    def count(tile: Tile, totals: Totals) -> None:
        scores = tile.scores[pairs.impostors(tile)]
        cells = torch.zeros(scores.shape, dtype=torch.int32, device=device)
        for start, slope, size in pieces:
            cells += torch.minimum((scores - start).clamp_min(0) * slope, size).int()
        tally(cells, totals.cells)
        scores, cells = scores[marked[cells]], cells[marked[cells]]
        place = torch.searchsorted(knots, scores)
        tally(place, totals.rank)
        tally(place[torch.searchsorted(knots, scores, right=True) > place], totals.tied)
        inside = scores[kept[cells]]
        totals.lost |= sum(map(len, totals.kept)) + len(inside) > 2 * capacity + 65536
        if not totals.lost:
            totals.kept.append(inside.cpu().numpy())

    joined = Totals.of(table)
    for totals in pairs.visit(pairs.holds_impostors, count, partial(Totals.of, table)):
        joined.add(totals)
    return joined


COUNT = {"numba": count_by_numba, "triton": count_by_triton, "torch": count_by_torch}
"""What counts on each path of :func:`~triune.kernels.paths.choose_counting`."""


def _joined(
    pairs: PairTiles, table: counting_cpu.Tables, intervals: list[tuple[float, float]], totals: Totals
) -> Counted:
    """The counts of all threads and processes as one answer."""
    rank, tied, cells = (
        pairs.all_reduce(torch.from_numpy(part)).numpy() for part in (totals.rank, totals.tied, totals.cells)
    )
    parts = pairs.all_gather(totals.kept)
    totals.kept = []
    lost = bool(pairs.all_reduce(torch.tensor([int(totals.lost)]))[0])
    # All scores of a cell that is not marked have the knots of the cells before it below them.
    plain = ~table.marked()
    np.add.at(rank, table.before[:-1][plain], cells[plain])
    # Of the scores with up to u knots below them, those that tie with knot u do not lie below it.
    up_to = np.cumsum(rank)
    below = up_to - tied
    known = []
    if intervals and not lost:
        scores = parts[0] if len(parts) == 1 else _concatenated(parts)
        # A device has sorted them already.
        if (scores[1:] < scores[:-1]).any():
            sort_in_threads(scores)
        known = _kept_intervals(table, intervals, cells, scores)
    edges, counts = counting_cpu.outline(table, cells)
    return Counted(
        knots=table.knots[:-1],
        knots_below=below[:-1],
        knots_up_to=up_to[:-1],
        count=int(up_to[-1]),
        kept=known,
        visits=MoreVisits(pairs),
        bin_edges=edges,
        bin_counts=counts,
    )


def _concatenated(parts: list[Array]) -> Array:
    """The parts as one array, float32; each is let go as soon as it is copied."""
    whole = np.empty(sum(map(len, parts)), dtype=np.float32)
    start = 0
    while parts:
        part = parts.pop()
        whole[start : start + len(part)] = part
        start += len(part)
    return whole


def _kept_intervals(
    table: counting_cpu.Tables, intervals: list[tuple[float, float]], cells: Array, scores: Array
) -> list[Kept]:
    """What was kept (``scores``, ascending), an interval at a time, with the number of scores below it."""
    before = np.concatenate([[0], np.cumsum(cells)])
    kept_before = np.concatenate([[0], np.cumsum(np.where(table.kept, cells, 0))])
    result = []
    for bottom, top in intervals:
        low, high = np.float32(bottom), np.float32(top)
        first = np.searchsorted(scores, low, side="left")
        last = np.searchsorted(scores, high, side="right")
        cell = int(counting_cpu.cells_of(np.array([low]), table)[0])
        below = int(before[cell] + first - kept_before[cell])
        result.append(Kept(float(low), float(high), below, scores[first:last]))
    return result
