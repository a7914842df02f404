"""Every pair of N embeddings in tiles of the score matrix, and impostor scores counted among match scores."""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Metric
from triune.kernels import choose_counting, counting_cpu, scores_cpu
from triune.kernels.threads import one_torch_thread_each, sort_in_threads
from triune.pairs import on_device
from triune.pairs.prepared import PreparedEmbeddings, joint_codes, joint_groups
from triune.pairs.scores import to_distances
from triune.parallel.divide import all_gather, all_reduce, rank_and_size
from triune.verification.impostors import Counted, Kept

Array: TypeAlias = np.ndarray[Any, Any]


T = TypeVar("T")


Exclusion = Literal["pairs", "matches"]


ROWS, COLUMNS = 512, 1024
"""Of a tile on the CPU: 2 MiB of scores, so that they are still in the cache when they are looked at."""


DEVICE_TILE = (8192, 8192)
"""Rows and columns on other devices: 256 MiB of scores. The product, at 512 dimensions a good millisecond of a large
GPU, fills it many times over and is long beside what the host takes to ask for it; and of a million rows, what the
tiles on the diagonal compute below it is not one in a hundred of the pairs."""


SAMPLE = (1 << 15, 1 << 22)
"""Fewest and most pairs drawn to foresee where thresholds will lie."""


DEVICE_SAMPLE = 1 << 26
"""Most pairs drawn on other devices."""


SAMPLED = 1 << 14
"""Pairs drawn at a time."""


OUTLINE = 1 << 18
"""Scores of the sample, evenly spaced in their order, by which cells are laid out."""


KEPT = 1 << 26
"""Most scores kept around thresholds, in all: 256 MiB."""


DEVICE_KEPT = 1 << 28
"""The same on other devices: with as large a sample, enough for 1,000,000 rows and the usual rates in one visit."""


COUNTER_PAIRS = 1 << 30
"""After so many pairs the threads' counters, which hold twice as much, are emptied."""


class Tile(NamedTuple):
    """Scores of some rows against some columns, in a buffer that the next tile overwrites."""

    row: int
    column: int
    scores: Tensor


