"""Labels of any kind (integers, strings, tensors, arrays) to exact 64-bit integer codes."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Array: TypeAlias = np.ndarray[Any, Any]
Labels: TypeAlias = Tensor | Array | Sequence[int] | Sequence[str]

WORDS = "UOS"
"""Kinds of NumPy types that hold strings."""


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
        if array.dtype.kind in WORDS:
            array = np.unique(array.astype(str), return_inverse=True)[1].reshape(array.shape)
        elif _beyond_int64(array):
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


def encode_labels_together(
    first: Labels,
    second: Labels,
    *,
    counts: tuple[int | None, int | None] = (None, None),
    device: torch.device | str | None = None,
    names: tuple[str, str] = ("labels", "reference_labels"),
    against: tuple[str, str] = ("embeddings", "reference"),
) -> tuple[Tensor, Tensor]:
    """Map two sets of labels to codes in which equal labels, and only equal labels, of either set have equal codes.

    Integers are kept as they are, and strings become their rank among the distinct strings of both sets, so that codes
    stand in the order of the labels. Where both sets are integer tensors nothing waits for their device.

    Args:
        first: N labels of any kind that :func:`encode_labels` takes, shape ``(N,)``.
        second: M labels of the same kind, shape ``(M,)``.
        counts: N and M as they should be; None where any number will do.
        device: where the codes are put.
        names: how errors call the two sets.
        against: how errors call the things there is one label a row of.

    Returns:
        int64 codes, shapes ``(N,)`` and ``(M,)``.

    Raises:
        ValueError: as :func:`encode_labels`; or one set holds strings and the other numbers.
    """
    codes = encode_labels(first, count=counts[0], device=device, name=names[0], against=against[0])
    other_codes = encode_labels(second, count=counts[1], device=device, name=names[1], against=against[1])
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return codes, other_codes
    arrays = [part.detach().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part) for part in (first, second)]
    words = [array.dtype.kind in WORDS for array in arrays]
    if words[0] != words[1] and all(array.size for array in arrays):
        raise ValueError(
            f"{names[0]} has dtype {arrays[0].dtype} and {names[1]} {arrays[1].dtype}: they cannot be equal; "
            f"use one kind of label, integers or strings"
        )
    if not any(words) and not any(map(_beyond_int64, arrays)):
        return codes, other_codes
    # Codes by rank: both sets are ranked as one, numbers as Python's integers, which none is too large for.
    kind = str if any(words) else object
    ranks = np.unique(np.concatenate([array.astype(kind) for array in arrays]), return_inverse=True)[1]
    joined = torch.as_tensor(ranks, device=device)
    return joined[: len(arrays[0])], joined[len(arrays[0]) :]


def whole_numbers(labels: Labels, count: int) -> Tensor:
    """Labels as int64, which mean the same in every batch and in every process.

    Args:
        labels: N integers or booleans, shape ``(N,)``.
        count: N as it should be.

    Raises:
        ValueError: they are words, or beyond int64, whose codes would differ from batch to batch.
    """
    if not isinstance(labels, Tensor):
        array = np.asarray(labels)
        # uint64 beyond int64 is numbered by rank, as words are.
        if array.size and (array.dtype.kind in WORDS or _beyond_int64(array)):
            raise ValueError("labels are words, or beyond int64: number them once for all data, so that batches agree")
    return encode_labels(labels, count=count)


def _beyond_int64(array: Array) -> bool:
    return array.dtype.kind == "u" and bool(array.size) and int(array.max()) > np.iinfo(np.int64).max
