"""Retrieval metrics: Recall@K, Precision@K, MAP@R, R-precision, MRR, nDCG and CMC, from ranks or from rankings."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.arrays import as_tensor
from triune.distances.embeddings import Embeddings, as_embeddings, check_finite
from triune.distances.metric import Metric
from triune.labels import Labels, encode_labels, encode_labels_together, plain_labels
from triune.pairs.prepared import PreparedEmbeddings, as_prepared_pair
from triune.pairs.tiles import Exclusion, pair_tiles
from triune.ranges import is_whole
from triune.retrieval.ranks import Ranks, cumulative_match, relevant_ranks
from triune.retrieval.roles import rows_of, search_by_roles

Array: TypeAlias = np.ndarray[Any, Any]


RANKS_AT_A_TIME = 1 << 17
"""About so many ranks, or rows of rankings, are turned into figures at a time: a few MiB."""


@dataclass(frozen=True)
class QueryMetrics:
    """What each of Q queries found; those without a relevant item in the gallery are left out.

    With R relevant items, of which the j-th best stands at rank r_j:

    Args:
        query: ``(Q,)`` rows of the queries.
        relevant: ``(Q,)`` R.
        first_rank: ``(Q,)`` int64 r_1; 2⁶² where a ranking that ends early holds no relevant item.
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
        return cumulative_match(self.first_rank, ranks)


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
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels | None = None,
    *,
    ks: Sequence[int] = (1, 5, 10),
    gallery: Embeddings | PreparedEmbeddings | None = None,
    gallery_labels: Labels | None = None,
    metric: Metric | None = None,
    groups: Labels | None = None,
    gallery_groups: Labels | None = None,
    exclude: Exclusion = "matches",
    is_query: Labels | None = None,
    is_gallery: Labels | None = None,
    divide_over: ProcessGroup | None = None,
) -> RetrievalMetrics:
    """Recall@K, Precision@K, R-precision, MAP, MAP@K, MAP@R, MRR and nDCG@K of every row as a query.

    Memory and time: see :func:`~triune.retrieval.ranks.relevant_ranks`; never the N × M matrix of scores.

    Args:
        embeddings: queries ``(N, D)``, or what :func:`~triune.pairs.prepared.prepare` made of them, without labels,
            metric and groups.
        labels: ``(N,)`` identities.
        ks: the ranks K.
        gallery: ``(M, D)``, or prepared; where not given, all other queries.
        gallery_labels: ``(M,)``.
        metric: the distance; the cosine where not given.
        groups: ``(N,)`` where each query comes from (camera, photo session, video).
        gallery_groups: ``(M,)``.
        exclude: what of a query's own group its ranking leaves out: ``"matches"``, only the relevant items, which is
            the rule of re-identification (pictures of the same person by the same camera); ``"pairs"``, all items.
        is_query: ``(N,)`` yes or no: which rows of one set are queries. With it or ``is_gallery`` there is no
            ``gallery``, and a query that is in the gallery, too, is never its own neighbour. Where only one of the two
            is given, the other rows are the rest, or all of them where there is no rest.
        is_gallery: ``(N,)`` yes or no: which rows are the gallery.
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
        is_query=is_query,
        is_gallery=is_gallery,
        divide_over=divide_over,
    )
    if is_query is None and is_gallery is None:
        return average(found, len(embeddings))
    return average(found, len(search_by_roles(len(embeddings), is_query, is_gallery).queries))


def retrieval_per_query(
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels | None = None,
    *,
    ks: Sequence[int] = (1, 5, 10),
    gallery: Embeddings | PreparedEmbeddings | None = None,
    gallery_labels: Labels | None = None,
    metric: Metric | None = None,
    groups: Labels | None = None,
    gallery_groups: Labels | None = None,
    exclude: Exclusion = "matches",
    is_query: Labels | None = None,
    is_gallery: Labels | None = None,
    divide_over: ProcessGroup | None = None,
) -> QueryMetrics:
    """The same for each query by itself: to find the hard ones, to bootstrap, to draw the CMC curve.

    Args:
        embeddings: queries ``(N, D)``, or what :func:`~triune.pairs.prepared.prepare` made of them, without labels,
            metric and groups.
        labels: ``(N,)`` identities.
        ks: the ranks K.
        gallery: ``(M, D)``, or prepared; where not given, all other queries.
        gallery_labels: ``(M,)``.
        metric: the distance; the cosine where not given.
        groups: ``(N,)`` where each query comes from.
        gallery_groups: ``(M,)``.
        exclude: what of a query's own group its ranking leaves out, ``"matches"`` or ``"pairs"``: see
            :func:`retrieval_metrics`.
        is_query: ``(N,)`` yes or no: which rows of one set are queries; see :func:`retrieval_metrics`.
        is_gallery: ``(N,)`` yes or no: which are the gallery.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Returns:
        Figures of the queries that have a relevant item; ``query`` numbers the rows of ``embeddings``.

    Raises:
        ValueError: counts differ, a value is not finite, or no query has a relevant item.
    """
    _check_ks(ks)
    numbers: Array | None = None
    if is_query is not None or is_gallery is not None:
        if gallery is not None or gallery_labels is not None or gallery_groups is not None:
            raise ValueError("is_query and is_gallery say which rows of embeddings are the gallery: leave gallery away")
        if isinstance(embeddings, PreparedEmbeddings) or labels is None:
            raise ValueError("is_query and is_gallery choose among rows: give embeddings and labels, not prepared ones")
        search = search_by_roles(len(embeddings), is_query, is_gallery, groups)
        if groups is None and exclude != "matches":
            raise ValueError(f"exclude is {exclude!r} without groups: leave it away")
        names, numbers = plain_labels(labels, "labels"), search.queries
        if len(names) != len(embeddings):
            raise ValueError(f"labels has {len(names)} entries but embeddings has {len(embeddings)} rows")
        x = as_embeddings(embeddings, "embeddings")
        check_finite(x)  # here, where rows are numbered as they were given
        gallery, gallery_labels = rows_of(x, search.gallery), names[search.gallery]
        embeddings, labels = rows_of(x, search.queries), names[search.queries]
        groups, gallery_groups = search.groups, search.gallery_groups
    rows, columns = as_prepared_pair(embeddings, labels, metric, gallery, gallery_labels, groups, gallery_groups)
    if columns is rows:  # a gallery that holds the queries themselves, and not the set of all other queries
        columns = replace(rows)
    pairs = pair_tiles(rows, columns, exclude, divide_over)
    found = [query_metrics(part, ks) for ranks in relevant_ranks(pairs) for part in _in_parts(ranks)]
    whole = concatenated(found, ks)
    return whole if numbers is None else replace(whole, query=numbers[whole.query])


def metrics_of_rankings(
    rows: Tensor | Array,
    labels: Labels,
    gallery_labels: Labels | None = None,
    *,
    ks: Sequence[int] = (1, 5, 10),
    groups: Labels | None = None,
    gallery_groups: Labels | None = None,
) -> RetrievalMetrics:
    """The same figures of rankings made elsewhere: by an index, or by re-ranking.

    A ranking may end early: what lies beyond its end counts as not found, so that MAP and R-precision are lower bounds
    where it is shorter than R. Time and memory follow N × k, however many relevant items there are.

    With groups, matching items of a query's own group are left out of its ranking: those behind them move up.

    Args:
        rows: ``(N, k)`` gallery rows, best first; −1 where a ranking ends early.
        labels: ``(N,)`` identities of the queries.
        gallery_labels: ``(M,)``; where not given, the gallery is the queries, and rankings leave out the query itself.
        ks: the ranks K.
        groups: ``(N,)`` where each query comes from (camera, photo session).
        gallery_groups: ``(M,)``, where the gallery is another set.

    Raises:
        ValueError: counts differ, a row is out of range or stands twice in a ranking, or no query has a relevant item.
    """
    _check_ks(ks)
    order = as_tensor(rows, "rows").detach().cpu().numpy()
    one_set = gallery_labels is None
    if gallery_labels is None:
        codes = gallery_codes = encode_labels(labels, count=len(order), device="cpu", against="rows").numpy()
    else:
        names, against = ("labels", "gallery_labels"), ("rows", "gallery")
        coded = encode_labels_together(
            labels, gallery_labels, counts=(len(order), None), names=names, against=against, device="cpu"
        )
        codes, gallery_codes = (part.numpy() for part in coded)
    if order.ndim != 2 or order.dtype.kind not in "iu":
        raise ValueError(_out_of_range(len(gallery_codes)))
    relevant = _equal(gallery_codes, codes)
    own, theirs = _joint_groups(groups, gallery_groups, (codes, gallery_codes), one_set)
    # Of a query's own identity and group the ranking holds nothing; where all are one set the query itself is of them.
    relevant -= _equal(theirs, own) if len(own) else int(one_set)
    parts = []
    height = max(1, RANKS_AT_A_TIME // max(1, order.shape[1]))
    for start in range(0, len(order), height):
        block = slice(start, start + height)
        _check_rankings(order[block], start, len(gallery_codes), one_set=one_set)
        hit = order[block] >= 0
        own_codes = np.broadcast_to(codes[block, None], hit.shape)
        hit[hit] = gallery_codes[order[block][hit]] == own_codes[hit]
        places = np.broadcast_to(np.arange(1, hit.shape[1] + 1), hit.shape)
        if len(own):
            out = hit & (theirs[order[block]] == own[block, None])
            hit, places = hit & ~out, places - np.cumsum(out, axis=1)
        found = Ranks(np.arange(len(order))[block], relevant[block], hit.sum(axis=1), places[hit])
        parts.append(query_metrics(found, ks))
    return average(concatenated(parts, ks), len(order))


def _equal(values: Array, wanted: Array) -> Array:
    """How many of the values equal each wanted one."""
    ordered = np.sort(values)
    counts: Array = np.searchsorted(ordered, wanted, side="right") - np.searchsorted(ordered, wanted, side="left")
    return counts


def _joint_groups(
    groups: Labels | None, gallery_groups: Labels | None, codes: tuple[Array, Array], one_set: bool
) -> tuple[Array, Array]:
    """Codes of identity and group together, of queries and gallery; both empty without groups.

    Args:
        groups: ``(N,)`` of the queries.
        gallery_groups: ``(M,)`` of the gallery.
        codes: the identities of both.
        one_set: whether the gallery is the queries.
    """
    if groups is None and gallery_groups is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    if groups is None or (gallery_groups is None) != one_set:
        raise ValueError("groups and gallery_groups go with labels and gallery_labels: give both or neither")
    if gallery_groups is None:
        own = theirs = encode_labels(groups, count=len(codes[0]), device="cpu", against="rows").numpy()
    else:
        names, against = ("groups", "gallery_groups"), ("rows", "gallery_labels")
        counts = (len(codes[0]), len(codes[1]))
        coded = encode_labels_together(
            groups, gallery_groups, counts=counts, names=names, against=against, device="cpu"
        )
        own, theirs = (part.numpy() for part in coded)
    of_both = np.concatenate([own, theirs]), np.concatenate(codes)
    kinds, identities = (np.unique(each, return_inverse=True)[1].astype(np.int64) for each in of_both)
    together = identities * len(kinds) + kinds
    return together[: len(own)], together[len(own) :]


NOT_FOUND = 1 << 62
"""The rank of what a ranking that ends early does not hold: endlessly far down."""


def query_metrics(ranks: Ranks, ks: Sequence[int]) -> QueryMetrics:
    """The figures of each query from the ranks of its relevant items; queries without any are left out.

    Time and memory follow the ranks that are listed, not the number of relevant items.

    Args:
        ranks: of Q queries.
        ks: the ranks K.
    """
    kept = ranks.relevant > 0
    r, found = ranks.relevant[kept], ranks.found[kept]
    count = len(r)
    begin = np.cumsum(found) - found
    query = np.repeat(np.arange(count), found)
    # The place of a relevant item among the relevant ones of its query, from 1: j in Σ j / r_j.
    place = np.arange(1, len(ranks.rank) + 1) - np.repeat(begin, found)
    precision = place / ranks.rank
    gain = 1 / np.log2(1.0 + ranks.rank)
    longest = min(max(ks, default=0), int(r.max(initial=0)))
    perfect_gain = np.concatenate([[0.0], np.cumsum(1 / np.log2(2 + np.arange(longest)))])

    def sum_of(values: Array, limit: Array | int) -> Array:
        """Of each query, the sum over its relevant items whose rank is at most the limit."""
        total: Array = np.bincount(query, weights=values * (ranks.rank <= limit), minlength=count)
        return total

    ones = np.ones(len(ranks.rank))
    hits = {k: sum_of(ones, k) for k in ks}
    precisions = {k: sum_of(precision, k) for k in ks}
    r_of_each = np.repeat(r, found)
    first = np.full(count, NOT_FOUND)
    first[found > 0] = ranks.rank[begin[found > 0]]
    return QueryMetrics(
        query=ranks.query[kept],
        relevant=r,
        first_rank=first,
        recall_at={k: (first <= k).astype(np.float64) for k in ks},
        precision_at={k: hits[k] / k for k in ks},
        average_precision_at={k: precisions[k] / np.minimum(k, r) for k in ks},
        average_precision_at_over_hits={k: precisions[k] / np.maximum(hits[k], 1) for k in ks},
        ndcg_at={k: sum_of(gain, k) / perfect_gain[np.minimum(k, r)] for k in ks},
        r_precision=sum_of(ones, r_of_each) / r,
        average_precision_at_r=sum_of(precision, r_of_each) / r,
        average_precision=np.bincount(query, weights=precision, minlength=count) / r,
    )


def concatenated(parts: Sequence[QueryMetrics], ks: Sequence[int]) -> QueryMetrics:
    """The figures of several sets of queries as one, in the order of their rows.

    Args:
        parts: of no or more queries each.
        ks: the ranks K that all of them have.

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
    """Means over the queries that have a relevant item.

    Args:
        found: of those queries.
        queries: how many queries there were, with those that have none.
    """

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


