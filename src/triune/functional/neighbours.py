"""The nearest neighbours, by blocks, and the retrieval metrics on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from triune.functional.distances import Embeddings, Metric, as_embeddings, check_finite, check_metric, unit
from triune.functional.labels import Labels, encode_labels
from triune.functional.pairs import pair_scores

Array: TypeAlias = np.ndarray[Any, Any]

BLOCK = 1024


@dataclass(frozen=True)
class RetrievalMetrics:
    """How well neighbours share the query's identity; means over the queries that have a relevant item.

    Args:
        recall_at: k → share of queries with a hit among the first k.
        precision_at: k → share of hits among the first k.
        r_precision: share of hits among the first R, where R is the number of the query's relevant items.
        map_at_r: mean average precision at R (Musgrave, Belongie and Lim 2020).
        mrr: mean of 1 / rank of the first hit.
        queries: how many queries were counted.
        left_out: how many had no relevant item in the gallery.
    """

    recall_at: dict[int, float]
    precision_at: dict[int, float]
    r_precision: float
    map_at_r: float
    mrr: float
    queries: int
    left_out: int


def top_k(
    queries: Embeddings, gallery: Embeddings, k: int, metric: Metric = "cosine", *, exclude_self: bool = False
) -> tuple[Tensor, Tensor]:
    """The k most alike gallery rows of each query, by blocks of queries; ties go to the lower row.

    Args:
        queries: ``(N, D)``.
        gallery: ``(M, D)``.
        k: how many; at most M (M − 1 with ``exclude_self``).
        metric: the distance.
        exclude_self: query i and gallery row i are the same item, which is no neighbour of itself.

    Returns:
        Scores ``(N, k)`` (cosine similarity, or minus the distance) and rows ``(N, k)`` int64.
    """
    q, g = _ready(queries, metric, "queries"), _ready(gallery, metric, "gallery")
    k = min(k, len(g) - exclude_self)
    scores, rows = [], []
    for start in range(0, len(q), BLOCK):
        block = _scores(q, g, start, metric, exclude_self)
        values, order = _ranked(block, k)
        scores.append(values)
        rows.append(order)
    if not scores:
        return torch.empty(0, k), torch.empty(0, k, dtype=torch.int64)
    return torch.cat(scores), torch.cat(rows)


def retrieval_metrics(
    embeddings: Embeddings,
    labels: Labels,
    *,
    ks: Sequence[int] = (1, 5, 10),
    gallery: Embeddings | None = None,
    gallery_labels: Labels | None = None,
    metric: Metric = "cosine",
) -> RetrievalMetrics:
    """Recall@K, Precision@K, R-precision, MAP@R and MRR of every row as a query.

    Args:
        embeddings: queries ``(N, D)``.
        labels: ``(N,)`` identities.
        ks: the ranks K.
        gallery: ``(M, D)``; where not given, all other queries.
        gallery_labels: ``(M,)``.
        metric: the distance.

    Raises:
        ValueError: counts differ, a value is not finite, or no query has a relevant item.
    """
    q = _ready(embeddings, metric, "embeddings")
    alone = gallery is None
    g = q if gallery is None else _ready(gallery, metric, "gallery")
    if alone:
        codes = gallery_codes = encode_labels(labels, count=len(q), device="cpu")
    else:
        if gallery_labels is None:
            raise ValueError("gallery_labels is missing: one label for each gallery row")
        both = encode_labels(
            np.concatenate([_plain(labels), _plain(gallery_labels)]), count=len(q) + len(g), device="cpu"
        )
        codes, gallery_codes = both[: len(q)], both[len(q) :]
    if any(k < 1 for k in ks):
        raise ValueError(f"ks is {tuple(ks)}: ranks start at 1")
    relevant = (codes[:, None] == torch.unique(gallery_codes)[None, :]).any(dim=1) if len(gallery_codes) else codes < 0
    names, counts = torch.unique(gallery_codes, return_counts=True)
    places = torch.searchsorted(names, codes).clamp(max=max(0, len(names) - 1))
    r = torch.where(relevant, counts[places], 0) - int(alone)
    kept = r > 0
    if not kept.any():
        raise ValueError("no query has a relevant item in the gallery: retrieval metrics are not defined")
    depth = min(max(*ks, int(r.max())), len(g) - alone)
    totals = {"r_precision": 0.0, "map_at_r": 0.0, "mrr": 0.0}
    recall, precision = dict.fromkeys(ks, 0.0), dict.fromkeys(ks, 0.0)
    for start in range(0, len(q), BLOCK):
        stop = min(start + BLOCK, len(q))
        block = _scores(q, g, start, metric, alone)
        hit = gallery_codes[None, :] == codes[start:stop, None]
        use, size = kept[start:stop], r[start:stop].clamp(min=1)
        ranked = _ranked(block, depth)[1]
        hits = torch.gather(hit, 1, ranked).double()
        found = hits.cumsum(dim=1)
        within = torch.arange(1, depth + 1)[None, :] <= size[:, None]
        precisions = found / torch.arange(1, depth + 1)
        totals["r_precision"] += float(((hits * within).sum(dim=1) / size)[use].sum())
        totals["map_at_r"] += float(((precisions * hits * within).sum(dim=1) / size)[use].sum())
        totals["mrr"] += float((1.0 / _first_rank(block, hit, start if alone else None))[use].sum())
        for k in ks:
            cut = min(k, depth)
            recall[k] += float((found[:, cut - 1] > 0)[use].sum())
            precision[k] += float((found[:, cut - 1] / k)[use].sum())
    queries = int(kept.sum())
    return RetrievalMetrics(
        recall_at={k: value / queries for k, value in recall.items()},
        precision_at={k: value / queries for k, value in precision.items()},
        queries=queries,
        left_out=len(q) - queries,
        **{name: value / queries for name, value in totals.items()},
    )


def _ready(embeddings: Embeddings, metric: Metric, name: str) -> Tensor:
    check_metric(metric)
    x = as_embeddings(embeddings, name).detach().cpu()
    check_finite(x, name)
    x = x.float()
    return unit(x) if metric == "cosine" else x


def _scores(q: Tensor, g: Tensor, start: int, metric: Metric, exclude_self: bool) -> Tensor:
    block = pair_scores(q[start : start + BLOCK], g, metric)
    if exclude_self:
        rows = torch.arange(len(block))
        block[rows, start + rows] = -torch.inf
    return block


def _ranked(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, ties to the lower column."""
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return scores.gather(1, order), order


def _first_rank(scores: Tensor, hit: Tensor, start: int | None) -> Tensor:
    """Rank, from 1, of the first relevant item of each row."""
    if start is not None:
        rows = torch.arange(len(hit))
        hit = hit.clone()
        hit[rows, start + rows] = False
    order = scores.argsort(dim=1, descending=True, stable=True)
    return hit.gather(1, order).double().argmax(dim=1).double() + 1


def _plain(labels: Any) -> Array:
    return labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
