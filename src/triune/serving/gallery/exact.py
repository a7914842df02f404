"""Exact search in memory: FAISS finds candidates, which are scored again as pairs are; ties go to the lower row.

FAISS adds up D products in float32, and so does the score of a pair, in another order: each lies within (D + 2)·u of
the true product of two unit rows (u = 2⁻²⁴). A row that FAISS left out can therefore be among the k most alike only if
the last one that it gave comes within the sum of both errors of the k-th; then more are asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from triune.distances.metric import Metric
from triune.errors import InputError
from triune.kernels.scores_cpu import best_candidates, queries_in_doubt
from triune.pairs.rows import UNIT_ROUNDOFF, unit_rows as rows_at_unit_length
from triune.serving.libraries import library

Array: TypeAlias = np.ndarray[Any, Any]

SPARE = 4
"""Candidates more than are asked for, at first."""

QUERIES = 1024
"""So many are searched for at a time."""


class Candidates(NamedTuple):
    """Rows that may be among the most alike.

    Args:
        products: ``(Q, C)`` float32, of unit rows, the largest first.
        rows: ``(Q, C)`` int64; −1 where there is none.
        x: ``(M, D)`` float32, which holds their embeddings.
        places: where in ``x`` each of them is, ``(Q, C)`` int64; the rows themselves where not given.
    """

    products: Array
    rows: Array
    x: Array
    places: Array | None = None


Find: TypeAlias = Callable[[Array, int], Candidates]
"""Finds a number of candidates for each of some queries."""


@dataclass(frozen=True, eq=False)
class ExactSearch:
    """Search among all rows, in memory.

    Args:
        x: ``(N, D)`` float32, of unit length, C-contiguous; it is not copied.
        metric: the distance.
    """

    x: Array
    metric: Metric

    def nearest(self, queries: Array, k: int, among: Array | None = None) -> tuple[Array, Array]:
        """The k most alike rows of each query.

        Args:
            queries: ``(Q, D)`` float32, of unit length.
            k: how many; all rows where there are fewer.
            among: the rows that may be found, ``(M,)`` int64; all where not given.

        Returns:
            Scores ``(Q, k)`` float32, the best first, and rows ``(Q, k)`` int64.
        """
        if among is None:
            return nearest(self.x, queries, k, self.metric)
        scores, places = nearest(self.x[among], queries, k, self.metric)
        return scores, among[places]


def nearest(x: Array, queries: Array, k: int, metric: Metric) -> tuple[Array, Array]:
    """The k most alike rows of each query, as :meth:`ExactSearch.nearest`.

    Args:
        x: ``(N, D)``.
        queries: ``(Q, D)``.
        k: how many; all N where there are fewer.
        metric: the distance.
    """

    faiss = library("faiss", "gallery")

    def find(asked: Array, count: int) -> Candidates:
        products, rows = faiss.knn(asked, x, count, metric=faiss.METRIC_INNER_PRODUCT)
        return Candidates(products, rows, x)

    return nearest_of(find, len(x), queries, k, metric)


def nearest_of(find: Find, n: int, queries: Array, k: int, metric: Metric) -> tuple[Array, Array]:
    """The same of whatever finds candidates by their products.

    Args:
        find: gives as many candidates of each query as it is asked for, those of the largest products.
        n: how many rows there are.
        queries: ``(Q, D)``.
        k: how many; all n where there are fewer.
        metric: the distance.
    """
    k = min(k, n)
    if not k or not len(queries):
        return np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    if len(queries) <= QUERIES:
        return _search(find, n, queries, k, metric)
    starts = range(0, len(queries), QUERIES)
    parts = [_search(find, n, queries[start : start + QUERIES], k, metric) for start in starts]
    scores, rows = zip(*parts, strict=True)
    return np.concatenate(scores), np.concatenate(rows)


def unit_rows(x: Array) -> Array:
    """Embeddings at unit length, float32 and C-contiguous."""
    # Half precision would round the length; longer floats need not be kept.
    wide = np.array(x, np.float64 if x.dtype.itemsize > 4 else np.float32)
    return np.ascontiguousarray(rows_at_unit_length(wide), np.float32)


def unit_queries(queries: Array, dim: int, source: str) -> Array:
    """Embeddings that are searched for, at unit length, float32 and C-contiguous.

    Args:
        queries: ``(Q, D)`` of floats.
        dim: D of the gallery.
        source: what messages call the gallery.

    Raises:
        InputError: they are of another width, or hold NaN or infinity; the first such row is named.
    """
    if queries.shape[1] != dim:
        raise InputError(f"queries have {queries.shape[1]} dimensions but {source} has {dim}")
    sound: Array = np.asarray(np.isfinite(queries).all(axis=1))
    if not sound.all():
        raise InputError(
            f"queries holds NaN or infinity in {int((~sound).sum())} of {len(sound)} rows, the first of them row "
            f"{int(np.argmin(sound))}: leave these rows out"
        )
    return unit_rows(queries)


def rescored(found: Candidates, queries: Array, k: int, metric: Metric) -> tuple[Array, Array]:
    """The k best of each query's candidates by the score of the pair, ties to the lower row.

    Args:
        found: C candidates of each query.
        queries: ``(Q, D)``.
        k: at most C.
        metric: the distance.

    Returns:
        Scores ``(Q, k)`` (−∞ where there is none) and rows ``(Q, k)``.
    """
    rows = found.rows
    places = rows if found.places is None else found.places
    best: tuple[Array, Array] = best_candidates(
        found.x, queries, places, rows, k, metric == "cosine", metric == "euclidean"
    )
    return best


def _search(find: Find, n: int, queries: Array, k: int, metric: Metric) -> tuple[Array, Array]:
    """Scores and rows of some queries: from a few candidates, and from more of those queries that may have better."""
    count = min(n, k + SPARE)
    found = find(queries, count)
    scores, rows = rescored(found, queries, k, metric)
    slack = 2 * (queries.shape[1] + 8) * UNIT_ROUNDOFF
    waiting: Array | None = None  # all of them: of one query, a list of it would take longer than the rest
    best = scores
    while count < n:
        doubtful = queries_in_doubt(best, found.products, slack, metric == "cosine", metric == "euclidean")
        if not len(doubtful):
            break
        waiting = doubtful if waiting is None else waiting[doubtful]
        count = min(n, 8 * count)
        found = find(queries[waiting], count)
        best, its_rows = rescored(found, queries[waiting], k, metric)
        scores[waiting], rows[waiting] = best, its_rows
    return scores, rows
