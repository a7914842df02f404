"""Numbers as users have them (arrays, data frames, lists) as NumPy arrays: native, whole and real, or an error."""

from typing import Any, TypeAlias

import numpy as np

from triune.tensors import is_tensor

Array: TypeAlias = np.ndarray[Any, Any]


def plain_numbers(values: Any, name: str) -> Array:
    """The same numbers as a NumPy array that torch can read; they share their memory wherever they can.

    Args:
        values: anything but a tensor; :func:`triune.arrays.as_tensor` says what is read.
        name: how errors call the values.

    Raises:
        ValueError: they hold something else than numbers, something masked or missing, or rows of several lengths.
    """
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


def real_numbers(array: Array, name: str) -> Array:
    """Numbers as floating point of at least float32: half precision becomes that, whole numbers become float64.

    Args:
        array: of :func:`plain_numbers`.
        name: how errors call it.

    Raises:
        ValueError: it is complex.
    """
    if array.dtype.kind == "c":
        raise complex_refused(array.dtype, name)
    return array.astype(
        np.promote_types(array.dtype, np.float32) if array.dtype.kind == "f" else np.float64, copy=False
    )


def complex_refused(dtype: Any, name: str) -> ValueError:
    """What is said of complex numbers.

    Args:
        dtype: of the numbers.
        name: how errors call them.
    """
    return ValueError(f"{name} has dtype {dtype}: distances are defined here for real embeddings only")


def _numbers(array: Array, name: str) -> Array:
    """Python objects as numbers: cells of a data frame, or a series of rows."""
    if array.ndim == 0:
        raise ValueError(f"it is of the type {type(array.item()).__name__}; an array is needed")
    first = array.ravel()[0] if array.size else None
    if array.ndim == 1 and (isinstance(first, list | tuple | np.ndarray) or is_tensor(first)):
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
