"""The score of a pair: cosine similarity, or minus the distance; of all pairs of two sets, or of listed ones."""

import torch
from torch import Tensor

from triune.distances.embeddings import Metric
from triune.kernels import choose_counting, scores_cpu
from triune.pairs import on_device


def to_distances(gram: Tensor, rows: Tensor, columns: Tensor, squares: tuple[Tensor, Tensor], *, square: bool) -> None:
    """Turn a tile of x·yᵀ into minus the (squared) distances, in place; near-duplicates keep their distance.

    Args:
        gram: ``(R, C)``, overwritten.
        rows, columns: ``(R, D)`` and ``(C, D)``.
        squares: ‖x‖² ``(R,)`` and ‖y‖² ``(C,)``.
        square: whether the distance is squared.
    """
    path = choose_counting(gram.device)
    if path == "numba":
        arrays = (each.numpy() for each in (gram, rows, columns, *squares))
        scores_cpu.distances_in_place(*arrays, square)
        return
    if path == "triton":
        from triune.kernels import scores_gpu

        scores_gpu.distances_in_place(gram, rows, columns, squares, square)
        return
    both = squares[0][:, None] + squares[1][None, :]
    squared = both - 2 * gram
    i, j = (squared < 1e-3 * both).nonzero(as_tuple=True)
    squared[i, j] = (rows[i] - columns[j]).square().sum(1)
    gram.copy_(-squared if square else -squared.sqrt())


def scores_between(x: Tensor, y: Tensor, metric: Metric, squares: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Scores ``(N, M)`` float32 of rows of ``x`` against rows of ``y``: cosine of unit rows, or minus the distance.

    Args:
        x: ``(N, D)``.
        y: ``(M, D)``.
        metric: the distance.
        squares: ‖x‖² ``(N,)`` and ‖y‖² ``(M,)`` where they are known; the cosine asks for none.
    """
    scores = torch.empty(len(x), len(y), dtype=x.dtype, device=x.device)
    on_device.multiply(x, y, scores)
    if metric != "cosine":
        squares = squares or (x.square().sum(1), y.square().sum(1))
        to_distances(scores, x, y, squares, square=metric == "squared_euclidean")
    return scores
