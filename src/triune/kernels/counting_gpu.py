"""Counting impostor scores among sorted match scores on the GPU, in Triton: about one atomic addition a pair.

The README beside this file explains the algorithm. A score lands in its cell by single float32 operations that IEEE 754
rounds in one way only, and none of which adds a product (which a compiler could fuse): the cells of :class:`Tables`,
which were laid out on the host, hold here to the last bit.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from typing import Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from triune.kernels.counting_cpu import Tables

# Scores of a program: some columns of some rows. Eight scores a thread leave registers for enough programs at a time.
BLOCK = {"BR": 4, "BC": 256}


# Counters in all copies of a table: 16 MiB of 32 bits, which stay in the second-level cache of a large GPU.
COPIED = 1 << 22


# Most copies. Programs that run at the same time count in different ones: additions to one counter go one by one.
COPIES = 64


# Pairs after which counters of 32 bits are emptied, at the latest.
COUNTER_PAIRS = (1 << 31) - 1


class Places(NamedTuple):
    """Tables of :mod:`triune.kernels.counting_cpu` as tensors on a device."""

    pieces: Tensor
    """Where each piece of the line begins, its slope and its cells, float32. (PIECES, 3)"""
    marks: Tensor
    """Cell → whether counting alone does not settle it: a bit each, in int32. (⌈C/32⌉,)"""
    knots: Tensor
    """(U + 1,)"""
    before: Tensor
    """(C + 1,)"""
    kept: Tensor
    """int8. (C,)"""
    halvings: int
    """How often the knots of the fullest cell are halved until none is left."""


class Counters(NamedTuple):
    """What was counted so far; the sum over the copies is what counts."""

    cells: Tensor
    """Scores in each cell, int32: to be emptied before :data:`COUNTER_PAIRS` pairs were counted. (copies, C)"""
    rank: Tensor
    """Scores of marked cells with exactly r knots below them, int64. (copies, U + 1)"""
    tied: Tensor
    """Scores equal to a knot, int64. (copies, U + 1)"""
    kept: Tensor
    """Scores of the cells to keep. (capacity,)"""
    kept_count: Tensor
    """How many there were; more than the capacity means that some were lost; int64. (1,)"""


def places(table: Tables, device: torch.device) -> Places:
    """The tables on a device."""

    def move(part: Any) -> Tensor:
        return torch.from_numpy(part).to(device)

    bits = np.packbits(table.marked(), bitorder="little")
    marks = np.append(bits, np.zeros(-len(bits) % 4, np.uint8)).view(np.int32)
    fullest = int(np.diff(table.before).max(initial=0))
    return Places(
        pieces=move(table.pieces), marks=move(marks), knots=move(table.knots), before=move(table.before),
        kept=move(table.kept.astype(np.int8)), halvings=fullest.bit_length(),
    )  # fmt: skip


def fresh_counters(place: Places, capacity: int) -> Counters:
    """Nothing counted yet, with room to keep ``capacity`` scores."""
    device, cells, ranks = place.knots.device, len(place.kept), len(place.knots)
    return Counters(
        cells=torch.zeros(_copies(cells), cells, dtype=torch.int32, device=device),
        rank=torch.zeros(_copies(ranks), ranks, dtype=torch.int64, device=device),
        tied=torch.zeros(_copies(ranks), ranks, dtype=torch.int64, device=device),
        kept=torch.empty(capacity, device=device),
        kept_count=torch.zeros(1, dtype=torch.int64, device=device),
    )


def count_tile(
    scores: Tensor, row: int, column: int, spans: Tensor, groups: tuple[Tensor, Tensor], place: Places, state: Counters
) -> None:
    """Count the impostor scores of a tile; the host does not wait.

    Args:
        scores: the tile (R, C), contiguous.
        row: the row of all pairs that the tile begins with.
        column: the column of all pairs that it begins with.
        spans: for each row its first column and its run of matching columns, int64 (N, 3).
        groups: group codes of all rows and of all columns, int64; both empty where no pair is excluded.
        place: the tables, on the device.
        state: what was counted so far, changed.
    """
    with torch.cuda.device_of(scores):  # Triton runs on the current device
        _count_kernel[_grid(scores)](
            scores, spans, *groups, place.pieces, place.marks, place.knots, place.before, place.kept, *state,
            row, column, *scores.shape, place.halvings, len(state.kept), *state.cells.shape, *state.rank.shape,
            PIECES=len(place.pieces), GROUPED=len(groups[0]) > 0, **BLOCK,
        )  # fmt: skip


def fresh_halves(device: torch.device) -> Tensor:
    """Counters of 2¹⁶ halves, int64 (copies, 2¹⁶)."""
    return torch.zeros(_copies(1 << 16), 1 << 16, dtype=torch.int64, device=device)


def count_halves(
    scores: Tensor,
    row: int,
    column: int,
    spans: Tensor,
    groups: tuple[Tensor, Tensor],
    upper: int | None,
    counts: Tensor,
) -> None:
    """Count the upper or the lower 16 bits of the keys of a tile's impostor scores; the host does not wait.

    A key is the bits of the float as a whole number in the order of the floats; −0 and 0 are one.

    Args:
        scores: the tile (R, C), contiguous.
        row: the row of all pairs that the tile begins with.
        column: the column of all pairs that it begins with.
        spans: for each row its first column and its run of matching columns, int64 (N, 3).
        groups: group codes of all rows and of all columns, int64; both empty where no pair is excluded.
        upper: ``None`` to count the upper halves of all keys; a number of 16 bits to count the lower halves of the
            keys whose upper half it is.
        counts: how often each half was seen, int64 (copies, 2¹⁶), added to.
    """
    with torch.cuda.device_of(scores):
        _halves_kernel[_grid(scores)](
            scores, spans, *groups, counts, row, column, *scores.shape, 0 if upper is None else upper, *counts.shape,
            LOWER=upper is not None, GROUPED=len(groups[0]) > 0, **BLOCK,
        )  # fmt: skip


def _copies(counters: int) -> int:
    return max(1, min(COPIES, COPIED // counters))


def _grid(scores: Tensor) -> tuple[int, int]:
    # Neighbouring programs read neighbouring columns.
    return triton.cdiv(scores.shape[1], BLOCK["BC"]), triton.cdiv(scores.shape[0], BLOCK["BR"])


@triton.jit
def _impostors(
    scores, spans, row_groups, column_groups, row, column, R, C,
    GROUPED: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """This program's scores (BR, BC), which of them count (impostors, not excluded), and its number."""
    i = (tl.program_id(1) * BR + tl.arange(0, BR)).to(tl.int64)
    j = (tl.program_id(0) * BC + tl.arange(0, BC)).to(tl.int64)
    is_row, is_column = i < R, j < C
    first = tl.load(spans + (row + i) * 3, mask=is_row, other=0)[:, None]
    start = tl.load(spans + (row + i) * 3 + 1, mask=is_row, other=0)[:, None]
    stop = tl.load(spans + (row + i) * 3 + 2, mask=is_row, other=0)[:, None]
    there = (column + j)[None, :]
    inside = is_row[:, None] & is_column[None, :]
    wanted = inside & (there >= first) & ((there < start) | (there >= stop))
    if GROUPED:
        own = tl.load(row_groups + row + i, mask=is_row, other=0)[:, None]
        wanted = wanted & (own != tl.load(column_groups + column + j, mask=is_column, other=0)[None, :])
    # All of the tile, wanted or not: four at a time.
    s = tl.load(scores + i[:, None] * C + j[None, :], mask=inside, other=0.0)
    return s, wanted, tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)


