"""Labels of any kind (integers, strings, tensors, arrays) to exact 64-bit integer codes."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Array: TypeAlias = np.ndarray[Any, Any]


Labels: TypeAlias = Tensor | np.ndarray[Any, Any] | Sequence[int] | Sequence[str]


def encode_labels(
    labels: Labels,
    *,
    count: int | None = None,
    device: torch.device | str | None = None,
    name: str = "labels",
    against: str = "embeddings",
) -> Tensor:
    """Map labels to an int64 tensor in which equal labels, and only equal labels, have equal codes.

    Integers are kept as they are; they never pass through floating point, so 2**24 and 2**24 + 1 stay two classes.
    Strings become their rank among the sorted distinct strings.

    Args:
        labels: N integers, booleans or strings, as a tensor, NumPy array or sequence; shape ``(N,)``.
        count: the number of labels there should be.
        device: where the codes are put.
        name: how errors call the labels.
        against: how errors call the thing there is one label a row of.

    Returns:
        int64 codes, shape ``(N,)``.

    Raises:
        ValueError: the labels are not one-dimensional, not ``count`` many, or a float.
    """
    if isinstance(labels, Tensor):
        if labels.dtype.is_floating_point or labels.dtype.is_complex:
            raise ValueError(
                f"{name} has dtype {labels.dtype}: class labels are integers or strings "
                f"(floats would merge large labels); convert them with .long() if they hold whole numbers"
            )
        codes = labels.detach().to(device=device, dtype=torch.int64)
    else:
        array = np.asarray(labels)
        if array.size == 0:
            array = array.astype(np.int64)
        if array.dtype.kind in "UOS":
            array = np.unique(array.astype(str), return_inverse=True)[1].reshape(array.shape)
        elif array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
            array = np.unique(array, return_inverse=True)[1].reshape(array.shape)
        elif array.dtype.kind not in "iub":
            raise ValueError(
                f"{name} has dtype {array.dtype}: class labels are integers or strings; "
                f"convert them with .astype('int64') if they hold whole numbers"
            )
        codes = torch.as_tensor(array.astype(np.int64), device=device)
    if codes.ndim != 1:
        raise ValueError(f"{name} has shape {tuple(codes.shape)}; one label a row, shape (N,), is needed")
    if count is not None and codes.shape[0] != count:
        raise ValueError(f"{name} has {codes.shape[0]} entries but {against} has {count} rows")
    return codes


def whole_numbers(labels: Labels, count: int) -> Tensor:
    """Labels as int64, which mean the same in every batch and in every process.

    Raises:
        ValueError: they are words, or beyond int64, whose codes would differ from batch to batch.
    """
    if not isinstance(labels, Tensor):
        array = np.asarray(labels)
        # uint64 beyond int64 is numbered by rank, as words are.
        if array.size and (array.dtype.kind in "UOS" or array.max() > np.iinfo(np.int64).max):
            raise ValueError("labels are words, or beyond int64: number them once for all data, so that batches agree")
    return encode_labels(labels, count=count)


def encode_together(
    first: Labels, second: Labels, counts: tuple[int, int], names: tuple[str, str]
) -> tuple[Array, Array]:
    """Codes of two sets of labels in which equal labels have equal codes."""
    plain = [part.detach().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part) for part in (first, second)]
    for part, count, name in zip(plain, counts, names, strict=True):
        encode_labels(part, count=count, name=name)
    if (plain[0].dtype.kind in "US") != (plain[1].dtype.kind in "US") and all(map(len, plain)):
        raise ValueError(f"{names[0]} has dtype {plain[0].dtype} and {names[1]} {plain[1].dtype}: they cannot be equal")
    codes = encode_labels(np.concatenate(plain) if all(map(len, plain)) else max(plain, key=len)).numpy()
    return codes[: counts[0]], codes[counts[0] :]
