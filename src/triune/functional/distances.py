"""How far apart two embeddings are: Euclidean, squared Euclidean and cosine distance, pairwise and paired."""

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

Metric: TypeAlias = Literal["euclidean", "squared_euclidean", "cosine"]
Embeddings: TypeAlias = Tensor | np.ndarray[Any, Any]

# A squared distance below this many units of rounding of ‖x‖² + ‖y‖² is not told from zero.
_ROUNDING_UNITS = 64.0


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
    wide = _widest(x)
    x, y = x.to(wide), (x if y is x else y).to(wide)
    if metric == "cosine":
        x, y = unit(x), unit(y)
    norms = x.square().sum(1)[:, None] + y.square().sum(1)[None, :]
    squared = norms - 2 * (x @ y.T)
    resolved = squared.detach() > _ROUNDING_UNITS * torch.finfo(wide).eps * norms.detach()
    resolved |= squared.detach().isnan()
    if metric == "euclidean":
        return torch.where(resolved, torch.where(resolved, squared, 1.0).sqrt(), 0.0).to(dtype)
    # The value is snapped to zero, the gradient of the smooth function is kept.
    squared = squared - (squared * ~resolved).detach()
    if metric == "squared_euclidean":
        return squared.to(dtype)
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
        squared = (x - y).square().sum(1)
        # A float32 square root by torch may be off by one unit, and so break ties with pairwise_distance.
        return squared if metric == "squared_euclidean" else safe_sqrt(squared.to(_widest(x))).to(squared.dtype)
    x, y = unit(x), unit(y)
    zeros = ((x.detach() == 0).all(1).to(x.dtype) + (y.detach() == 0).all(1).to(x.dtype)) / 2
    return (x - y).square().sum(1) / 2 + zeros


def unit(x: Tensor) -> Tensor:
    """Rows divided by their Euclidean length, shape (N, D); zero rows stay zero and get gradient 0.

    Neither overflows nor underflows: rows are first divided by their largest entry.
    """
    if x.shape[-1] == 0:
        return x
    scale = x.detach().abs().amax(dim=-1, keepdim=True)
    scaled = x / torch.where(scale == 0, 1.0, scale)
    squared = scaled.square().sum(dim=-1, keepdim=True)
    return torch.where(scale == 0, 0.0, scaled / torch.where(scale == 0, 1.0, squared).sqrt())


def safe_sqrt(squared: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0 instead of infinite; any shape."""
    positive = squared.detach() != 0
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)


def as_embeddings(x: Embeddings, name: str = "embeddings") -> Tensor:
    """A floating-point matrix (N, D) of at least float32 from a tensor or array.

    Raises:
        ValueError: x does not have two dimensions, or is complex.
    """
    tensor = torch.as_tensor(x)
    if tensor.ndim != 2:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; one embedding a row, shape (N, D), is needed")
    if tensor.dtype.is_complex:
        raise ValueError(f"{name} has dtype {tensor.dtype}: distances are defined here for real embeddings only")
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def check_metric(metric: str) -> None:
    """Raise ValueError, listing the known ones, if the metric is none of them."""
    if metric not in get_args(Metric):
        raise ValueError(f"metric is {metric!r}; known are {', '.join(map(repr, get_args(Metric)))}")


def check_finite(embeddings: Embeddings, name: str = "embeddings") -> None:
    """Raise if an embedding holds NaN or infinity, naming the rows. Waits for the GPU.

    Raises:
        ValueError: with the number of bad rows and the first of them.
    """
    # By parts: torch.isfinite takes more room than what it looks at.
    parts = torch.split(torch.as_tensor(embeddings).detach(), 1 << 14)
    bad = torch.cat([~torch.isfinite(part).all(-1) for part in parts])
    if bool(bad.any()):
        rows = bad.nonzero().flatten().tolist()
        shown = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
        noun = "row" if len(rows) == 1 else "rows"
        raise ValueError(
            f"{name} holds NaN or infinity in {len(rows)} of {bad.shape[0]} rows ({noun} {shown}): "
            f"look at the inputs of these items, or lower the learning rate if training has diverged"
        )


def comparable(embeddings: Embeddings, metric: Metric, name: str = "embeddings") -> Tensor:
    """Checked embeddings as float32 rows ``(N, D)`` without a gradient, of unit length for the cosine.

    Raises:
        ValueError: the metric is not known, the shape is none of embeddings, or a row is not finite.
    """
    check_metric(metric)
    x = as_embeddings(embeddings, name).detach()
    check_finite(x, name)
    x = x.float()
    return unit(x) if metric == "cosine" else x


def _widest(x: Tensor) -> torch.dtype:
    """The most exact floating-point type of x's device."""
    return torch.float32 if x.device.type == "mps" else torch.float64
