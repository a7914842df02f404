"""Where the relevant items of every query stand in its ranking, counted in tiles; nothing is sorted or listed.

A retrieval metric asks only for the ranks of a query's relevant items, and the rank of one is one more than the number
of items that score higher. Counting those takes a comparison for most items (kernels/README.md).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch

from triune.kernels import ranking_cpu
from triune.pairs.scores import scores_between
from triune.pairs.tiles import PairTiles, Tile
from triune.parallel.divide import all_reduce

Array: TypeAlias = np.ndarray[Any, Any]


LISTED = 1 << 23
"""About so many relevant pairs are dealt with at a time: 64 MiB of keys, and half of that a thread."""


SORTED = 1 << 24
"""Scores sorted at a time where torch does it."""


class Ranks(NamedTuple):
    """Ranks, from 1, of the relevant items of Q queries; rankings leave out the query itself and excluded pairs.

    Args:
        query: ``(Q,)`` int64 rows.
        relevant: ``(Q,)`` int64 how many relevant items each has, R; may be 0.
        found: ``(Q,)`` int64 how many of them the ranking holds: R, or fewer where it ends early.
        rank: ``(Σ found,)`` int64, ascending within each query, one query after the other.
    """

    query: Array
    relevant: Array
    found: Array
    rank: Array


def cumulative_match(first_rank: Array, depth: int) -> Array:
    """The cumulative match characteristic: the share of queries with a hit among the first 1, 2, …, ``depth``.

    Args:
        first_rank: ``(Q,)`` int64 the rank of each query's first hit, from 1.
        depth: the last rank, at least 1.

    Returns:
        ``(depth,)`` float64, ascending. Memory: O(Q + depth).

    Raises:
        ValueError: ``depth`` is below 1.
    """
    if depth < 1:
        raise ValueError(f"the depth of the curve is {depth}: ranks start at 1")
    counts = np.bincount(np.minimum(first_rank, depth + 1), minlength=depth + 2)
    shares: Array = np.cumsum(counts)[1 : depth + 1] / len(first_rank)
    return shares


def relevant_ranks(pairs: PairTiles) -> Iterator[Ranks]:
    """The ranks of the relevant items of every query, some queries at a time; ties go to the lower row as given.

    A query is a row of ``pairs``; the items are its columns, without the query itself where they are one set. Of a
    group, ``pairs.exclude`` says whether all pairs or only matching ones are out of the ranking.

    Memory: 64 MiB and half of it a thread for keys of relevant pairs, or those of 512 queries where these have more.
    Time: the matrix product (half of it where queries and items are one set of few relevant pairs) and about 1 ns a
    pair, more where many items score higher than the worst relevant one.

    Args:
        pairs: queries and items.
    """
    one_set = pairs.columns is pairs.rows
    runs = identity_runs(pairs)
    if pairs.x.device.type != "cpu":
        yield from ranks_by_sorting(pairs, runs)
        return
    places = np.concatenate([[0], np.cumsum(runs[:, 1] - runs[:, 0] - int(one_set))]).astype(np.int64)
    symmetric = one_set and int(places[-1]) <= LISTED
    for first, last in _slabs(pairs, places, everything=symmetric):
        yield _ranks_of_slab(pairs, runs, places, (first, last), symmetric=symmetric)


def identity_runs(pairs: PairTiles) -> Array:
    """The first and one past the last column of each query's identity, int64 ``(N, 2)``; the query's own among them."""
    # Spans of one set begin behind the query itself, but all rows of an identity end at the same column.
    right = pairs.spans[:, 2]
    left = np.searchsorted(right, right, side="left") if pairs.columns is pairs.rows else pairs.spans[:, 1]
    return np.stack([left, right], axis=1).astype(np.int64)


def ranks_by_sorting(pairs: PairTiles, runs: Array) -> Iterator[Ranks]:
    """The same by torch, which sorts each row: for other devices, and what the kernels are tested against.

    Args:
        pairs: queries and items.
        runs: ``(N, 2)`` the first and one past the last column of each query's identity.
    """
    device, one_set = pairs.x.device, pairs.columns is pairs.rows
    height = max(1, SORTED // max(1, len(pairs.y)))
    low_rows = 0xFFFFFFFF - torch.from_numpy(pairs.orders[1]).to(device)
    share, processes = pairs.share()
    for number, start in enumerate(range(0, len(pairs.x), height)):
        stop = min(start + height, len(pairs.x))
        squares = (pairs.rows.squares[start:stop], pairs.columns.squares) if pairs.metric != "cosine" else None
        scores = scores_between(pairs.x[start:stop], pairs.y, pairs.metric, squares)
        column = torch.arange(len(pairs.y), device=device)
        run = torch.from_numpy(runs[start:stop]).to(device)
        relevant = (column >= run[:, :1]) & (column < run[:, 1:])
        out = torch.zeros_like(relevant)
        if one_set:
            out[torch.arange(stop - start), torch.arange(start, stop)] = True
        if len(pairs.groups[0]):
            own, theirs = (torch.from_numpy(part).to(device) for part in pairs.groups)
            same_group = own[start:stop, None] == theirs
            out |= same_group & relevant if pairs.exclude == "matches" else same_group
        relevant &= ~out
        counts = relevant.sum(1)
        ranks = torch.zeros(int(counts.sum()), dtype=torch.int64, device=device)
        if number % processes == share:
            bits = scores.float().view(torch.int32).long()
            ordered = torch.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))
            keys = ((ordered << 32) + low_rows).masked_fill(out, torch.iinfo(torch.int64).min)
            best_first = relevant.gather(1, keys.argsort(dim=1, descending=True))
            ranks = best_first.nonzero()[:, 1] + 1
        ranks = all_reduce(ranks, pairs.divide_over)
        relevant_items = counts.cpu().numpy()
        yield Ranks(pairs.orders[0][start:stop], relevant_items, relevant_items, ranks.cpu().numpy())


def _slabs(pairs: PairTiles, places: Array, *, everything: bool) -> Iterator[tuple[int, int]]:
    """Runs of whole tiles of queries that have about :data:`LISTED` relevant pairs."""
    height, _ = pairs.tile_size()
    first = 0
    while first < len(pairs.x):
        last = len(pairs.x)
        if not everything:
            enough = int(np.searchsorted(places, places[first] + LISTED, side="right")) - 1
            last = min(max(first + height, first + (enough - first) // height * height), last)
        yield first, last
        first = last


def _ranks_of_slab(pairs: PairTiles, runs: Array, places: Array, slab: tuple[int, int], *, symmetric: bool) -> Ranks:
    """The ranks of the relevant items of some queries.

    Args:
        pairs: all queries and items.
        runs: ``(N, 2)`` the first and one past the last column of each query's identity.
        places: ``(N + 1,)`` where each query's relevant pairs would begin if all were listed.
        slab: the first and one past the last of the queries.
        symmetric: the slab holds all queries, and each pair serves both its items: only tiles on and above the diagonal
            are computed.
    """
    first, last = slab
    one_set = pairs.columns is pairs.rows
    height, width = pairs.tile_size()
    # Keys and counts of the slab's queries, as if those of the queries before had been there, too.
    begin = places - places[first]
    keys = np.empty(int(begin[last]), dtype=np.int64)
    counts = np.zeros(len(pairs.x), dtype=np.int64)
    worst = np.full(len(pairs.x), np.inf, dtype=np.float32)
    among_others = pairs.impostor_groups()

    def inside(row: int, column: int) -> bool:
        return first <= row < last and (not symmetric or column + width > row + 1)

    def matching(row: int, column: int) -> bool:
        left, right = runs[row : row + height].T
        return inside(row, column) and bool((np.maximum(left, column) < np.minimum(right, column + width)).any())

    def list_keys(tile: Tile, _: None) -> None:
        bits = tile.scores.numpy().view(np.int32)
        ranking_cpu.relevant_keys(
            bits, tile.row, tile.column, runs, pairs.groups, pairs.orders, one_set, symmetric, begin, keys
        )

    def mine(row: int, column: int) -> bool:
        return inside(row, column) and pairs.own_tile(row, column)

    def count(tile: Tile, own: tuple[Array, Array]) -> None:
        scores = tile.scores.numpy()
        ranking_cpu.count_ahead(
            scores, scores.view(np.int32), tile.row, tile.column, runs, among_others, pairs.orders, symmetric,
            begin, keys, counts, worst, *own,
        )  # fmt: skip

    pairs.visit(matching, list_keys, lambda: None)
    ranking_cpu.sort_keys(begin[first : last + 1], keys, first, counts, worst)
    threads = pairs.visit(mine, count, lambda: (np.zeros(len(keys), dtype=np.uint32), np.empty(width, dtype=np.uint32)))
    own = np.sum([part for part, _ in threads], axis=0, dtype=np.int64)
    ahead = all_reduce(torch.from_numpy(own), pairs.divide_over)
    ranks = np.empty(int(counts[first:last].sum()), dtype=np.int64)
    ranking_cpu.to_ranks(begin[first : last + 1], first, counts, ahead.numpy(), ranks)
    return Ranks(pairs.orders[0][first:last], counts[first:last], counts[first:last], ranks)
