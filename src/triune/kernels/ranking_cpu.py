"""Ranks of the relevant items of every query on the CPU: one comparison for most scores, and no sorting of rows.

The README beside this file explains the algorithm.
"""

from typing import Any

import numpy as np

from triune.kernels.compiling import compile_kernel

# No reassociation: a score must be the same number wherever it is compared.
_jit = compile_kernel({"nnan"})


EXCLUDED = np.iinfo(np.int64).max
"""The key of a relevant item that does not count."""


FEW = 16
"""Up to so many keys are counted one by one, without a branch; more are searched by halves."""


@_jit
def key_of(bits: Any, row: Any) -> Any:
    """A score (the bits of its float32) and a row as one number: the better stands higher, ties by the lower row."""
    magnitude = np.int64(bits) & 0x7FFFFFFF
    ordered = magnitude if bits >= 0 else -magnitude
    return (ordered << 32) + (0xFFFFFFFF - np.int64(row))


@_jit
def relevant_keys(
    bits: Any,
    row: int,
    column: int,
    runs: Any,
    groups: Any,
    orders: Any,
    one_set: bool,
    symmetric: bool,
    begin: Any,
    keys: Any,
) -> None:
    """Write the keys of a tile's relevant pairs to their queries' places.

    Args:
        bits: the tile's scores as int32 (R, C).
        row: the query of the tile's first row.
        column: the item of its first column.
        runs: the first and one past the last matching column of each row, (N, 2).
        groups: codes of rows and columns, both empty where nothing is excluded.
        orders: original rows of the sorted rows and columns.
        one_set: rows and columns are the same items, and none is relevant to itself.
        symmetric: of these only pairs above the diagonal are looked at, and serve both their items as queries.
        begin: where the keys of each query begin, (N + 1,).
        keys: all keys.
    """
    for i in range(bits.shape[0]):
        query = row + i
        left, right = runs[query, 0], runs[query, 1]
        first = max(left, query + 1) if symmetric else left
        for item in range(max(first, column), min(right, column + bits.shape[1])):
            if one_set and item == query:
                continue
            counts = not len(groups[0]) or groups[0][query] != groups[1][item]
            found = bits[i, item - column]
            place = begin[query] + item - left - (one_set and item > query)
            keys[place] = key_of(found, orders[1][item]) if counts else EXCLUDED
            if symmetric:
                place = begin[item] + query - left
                keys[place] = key_of(found, orders[0][query]) if counts else EXCLUDED


@_jit
def sort_keys(begin: Any, keys: Any, first: int, counts: Any, worst: Any) -> None:
    """Sort the keys of each query, count those that count, and note the score of the worst (+∞ where there is none).

    Args:
        begin: where the keys of each query begin, (Q + 1,).
        keys: all keys.
        first: the query that ``begin`` begins with.
        counts: (N,), how many keys of each query count; written at ``first`` and after.
        worst: (N,), the score of each query's worst relevant item; written at ``first`` and after.
    """
    bits = np.empty(1, dtype=np.int32)
    for i in range(len(begin) - 1):
        own = keys[begin[i] : begin[i + 1]]
        own.sort()
        count = len(own)
        while count and own[count - 1] == EXCLUDED:
            count -= 1
        counts[first + i] = count
        if count:
            ordered = own[0] >> 32
            bits[0] = ordered if ordered >= 0 else -ordered
            score = bits.view(np.float32)[0]
            worst[first + i] = score if ordered >= 0 else -score
        else:
            worst[first + i] = np.inf


