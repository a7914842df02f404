"""Gradients that were computed along with the loss, and refuse to be differentiated a second time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def first_derivative_only(gradient: Tensor, of: Tensor, message: str) -> Tensor:
    """The gradient, connected to what it depends on by a derivative that raises instead of passing for 0.

    Args:
        gradient: of a loss with respect to ``of``, of the same shape.
        of: the tensor that the loss was differentiated by.
        message: what the error says.
    """
    refused: Tensor = _Refused.apply(gradient, of, message)
    return refused


class _Refused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, of: Tensor, message: str) -> Tensor:
        ctx.message = message
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError(ctx.message)
