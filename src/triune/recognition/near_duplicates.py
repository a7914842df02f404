"""Near-duplicates: pairs of items far closer than neighbours are, and the groups that they form."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy import sparse, special
from torch import Tensor

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.pairs.prepared import PreparedEmbeddings
from triune.retrieval.neighbours import as_rows, nearest

Array: TypeAlias = np.ndarray[Any, Any]

LEAST = 20
"""Items that it takes to know how close neighbours of such a set are."""


class ClosePairs(NamedTuple):
    """P pairs of neighbours, the closest first; no pair twice.

    Args:
        first: ``(P,)`` int64 rows.
        second: ``(P,)`` int64 rows, each larger than that of ``first``.
        distance: ``(P,)`` float64.
        limit: pairs this close are closer than neighbours of this set are by chance.
    """

    first: Array
    second: Array
    distance: Array
    limit: float


def close_pairs(
    embeddings: Embeddings | PreparedEmbeddings,
    *,
    neighbours: int = 5,
    metric: Metric | None = None,
    near: tuple[Tensor, Tensor] | None = None,
) -> ClosePairs:
    """Each item with its nearest neighbours, and how close a pair must be to be no chance.

    The limit is the distance that one of N nearest neighbours falls below by chance, if the logarithms of these
    distances below their median are half of a normal distribution. Its width is told by the lower quartile, so that it
    stands as long as fewer than a quarter of the items are copies. Embeddings that are equal to the last bits of their
    arithmetic are within the limit whatever the others are.

    >>> x = np.random.default_rng(0).normal(size=(100, 32))
    >>> x[42] = x[7] + 1e-3
    >>> found = close_pairs(x)
    >>> [(int(i), int(j)) for i, j, d in zip(*found[:3]) if d <= found.limit]
    [(7, 42)]

    Args:
        embeddings: ``(N, D)``, or what :func:`~triune.pairs.prepared.prepare` made of them.
        neighbours: of each item, at least 1. Of more copies of one item, not all pairs are listed, but all copies are.
        metric: the distance; the cosine, or that of the prepared embeddings, where not given.
        near: what :func:`~triune.retrieval.neighbours.top_k` of them gives with ``exclude_self``, where it is known: it
            takes the time, and its width then stands for ``neighbours``.

    Raises:
        ValueError: an embedding is not finite.
    """
    if neighbours < 1:
        raise ValueError(f"neighbours is {neighbours}: at least 1 is needed")
    rows = as_rows(embeddings, metric, "embeddings")
    count = len(rows.x)
    if count < 2:
        empty = np.empty(0, dtype=np.int64)
        return ClosePairs(empty, empty, np.empty(0), 0.0)
    _, found = nearest(rows, rows, neighbours, exclude_self=True) if near is None else near
    ends = np.stack([np.repeat(np.arange(count), found.shape[1]), found.cpu().numpy().reshape(-1)], axis=1)
    pairs = np.unique(np.sort(ends, axis=1), axis=0)
    first, second = pairs[:, 0], pairs[:, 1]
    # Differences, not products: near-duplicates would lose their distance to cancellation.
    x = rows.x.double().cpu().numpy()
    squared = np.empty(len(pairs))
    for start in range(0, len(pairs), 4096):
        part = slice(start, start + 4096)
        squared[part] = ((x[first[part]] - x[second[part]]) ** 2).sum(axis=1)
    distance = squared / 2 if rows.metric == "cosine" else squared if rows.metric != "euclidean" else np.sqrt(squared)
    size = float(np.median((x**2).sum(axis=1)))
    least = _equal(size, x.shape[1], rows.metric)
    closest = np.full(count, np.inf)
    for end in (first, second):
        np.minimum.at(closest, end, distance)
    order = np.argsort(distance, kind="stable")
    return ClosePairs(first[order], second[order], distance[order], max(least, chance_limit(closest[closest > least])))


def groups(count: int, first: Array, second: Array) -> Array:
    """Numbers ``(count,)`` that items share which pairs join, directly or by others.

    Args:
        count: how many items there are.
        first: ``(P,)`` rows.
        second: ``(P,)`` rows.
    """
    joined = sparse.coo_matrix((np.ones(len(first), dtype=np.int8), (first, second)), shape=(count, count))
    numbers: Array = sparse.csgraph.connected_components(joined, directed=False)[1]
    return numbers


def chance_limit(closest: Array) -> float:
    """The distance that one of N nearest neighbours falls below by chance, told from the half above the lower quartile.

    Args:
        closest: ``(N,)`` positive distances, of each item to its nearest neighbour.

    Returns:
        0 where there are too few to tell.
    """
    if len(closest) < LEAST:
        return 0.0
    middle, quarter = np.log(np.quantile(closest, [0.5, 0.25]))
    width = (middle - quarter) / special.ndtri(0.75)
    return float(np.exp(middle - width * special.ndtri(1 - 1 / len(closest))))


def _equal(size: float, dims: int, metric: Metric) -> float:
    """Distances that come of rounding embeddings of squared length ``size`` to float32."""
    squared = size * dims * np.finfo(np.float32).eps ** 2
    return float({"cosine": squared / 2, "squared_euclidean": squared, "euclidean": np.sqrt(squared)}[metric])
