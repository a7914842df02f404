"""Scores of pairs on the CPU: of listed pairs, of a tile turned into distances, of the matching pairs of a tile."""

from typing import Any

import numpy as np

from triune.kernels.compiling import compile_kernel
from triune.kernels.ranking_cpu import key_of

# No reassociation: a score and a knot must land in cells by exactly the same arithmetic.
_jit = compile_kernel({"nsz", "nnan"})


@compile_kernel({"nsz", "nnan", "reassoc", "contract"})
def scores_of_pairs(x: Any, y: Any, rows: Any, columns: Any, dot: bool) -> Any:
    """x[rows]·y[columns], or minus their squared distances, to rounding; no copy of the rows is made.

    Args:
        x: embeddings (N, D), float32.
        y: others (M, D).
        rows: which row of x each pair has, int64 (P,).
        columns: which row of y.
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


# The sum of a row stands here as it does above: as a function of both it takes twice to three times as long.
@compile_kernel({"nsz", "nnan", "reassoc", "contract"})
def best_candidates(x: Any, queries: Any, places: Any, names: Any, k: int, dot: bool, root: bool) -> Any:
    """The same of each query with candidates of its own, of which the k best are given: ties to the lower row.

    Args:
        x: embeddings (M, D), float32.
        queries: others (Q, D).
        places: which rows of x are a query's candidates, int64 (Q, C); below 0 where there is none.
        names: the row that each candidate is called by, int64 (Q, C), below 2³².
        k: how many are wanted, at most C.
        dot: whether scores are products.
        root: whether they are minus distances, of which those of ``scores_of_pairs`` are the squares.

    Returns:
        Scores float32 (Q, k), −∞ where there is none, and the names that they belong to.
    """
    candidates = places.shape[1]
    best = np.empty((len(queries), k), np.float32)
    best_names = np.empty((len(queries), k), np.int64)
    scores = np.empty(candidates, np.float32)
    bits = scores.view(np.int32)
    keys = np.empty(candidates, np.int64)
    for i in range(len(queries)):
        b = queries[i]
        for j in range(candidates):
            if places[i, j] < 0:
                scores[j] = -np.inf
            else:
                a = x[places[i, j]]
                total = np.float32(0)
                if dot:
                    for d in range(len(a)):
                        total += a[d] * b[d]
                else:
                    for d in range(len(a)):
                        difference = a[d] - b[d]
                        total -= difference * difference
                scores[j] = -np.sqrt(-total) if root else total
            keys[j] = -key_of(bits[j], names[i, j])
        order = np.argsort(keys)
        for j in range(k):
            best[i, j] = scores[order[j]]
            best_names[i, j] = names[i, order[j]]
    return best, best_names


@_jit
def queries_in_doubt(best: Any, products: Any, slack: float, dot: bool, root: bool) -> Any:
    """The queries whose last candidate comes so near to their worst result that one left out may be better.

    Args:
        best: scores of the k best candidates, float32 (Q, k).
        products: of all candidates with the query, the largest first, float32 (Q, C), of rows of unit length.
        slack: how far a score and a product of the same pair may lie apart.
        dot: whether scores are products.
        root: whether they are minus distances, or else minus squared ones.

    Returns:
        int64, ascending.
    """
    found = np.empty(len(best), np.int64)
    count = 0
    for i in range(len(best)):
        worst = np.float64(best[i, -1])
        product = worst if dot else 1 - worst * worst / 2 if root else 1 + worst / 2
        if products[i, -1] + slack >= product:
            found[count] = i
            count += 1
    return found[:count]


@compile_kernel({"nsz"})
def distances_in_place(gram: Any, x: Any, y: Any, x_squares: Any, y_squares: Any, square: bool) -> None:
    """Turn x·yᵀ into minus the (squared) distance.

    Args:
        gram: the tile (R, C), overwritten.
        x: its rows (R, D).
        y: its columns (C, D).
        x_squares: ‖x‖² (R,).
        y_squares: ‖y‖² (C,).
        square: whether the distance is squared.
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
    """Write the scores of a tile's matching pairs to ``found``; returns how many there are.

    Args:
        scores: the tile (R, C).
        row: the row of all pairs that the tile begins with.
        column: the column of all pairs that it begins with.
        spans: for each row its first column and its run of matching columns, int64 (N, 3).
        groups: group codes of all rows and of all columns, int64; both empty where no pair is excluded.
        found: float32, with room for all of them.
    """
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