@_jit
def count_ahead(
    scores: Any,
    bits: Any,
    row: int,
    column: int,
    runs: Any,
    groups: Any,
    orders: Any,
    symmetric: bool,
    begin: Any,
    keys: Any,
    counts: Any,
    worst: Any,
    ahead: Any,
    chosen: Any,
) -> None:
    """Count the other items of a tile by how many of the query's relevant ones they stand ahead of.

    Args:
        scores: the tile (R, C), float32.
        bits: the same as int32.
        row: the query of the tile's first row.
        column: the item of its first column.
        runs: the first and one past the last matching column of each row, (N, 2).
        groups: codes by which other pairs are excluded, both empty where none is.
        orders: original rows of the sorted rows and columns.
        symmetric: only pairs above the diagonal are looked at, and serve both their items as queries.
        begin: where the keys of each query begin, (N + 1,).
        keys: all keys.
        counts: how many keys of each query count, (N,).
        worst: the worst relevant score of each query, (N,).
        ahead: at ``begin[q] + u - 1`` the number of items ahead of exactly u relevant ones, uint32.
        chosen: scratch, uint32 (C,).
    """
    width, none = scores.shape[1], np.uint64(0)
    near = worst[column : column + width]
    for i in range(scores.shape[0]):
        query = row + i
        limit, line = worst[query], scores[i]
        before = np.uint64(min(max(runs[query, 0] - column, 0), width))
        after = np.uint64(min(max(runs[query, 1] - column, 0), width))
        # Indices are unsigned here: Numba tests a signed one for being negative, which costs as much as the rest.
        count = none
        if symmetric:
            for j in range(after, np.uint64(width)):
                chosen[count] = j
                s = line[j]
                count += np.uint64((s >= limit) | (s >= near[j]))
        elif counts[query]:
            for first, last in ((none, before), (after, np.uint64(width))):
                for j in range(first, last):
                    chosen[count] = j
                    count += np.uint64(line[j] >= limit)
        for c in range(count):
            here = np.uint64(chosen[c])
            item = column + np.int64(here)
            if len(groups[0]) and groups[0][query] == groups[1][item]:
                continue
            s, found = line[here], bits[i, here]
            if s >= limit:
                place = _below(keys, begin[query], counts[query], key_of(found, orders[1][item]))
                if place:
                    ahead[begin[query] + place - 1] += 1
            if symmetric and s >= worst[item]:
                place = _below(keys, begin[item], counts[item], key_of(found, orders[0][query]))
                if place:
                    ahead[begin[item] + place - 1] += 1


@_jit
def to_ranks(begin: Any, first: int, counts: Any, ahead: Any, ranks: Any) -> None:
    """The ranks of the relevant items of each query, ascending, written one query after the other.

    Args:
        begin: where the keys of each query begin, (Q + 1,).
        first: the query that ``begin`` begins with.
        counts: how many keys of each query count, (N,).
        ahead: at ``begin[q] + u - 1`` the number of items ahead of exactly u relevant ones.
        ranks: all ranks, written.
    """
    written = 0
    for i in range(len(begin) - 1):
        count = counts[first + i]
        others = np.int64(0)
        for place in range(count - 1, -1, -1):
            others += np.int64(ahead[begin[i] + place])
            ranks[written] = 1 + others + (count - 1 - place)
            written += 1


@_jit
def shared_weight(begin: Any, columns: Any, weights: Any, top: Any, rows: Any, others: Any, shared: Any) -> None:
    """Σ over columns of the smaller of two weights, for every query and gallery row that both have the column.

    Args:
        begin: where the weights of each query begin, (Q + 1,).
        columns: the column of each of the queries' weights.
        weights: the queries' weights, one row after the other.
        top: where the gallery's weights of each column begin.
        rows: the gallery row of each of its weights.
        others: the gallery's weights, one column after the other.
        shared: ``(Q, M)``, zeros, written.
    """
    for i in range(shared.shape[0]):
        for e in range(begin[i], begin[i + 1]):
            column, own = columns[e], weights[e]
            for f in range(top[column], top[column + 1]):
                shared[i, rows[f]] += min(own, others[f])


@_jit
def _below(keys: Any, begin: int, count: int, key: int) -> Any:
    """How many of the sorted keys from ``begin`` on are below ``key``."""
    if count <= FEW:
        below = 0
        for k in range(begin, begin + count):
            below += keys[k] < key
        return below
    low, size = begin, count
    while size > 1:
        half = size >> 1
        low = low + half if keys[low + half - 1] < key else low
        size -= half
    return low - begin + (keys[low] < key)
