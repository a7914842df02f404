"""Retrieval judged: every item against all others, or the queries of a table against its gallery."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from torch.distributed import ProcessGroup

from triune.distances.metric import Metric
from triune.evaluation import measures
from triune.evaluation.results import RetrievalResult, SearchRoles, Unavailable
from triune.pairs.prepared import PreparedEmbeddings
from triune.retrieval.metrics import average, metrics_of_rankings, retrieval_metrics, retrieval_per_query
from triune.retrieval.reranking import expand_gallery, rerank
from triune.retrieval.roles import search_by_roles

Array: TypeAlias = np.ndarray[Any, Any]

CMC_RANKS = 50


@dataclass(frozen=True)
class Roles:
    """Which of N items ask, which answer, and by which camera each was taken.

    Args:
        is_query: ``(N,)`` booleans.
        is_gallery: ``(N,)`` booleans.
        cameras: ``(N,)`` words: of a query's ranking, items of its identity by its camera are left out; an item whose
            camera is empty has one of its own. ``None`` where no camera is known.
    """

    is_query: Array
    is_gallery: Array
    cameras: Array | None = None


@dataclass(frozen=True)
class SearchedItems:
    """What is searched, and for what.

    Args:
        rows: ``(N, D)`` embeddings.
        labels: ``(N,)`` identities.
        metric: the distance.
        roles: who asks and who answers; every item both where not given.
        groups: ``(N,)`` in the place of cameras; or ``None``.
        distractors: ``(M, D)`` embeddings of items of the gallery that have no identity and are nobody's match.
    """

    rows: Array
    labels: Array
    metric: Metric
    roles: Roles | None = None
    groups: Array | None = None
    distractors: Array | None = None


def roles_of(
    is_query: Sequence[bool | None], is_gallery: Sequence[bool | None], cameras: Sequence[str | None] | None
) -> Roles | None:
    """The roles that a table's columns give N items; ``None`` where neither column says anything of them.

    Args:
        is_query: N cells; an empty one means no.
        is_gallery: N cells. Where one of the two columns says nothing, it is the rest of the other.
        cameras: N cells, or ``None`` where there is no such column.
    """
    columns = [None if all(cell is None for cell in cells) else cells for cells in (is_query, is_gallery)]
    if columns == [None, None]:
        return None
    asks, answers = (None if cells is None else np.array([cell is True for cell in cells]) for cells in columns)
    if asks is None and answers is not None:
        asks = np.ones(len(answers), bool) if answers.all() else ~answers
    if answers is None and asks is not None:
        answers = np.ones(len(asks), bool) if asks.all() else ~asks
    assert asks is not None
    assert answers is not None
    known = None if cameras is None or all(cell is None for cell in cameras) else np.array([c or "" for c in cameras])
    return Roles(asks, answers, known)


def judge_search(
    items: SearchedItems, prepared: PreparedEmbeddings, divide_over: ProcessGroup | None
) -> RetrievalResult | Unavailable:
    """The figures of retrieval.

    Args:
        items: what is searched.
        prepared: the same embeddings prepared, which serve where every item is a query against all others.
        divide_over: processes that share the work.
    """
    labels, roles = items.labels, items.roles
    if roles is None:
        if np.unique(labels, return_counts=True)[1].max(initial=0) < 2:
            return Unavailable(unavailable="no identity has two images")
        found = retrieval_per_query(prepared, divide_over=divide_over)
        return measures.retrieval_result(average(found, len(labels)), found.cmc(min(CMC_RANKS, len(labels) - 1)))
    reason = _why_not(items)
    if reason is not None:
        return Unavailable(unavailable=reason)
    every = _with_distractors(items)
    found = retrieval_per_query(every.rows, every.labels, metric=items.metric, divide_over=divide_over, **_asked(every))
    depth = min(CMC_RANKS, int(roles.is_gallery.sum()) + len(every.rows) - len(items.rows))
    figures = measures.retrieval_result(average(found, int(roles.is_query.sum())), found.cmc(depth))
    return figures.model_copy(update={"roles": _told(items)})


def judge_rankings(items: SearchedItems, divide_over: ProcessGroup | None) -> dict[str, RetrievalResult]:
    """The same by expanded items and by re-ranked neighbours.

    Args:
        items: what is searched.
        divide_over: processes that share the work.
    """
    most = int(np.unique(items.labels, return_counts=True)[1].max(initial=0))
    if most < 2 or (items.roles is not None and _why_not(items) is not None):
        return {}
    every = _with_distractors(items)
    expanded = expand_gallery(every.rows, metric=items.metric, divide_over=divide_over)
    asked = _asked(every)
    by_expanded = retrieval_metrics(expanded, every.labels, metric="cosine", divide_over=divide_over, **asked)
    if items.roles is None:
        ranked = rerank(items.rows, k=max(CMC_RANKS, most), metric=items.metric, divide_over=divide_over).rows
        figures = metrics_of_rankings(ranked, items.labels)
    else:
        search = search_by_roles(len(every.rows), **asked)
        queries, gallery = every.rows[search.queries], every.rows[search.gallery]
        # Of an identity some may be left out, and others move up.
        ranked = rerank(queries, gallery, k=CMC_RANKS + most, metric=items.metric, divide_over=divide_over).rows
        of_both = every.labels[search.queries], every.labels[search.gallery]
        figures = metrics_of_rankings(ranked, *of_both, groups=search.groups, gallery_groups=search.gallery_groups)
    found = {"expanded": by_expanded, "re-ranked": figures}
    told = None if items.roles is None else _told(items)
    return {name: measures.retrieval_result(each).model_copy(update={"roles": told}) for name, each in found.items()}


def _asked(items: SearchedItems) -> dict[str, Any]:
    """Queries, gallery and groups as the functions of retrieval take them."""
    if items.roles is None:
        return {} if items.groups is None else {"groups": items.groups}
    return {"is_query": items.roles.is_query, "is_gallery": items.roles.is_gallery, "groups": items.groups}


def _with_distractors(items: SearchedItems) -> SearchedItems:
    """The items with codes for labels and groups, and the distractors behind them: each an identity of its own."""
    if items.roles is None:
        return items
    count, extra = len(items.rows), 0 if items.distractors is None else len(items.distractors)
    alone = np.arange(count, count + extra)
    codes = np.unique(items.labels, return_inverse=True)[1]
    groups = _groups(items)
    roles = Roles(
        np.concatenate([items.roles.is_query, np.zeros(extra, bool)]),
        np.concatenate([items.roles.is_gallery, np.ones(extra, bool)]),
    )
    rows = items.rows if items.distractors is None else np.concatenate([items.rows, items.distractors])
    return replace(
        items,
        rows=rows,
        labels=np.concatenate([codes, alone]),
        roles=roles,
        groups=np.concatenate([groups, groups.max(initial=0) + 1 + np.arange(extra)]),
        distractors=None,
    )


def _groups(items: SearchedItems) -> Array:
    """Codes ``(N,)`` by which matching items are left out of rankings: an item is always of its own group."""
    cameras = None if items.roles is None else items.roles.cameras
    if items.groups is not None:
        return np.unique(items.groups, return_inverse=True)[1]
    if cameras is None:
        return np.arange(len(items.rows))
    codes = np.unique(cameras, return_inverse=True)[1]
    codes[cameras == ""] = len(cameras) + np.flatnonzero(cameras == "")
    return codes


def _why_not(items: SearchedItems) -> str | None:
    """Why retrieval by roles is not defined; ``None`` where it is."""
    assert items.roles is not None
    asks, answers = items.roles.is_query, items.roles.is_gallery
    if not asks.any():
        return "no image is a query (is_query)"
    if not answers.any():
        return "no image with an identity is in the gallery (is_gallery)"
    codes = np.unique(items.labels, return_inverse=True)[1].astype(np.int64)
    groups = np.unique(_groups(items), return_inverse=True)[1]
    both = np.unique(codes * (len(codes) + 1) + groups, return_inverse=True)[1]
    found = np.bincount(codes[answers], minlength=len(codes))[codes]
    own = np.bincount(both[answers], minlength=len(codes))[both]
    if (found > own)[asks].any():
        return None
    return "no query has another image of its identity in the gallery" + (
        ", by another camera" if items.roles.cameras is not None and items.groups is None else ""
    )


def _told(items: SearchedItems) -> SearchRoles:
    assert items.roles is not None
    extra = 0 if items.distractors is None else len(items.distractors)
    return SearchRoles(
        queries=int(items.roles.is_query.sum()),
        gallery=int(items.roles.is_gallery.sum()) + extra,
        distractors=extra,
        same_camera=items.roles.cameras is not None and items.groups is None,
    )
