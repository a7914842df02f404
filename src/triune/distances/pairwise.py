"""How far apart two embeddings are: Euclidean, squared Euclidean and cosine distance, pairwise and paired."""

import torch
from torch import Tensor

from triune.distances.embeddings import Embeddings, as_embeddings, safe_sqrt, unit, widest
from triune.distances.metric import Metric, check_metric

ROUNDING_UNITS = 64.0
"""A squared distance below so many units of rounding of ‖x‖² + ‖y‖² is not told from zero."""


LARGEST = 1e140
"""Float64 numbers up to here can be squared and added up."""

COMMON = 2.0**20
"""Rows are moved by their mean where their squared lengths are so many times their squared distances from it."""


def pairwise_distance(x: Embeddings, y: Embeddings | None = None, metric: Metric = "euclidean") -> Tensor:
    """Every distance between the rows of x and the rows of y.

    ``"euclidean"`` is ‖x − y‖₂, ``"squared_euclidean"`` its square, ``"cosine"`` 1 − x·y / (‖x‖ ‖y‖); a zero
    vector has cosine distance 1 to everything. The inner products are accumulated in float64 (float32 on
    devices that have no float64), so near-duplicates keep their distance: on float32 unit vectors the
    relative error at d = 1e-3 is below 1e-6. Equal rows are at distance exactly 0. Gradients are finite
    everywhere and 0 where the Euclidean distance is 0; second derivatives are available.

    >>> pairwise_distance(torch.tensor([[0.6, 0.8, 0.0]]), torch.tensor([[0.8, 0.6, 0.0]]))
    tensor([[0.2828]])

    Args:
        x: embeddings, shape (N, D); float16 and bfloat16 are computed, and returned, in float32.
        y: embeddings, shape (M, D); x itself when left out.
        metric: which distance.

    Returns:
        Distances, shape (N, M). Memory: a few N·M float64 buffers while computing.

    Raises:
        ValueError: x or y is not a matrix, their widths differ, or the metric is unknown.
    """
    check_metric(metric)
    x = as_embeddings(x, "x")
    y = x if y is None else as_embeddings(y, "y")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"x has shape {tuple(x.shape)} but y has {tuple(y.shape)}: the widths must be equal")
    dtype = torch.promote_types(x.dtype, y.dtype)
    wide = widest(x)
    x, y = x.to(wide), (x if y is x else y).to(wide)
    if metric == "cosine":
        x, y = unit(x), unit(y)
    scale: float | Tensor = 1.0
    if dtype == torch.float64 and metric != "cosine":
        x, y, scale = _within_range(x, y)
    norms = x.square().sum(1)[:, None] + y.square().sum(1)[None, :]
    squared = norms - 2 * (x @ y.T)
    resolved = squared.detach() > ROUNDING_UNITS * torch.finfo(wide).eps * norms.detach()
    resolved |= squared.detach().isnan()
    if metric == "euclidean":
        return (torch.where(resolved, torch.where(resolved, squared, 1.0).sqrt(), 0.0) * scale).to(dtype)
    # The value is snapped to zero, the gradient of the smooth function is kept.
    squared = squared - (squared * ~resolved).detach()
    if metric == "squared_euclidean":
        return (squared * scale * scale).to(dtype)
    return (squared / 2 + (1 - norms.detach().round() / 2)).to(dtype)


def paired_distance(x: Embeddings, y: Embeddings, metric: Metric = "euclidean") -> Tensor:
    """The distance of each row of x to the same row of y.

    >>> paired_distance(torch.tensor([[0.6, 0.8, 0.0]]), torch.tensor([[0.8, 0.6, 0.0]]), metric="cosine")
    tensor([0.0400])

    Args:
        x: embeddings, shape (N, D); float16 and bfloat16 are computed, and returned, in float32.
        y: embeddings, shape (N, D).
        metric: which distance, as in :func:`pairwise_distance`.

    Returns:
        Distances, shape (N,). Memory: O(N·D).

    Raises:
        ValueError: the shapes differ, or the metric is unknown.
    """
    check_metric(metric)
    x, y = as_embeddings(x, "x"), as_embeddings(y, "y")
    if x.shape != y.shape:
        raise ValueError(f"x has shape {tuple(x.shape)} but y has {tuple(y.shape)}: they must be equal")
    if metric != "cosine":
        if torch.float64 in (x.dtype, y.dtype):
            x, y, scale = _within_range(x, y)
            squared = (x - y).square().sum(1)
            return squared * scale * scale if metric == "squared_euclidean" else safe_sqrt(squared) * scale
        squared = (x - y).square().sum(1)
        # A float32 square root by torch may be off by one unit, and so break ties with pairwise_distance.
        return squared if metric == "squared_euclidean" else safe_sqrt(squared.to(widest(x))).to(squared.dtype)
    x, y = unit(x), unit(y)
    zeros = ((x.detach() == 0).all(1).to(x.dtype) + (y.detach() == 0).all(1).to(x.dtype)) / 2
    return (x - y).square().sum(1) / 2 + zeros


def _within_range(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Float64 rows whose products lose nothing: moved and scaled alike where that is needed, else as they are.

    Rows that have a large part in common are moved by their mean, which changes no distance: squared lengths of 10¹⁸
    would leave nothing of a squared distance of 1. Rows too large or too small to be squared are divided by a number.

    Returns:
        The rows, and what their distances are to be multiplied by.
    """
    if not (len(x) and len(y) and x.shape[1]):
        return x, y, x.new_ones(())
    with torch.no_grad():
        largest = torch.maximum(x.abs().amax(), y.abs().amax())
        scale = torch.where((largest > LARGEST) | ((largest < 1 / LARGEST) & (largest > 0)), largest, 1.0)
        a, b = x / scale, y / scale
        centre = (a.sum(0) + b.sum(0)) / (len(a) + len(b))
        whole = a.square().sum() + b.square().sum()
        around = (a - centre).square().sum() + (b - centre).square().sum()
        centre = torch.where(whole > COMMON * around, centre, 0.0)
    moved = x / scale - centre
    return moved, moved if y is x else y / scale - centre, scale
