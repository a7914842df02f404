"""Retrieval metrics where items match by a rule: several labels an item, or any comparison of one's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.distances.pairwise import pairwise_distance
from triune.losses.batch import check_finite_rows, labelled_batch, masks
from triune.losses.compared import ComparedLabels
from triune.losses.mining import row_blocks
from triune.retrieval.metrics import RetrievalMetrics, average, concatenated, query_metrics
from triune.retrieval.ranks import Ranks


@torch.no_grad()
def retrieval_by_rule(
    embeddings: Embeddings,
    labels: ComparedLabels,
    *,
    ks: Sequence[int] = (1, 5, 10),
    gallery: Embeddings | None = None,
    gallery_labels: ComparedLabels | None = None,
    metric: Metric = "cosine",
) -> RetrievalMetrics:
    """What :func:`triune.retrieval.metrics.retrieval_metrics` tells, where items are relevant to a query by a rule.

    Whole rankings are sorted: O(N·M·log M) time. Memory: N·M bytes and a block of distances. Ties go to the lower row.

    >>> tags = triune.losses.MultiLabels([[1, 0], [1, 1], [0, 1]])
    >>> retrieval_by_rule(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), tags).recall_at[1]
    1.0

    Args:
        embeddings: queries, shape (N, D).
        labels: of the queries, with the rule.
        ks: the ranks K, at least 1 each.
        gallery: shape (M, D); where not given, all other queries.
        gallery_labels: of the gallery.
        metric: the distance.

    Raises:
        ValueError: counts differ, an embedding is not finite (the row is named), or no query has a relevant item.
    """
    if not all(k >= 1 for k in ks):
        raise ValueError(f"ks are {tuple(ks)}: ranks start at 1")
    if (gallery is None) != (gallery_labels is None):
        raise ValueError("gallery and gallery_labels belong together: pass both or neither")
    batch = labelled_batch(embeddings, labels, gallery, gallery_labels)
    check_finite_rows(batch.x, batch.y)
    parts = []
    for rows in row_blocks(len(batch.x), len(batch.y)):
        distances = pairwise_distance(batch.x[rows], batch.y, metric)
        relevant, _ = masks(batch, rows)
        own = batch.own_rows[rows]
        distances[own >= 0, own[own >= 0]] = torch.inf  # the query itself is no part of its ranking
        hits = relevant.gather(1, distances.argsort(dim=1, stable=True)).cpu().numpy()
        counts = hits.sum(axis=1)
        queries = np.arange(rows.start, rows.start + len(hits))
        parts.append(query_metrics(Ranks(queries, counts, counts, np.nonzero(hits)[1] + 1), ks))
    return average(concatenated(parts, ks), len(batch.x))
