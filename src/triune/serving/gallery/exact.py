"""Exact search in memory: FAISS finds candidates, which are scored again as pairs are; ties go to the lower row.

FAISS adds up D products in float32, and so does the score of a pair, in another order: each lies within (D + 2)·u of
the true product of two unit rows (u = 2⁻²⁴). A row that FAISS left out can therefore be among the k most alike only if
the last one that it gave comes within the sum of both errors of the k-th; then more are asked for.
"""

from typing import Any, TypeAlias

import numpy as np

from triune.distances.embeddings import Metric
from triune.kernels.scores_cpu import scores_of_pairs
from triune.pairs.scores import UNIT_ROUNDOFF
from triune.serving.gallery.card import library

Array: TypeAlias = np.ndarray[Any, Any]

SPARE = 8
"""Candidates more than are asked for, at first."""

QUERIES = 1024
"""So many are searched for at a time."""


def nearest(x: Array, queries: Array, k: int, metric: Metric) -> tuple[Array, Array]:
    """The k most alike rows of each query.

    Args:
        x: ``(N, D)`` float32, of unit length, C-contiguous.
        queries: ``(Q, D)`` the same.
        k: how many; all N where there are fewer.
        metric: the distance.

    Returns:
        Scores ``(Q, k)`` float32, the best first, and rows ``(Q, k)`` int64.
    """
    k = min(k, len(x))
    scores, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    if k == 0:
        return scores, rows
    for start in range(0, len(queries), QUERIES):
        part = slice(start, start + QUERIES)
        _search(x, queries[part], metric, scores[part], rows[part])
    return scores, rows


def rescored(x: Array, queries: Array, candidates: Array, k: int, metric: Metric) -> tuple[Array, Array]:
    """The k best of each query's candidates by the score of the pair, ties to the lower row.

    Args:
        x: ``(N, D)``.
        queries: ``(Q, D)``.
        candidates: rows ``(Q, C)`` int64; −1 where there is none.
        k: at most C.
        metric: the distance.

    Returns:
        Scores ``(Q, k)`` (−∞ where there is none) and rows ``(Q, k)``.
    """
    rows = np.sort(candidates, axis=1)
    places = np.repeat(np.arange(len(queries)), rows.shape[1])
    scores = scores_of_pairs(x, queries, rows.ravel().clip(0), places, metric == "cosine").reshape(rows.shape)
    if metric == "euclidean":
        scores = -np.sqrt(-scores)
    scores[rows < 0] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)


def _search(x: Array, queries: Array, metric: Metric, scores: Array, rows: Array) -> None:
    """Fill in the answers of some queries."""
    faiss = library("faiss", "gallery")
    k, fetched = scores.shape[1], min(len(x), scores.shape[1] + SPARE)
    slack = 2 * (x.shape[1] + 8) * UNIT_ROUNDOFF
    open_ones = np.arange(len(queries))
    while len(open_ones):
        asked = queries[open_ones]
        products, candidates = faiss.knn(asked, x, fetched, metric=faiss.METRIC_INNER_PRODUCT)
        scores[open_ones], rows[open_ones] = rescored(x, asked, candidates, k, metric)
        if fetched == len(x):
            return
        worst = _as_product(scores[open_ones, -1].astype(np.float64), metric)
        open_ones = open_ones[products[:, -1] + slack >= worst]
        fetched = min(len(x), 8 * fetched)


def _as_product(scores: Array, metric: Metric) -> Array:
    """The product x·y of unit rows that a score stands for."""
    if metric == "cosine":
        return scores
    return 1 + scores / 2 if metric == "squared_euclidean" else 1 - scores**2 / 2
