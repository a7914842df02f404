"""What counts as embeddings, as NumPy arrays: checked without torch, for who has arrays and little else."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np

from triune.plain_numbers import plain_numbers, real_numbers
from triune.tensors import is_tensor

if TYPE_CHECKING:
    from torch import Tensor

Array: TypeAlias = np.ndarray[Any, Any]
Embeddings: TypeAlias = Union["Tensor", Array]


def plain_embeddings(x: Embeddings, name: str = "embeddings") -> Array:
    """A floating-point matrix (N, D) of at least float32, finite, from whatever :func:`~triune.arrays.as_tensor` reads.

    Args:
        x: embeddings; a tensor is brought to the host's memory.
        name: how errors call them.

    Raises:
        ValueError: x does not have two dimensions, is complex, does not hold numbers, or holds NaN or infinity.
    """
    array = _read(x, name)
    check_matrix(array.shape, name)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1)).tolist()
    if bad:
        raise not_finite(bad, len(array), name)
    return array


def check_matrix(shape: Sequence[int], name: str) -> None:
    """Refuse what is no matrix.

    Raises:
        ValueError: it does not have two dimensions.
    """
    if len(shape) != 2:
        raise ValueError(f"{name} has shape {tuple(shape)}; one embedding a row, shape (N, D), is needed")


def not_finite(rows: Sequence[int], count: int, name: str) -> ValueError:
    """What is said of embeddings that hold NaN or infinity.

    Args:
        rows: those that do, at least one.
        count: how many embeddings there are.
        name: how errors call them.
    """
    shown = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
    noun = "row" if len(rows) == 1 else "rows"
    return ValueError(
        f"{name} holds NaN or infinity in {len(rows)} of {count} rows ({noun} {shown}): "
        f"look at the inputs of these items, or lower the learning rate if training has diverged"
    )


def _read(x: Any, name: str) -> Array:
    if not (is_tensor(x) or (isinstance(x, list | tuple) and any(map(is_tensor, x)))):
        return real_numbers(plain_numbers(x, name), name)
    from triune.arrays import as_real, as_tensor  # whoever made a tensor has torch

    read: Array = as_real(as_tensor(x, name), name).detach().cpu().numpy()
    return read
