"""Every pair of prepared embeddings, visited in tiles of the score matrix."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.distances.metric import Metric
from triune.kernels.paths import Path, choose_counting
from triune.kernels.threads import one_torch_thread_each
from triune.pairs import on_device
from triune.pairs.prepared import PreparedEmbeddings, joint_codes, joint_groups
from triune.pairs.scores import to_distances
from triune.parallel.divide import all_reduce
from triune.parallel.group import all_gather, rank_and_size

Array: TypeAlias = np.ndarray[Any, Any]


T = TypeVar("T")


Exclusion = Literal["pairs", "matches"]


ROWS, COLUMNS = 512, 1024
"""Of a tile on the CPU: 2 MiB of scores, so that they are still in the cache when they are looked at."""


DEVICE_TILE = (8192, 8192)
"""Rows and columns on other devices: 256 MiB of scores.

At 512 dimensions their product takes a large GPU about a millisecond, much longer than the host takes to ask for it. Of
a million rows, the half of each tile on the diagonal that is computed for nothing adds less than 1 % to the pairs.
"""


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
    def one_set(self) -> bool:
        """Whether the pairs are those of one set, each once."""
        return self.columns is self.rows

    @property
    def path(self) -> Path:
        """Which kernels work on the tiles: see :func:`~triune.kernels.paths.choose_counting`."""
        return choose_counting(self.x.device)

    @property
    def on_cpu(self) -> bool:
        """Whether threads of the processor work on small tiles; else a device works on large ones."""
        return self.path == "numba"

    @property
    def total(self) -> int:
        """How many pairs there are, matching or not, before any exclusion."""
        return int((len(self.y) - self.spans[:, 0]).sum())

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

        if not self.on_cpu:
            return [run(state())]
        threads = torch.get_num_threads()
        with one_torch_thread_each(threads) as each:
            return each(run, [state() for _ in range(threads)])

    def share(self) -> tuple[int, int]:
        """This process's place among those that share the work, and how many they are."""
        return rank_and_size(self.divide_over)

    def tile_size(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        return (ROWS, COLUMNS) if self.on_cpu else DEVICE_TILE

    def own_tile(self, row: int, column: int) -> bool:
        """Whether a tile is this process's to visit."""
        share, processes = self.share()
        # Rows far down have few columns left: taking turns gives every process some of each.
        height, width = self.tile_size()
        return (row // height + column // width) % processes == share

    def holds_impostors(self, row: int, column: int) -> bool:
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

    def holds_pairs(self, row: int, column: int) -> bool:
        """Whether a tile holds any pair, and is this process's to visit."""
        _, width = self.tile_size()
        return bool(self.spans[row, 0] < column + width) and self.own_tile(row, column)

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

    def spans_on_device(self) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Spans, and group codes by which impostor pairs are excluded, on the device of the embeddings."""
        rows, columns = (torch.from_numpy(part).to(self.x.device) for part in self.impostor_groups())
        return torch.from_numpy(self.spans).to(self.x.device), (rows, columns)

    def all_gather(self, parts: list[Array]) -> list[Array]:
        """The parts of all processes."""
        return all_gather(parts, self.divide_over)

    def runs_of_matches(self, row: int, column: int) -> tuple[Array, Array]:
        """For each row of a tile, the first and one past the last of its matching columns in the tile."""
        height, width = self.tile_size()
        spans = self.spans[row : row + height]
        return np.maximum(spans[:, 1], column), np.minimum(spans[:, 2], column + width)

    def impostor_groups(self) -> tuple[Array, Array]:
        """Group codes by which impostor pairs are excluded."""
        empty = np.empty(0, dtype=np.int64)
        return self.groups if self.exclude == "pairs" else (empty, empty)

    def all_reduce(self, counts: Tensor) -> Tensor:
        """Counts summed over all processes, in the host's memory."""
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
        if columns is rows:  # every row against every row: two sets that share their rows
            columns = replace(rows, x=rows.x.view_as(rows.x))
        codes, other = joint_codes(rows, columns)
        groups = joint_groups(rows, columns)
        first = np.zeros(len(rows), dtype=np.int64)
    start = np.maximum(np.searchsorted(other, codes, side="left"), first)
    stop = np.maximum(np.searchsorted(other, codes, side="right"), start)
    spans = np.stack([first, start, stop], axis=1).astype(np.int64)
    return PairTiles(rows, columns, spans, groups, exclude, divide_over)
