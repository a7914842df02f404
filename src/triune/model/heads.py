"""What the heads read: a feature map pooled to a vector, in four ways or over the predicted foreground."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from triune.arrays import at_least_single

Pooling = Literal["avg", "gem", "grid", "attention", "token", "token+avg"]
"""The average, the generalised mean, averages within the cells of a grid, attention of a learnt query, the class token,
or that and the average."""

TOKEN_POOLING = ("token", "token+avg")
"""Those that need a class token."""

GRID = 4
"""Cells a side of ``grid`` pooling."""

HEADS = 8
"""Of attention pooling, as far as they divide the channels."""


def average(features: Tensor) -> Tensor:
    """The mean over height and width: ``(B, C, H, W)`` to ``(B, C)``."""
    return features.mean(dim=(2, 3))


def generalised_mean(features: Tensor, exponent: Tensor) -> Tensor:
    """(mean xᵖ)^(1/p) of values held above 0, ``(B, C)`` in float32: the mean for p = 1, the maximum for p → ∞."""
    return at_least_single(features).clamp(min=1e-6).pow(exponent).mean(dim=(2, 3)).pow(1 / exponent)


def grid_averages(features: Tensor) -> Tensor:
    """The means within each of 4 x 4 cells, ``(B, C·16)``: what is where is kept."""
    return adaptive_avg_pool2d(features, GRID).flatten(1)


class AttentionPooling(nn.Module):
    """A learnt query that looks at all places of a map (multi-head attention, as SigLIP pools: Zhai et al. 2023).

    What it finds does not depend on where it lies, nor on how large the map is.

    Args:
        width: channels C of the map; as many of :data:`HEADS` heads as divide them.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, width) / math.sqrt(width))
        self.attention = nn.MultiheadAttention(width, math.gcd(width, HEADS), batch_first=True)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C)``."""
        places = features.flatten(2).transpose(1, 2)
        query = self.query.expand(len(features), -1, -1)
        found: Tensor = self.attention(query, places, places, need_weights=False)[0]
        return found[:, 0]


def foreground_average(features: Tensor, mask_logits: Tensor) -> Tensor:
    """The mean ``(B, C)`` weighted by the probability of foreground, and by a little everywhere.

    Args:
        features: ``(B, C, H, W)``.
        mask_logits: ``(B, M, ·, ·)`` of any size.
    """
    weight = adaptive_avg_pool2d(_foreground(mask_logits), (features.shape[-2], features.shape[-1])) + 1e-3
    return (features * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))


def _foreground(mask_logits: Tensor) -> Tensor:
    """Probability ``(B, 1, H, W)`` of not being background; no gradient, or the embedding would bend the masks."""
    logits = at_least_single(mask_logits.detach())
    return logits.sigmoid() if logits.shape[1] == 1 else 1 - logits.softmax(dim=1)[:, :1]
