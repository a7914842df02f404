"""The nearest neighbours of each query, by blocks."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings, as_embeddings
from triune.distances.metric import Metric
from triune.pairs.prepared import PreparedEmbeddings, as_prepared
from triune.pairs.scores import scores_between
from triune.parallel.blocks import own_row_blocks
from triune.parallel.divide import gather_rows


class Rows(NamedTuple):
    """Prepared embeddings in the order in which they were given; searching asks for no labels.

    Args:
        x: ``(N, D)`` float32, of unit length for the cosine.
        squares: ``(N,)`` squared lengths of the rows; empty for the cosine.
        metric: the distance they were prepared for.
    """

    x: Tensor
    squares: Tensor
    metric: Metric

    def scores(self, part: slice, gallery: "Rows") -> Tensor:
        """The scores ``(R, M)`` of some of the rows against all of a gallery."""
        squares = (self.squares[part], gallery.squares)
        return scores_between(self.x[part], gallery.x, self.metric, squares if len(self.squares) else None)


def top_k(
    queries: Embeddings | PreparedEmbeddings,
    gallery: Embeddings | PreparedEmbeddings,
    k: int,
    metric: Metric | None = None,
    *,
    exclude_self: bool = False,
    divide_over: ProcessGroup | None = None,
) -> tuple[Tensor, Tensor]:
    """The k most alike gallery rows of each query, by blocks of queries; ties go to the lower row.

    Memory: 16 MiB of scores a block, and the answer.

    Args:
        queries: ``(N, D)``, or what :func:`~triune.pairs.prepared.prepare` made of them.
        gallery: ``(M, D)``, or prepared.
        k: how many; at most M (M − 1 with ``exclude_self``).
        metric: the distance; the cosine, or that of the prepared queries, where not given.
        exclude_self: query i and gallery row i are the same item, which is no neighbour of itself.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Returns:
        Scores ``(N, k)`` (cosine similarity, or minus the distance) and rows ``(N, k)`` int64, where the queries are.
        Queries and rows are numbered as they were given, before they were prepared.

    Raises:
        ValueError: an embedding is not finite, widths differ, or prepared embeddings are of another metric.
    """
    q, g = as_rows_of_two(queries, gallery, metric)
    return nearest(q, g, k, exclude_self=exclude_self, divide_over=divide_over)


def as_rows(embeddings: Embeddings | PreparedEmbeddings, metric: Metric | None, name: str) -> Rows:
    """What a public function was given, as rows to search with: checked and scaled here, unless that was done before.

    Args:
        embeddings: ``(N, D)``, or prepared.
        metric: the distance; the cosine, or that of the prepared embeddings, where not given.
        name: how errors call them.

    Raises:
        ValueError: an embedding is not finite, or prepared embeddings are of another metric.
    """
    if isinstance(embeddings, PreparedEmbeddings):
        prepared = as_prepared(embeddings, None, metric, prefix=name)
        given = np.empty_like(prepared.order)
        given[prepared.order] = np.arange(len(prepared))
        places = torch.from_numpy(given).to(prepared.x.device)
        squares = prepared.squares[places] if len(prepared.squares) else prepared.squares
        return Rows(prepared.x[places], squares, prepared.metric)
    x = as_embeddings(embeddings, name)
    # Rows of one label keep their order.
    prepared = as_prepared(x, np.zeros(len(x), dtype=np.int64), metric, prefix=name)
    return Rows(prepared.x, prepared.squares, prepared.metric)


def as_rows_of_two(
    queries: Embeddings | PreparedEmbeddings, gallery: Embeddings | PreparedEmbeddings, metric: Metric | None
) -> tuple[Rows, Rows]:
    """The same of queries and of the gallery they are searched in.

    Args:
        queries: ``(N, D)``, or prepared.
        gallery: ``(M, D)``, or prepared.
        metric: the distance; the cosine, or that of the prepared queries, where not given.

    Raises:
        ValueError: as :func:`as_rows`, or widths differ.
    """
    q = as_rows(queries, metric, "queries")
    g = q if gallery is queries else as_rows(gallery, q.metric, "gallery")
    if q.x.shape[1] != g.x.shape[1]:
        raise ValueError(f"queries have {q.x.shape[1]} dimensions but the gallery {g.x.shape[1]}")
    return q, g


def nearest(
    q: Rows, g: Rows, k: int, *, exclude_self: bool = False, divide_over: ProcessGroup | None = None
) -> tuple[Tensor, Tensor]:
    """The same as :func:`top_k`, of rows that are ready.

    Args:
        q: N queries.
        g: the gallery, M rows.
        k: how many.
        exclude_self: query i and gallery row i are the same item.
        divide_over: processes that share the work.
    """
    k = max(0, min(k, len(g.x) - exclude_self))
    scores = torch.zeros(len(q.x), k, device=q.x.device)
    rows = torch.zeros(len(q.x), k, dtype=torch.int64, device=q.x.device)
    for part in own_row_blocks(len(q.x), 4 * len(g.x), divide_over):
        block = q.scores(part, g)
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