@triton.jit
def _count_kernel(
    scores, spans, row_groups, column_groups, pieces, marks, knots, before, kept_cells,
    cells, rank, tied, kept, kept_count, row, column, R, C, halvings,
    capacity, cell_copies, cell_count, rank_copies, rank_count,
    PIECES: tl.constexpr, GROUPED: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    s, wanted, program = _impostors(scores, spans, row_groups, column_groups, row, column, R, C, GROUPED, BR, BC)
    # The arithmetic of cells_of, operation by operation.
    cell = tl.zeros((BR, BC), dtype=tl.int32)
    for piece in tl.static_range(PIECES):
        start, slope = tl.load(pieces + 3 * piece), tl.load(pieces + 3 * piece + 1)
        size = tl.load(pieces + 3 * piece + 2)
        cell += tl.minimum(tl.maximum(s - start, 0.0) * slope, size).to(tl.int32)
    tl.atomic_add(cells + (program % cell_copies) * cell_count + cell, 1, mask=wanted, sem="relaxed")
    marked = wanted & (((tl.load(marks + (cell >> 5)) >> (cell & 31)) & 1) != 0)
    if tl.sum(tl.sum(marked.to(tl.int32), axis=1), axis=0) > 0:
        # How many knots lie below: those of the cells before, and by halves those of this cell. As many steps for all:
        # to ask whether anyone is still searching would cost more than a step.
        r = tl.load(before + cell, mask=marked, other=0)
        end = tl.load(before + cell + 1, mask=marked, other=0)
        for _ in range(halvings):
            middle = (r + end) >> 1
            searching = r < end
            below = tl.load(knots + middle, mask=searching, other=0.0) < s
            r = tl.where(searching & below, middle + 1, r)
            end = tl.where(searching & (below == 0), middle, end)
        place = (program % rank_copies).to(tl.int64) * rank_count + r
        tl.atomic_add(rank + place, 1, mask=marked, sem="relaxed")
        ties = marked & (tl.load(knots + r, mask=marked, other=0.0) == s)
        tl.atomic_add(tied + place, 1, mask=ties, sem="relaxed")
        inside = (marked & (tl.load(kept_cells + cell, mask=marked, other=0) != 0)).to(tl.int32)
        a_row = tl.sum(inside, axis=1)
        in_all = tl.sum(a_row, axis=0)
        if in_all > 0:
            # One addition reserves room for the whole program; running sums say who writes where in it.
            room = tl.atomic_add(kept_count, in_all.to(tl.int64), sem="relaxed")
            ahead = (tl.cumsum(a_row, axis=0) - a_row)[:, None] + tl.cumsum(inside, axis=1) - inside
            at = room + ahead
            tl.store(kept + at, s, mask=(inside != 0) & (at < capacity))


@triton.jit
def _halves_kernel(
    scores, spans, row_groups, column_groups, counts, row, column, R, C, upper, copies, halves,
    LOWER: tl.constexpr, GROUPED: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    s, wanted, program = _impostors(scores, spans, row_groups, column_groups, row, column, R, C, GROUPED, BR, BC)
    bits = tl.where(s == 0.0, 0.0, s).to(tl.int32, bitcast=True)
    # Positive floats are in the order of their bits, above all negative ones, which are in the opposite order.
    half = tl.where(bits < 0, (~bits) >> 16, (bits >> 16) + 32768)
    if LOWER:
        wanted = wanted & (half == upper)
        half = tl.where(bits < 0, ~bits, bits) & 0xFFFF
    place = (program % copies) * halves + half
    tl.atomic_add(counts + place, 1, mask=wanted, sem="relaxed")
