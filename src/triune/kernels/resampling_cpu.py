"""Histograms of impostor scores under many weightings of the identities at once: one pass over the scores for all.

For every identity g the cells of its rows are sorted by bin (a counting sort). A bin's cells then add up the weights of
their other identity h, all R weightings as one short vector that stays in the first-level cache, and one product with
the weights of g puts the sum into the histogram. All is in whole numbers, so it is exact. The bin with most cells is
left out: what it holds follows from the total, which has a closed form.
"""

from typing import Any, NamedTuple

import numpy as np

from triune.kernels.compiling import compile_kernel

_jit = compile_kernel({"nsz", "nnan"})


class Scratch(NamedTuple):
    """What one thread works in."""

    bins: Any
    """Cell → its bin, uint16. (cells,)"""
    identity: Any
    """The other identity of each cell, in the order of the bins, int32. (cells,)"""
    begin: Any
    """Bin → its first cell in that order, int64. (B + 1,)"""
    sum: Any
    """One bin's weights, uint32. (R,)"""


def scratch(cells: int, bins: int, resamples: int) -> Scratch:
    """What one thread works in.

    Args:
        cells: the most pairs that a block has.
        bins: B, the bins of the histograms.
        resamples: R.
    """
    return Scratch(
        np.empty(cells, np.uint16),
        np.empty(cells, np.int32),
        np.empty(bins + 1, np.int64),
        np.zeros(resamples, np.uint32),
    )


@_jit
def weigh_block(
    scores: Any, row: int, codes: Any, groups: Any, knots: Any, weights: Any, skip: int, histogram: Any, room: Any
) -> None:
    """Add a block of scores to the histograms: ``histogram[bin, r] += weights[g, r] · weights[h, r]`` for its pairs.

    Args:
        scores: ``(rows, N − row)``: of items from ``row`` against all items from ``row``.
        row: the first item of the block.
        codes: ``(N,)`` identities 0 … G−1, ascending, int32.
        groups: ``(N,)`` pairs of the same group are left out; empty where there are none.
        knots: ``(K,)`` ascending, distinct.
        weights: ``(G, R)`` uint8.
        skip: the bin that is left out.
        histogram: ``(2K + 1, R)``: bin 2k + 1 holds the scores equal to knot k, bin 2k those between k − 1 and k.
        room: what the thread works in.
    """
    rows, last = scores.shape[0], codes.shape[0]
    first = 0
    while first < rows:
        own = codes[row + first]
        stop = first + 1
        while stop < rows and codes[row + stop] == own:
            stop += 1
        column = row + stop
        while column < last and codes[column] == own:
            column += 1
        _count_bins(scores, row, first, stop, column, groups, knots, skip, room)
        _sort_by_bin(first, stop, column, codes, room)
        for b in range(histogram.shape[0]):
            if b != skip and room.begin[b + 1] > room.begin[b]:
                _add_bin(room.identity[room.begin[b] : room.begin[b + 1]], weights, room.sum)
                _multiply(weights[own], room.sum, histogram[b])
        first = stop


@_jit
def weigh_list(bins: Any, first: Any, second: Any, weights: Any, histogram: Any) -> None:
    """Add listed pairs to the histograms.

    Args:
        bins: ``(L,)`` each pair's bin.
        first: ``(L,)`` the identity of one side, 0 … G−1.
        second: ``(L,)`` that of the other.
        weights: ``(G, R)`` uint8.
        histogram: ``(B, R)`` int64.
    """
    for k in range(bins.shape[0]):
        target, one, other = histogram[bins[k]], weights[first[k]], weights[second[k]]
        for r in range(target.shape[0]):
            target[r] += np.uint16(one[r]) * np.uint16(other[r])


@_jit
def _count_bins(
    scores: Any, row: int, first: int, stop: int, column: int, groups: Any, knots: Any, skip: int, room: Any
) -> None:
    """Find each cell's bin, and where each bin's cells begin once they are sorted."""
    count = knots.shape[0]
    room.begin[:] = 0
    cell = 0
    for j in range(column - row, scores.shape[1]):
        for i in range(first, stop):
            score = scores[i, j]
            base, size = 0, count
            while size > 0:  # how many knots are no larger
                half = (size + 1) >> 1
                base = base + half if knots[base + half - 1] <= score else base
                size -= half
            b = 2 * base - (1 if base > 0 and knots[base - 1] == score else 0)
            if groups.shape[0] and groups[row + i] == groups[row + j]:
                b = skip
            room.bins[cell] = b
            room.begin[b + 1] += 1
            cell += 1
    for b in range(1, room.begin.shape[0]):
        room.begin[b] += room.begin[b - 1]


@_jit
def _sort_by_bin(first: int, stop: int, column: int, codes: Any, room: Any) -> None:
    """Put the cells' other identities in the order of the bins; within a bin equal identities stay side by side."""
    cell = 0
    for j in range(column, codes.shape[0]):
        for _ in range(first, stop):
            b = room.bins[cell]
            room.identity[room.begin[b]] = codes[j]
            room.begin[b] += 1
            cell += 1
    for b in range(room.begin.shape[0] - 1, 0, -1):  # every begin has moved on to the next one's
        room.begin[b] = room.begin[b - 1]
    room.begin[0] = 0


@_jit
def _add_bin(identities: Any, weights: Any, total: Any) -> None:
    """The sum of the identities' weights; a run of the same identity is one product."""
    total[:] = 0
    k = 0
    while k < identities.shape[0]:
        identity = identities[k]
        end = k + 1
        while end < identities.shape[0] and identities[end] == identity:
            end += 1
        _add(weights[identity], np.uint32(end - k), total)
        k = end


@_jit
def _add(weights: Any, times: Any, total: Any) -> None:
    for r in range(total.shape[0]):
        total[r] += times * np.uint32(weights[r])


@_jit
def _multiply(weights: Any, total: Any, target: Any) -> None:
    for r in range(target.shape[0]):
        target[r] += np.uint32(weights[r]) * total[r]
