"""Outliers: items that lie further from all others than such a set has by chance."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy import special
from torch import Tensor

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.pairs.prepared import PreparedEmbeddings
from triune.retrieval.neighbours import as_rows, nearest

Array: TypeAlias = np.ndarray[Any, Any]

LEAST = 20
"""Items that it takes to know how far apart such a set lies."""


class Outliers(NamedTuple):
    """How far each of N items lies from the others.

    Args:
        distance: ``(N,)`` mean distance to the nearest items.
        typical: its median.
        limit: above it items are outliers; +∞ where there are too few items to tell.
    """

    distance: Array
    typical: float
    limit: float

    @property
    def rows(self) -> Array:
        """The outliers, the furthest first."""
        found = np.flatnonzero(self.distance > self.limit)
        return found[np.argsort(-self.distance[found], kind="stable")]


def outliers(
    embeddings: Embeddings | PreparedEmbeddings,
    *,
    neighbours: int = 5,
    metric: Metric | None = None,
    near: tuple[Tensor, Tensor] | None = None,
) -> Outliers:
    """Items far from everything: their mean distance to the ``neighbours`` nearest is beyond what chance would give.

    The limit is that which one of N items exceeds by chance, if the logarithms of the distances above their median are
    half of a normal distribution. Its width is told by the quartile and by the 95 % quantile (the wider of the two), so
    that it stands as long as fewer than one item in twenty is an outlier.

    >>> x = np.random.default_rng(0).normal(1, 0.1, (100, 8))
    >>> x[42] = -1
    >>> outliers(x).rows.tolist()
    [42]

    Args:
        embeddings: ``(N, D)``, or what :func:`~triune.pairs.prepared.prepare` made of them.
        neighbours: how many, at least 1.
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
        return Outliers(np.zeros(count), 0.0, np.inf)
    scores, _ = nearest(rows, rows, neighbours, exclude_self=True) if near is None else near
    alike = scores.double().cpu().numpy()
    distance = np.maximum((1 - alike if rows.metric == "cosine" else -alike).mean(axis=1), 0)
    typical = float(np.median(distance))
    if count < LEAST or typical == 0:
        return Outliers(distance, typical, np.inf)
    quartile, upper = np.log(np.quantile(distance, [0.75, 0.95]) / typical)
    width = max(quartile / special.ndtri(0.75), upper / special.ndtri(0.95))
    if width == 0:
        return Outliers(distance, typical, np.inf)
    return Outliers(distance, typical, typical * float(np.exp(width * special.ndtri(1 - 1 / count))))
