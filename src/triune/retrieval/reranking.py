"""Better rankings from the neighbourhoods of the items themselves: query expansion and k-reciprocal re-ranking."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings, unit
from triune.distances.metric import Metric
from triune.kernels import ranking_cpu
from triune.pairs.prepared import PreparedEmbeddings
from triune.pairs.scores import paired_scores
from triune.parallel.blocks import own_row_blocks
from triune.parallel.divide import gather_rows
from triune.retrieval.neighbours import Rows, as_rows, as_rows_of_two, nearest

Array: TypeAlias = np.ndarray[Any, Any]


class Reranked(NamedTuple):
    """The k best gallery rows of N queries.

    Args:
        rows: ``(N, k)`` int64, best first; ties go to the lower row.
        distances: ``(N, k)`` float64.
    """

    rows: Array
    distances: Array


def expand_queries(
    queries: Embeddings | PreparedEmbeddings,
    gallery: Embeddings | PreparedEmbeddings,
    *,
    neighbours: int = 10,
    alpha: float = 3.0,
    metric: Metric | None = None,
    divide_over: ProcessGroup | None = None,
) -> Tensor:
    """Alpha-weighted query expansion: each query plus its nearest gallery rows, to search with once more.

    The query has weight 1, a neighbour max(0, cosine)^alpha; the sum is scaled to unit length (Radenović, Tolias & Chum
    2018, "Fine-tuning CNN Image Retrieval with No Human Annotation"). ``alpha=0`` is average query expansion (Chum et
    al. 2007).

    Args:
        queries: ``(N, D)``, or what :func:`~triune.pairs.prepared.prepare` made of them.
        gallery: ``(M, D)``, or prepared.
        neighbours: how many; fewer where the gallery is smaller.
        alpha: the larger, the less a distant neighbour counts.
        metric: by which neighbours are found; the cosine, or that of the prepared queries, where not given.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Returns:
        ``(N, D)`` of unit length, float32, where the queries are, in the order in which they were given.

    Raises:
        ValueError: ``neighbours`` is below 1, ``alpha`` negative, widths differ, or an embedding is not finite.
    """
    _check_expansion(neighbours, alpha)
    q, g = as_rows_of_two(queries, gallery, metric)
    _, rows = nearest(q, g, neighbours, divide_over=divide_over)
    return _expanded(q, g, rows, alpha, divide_over)


def expand_gallery(
    embeddings: Embeddings | PreparedEmbeddings,
    *,
    neighbours: int = 10,
    alpha: float = 3.0,
    metric: Metric | None = None,
    divide_over: ProcessGroup | None = None,
) -> Tensor:
    """The same for every item of one set by its nearest others: database-side augmentation (Turcot & Lowe 2009).

    Args:
        embeddings: ``(N, D)``, or what :func:`~triune.pairs.prepared.prepare` made of them.
        neighbours: how many; fewer where there are fewer others.
        alpha: the larger, the less a distant neighbour counts.
        metric: by which neighbours are found; the cosine, or that of the prepared embeddings, where not given.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Returns:
        ``(N, D)`` of unit length, float32, where the embeddings are, in the order in which they were given.

    Raises:
        ValueError: ``neighbours`` is below 1, ``alpha`` negative, or an embedding is not finite.
    """
    _check_expansion(neighbours, alpha)
    items = as_rows(embeddings, metric, "embeddings")
    _, rows = nearest(items, items, neighbours, exclude_self=True, divide_over=divide_over)
    return _expanded(items, items, rows, alpha, divide_over)


def rerank(
    queries: Embeddings | PreparedEmbeddings,
    gallery: Embeddings | PreparedEmbeddings | None = None,
    *,
    k: int | None = None,
    k1: int = 20,
    k2: int = 6,
    mix: float = 0.3,
    metric: Metric | None = None,
    divide_over: ProcessGroup | None = None,
) -> Reranked:
    """k-reciprocal re-ranking (Zhong, Zheng, Cao & Li 2017): items that are neighbours of each other come closer.

    Among all queries and gallery rows, with N(p, k) the item p and its k nearest others, R(p, k) holds the g in
    N(p, k) whose N(g, k) holds p. R* adds every R(q, k1/2) of a q in R(p, k1) of which two thirds lie in R(p, k1). The
    weights e^−d(p, g) over R*(p), averaged over p and its k2 − 1 nearest others, are compared by the Jaccard distance
    1 − Σ min / Σ max, and the result is (1 − mix) times that plus ``mix`` times the distance d. The published code
    differs in details: it scales d by each column's largest and the weights to sum 1, and asks for more than two
    thirds.

    Memory: at most k2 (k1 + 1)(k1/2 + 1) weights of 12 bytes an item (as a rule far fewer), 16 bytes for each of the
    N × k returned, and blocks of some ten MiB; never an (N + M)² matrix. Give ``k`` where the gallery is large: without
    it, the answer has N × M cells. Time: O((N + M)² D) for the neighbours, O(N M) for the rankings, and the overlaps.

    Args:
        queries: ``(N, D)``, or what :func:`~triune.pairs.prepared.prepare` made of them.
        gallery: ``(M, D)``, or prepared; where not given, every item queries all others.
        k: how many rows are returned for each query, the same as the first k of all; all where not given.
        k1: size of the neighbourhoods.
        k2: how many items' weights are averaged; 1 for none.
        mix: the share of the plain distance, 0 to 1.
        metric: the distance; the cosine, or that of the prepared queries, where not given. Weights depend on its scale.
        divide_over: processes that share the search for neighbours and the rankings (the sparse weights, O(N + M), are
            made by each); each must call this with the same arguments, and all get the same.

    Returns:
        Rows and distances; queries and rows are numbered as they were given, before they were prepared.

    Raises:
        ValueError: a setting is out of its range, widths differ, or an embedding is not finite.
    """
    if k1 < 1 or k2 < 1 or (k is not None and k < 1):
        raise ValueError(f"k is {k}, k1 is {k1} and k2 is {k2}: each must be at least 1")
    if not 0 <= mix <= 1:
        raise ValueError(f"mix is {mix}: a share from 0 to 1 is needed")
    one_set = gallery is None
    if gallery is None:
        q = g = both = as_rows(queries, metric, "queries")
    else:
        q, g = as_rows_of_two(queries, gallery, metric)
        both = Rows(torch.cat([q.x, g.x]), torch.cat([q.squares, g.squares]), q.metric)
    weights = _neighbourhood_weights(both, k1, k2, divide_over)
    # Query i is row i of the weights, and gallery row j is row offset + j.
    offset = 0 if one_set else len(q.x)
    by_column = weights[offset:].tocsc()
    sums = np.asarray(weights.sum(axis=1)).ravel()
    count = max(0, len(g.x) - int(one_set))
    kept = count if k is None else min(k, count)
    rows, distances = np.zeros((len(q.x), kept), dtype=np.int64), np.zeros((len(q.x), kept))
    # A few float64 arrays of a block are held at once: each takes half of what a block may take.
    for part in own_row_blocks(len(q.x), 2 * 8 * len(g.x), divide_over):
        shared = np.zeros((part.stop - part.start, len(g.x)))
        own = weights[part]
        ours = (own.indptr, own.indices, own.data)
        ranking_cpu.shared_weight(*ours, by_column.indptr, by_column.indices, by_column.data, shared)
        union = sums[part, None] + sums[None, offset:] - shared
        plain = _distances(q.scores(part, g), q.metric).cpu().double().numpy()
        mixed = (1 - mix) * (1 - shared / union) + mix * plain
        if one_set:
            mixed[np.arange(len(mixed)), np.arange(part.start, part.stop)] = np.inf
        order = _smallest(mixed, kept)
        rows[part] = order
        distances[part] = np.take_along_axis(mixed, order, axis=1)
    return Reranked(*(gather_rows(torch.from_numpy(part), divide_over).numpy() for part in (rows, distances)))


def _smallest(values: Array, k: int) -> Array:
    """The columns of the k smallest of each row, smallest first, ties to the lower column."""
    if not 0 < k < values.shape[1]:
        return np.argsort(values, axis=1, kind="stable")[:, :k]
    order = np.empty((len(values), k), dtype=np.int64)
    last = np.partition(values, k - 1, axis=1)[:, k - 1]
    for i, row in enumerate(values):
        # More than k where several tie with the last: the stable sort keeps the lower ones.
        candidates = np.flatnonzero(row <= last[i])
        order[i] = candidates[np.argsort(row[candidates], kind="stable")[:k]]
    return order


def _neighbourhood_weights(items: Rows, k1: int, k2: int, divide_over: ProcessGroup | None) -> Any:
    """Each item's weights over its expanded reciprocal neighbourhood, sparse ``(n, n)`` float64.

    Args:
        items: n rows.
        k1: size of the neighbourhoods.
        k2: how many items' weights are averaged.
        divide_over: processes that share the search.
    """
    count = len(items.x)
    _, rows = nearest(items, items, max(k1, k2 - 1), exclude_self=True, divide_over=divide_over)
    near = rows.cpu().numpy()
    whole = _reciprocal(near[:, :k1])
    half = _reciprocal(near[:, : int(np.around(k1 / 2))])
    sizes = np.asarray(half.sum(axis=1)).ravel()
    # |R(p, k1) ∩ R(q, k1/2)| for the q in R(p, k1) alone.
    common = (whole @ half.T).multiply(whole).tocoo()
    enough = 3 * common.data >= 2 * sizes[common.col]
    taken = sparse.csr_array((np.ones(enough.sum()), (common.row[enough], common.col[enough])), shape=whole.shape)
    expanded = (whole + taken @ half).tocoo()
    weights = np.exp(-_distances_of_pairs(items, expanded.row, expanded.col))
    result = sparse.csr_array((weights, (expanded.row, expanded.col)), shape=whole.shape)
    if k2 > 1:
        group = np.concatenate([np.arange(count)[:, None], near[:, : k2 - 1]], axis=1)
        cells = (np.repeat(np.arange(count), group.shape[1]), group.ravel())
        result = sparse.csr_array((np.full(group.size, 1 / group.shape[1]), cells), shape=whole.shape) @ result
    return result.tocsr()


def _distances_of_pairs(items: Rows, first: Array, second: Array) -> Array:
    """The distance of each of P pairs of rows, float64 ``(P,)``."""
    x = items.x
    a, b = (torch.as_tensor(rows, dtype=torch.int64, device=x.device) for rows in (first, second))
    distances = np.empty(len(a))
    for part in own_row_blocks(len(a), 4 * x.shape[1], None):
        scores = paired_scores(x[a[part]], x[b[part]], items.metric)
        distances[part] = _distances(scores, items.metric).cpu().numpy()
    return distances


def _reciprocal(near: Array) -> Any:
    """Which items are among each other's nearest, themselves included; sparse ``(n, n)`` of ones."""
    count = len(near)
    cells = (np.repeat(np.arange(count), near.shape[1]), near.ravel())
    forward = sparse.csr_array((np.ones(near.size), cells), shape=(count, count)) + sparse.eye_array(count)
    return forward.multiply(forward.T).tocsr()


