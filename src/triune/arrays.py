"""Numbers as users have them (arrays, data frames, lists, tensors) as tensors: native, whole and real, or an error."""

import warnings
from typing import Any

import torch
from torch import Tensor

from triune.plain_numbers import complex_refused, plain_numbers

EXACT_IN_FLOAT32 = 1 << 24
"""Up to here float32 holds every whole number."""


def as_tensor(values: Any, name: str) -> Tensor:
    """The same numbers as a tensor; those of NumPy share their memory wherever torch can read it as it is.

    Read are tensors, NumPy arrays of any byte order, strides and precision (long double becomes float64), read-only
    ones, data frames and series of pandas and polars, and sequences of numbers, of arrays or of tensors.

    Args:
        values: the numbers.
        name: how errors call them.

    Raises:
        ValueError: they hold something else than numbers, something masked or missing, or rows of several lengths.
    """
    if isinstance(values, Tensor):
        if values.layout != torch.strided or values.is_nested or values.is_quantized:
            raise ValueError(f"{name} is a tensor that is sparse, nested or quantized: a plain one is needed")
        return values
    if isinstance(values, list | tuple) and values and all(isinstance(row, Tensor) for row in values):
        shapes = {tuple(row.shape) for row in values}
        if len(shapes) > 1:
            raise ValueError(f"{name} is a list of tensors of several shapes ({_some(shapes)}): all must be alike")
        return as_tensor(torch.stack(list(values)), name)
    array = plain_numbers(values, name)
    with warnings.catch_warnings():
        # What torch says of read-only memory: nothing here writes to what it was given.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
        return torch.from_numpy(array)


def as_real(tensor: Tensor, name: str) -> Tensor:
    """Numbers as floating point of at least float32, in which whole numbers keep their values up to 2⁵³.

    Args:
        tensor: of any type.
        name: how errors call it.

    Raises:
        ValueError: it is complex.
    """
    if tensor.dtype.is_complex:
        raise complex_refused(tensor.dtype, name)
    if tensor.dtype.is_floating_point:
        return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
    wide = tensor.dtype.itemsize > 2 and tensor.device.type != "mps" and tensor.numel() > 0
    if wide and bool((tensor.to(torch.float64).abs() > EXACT_IN_FLOAT32).any()):
        return tensor.to(torch.float64)
    return tensor.to(torch.float32)


def _some(shapes: set[tuple[int, ...]]) -> str:
    return ", ".join(map(str, sorted(shapes)[:3]))


def at_least_single(x: Tensor) -> Tensor:
    """Floating-point numbers of half precision in single precision; others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
