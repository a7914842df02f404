"""The nearest neighbours of each query, by blocks."""

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings, Metric, comparable
from triune.pairs.scores import scores_between
from triune.parallel.divide import gather_rows, own_row_blocks

Array: TypeAlias = np.ndarray[Any, Any]


def top_k(
    queries: Embeddings,
    gallery: Embeddings,
    k: int,
    metric: Metric = "cosine",
    *,
    exclude_self: bool = False,
    divide_over: ProcessGroup | None = None,
) -> tuple[Tensor, Tensor]:
    """The k most alike gallery rows of each query, by blocks of queries; ties go to the lower row.

    Memory: 16 MiB of scores a block, and the answer.

    Args:
        queries: ``(N, D)``.
        gallery: ``(M, D)``.
        k: how many; at most M (M − 1 with ``exclude_self``).
        metric: the distance.
        exclude_self: query i and gallery row i are the same item, which is no neighbour of itself.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Returns:
        Scores ``(N, k)`` (cosine similarity, or minus the distance) and rows ``(N, k)`` int64, where the queries are.
    """
    q, g = comparable(queries, metric, "queries"), comparable(gallery, metric, "gallery")
    k = max(0, min(k, len(g) - exclude_self))
    scores = torch.zeros(len(q), k, device=q.device)
    rows = torch.zeros(len(q), k, dtype=torch.int64, device=q.device)
    for part in own_row_blocks(len(q), 4 * len(g), divide_over):
        block = scores_between(q[part], g, metric)
        if exclude_self:
            own = torch.arange(len(block), device=block.device)
            block[own, part.start + own] = -torch.inf
        scores[part], rows[part] = _ranked(block, k)
    return gather_rows(scores, divide_over), gather_rows(rows, divide_over)


def _ranked(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, ties to the lower column."""
    if k == 0:
        return scores[:, :0], torch.empty(len(scores), 0, dtype=torch.int64, device=scores.device)
    values, rows = scores.topk(k, dim=1)
    # Which of the columns that tie with the last are chosen is not defined: rows where more tie are sorted whole.
    last = values[:, -1:]
    tied = ((scores == last).sum(1) > (values == last).sum(1)).nonzero()[:, 0]
    if len(tied):
        rows[tied] = scores[tied].argsort(dim=1, descending=True, stable=True)[:, :k]
        values[tied] = scores[tied].gather(1, rows[tied])
    rows, order = rows.sort(dim=1)
    values, order = values.gather(1, order).sort(dim=1, descending=True, stable=True)
    return values, rows.gather(1, order)