def _check_expansion(neighbours: int, alpha: float) -> None:
    if neighbours < 1:
        raise ValueError(f"neighbours is {neighbours}: at least 1 is needed")
    if not alpha >= 0:
        raise ValueError(f"alpha is {alpha}: 0 or more is needed")


def _expanded(q: Rows, g: Rows, rows: Tensor, alpha: float, divide_over: ProcessGroup | None) -> Tensor:
    """Each query plus its weighted neighbours, of unit length.

    Args:
        q: N queries.
        g: the gallery.
        rows: ``(N, k)`` each query's neighbours in the gallery.
        alpha: the exponent of the weights.
        divide_over: processes that share the work.
    """
    x, y = (each.x if each.metric == "cosine" else unit(each.x) for each in (q, g))
    expanded = torch.zeros_like(x, memory_format=torch.contiguous_format)
    for part in own_row_blocks(len(x), 4 * rows.shape[1] * x.shape[1], divide_over):
        own, near = x[part], y[rows[part]]
        weights = (near @ own[:, :, None]).clamp(min=0) ** alpha
        expanded[part] = own + (weights * near).sum(1)
    return unit(gather_rows(expanded, divide_over))


def _distances(scores: Tensor, metric: Metric) -> Tensor:
    return 1 - scores if metric == "cosine" else -scores
