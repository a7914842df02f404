"""Means and logarithms of sums over the kept entries of a matrix, whose gradients hold no NaN."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(values: Tensor, kept: Tensor) -> Tensor:
    """Mean over the kept entries, of any shape; 0 if there is none."""
    return values.where(kept, 0.0).sum() / kept.sum().clamp(min=1)


def masked_logsumexp(values: Tensor, kept: Tensor) -> Tensor:
    """log Σ exp over the kept entries of each row of (N, M); −∞ in a row without one, and no NaN in its gradient."""
    if values.shape[1] == 0:
        return values.sum(1) - torch.inf
    any_kept = kept.any(1)
    masked = values.where(kept, -torch.inf).where(any_kept[:, None], 0.0)
    return masked.logsumexp(1).where(any_kept, -torch.inf)
