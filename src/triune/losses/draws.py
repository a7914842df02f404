"""Random draws that are the same on every device: a hash of a seed and a key."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_seed(device: torch.device, generator: torch.Generator | None) -> Tensor:
    """A seed for :func:`draw_by_key`, int64 (), drawn where the generator lives; the device is not waited for."""
    where = device if generator is None else generator.device
    return torch.randint(2**63 - 1, (), device=where, generator=generator).to(device, non_blocking=True)


def draw_by_key(seed: Tensor, key: Tensor) -> Tensor:
    """A number in [0, 1) for each key, float64: the same whatever it is drawn with, and on every device.

    SplitMix64 (Steele, Lea and Flood 2014) at the key-th step from the seed.
    """
    z = seed + key * _signed(0x9E3779B97F4A7C15)
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return _shifted(z ^ _shifted(z, 31), 11).double() * 2.0**-53


def draw_uniform(shape: torch.Size, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Numbers in [0, 1), float64, drawn where the generator lives: the same seed gives the same on every device.

    Args:
        shape: of the answer.
        device: where the answer is put.
        generator: source of the draws; the device's own where not given.
    """
    if generator is None:  # the compiler takes no generator, not even None
        return torch.rand(shape, dtype=torch.float64, device=device)
    return torch.rand(shape, dtype=torch.float64, device=generator.device, generator=generator).to(device)


def _signed(bits: int) -> int:
    """64 bits as a whole number with a sign, which is all that torch multiplies."""
    return bits - (1 << 64) if bits >> 63 else bits


def _shifted(z: Tensor, by: int) -> Tensor:
    """64 bits shifted right, zeros moving in."""
    return (z >> by) & ((1 << (64 - by)) - 1)
