"""Retrieval metrics: Recall@K, Precision@K, MAP@R, R-precision, MRR, nDCG and CMC, from ranks or from rankings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings, Metric
from triune.labels import Labels, encode_labels, encode_together
from triune.pairs.prepared import as_prepared_pair
from triune.pairs.tiles import Exclusion, pair_tiles
from triune.retrieval.ranks import Ranks, relevant_ranks

Array: TypeAlias = np.ndarray[Any, Any]


MEASURED = 1 << 17
"""About so many ranks are turned into figures at a time."""


@dataclass(frozen=True)
class QueryMetrics:
    """What each of Q queries found; those without a relevant item in the gallery are left out.

    With R relevant items, of which the j-th best stands at rank r_j:

    Args:
        query: ``(Q,)`` rows of the queries.
        relevant: ``(Q,)`` R.
        first_rank: ``(Q,)`` r_1.
        recall_at: K → ``(Q,)`` 1 where r_1 ≤ K, else 0 (a hit among the first K, as in metric learning and in CMC).
        precision_at: K → hits among the first K, over K.
        average_precision_at: K → Σ j / r_j over hits with r_j ≤ K, over min(K, R): perfect is 1.
        average_precision_at_over_hits: the same over the number of those hits (0 where there is none): finding one
            of many at rank 1 is perfect, too. It is what some libraries call average precision at K.
        ndcg_at: K → Σ 1 / log2(1 + r_j) over hits with r_j ≤ K, over what a perfect ranking has.
        r_precision: hits among the first R, over R.
        average_precision_at_r: average precision at R (Musgrave, Belongie & Lim 2020).
        average_precision: Σ j / r_j / R over the whole ranking, the mAP of re-identification.
    """

    query: Array
    relevant: Array
    first_rank: Array
    recall_at: dict[int, Array]
    precision_at: dict[int, Array]
    average_precision_at: dict[int, Array]
    average_precision_at_over_hits: dict[int, Array]
    ndcg_at: dict[int, Array]
    r_precision: Array
    average_precision_at_r: Array
    average_precision: Array

    def cmc(self, ranks: int = 50) -> Array:
        """The cumulative match characteristic ``(ranks,)``: share of queries with a hit among the first 1, 2, …."""
        found = np.bincount(np.minimum(self.first_rank, ranks + 1), minlength=ranks + 2)
        shares: Array = np.cumsum(found)[1 : ranks + 1] / len(self.first_rank)
        return shares


@dataclass(frozen=True)
class RetrievalMetrics:
    """How well neighbours share the query's identity; means over the queries that have a relevant item.

    What each says of a query is defined at :class:`QueryMetrics`.

    Args:
        recall_at: K → share of queries with a hit among the first K.
        precision_at: K → share of hits among the first K.
        r_precision: share of hits among the first R, where R is the number of the query's relevant items.
        map_at_r: mean average precision at R (Musgrave, Belongie and Lim 2020).
        mrr: mean of 1 / rank of the first hit.
        queries: how many queries were counted.
        left_out: how many had no relevant item in the gallery.
        map: mean average precision over whole rankings.
        map_at: K → mean average precision at K, over min(K, R).
        map_at_over_hits: K → the same over the hits among the first K.
        ndcg_at: K → mean normalised discounted cumulative gain.
    """

    recall_at: dict[int, float]
    precision_at: dict[int, float]
    r_precision: float
    map_at_r: float
    mrr: float
    queries: int
    left_out: int
    map: float
    map_at: dict[int, float]
    map_at_over_hits: dict[int, float]
    ndcg_at: dict[int, float]


def retrieval_metrics(
    embeddings: Embeddings,
    labels: Labels,
    *,
    ks: Sequence[int] = (1, 5, 10),
    gallery: Embeddings | None = None,
    gallery_labels: Labels | None = None,
    metric: Metric = "cosine",
    groups: Labels | None = None,
    gallery_groups: Labels | None = None,
    exclude: Exclusion = "matches",
    divide_over: ProcessGroup | None = None,
) -> RetrievalMetrics:
    """Recall@K, Precision@K, R-precision, MAP, MAP@K, MAP@R, MRR and nDCG@K of every row as a query.

    Memory and time: see :func:`~triune.retrieval.ranks.relevant_ranks`; never the N × M matrix of scores.

    Args:
        embeddings: queries ``(N, D)``.
        labels: ``(N,)`` identities.
        ks: the ranks K.
        gallery: ``(M, D)``; where not given, all other queries.
        gallery_labels: ``(M,)``.
        metric: the distance.
        groups: ``(N,)`` where each query comes from (camera, photo session, video).
        gallery_groups: ``(M,)``.
        exclude: what of a query's own group its ranking leaves out: ``"matches"``, only the relevant items, which is
            the rule of re-identification (pictures of the same person by the same camera); ``"pairs"``, all items.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Raises:
        ValueError: counts differ, a value is not finite, or no query has a relevant item.
    """
    found = retrieval_per_query(
        embeddings,
        labels,
        ks=ks,
        gallery=gallery,
        gallery_labels=gallery_labels,
        metric=metric,
        groups=groups,
        gallery_groups=gallery_groups,
        exclude=exclude,
        divide_over=divide_over,
    )
    return average(found, len(embeddings))


def retrieval_per_query(
    embeddings: Embeddings,
    labels: Labels,
    *,
    ks: Sequence[int] = (1, 5, 10),
    gallery: Embeddings | None = None,
    gallery_labels: Labels | None = None,
    metric: Metric = "cosine",
    groups: Labels | None = None,
    gallery_groups: Labels | None = None,
    exclude: Exclusion = "matches",
    divide_over: ProcessGroup | None = None,
) -> QueryMetrics:
    """The same for each query by itself: to find the hard ones, to bootstrap, to draw the CMC curve.

    Args:
        embeddings, labels, ks, gallery, gallery_labels, metric, groups, gallery_groups, exclude, divide_over: as in
            :func:`retrieval_metrics`.

    Raises:
        ValueError: as :func:`retrieval_metrics`.
    """
    _check_ks(ks)
    sets = as_prepared_pair(embeddings, labels, metric, gallery, gallery_labels, groups, gallery_groups)
    pairs = pair_tiles(*sets, exclude, divide_over)
    return joined([measured(part, ks) for ranks in relevant_ranks(pairs) for part in _parts(ranks)], ks)


def metrics_of_rankings(
    rows: Tensor | Array, labels: Labels, gallery_labels: Labels | None = None, *, ks: Sequence[int] = (1, 5, 10)
) -> RetrievalMetrics:
    """The same figures of rankings made elsewhere: by an index, or by re-ranking.

    A ranking may end early: what lies beyond its end counts as not found, so that MAP and R-precision are lower bounds
    where it is shorter than R.

    Args:
        rows: ``(N, k)`` gallery rows, best first; −1 where a ranking ends early.
        labels: ``(N,)`` identities of the queries.
        gallery_labels: ``(M,)``; where not given, the gallery is the queries, and rankings leave out the query itself.
        ks: the ranks K.

    Raises:
        ValueError: counts differ, a row is out of range or stands twice in a ranking, or no query has a relevant item.
    """
    _check_ks(ks)
    order = torch.as_tensor(rows).detach().cpu().numpy()
    alone = gallery_labels is None
    if gallery_labels is None:
        codes = others = encode_labels(labels, count=len(order), against="rows").cpu().numpy()
    else:
        counts = (len(order), len(gallery_labels))
        codes, others = encode_together(labels, gallery_labels, counts, ("labels", "gallery_labels"))
    if (
        order.ndim != 2
        or order.dtype.kind not in "iu"
        or (order.size and not -1 <= order.min() <= order.max() < len(others))
    ):
        raise ValueError(f"rows must be (N, k) whole numbers from -1 to {len(others) - 1}: rows of the gallery")
    ascending = np.sort(order, axis=1)
    twice = (ascending[:, 1:] == ascending[:, :-1]) & (ascending[:, 1:] >= 0)
    if twice.any():
        raise ValueError(f"rows[{int(twice.any(axis=1).argmax())}] holds a gallery row twice: a ranking has each once")
    if alone and (order == np.arange(len(order))[:, None]).any():
        raise ValueError("rows holds a query among its own neighbours: leave it out, or give gallery_labels")
    names, sizes = np.unique(others, return_counts=True)
    place = np.searchsorted(names, codes).clip(0, max(0, len(names) - 1))
    known = (names[place] == codes) if len(names) else np.zeros(len(codes), dtype=bool)
    relevant = np.where(known, sizes[place] if len(names) else 0, 0) - int(alone)
    hit = (order >= 0) & (others[order] == codes[:, None])
    # What was not found stands endlessly far down.
    ranks = [np.concatenate([np.flatnonzero(h) + 1, np.full(r - h.sum(), NOWHERE)]) for h, r in zip(hit, relevant)]
    flat = np.concatenate([np.empty(0, dtype=np.int64), *ranks])
    found = joined([measured(Ranks(np.arange(len(order)), relevant, flat), ks)], ks)
    return average(found, len(order))


NOWHERE = np.int64(1) << 62


def measured(ranks: Ranks, ks: Sequence[int]) -> QueryMetrics:
    """The figures of each query from the ranks of its relevant items; queries without any are left out."""
    kept = ranks.relevant > 0
    count, r = int(kept.sum()), ranks.relevant[kept]
    begin = np.concatenate([[0], np.cumsum(r)])[:-1]
    query = np.repeat(np.arange(count), r)
    rank = ranks.rank.astype(np.float64)
    place = np.arange(1, len(rank) + 1) - np.repeat(begin, r)
    precision = place / rank
    gain = 1 / np.log2(1 + rank)
    longest = int(r.max()) if count else 0
    perfect = np.concatenate([[0.0], np.cumsum(1 / np.log2(2 + np.arange(longest)))])

    def summed(values: Array, limit: Array | int) -> Array:
        total: Array = np.bincount(query, weights=values * (ranks.rank <= limit), minlength=count)
        return total

    ones = np.ones(len(rank))
    hits = {k: summed(ones, k) for k in ks}
    gains = {k: summed(precision, k) for k in ks}
    at_r = np.repeat(r, r)
    first = ranks.rank[begin]
    return QueryMetrics(
        query=ranks.query[kept],
        relevant=r,
        first_rank=first,
        recall_at={k: (first <= k).astype(np.float64) for k in ks},
        precision_at={k: hits[k] / k for k in ks},
        average_precision_at={k: gains[k] / np.minimum(k, r) for k in ks},
        average_precision_at_over_hits={k: gains[k] / np.maximum(hits[k], 1) for k in ks},
        ndcg_at={k: summed(gain, k) / perfect[np.minimum(k, r)] for k in ks},
        r_precision=summed(ones, at_r) / r,
        average_precision_at_r=summed(precision, at_r) / r,
        average_precision=np.bincount(query, weights=precision, minlength=count) / r,
    )


def joined(parts: Sequence[QueryMetrics], ks: Sequence[int]) -> QueryMetrics:
    """The figures of several sets of queries as one, in the order of their rows.

    Raises:
        ValueError: there is no query.
    """
    if not sum(len(part.query) for part in parts):
        raise ValueError("no query has a relevant item in the gallery: retrieval metrics are not defined")
    order = np.argsort(np.concatenate([part.query for part in parts]))

    def whole(name: str) -> Array:
        values: Array = np.concatenate([getattr(part, name) for part in parts])[order]
        return values

    def by_rank(name: str) -> dict[int, Array]:
        return {k: np.concatenate([getattr(part, name)[k] for part in parts])[order] for k in ks}

    return QueryMetrics(
        query=whole("query"),
        relevant=whole("relevant"),
        first_rank=whole("first_rank"),
        recall_at=by_rank("recall_at"),
        precision_at=by_rank("precision_at"),
        average_precision_at=by_rank("average_precision_at"),
        average_precision_at_over_hits=by_rank("average_precision_at_over_hits"),
        ndcg_at=by_rank("ndcg_at"),
        r_precision=whole("r_precision"),
        average_precision_at_r=whole("average_precision_at_r"),
        average_precision=whole("average_precision"),
    )


def average(found: QueryMetrics, queries: int) -> RetrievalMetrics:
    """Means over queries; ``queries`` is how many there were with those left out."""

    def means(values: dict[int, Array]) -> dict[int, float]:
        return {k: float(each.mean()) for k, each in values.items()}

    return RetrievalMetrics(
        recall_at=means(found.recall_at),
        precision_at=means(found.precision_at),
        r_precision=float(found.r_precision.mean()),
        map_at_r=float(found.average_precision_at_r.mean()),
        mrr=float((1 / found.first_rank).mean()),
        queries=len(found.query),
        left_out=queries - len(found.query),
        map=float(found.average_precision.mean()),
        map_at=means(found.average_precision_at),
        map_at_over_hits=means(found.average_precision_at_over_hits),
        ndcg_at=means(found.ndcg_at),
    )


def _parts(ranks: Ranks) -> Iterator[Ranks]:
    """Some queries at a time: their figures take several times the room of their ranks."""
    ends = np.cumsum(ranks.relevant)
    first = 0
    while first < len(ends):
        begin = int(ends[first] - ranks.relevant[first])
        last = max(first + 1, int(np.searchsorted(ends, begin + MEASURED, side="right")))
        yield Ranks(ranks.query[first:last], ranks.relevant[first:last], ranks.rank[begin : int(ends[last - 1])])
        first = last


def _check_ks(ks: Sequence[int]) -> None:
    if any(k < 1 for k in ks):
        raise ValueError(f"ks is {tuple(ks)}: ranks start at 1")