@dataclass(frozen=True, eq=False)
class PairTiles:
    """All pairs of rows and columns, both sorted by label, so that a row's matching columns are one run.

    Made by :func:`pair_tiles`.

    Args:
        rows: N prepared embeddings.
        columns: M others; the same object where pairs are drawn from one set.
        spans: for each row the first column it is paired with and its run of matching columns, int64 ``(N, 3)``.
        groups: group codes of rows and of columns; both empty where no pair is excluded.
        exclude: which pairs within a group are left out.
        divide_over: processes that share the tiles.
    """

    rows: PreparedEmbeddings
    columns: PreparedEmbeddings
    spans: Array
    groups: tuple[Array, Array]
    exclude: Exclusion
    divide_over: ProcessGroup | None

    @property
    def x(self) -> Tensor:
        """Rows ``(N, D)``."""
        return self.rows.x

    @property
    def y(self) -> Tensor:
        """Columns ``(M, D)``; the same tensor as ``x`` where pairs are drawn from one set."""
        return self.columns.x

    @property
    def orders(self) -> tuple[Array, Array]:
        """Which of the given rows, and of the given columns, each sorted one was; int64 ``(N,)`` and ``(M,)``."""
        return self.rows.order, self.columns.order

    @property
    def metric(self) -> Metric:
        """The distance."""
        return self.rows.metric

    @property
    def total(self) -> int:
        """How many pairs there are, matching or not, before any exclusion."""
        return int((len(self.y) - self.spans[:, 0]).sum())

    def match_scores(self) -> Array:
        """The scores of all matching pairs, ascending, float32."""

        def matching(row: int, column: int) -> bool:
            # Runs of matching columns follow each other down the rows.
            height, width = self.tile_size()
            start, stop = self.spans[row, 1], self.spans[min(row + height, len(self.x)) - 1, 2]
            if stop <= column or start >= column + width or not self.own_tile(row, column):
                return False
            first, last = self._runs(row, column)
            return bool((last > first).any())

        def collect_here(tile: Tile, parts: list[Array]) -> None:
            first, last = self._runs(tile.row, tile.column)
            room = np.empty(int(np.maximum(last - first, 0).sum()), dtype=np.float32)
            scores = tile.scores.numpy()
            count = scores_cpu.match_rows(scores, tile.row, tile.column, self.spans, self.groups, room)
            parts.append(room[:count])

        def collect_there(tile: Tile, parts: list[Array]) -> None:
            first, last = self._runs(tile.row, tile.column)
            runs = (first - tile.column, last - tile.column)
            groups = (self.groups[0][tile.row :], self.groups[1][tile.column :])
            parts.extend(on_device.matching_scores(tile.scores, *runs, groups))

        collect = collect_here if self._on_cpu() else collect_there
        parts = list(itertools.chain(*self.visit(matching, collect, list)))
        found = np.concatenate([np.empty(0, np.float32), *self.gathered(parts)])
        sort_in_threads(found)
        return found

    def listed(self) -> Array:
        """The scores of all impostor pairs, in no order, float32: 4 bytes a pair."""

        def collect(tile: Tile, parts: list[Array]) -> None:
            parts.append(tile.scores[self.impostors(tile)].cpu().numpy())

        parts = itertools.chain(*self.visit(self.differing, collect, list))
        return np.concatenate([np.empty(0, np.float32), *self.gathered(list(parts))])

    def counted(self, knots: Array, fprs: Sequence[float]) -> Counted:
        """Impostor scores counted among the sorted distinct match scores ``knots (U,)``, in one visit of all pairs.

        Intervals around the thresholds of ``fprs``, foreseen from a sample of pairs, are kept in full.
        """
        sample = self.sample()
        most = KEPT if self._on_cpu() else DEVICE_KEPT
        intervals, capacity = foreseen(sample, self.total, fprs, most)
        # The rest needs a rough picture alone, and the memory is wanted for the counters.
        sample = sample[:: -(-len(sample) // OUTLINE)].copy() if len(sample) > OUTLINE else sample
        ends = np.concatenate([sample, knots[[0, -1]]])
        # Cells cover what nearly all scores lie in: a few far away must not make them coarse.
        low, high = np.quantile(ends, [0.0005, 0.9995]) if len(ends) > 100 else (ends.min(), ends.max())
        table = counting_cpu.tables(knots, float(low), float(high), intervals, sample)
        if intervals:
            # Cells are kept whole: a few more scores than the intervals hold.
            share = table.kept[counting_cpu.cells_of(sample, table)].mean()
            capacity = max(capacity, int(share * self.total * 1.2) + 1000)
        if capacity > 2 * most:  # many scores share the value of a threshold, or its cell
            intervals, capacity = [], 0
            table = counting_cpu.tables(knots, float(low), float(high), [], sample)
        return self._joined(table, intervals, self._count(table, capacity))

    def below(self, scores: Array) -> Array:
        """How many impostors score less than each of the given ones: another visit of all pairs."""
        # A float32 lies below a limit if it lies below the first float32 that reaches it.
        limits = np.asarray(scores, dtype=np.float64)
        with np.errstate(over="ignore"):
            knots = limits.astype(np.float32)
        knots = np.where(knots < limits, np.nextafter(knots, np.float32(np.inf)), knots)
        knots, places = np.unique(knots, return_inverse=True)
        ends = knots[np.isfinite(knots)]
        low, high = (float(ends[0]), float(ends[-1])) if len(ends) else (0.0, 0.0)
        table = counting_cpu.tables(knots, low, high, [], knots)
        below: Array = self._joined(table, [], self._count(table, 0)).knots_below[places]
        return below

    def select(self, place: int) -> float:
        """The impostor score at a place of the ascending order, from 0: two more visits of all pairs.

        A radix selection on the bits of the floats: the upper half of the bits first, then the lower half.
        """
        ends = np.cumsum(self._halves(None))
        half = int(np.searchsorted(ends, place, side="right"))
        lower = self._halves(half)
        before = int(ends[half - 1]) if half else 0
        low = int(np.searchsorted(np.cumsum(lower), place - before, side="right"))
        return _float_of_key((half << 16) | low)

    def visit(
        self, wanted: Callable[[int, int], bool], work: Callable[[Tile, T], None], state: Callable[[], T]
    ) -> list[T]:
        """Compute the wanted tiles and do some work on each; on the CPU in threads.

        Every thread multiplies and works by itself. One product by all threads at a time would leave the product's
        threads spinning on the cores that the work needs.

        Args:
            wanted: says of a tile's first row and first column whether it is computed.
            work: called with a tile, in a buffer that the next tile overwrites, and with the thread's own state.
            state: makes a thread's state.

        Returns:
            The threads' states.
        """
        height, width = self.tile_size()
        positions = iter(
            [
                (row, column)
                for row in range(0, len(self.x), height)
                for column in range(0, len(self.y), width)
                if wanted(row, column)
            ]
        )
        squares = (self.rows.squares, self.columns.squares) if self.metric != "cosine" else None

        def run(own: T) -> T:
            buffer = torch.empty(height * width, device=self.x.device)
            for row, column in positions:
                rows, columns = self.x[row : row + height], self.y[column : column + width]
                scores = buffer[: len(rows) * len(columns)].view(len(rows), len(columns))
                on_device.multiply(rows, columns, scores)
                if squares is not None:
                    norms = (squares[0][row : row + height], squares[1][column : column + width])
                    to_distances(scores, rows, columns, norms, square=self.metric == "squared_euclidean")
                work(Tile(row, column, scores), own)
            return own

        if not self._on_cpu():
            return [run(state())]
        threads = torch.get_num_threads()
        with one_torch_thread_each(threads) as each:
            return each(run, [state() for _ in range(threads)])

    def share(self) -> tuple[int, int]:
        """This process's place among those that share the work, and how many they are."""
        return rank_and_size(self.divide_over)

    def tile_size(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        return (ROWS, COLUMNS) if self._on_cpu() else DEVICE_TILE

    def own_tile(self, row: int, column: int) -> bool:
        """Whether a tile is this process's to visit."""
        share, processes = self.share()
        # Rows far down have few columns left: taking turns gives every process some of each.
        height, width = self.tile_size()
        return (row // height + column // width) % processes == share

    def differing(self, row: int, column: int) -> bool:
        """Whether a tile holds an impostor pair, and is this process's to visit."""
        if not self.own_tile(row, column):
            return False
        height, width = self.tile_size()
        spans = self.spans[row : row + height]
        end = min(column + width, len(self.y))
        if end <= spans[0, 0]:  # below the diagonal
            return False
        if max(spans[0, 2], column) < end:
            return True
        before = np.minimum(spans[:, 1], end) > np.maximum(spans[:, 0], column)
        after = np.maximum(spans[:, 2], column) < end
        return bool((before | after).any())

    def matching(self, tile: Tile) -> Tensor:
        """Which pairs of a tile are of one identity, and not excluded: a mask of its shape."""
        _, start, stop, column = self._spans_and_columns(tile)
        return self._apart((column >= start) & (column < stop), tile, self.groups)

    def impostors(self, tile: Tile) -> Tensor:
        """Which pairs of a tile are of different identities, and not excluded: a mask of its shape."""
        first, start, stop, column = self._spans_and_columns(tile)
        mask = (column >= first) & ((column < start) | (column >= stop))
        return self._apart(mask, tile, self.impostor_groups())

    def _spans_and_columns(self, tile: Tile) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The spans of a tile's rows as three columns ``(R, 1)``, and the numbers of its columns ``(1, C)``."""
        device = tile.scores.device
        spans = torch.from_numpy(self.spans[tile.row : tile.row + len(tile.scores)]).to(device)
        column = torch.arange(tile.column, tile.column + tile.scores.shape[1], device=device)
        return spans[:, :1], spans[:, 1:2], spans[:, 2:], column[None, :]

    def _apart(self, mask: Tensor, tile: Tile, groups: tuple[Array, Array]) -> Tensor:
        """The mask of a tile's pairs without those within a group."""
        if not len(groups[0]):
            return mask
        rows, columns = mask.shape
        own = torch.from_numpy(groups[0][tile.row : tile.row + rows]).to(mask.device)
        theirs = torch.from_numpy(groups[1][tile.column : tile.column + columns]).to(mask.device)
        return mask & (own[:, None] != theirs[None, :])

    def sample(self) -> Array:
        """Some impostor scores, drawn evenly, ascending; to foresee by, not to report."""
        drawn = min(max(self.total >> 10, SAMPLE[0]), SAMPLE[1] if self._on_cpu() else DEVICE_SAMPLE)
        if not self._on_cpu():
            return on_device.drawn(self.x, self.y, *self._on_device(), self.metric, drawn)
        parts = -(-drawn // SAMPLED)
        # Places that no score is written to sort last.
        scores = np.full((parts, SAMPLED), np.nan, dtype=np.float32)

        def draw(part: int) -> int:
            found = self._drawn(part)
            scores[part, : len(found)] = found
            return len(found)

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            count = sum(pool.map(draw, range(parts)))
        flat = scores.reshape(-1)
        sort_in_threads(flat)
        return flat[:count]

    def _drawn(self, part: int) -> Array:
        """The scores of a part of the sample, as far as its pairs are impostors."""
        g = np.random.default_rng(part)
        rows = g.integers(0, len(self.x), SAMPLED)
        columns = g.integers(0, len(self.y), SAMPLED)
        if self.y is self.x:
            rows, columns = np.minimum(rows, columns), np.maximum(rows, columns)
        spans = self.spans[rows]
        kept = (columns >= spans[:, 0]) & ((columns < spans[:, 1]) | (columns >= spans[:, 2]))
        groups = self.impostor_groups()
        if len(groups[0]):
            kept &= groups[0][rows] != groups[1][columns]
        dot = self.metric == "cosine"
        scores: Array = scores_cpu.scores_of_pairs(self.x.numpy(), self.y.numpy(), rows[kept], columns[kept], dot)
        return scores if self.metric != "euclidean" else -np.sqrt(-scores)

    def _count(self, table: counting_cpu.Tables, capacity: int) -> "_Totals":
        """One visit of all pairs, by the kernels of the device."""
        path = choose_counting(self.x.device)
        if path == "numba":
            return self._count_on_cpu(table, capacity)
        return (self._count_by_triton if path == "triton" else self._count_by_torch)(table, capacity)

    def _on_cpu(self) -> bool:
        """Whether threads of the processor work on small tiles; else a device works on large ones."""
        return choose_counting(self.x.device) == "numba"

    def _on_device(self) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Spans, and group codes by which impostor pairs are excluded, beside the embeddings."""
        rows, columns = (torch.from_numpy(part).to(self.x.device) for part in self.impostor_groups())
        return torch.from_numpy(self.spans).to(self.x.device), (rows, columns)

    def gathered(self, parts: list[Array]) -> list[Array]:
        """The parts of all processes."""
        return all_gather(parts, self.divide_over)

    def _count_on_cpu(self, table: counting_cpu.Tables, capacity: int) -> "_Totals":
        """One visit by the Numba kernels, each thread with counters of its own."""
        threads = torch.get_num_threads()
        # A thread may come to see more than its share of an interval.
        room = capacity // threads + min(capacity, capacity // 4 + 65536)
        groups = self.impostor_groups()

        def count(tile: Tile, own: tuple[counting_cpu.State, _Totals]) -> None:
            state, totals = own
            scores = tile.scores.numpy()
            counting_cpu.count_rows(scores, tile.row, tile.column, self.spans, groups, table, state)
            totals.unread += scores.size
            if totals.unread > COUNTER_PAIRS:
                totals.take(table, state)

        def start() -> tuple[counting_cpu.State, _Totals]:
            return counting_cpu.fresh_state(table, COLUMNS, room), _Totals.of(table)

        joined = _Totals.of(table)
        done = self.visit(self.differing, count, start)
        while done:
            state, totals = done.pop()
            counting_cpu.finish(table, state)
            totals.take(table, state)
            joined.add(totals)
        return joined

    def _count_by_triton(self, table: counting_cpu.Tables, capacity: int) -> "_Totals":
        """One visit by the Triton kernels; the host waits for the device at its end."""
        from triune.kernels import counting_gpu

        spans, groups = self._on_device()
        place = counting_gpu.places(table, self.x.device)
        state = counting_gpu.fresh_counters(place, capacity)
        cells = torch.zeros(len(table.kept), dtype=torch.int64, device=self.x.device)

        def empty() -> None:
            cells.add_(state.cells.sum(0))
            state.cells.zero_()

        def count(tile: Tile, totals: _Totals) -> None:
            if totals.unread + tile.scores.numel() > counting_gpu.COUNTER_PAIRS:
                empty()
                totals.unread = 0
            counting_gpu.count_tile(tile.scores, tile.row, tile.column, spans, groups, place, state)
            totals.unread += tile.scores.numel()

        (totals,) = self.visit(self.differing, count, partial(_Totals.of, table))
        empty()
        totals.cells, totals.rank, totals.tied = (
            part.cpu().numpy() for part in (cells, state.rank.sum(0), state.tied.sum(0))
        )
        found = int(state.kept_count)
        totals.lost = found > len(state.kept)
        totals.kept = [state.kept[:found].sort().values.cpu().numpy()]
        return totals

    def _count_by_torch(self, table: counting_cpu.Tables, capacity: int) -> "_Totals":
        """The same by torch, for other devices; what the kernels are tested against."""
        device = self.x.device
        pieces, knots, marked, kept = (
            torch.from_numpy(part).to(device) for part in (table.pieces, table.knots[:-1], table.marked(), table.kept)
        )

        def tally(places: Tensor, counts: Array) -> None:
            counts += torch.bincount(places, minlength=len(counts)).cpu().numpy()

        def count(tile: Tile, totals: _Totals) -> None:
            scores = tile.scores[self.impostors(tile)]
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

        joined = _Totals.of(table)
        for totals in self.visit(self.differing, count, partial(_Totals.of, table)):
            joined.add(totals)
        return joined

    def _joined(self, table: counting_cpu.Tables, intervals: list[tuple[float, float]], totals: "_Totals") -> Counted:
        """The counts of all threads and processes as one answer."""
        rank, tied, cells = (
            self._summed(torch.from_numpy(part)).numpy() for part in (totals.rank, totals.tied, totals.cells)
        )
        parts = self.gathered(totals.kept)
        totals.kept = []
        lost = bool(self._summed(torch.tensor([int(totals.lost)]))[0])
        # All scores of a cell that is not marked have the knots of the cells before it below them.
        plain = ~table.marked()
        np.add.at(rank, table.before[:-1][plain], cells[plain])
        # Of the scores with up to u knots below them, those that tie with knot u do not lie below it.
        up_to = np.cumsum(rank)
        below = up_to - tied
        known = []
        if intervals and not lost:
            scores = parts[0] if len(parts) == 1 else _one_by_one(parts)
            # A device has sorted them already.
            if (scores[1:] < scores[:-1]).any():
                sort_in_threads(scores)
            known = _kept_intervals(table, intervals, cells, scores)
        edges, counts = counting_cpu.outline(table, cells)
        return Counted(table.knots[:-1], below[:-1], up_to[:-1], int(up_to[-1]), known, self, edges, counts)

    def _halves(self, upper: int | None) -> Array:
        """How many impostor scores have each upper half of their key, or each lower half beside the upper one given.

        Another visit of all pairs; int64 ``(2¹⁶,)``.
        """
        if choose_counting(self.x.device) == "triton":
            return self._halves_by_triton(upper)

        def tally(tile: Tile, counts: Tensor) -> None:
            keys = _keys(tile.scores[self.impostors(tile)])
            halves = keys >> 16 if upper is None else keys[keys >> 16 == upper] & 0xFFFF
            counts += torch.bincount(halves, minlength=1 << 16)

        def start() -> Tensor:
            return torch.zeros(1 << 16, dtype=torch.int64, device=self.x.device)

        total: Array = self._summed(torch.stack(self.visit(self.differing, tally, start)).sum(0)).numpy()
        return total

    def _halves_by_triton(self, upper: int | None) -> Array:
        from triune.kernels import counting_gpu

        spans, groups = self._on_device()

        def tally(tile: Tile, counts: Tensor) -> None:
            counting_gpu.count_halves(tile.scores, tile.row, tile.column, spans, groups, upper, counts)

        (counts,) = self.visit(self.differing, tally, partial(counting_gpu.fresh_halves, self.x.device))
        total: Array = self._summed(counts.sum(0)).numpy()
        return total

    def _runs(self, row: int, column: int) -> tuple[Array, Array]:
        """For each row of a tile, the first and one past the last of its matching columns in the tile."""
        height, width = self.tile_size()
        spans = self.spans[row : row + height]
        return np.maximum(spans[:, 1], column), np.minimum(spans[:, 2], column + width)

    def impostor_groups(self) -> tuple[Array, Array]:
        """Group codes by which impostor pairs are excluded."""
        empty = np.empty(0, dtype=np.int64)
        return self.groups if self.exclude == "pairs" else (empty, empty)

    def _summed(self, counts: Tensor) -> Tensor:
        """Counts of all processes."""
        return all_reduce(counts, self.divide_over).cpu()


def pair_tiles(
    rows: PreparedEmbeddings,
    columns: PreparedEmbeddings | None = None,
    exclude: Exclusion = "pairs",
    divide_over: ProcessGroup | None = None,
) -> PairTiles:
    """All pairs of one prepared set, or of the rows of one with those of another, as tiles.

    Args:
        rows: N prepared embeddings.
        columns: M others, for all N·M pairs; where not given, the N(N−1)/2 pairs of the rows.
        exclude: of pairs within a group, ``"pairs"`` leaves out all and ``"matches"`` those that match.
        divide_over: processes that share the tiles.

    Raises:
        ValueError: ``exclude`` is neither, or labels of the two sets cannot be compared.
    """
    if exclude not in ("pairs", "matches"):
        raise ValueError(f"exclude is {exclude!r}; known are 'pairs' and 'matches'")
    if columns is None:
        columns, codes, other = rows, rows.codes, rows.codes
        groups = (rows.groups, rows.groups)
        first = np.arange(1, len(rows) + 1)
    else:
        codes, other = joint_codes(rows, columns)
        groups = joint_groups(rows, columns)
        first = np.zeros(len(rows), dtype=np.int64)
    start = np.maximum(np.searchsorted(other, codes, side="left"), first)
    stop = np.maximum(np.searchsorted(other, codes, side="right"), start)
    spans = np.stack([first, start, stop], axis=1).astype(np.int64)
    return PairTiles(rows, columns, spans, groups, exclude, divide_over)


@dataclass
class _Totals:
    """What was counted, in 64 bits."""

    cells: Array
    rank: Array
    tied: Array
    kept: list[Array]
    lost: bool = False
    unread: int = 0

    @classmethod
    def of(cls, table: counting_cpu.Tables) -> "_Totals":
        """Nothing counted yet."""
        sizes = (len(table.kept), len(table.knots), len(table.knots))
        cells, rank, tied = (np.zeros(size, dtype=np.int64) for size in sizes)
        return cls(cells, rank, tied, kept=[])

    def take(self, table: counting_cpu.Tables, state: counting_cpu.State) -> None:
        """Add what a thread has counted so far, and let it begin anew."""
        self.cells += counting_cpu.emptied_cells(table, state)
        for mine, theirs in ((self.rank, state.rank), (self.tied, state.tied)):
            mine += theirs
            theirs[:] = 0
        count = int(state.kept_count[0])
        self.lost |= count > len(state.kept)
        self.kept.append(state.kept[: min(count, len(state.kept))].copy())
        state.kept_count[0] = 0
        self.unread = 0

    def add(self, other: "_Totals") -> None:
        """Add what another thread has counted."""
        for mine, theirs in ((self.cells, other.cells), (self.rank, other.rank), (self.tied, other.tied)):
            mine += theirs
        self.kept += other.kept
        self.lost |= other.lost


def foreseen(sample: Array, total: int, fprs: Sequence[float], most: int) -> tuple[list[tuple[float, float]], int]:
    """Intervals of scores that almost surely hold the thresholds of ``fprs``, the lowest and the highest score.

    Args:
        sample: scores drawn evenly, ascending.
        total: how many scores there are in all.
        fprs: false-positive rates.
        most: with more scores than these there is no interval.

    Returns:
        The intervals, disjoint, ascending, and about how many scores they hold in all.
    """
    count = len(sample)
    if count == 0:
        return [], 0
    spans = []
    for fpr in (*fprs, 0.0, 1.0):
        if not 0 <= fpr <= 1:
            raise ValueError(f"fprs holds {fpr}: rates from 0 to 1 are needed")
        middle = (1 - fpr) * count
        # Four standard deviations of a binomial count, and a few places for the far ends.
        slack = 4 * np.sqrt(count * fpr * (1 - fpr)) + 20
        low, high = int(middle - slack), int(np.ceil(middle + slack))
        spans.append((low, high))
    spans.sort()
    merged = [spans[0]]
    for low, high in spans[1:]:
        if low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    share = sum(min(high, count) - max(low, 0) for low, high in merged) / count
    expected = int(share * total * 1.1) + 1000
    if expected > most:
        return [], 0
    ends = [
        (float(sample[low]) if low >= 0 else -np.inf, float(sample[high]) if high < count else np.inf)
        for low, high in merged
    ]
    # Intervals that touch in tied scores are one.
    joined = [ends[0]]
    for bottom, top in ends[1:]:
        if bottom <= joined[-1][1]:
            joined[-1] = (joined[-1][0], top)
        else:
            joined.append((bottom, top))
    return joined, expected


def _one_by_one(parts: list[Array]) -> Array:
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


def _keys(scores: Tensor) -> Tensor:
    """int64 from 0 to 2³² − 1 in the order of the floats; −0 and 0 are one."""
    bits = (scores + 0.0).view(torch.int32).long()
    return torch.where(bits >= 0, bits + (1 << 31), (1 << 31) - 1 - (bits & 0x7FFFFFFF))


def _float_of_key(key: int) -> float:
    bits = key - (1 << 31) if key >= 1 << 31 else ((1 << 31) - 1 - key) | (1 << 31)
    return float(np.array([bits], dtype=np.uint32).view(np.float32)[0])
