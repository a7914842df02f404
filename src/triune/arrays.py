"""Numbers as users have them (arrays, data frames, lists, tensors) as tensors: native, whole and real, or an error."""

import warnings
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Array: TypeAlias = np.ndarray[Any, Any]

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
    array = _plain(values, name)
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
        raise ValueError(f"{name} has dtype {tensor.dtype}: distances are defined here for real embeddings only")
    if tensor.dtype.is_floating_point:
        return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
    wide = tensor.dtype.itemsize > 2 and tensor.device.type != "mps" and tensor.numel() > 0
    if wide and bool((tensor.to(torch.float64).abs() > EXACT_IN_FLOAT32).any()):
        return tensor.to(torch.float64)
    return tensor.to(torch.float32)


def _plain(values: Any, name: str) -> Array:
    """A NumPy array that torch can read."""
    if isinstance(values, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(values)
        if masked.any():
            raise ValueError(f"{name} is masked at {_place(masked)}: fill it in, or leave the row away")
        values = values.data
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            array = _numbers(array, name)
    except (ValueError, TypeError, RuntimeError) as error:  # rows of several lengths; a tensor with a gradient inside
        raise ValueError(f"{name} cannot be read as numbers: {' '.join(str(error).split())}") from error
    if array.dtype.kind not in "biufc":
        raise ValueError(f"{name} has dtype {array.dtype}: numbers are needed")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.dtype.kind == "c" and array.dtype.itemsize > 16:
        array = array.astype(np.complex128)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 or stride % array.dtype.itemsize for stride in array.strides):
        array = np.ascontiguousarray(array)
    return array


def _numbers(array: Array, name: str) -> Array:
    """Python objects as numbers: cells of a data frame, or a series of rows."""
    if array.ndim == 0:
        raise ValueError(f"it is of the type {type(array.item()).__name__}; an array is needed")
    first = array.ravel()[0] if array.size else None
    if array.ndim == 1 and isinstance(first, list | tuple | np.ndarray | Tensor):
        return np.asarray([np.asarray(row, dtype=np.float64) for row in array.tolist()])
    numbers = np.empty(array.shape, dtype=np.float64)
    for place, value in np.ndenumerate(array):
        if isinstance(value, bool | int | float | np.number | np.bool_):
            numbers[place] = value
        else:
            shown = "nothing" if value is None or str(value) in ("<NA>", "NaT") else repr(value)
            raise ValueError(f"{_at(place)} holds {shown}; numbers are needed")
    return numbers


def _place(marks: Array) -> str:
    return _at(tuple(int(axis[0]) for axis in np.nonzero(marks)))


def _at(place: tuple[int, ...]) -> str:
    return f"row {place[0]}" + "".join(f", column {column}" for column in place[1:2])


def _some(shapes: set[tuple[int, ...]]) -> str:
    return ", ".join(map(str, sorted(shapes)[:3]))


def at_least_single(x: Tensor) -> Tensor:
    """Floating-point numbers of half precision in single precision; others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
