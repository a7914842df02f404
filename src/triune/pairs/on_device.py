"""Pairs of embeddings that lie on a GPU or another device: their products, a sample of them, and those that match."""

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from triune.distances.metric import Metric
from triune.kernels.paths import choose_counting

Array: TypeAlias = np.ndarray[Any, Any]


GATHERED = 1 << 25
"""Values of embeddings gathered at a time: 128 MiB."""


MATCHES = 1 << 22
"""Matching pairs whose scores are fetched at a time, if one row has no more of them."""


def multiply(x: Tensor, y: Tensor, out: Tensor) -> None:
    """x·yᵀ in float32, whatever torch's switches say.

    A GPU's matrix product may be TF32, good to three digits, where the program has asked torch for speed. That switch
    is the program's: it is read and never turned, and where it allows TF32 the product is made without torch.

    Args:
        x: rows ``(R, D)``.
        y: columns ``(C, D)``.
        out: ``(R, C)``, overwritten.
    """
    if x.device.type == "cuda" and torch.backends.cuda.matmul.fp32_precision not in ("ieee", "none"):
        if choose_counting(x.device) == "triton":
            from triune.kernels import scores_gpu

            scores_gpu.multiply(x, y, out)
        else:
            out.copy_(x.double() @ y.double().T)
    else:
        torch.mm(x, y.T, out=out)


def sampled_scores(
    x: Tensor, y: Tensor, spans: Tensor, groups: tuple[Tensor, Tensor], metric: Metric, count: int
) -> Array:
    """The scores of ``count`` pairs drawn evenly, as far as they are impostors; ascending, float32.

    Args:
        x: rows ``(N, D)``.
        y: columns ``(M, D)``; the same tensor where pairs are drawn from one set.
        spans: each row's first column and its run of matching columns, int64 ``(N, 3)``.
        groups: group codes of rows and columns; both empty where no pair is excluded.
        metric: the distance.
        count: how many.
    """
    device, step = x.device, max(1, GATHERED // max(1, x.shape[1]))
    generator = torch.Generator(device).manual_seed(0)
    scores = torch.full((count,), torch.nan, device=device)
    for start in range(0, count, step):
        part = scores[start : start + step]
        rows, columns = (torch.randint(len(of), part.shape, generator=generator, device=device) for of in (x, y))
        if y is x:
            rows, columns = torch.minimum(rows, columns), torch.maximum(rows, columns)
        first, begin, end = spans[rows].unbind(1)
        wanted = (columns >= first) & ((columns < begin) | (columns >= end))
        if len(groups[0]):
            wanted &= groups[0][rows] != groups[1][columns]
        a, b = x[rows], y[columns]
        found = (a * b).sum(1) if metric == "cosine" else -(a - b).square().sum(1)
        found = -(-found).sqrt() if metric == "euclidean" else found
        part.copy_(found.where(wanted, torch.nan))
    # Places that no score was written to sort last.
    scores = scores.sort().values
    ascending: Array = scores[: int((~scores.isnan()).sum())].cpu().numpy()
    return ascending


def matching_scores(scores: Tensor, first: Array, last: Array, groups: tuple[Array, Array]) -> list[Array]:
    """The scores of a tile's matching pairs: the host fetches these, not the tile.

    Args:
        scores: the tile ``(R, C)``, contiguous.
        first: each row's first matching column of the tile, int64 ``(R,)``.
        last: one past its last.
        groups: group codes from the tile's first row and first column on; both empty where no pair is excluded.

    Returns:
        float32, in parts.
    """
    lengths = np.maximum(last - first, 0)
    ends = np.cumsum(lengths)
    parts = []
    begin = 0
    while begin < len(lengths):
        before = ends[begin] - lengths[begin]
        end = max(begin + 1, int(np.searchsorted(ends, before + MATCHES, side="right")))
        some = slice(begin, end)
        rows = np.repeat(np.arange(begin, end), lengths[some])
        # The e-th pair of all belongs to the row whose pairs begin at ends − lengths.
        columns = np.arange(before, ends[end - 1]) + np.repeat((first - ends + lengths)[some], lengths[some])
        if len(groups[0]):
            apart = groups[0][rows] != groups[1][columns]
            rows, columns = rows[apart], columns[apart]
        places = torch.from_numpy(rows * scores.shape[1] + columns).to(scores.device)
        parts.append(scores.flatten()[places].cpu().numpy())
        begin = end
    return parts
