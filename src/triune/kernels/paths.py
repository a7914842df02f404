"""Which implementation computes triplets, and which one counts pairs: Numba, Triton or plain torch."""

from functools import cache
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

Path = Literal["torch", "numba", "triton"]


def choose_path(x: Tensor, y: Tensor) -> Path:
    """Which implementation computes the triplets of anchors x (N, D) and reference y (M, D).

    ``"numba"`` for float32 on the CPU (unless a row is not finite, or so long that its square overflows),
    ``"triton"`` for float32 on a CUDA device, and ``"torch"``, the reference that the others must equal, for everything
    else: float64, other devices, and whatever torch.compile traces.
    (Half precision arrives here as float32.)
    """
    if torch.compiler.is_compiling() or not (x.dtype == y.dtype == torch.float32):
        return "torch"
    if x.device.type == "cpu":
        return "numba" if bool(torch.isfinite(x.square().sum() + y.square().sum())) else "torch"
    if x.device.type == "cuda" and _has_triton():
        return "triton"
    return "torch"


def choose_counting(device: torch.device) -> Path:
    """Which implementation scores and counts the pairs of verification, float32 and finite, on a device.

    ``"numba"`` on the CPU, ``"triton"`` on a CUDA device, and ``"torch"``, which the others must equal, elsewhere.
    """
    if device.type == "cpu":
        return "numba"
    return "triton" if device.type == "cuda" and _has_triton() else "torch"


@cache
def _has_triton() -> bool:
    """Whether Triton can be imported; it comes with torch on Linux only."""
    return find_spec("triton") is not None