def _in_parts(ranks: Ranks) -> Iterator[Ranks]:
    """Some queries at a time: their figures take several times the room of their ranks."""
    ends = np.cumsum(ranks.found)
    first = 0
    while first < len(ends):
        begin = int(ends[first] - ranks.found[first])
        last = max(first + 1, int(np.searchsorted(ends, begin + RANKS_AT_A_TIME, side="right")))
        some = slice(first, last)
        yield Ranks(ranks.query[some], ranks.relevant[some], ranks.found[some], ranks.rank[begin : int(ends[last - 1])])
        first = last


def _check_rankings(order: Array, first: int, gallery: int, *, one_set: bool) -> None:
    """Refuse rankings that are none.

    Args:
        order: ``(Q, k)`` gallery rows, −1 for none.
        first: the number of the first of these queries.
        gallery: how many rows the gallery has.
        one_set: whether the gallery is the queries.
    """
    if order.size and not -1 <= order.min() <= order.max() < gallery:
        raise ValueError(_out_of_range(gallery))
    ascending = np.sort(order, axis=1)
    twice = ((ascending[:, 1:] == ascending[:, :-1]) & (ascending[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        raise ValueError(f"rows[{first + int(twice.argmax())}] holds a gallery row twice: a ranking has each once")
    if one_set and (order == np.arange(first, first + len(order))[:, None]).any():
        raise ValueError("rows holds a query among its own neighbours: leave it out, or give gallery_labels")


def _out_of_range(gallery: int) -> str:
    return f"rows must be (N, k) whole numbers from -1 to {gallery - 1}: rows of the gallery"


def _check_ks(ks: Sequence[int]) -> None:
    if not isinstance(ks, Iterable) or not all(is_whole(k) and k >= 1 for k in ks):
        raise ValueError(f"ks is {ks!r}: whole numbers from 1 are needed, such as (1, 5, 10): ranks start at 1")
