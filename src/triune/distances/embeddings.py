"""What counts as embeddings, and the checks on them: numbers, finite, of one width, at unit length."""

import torch
from torch import Tensor

from triune.arrays import as_real, as_tensor
from triune.distances.plain_embeddings import Embeddings as Embeddings, check_matrix, not_finite


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
    """A floating-point matrix (N, D) of at least float32 from whatever :func:`~triune.arrays.as_tensor` reads.

    Raises:
        ValueError: x does not have two dimensions, or is complex, or does not hold numbers.
    """
    tensor = as_tensor(x, name)
    check_matrix(tensor.shape, name)
    return as_real(tensor, name)


def check_finite(embeddings: Embeddings, name: str = "embeddings") -> None:
    """Raise if an embedding holds NaN or infinity, naming the rows. Waits for the GPU.

    Raises:
        ValueError: with the number of bad rows and the first of them.
    """
    # By parts: torch.isfinite takes more room than what it looks at.
    parts = torch.split(as_tensor(embeddings, name).detach(), 1 << 14)
    bad = torch.cat([~torch.isfinite(part).all(-1) for part in parts])
    if bool(bad.any()):
        raise not_finite(bad.nonzero().flatten().tolist(), len(bad), name)


def widest(x: Tensor) -> torch.dtype:
    """The most exact floating-point type of x's device."""
    return torch.float32 if x.device.type == "mps" else torch.float64
