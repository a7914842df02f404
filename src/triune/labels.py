"""Labels of any kind (integers, strings, tensors, arrays) to exact 64-bit integer codes, as tensors.

What a label may be, and when it is missing, plain_labels.py says.
"""

import torch
from torch import Tensor

from triune.plain_labels import (
    Labels as Labels,
    beyond_int64,
    label_codes,
    label_codes_together,
    plain_labels as plain_labels,
    whole_tensor,
)


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
        ValueError: as :func:`plain_labels`, or the labels are not ``count`` many.
    """
    if not isinstance(labels, Tensor):
        return torch.as_tensor(label_codes(labels, count=count, name=name, against=against), device=device)
    codes = whole_tensor(labels, name).detach().to(device=device, dtype=torch.int64)
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
    if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
        both = label_codes_together(first, second, counts=counts, names=names, against=against)
        return torch.as_tensor(both[0], device=device), torch.as_tensor(both[1], device=device)
    codes, other_codes = (
        encode_labels(part, count=count, device=device, name=name, against=rows)
        for part, count, name, rows in zip((first, second), counts, names, against)
    )
    return codes, other_codes


def whole_numbers(labels: Labels, count: int) -> Tensor:
    """Labels as int64, which mean the same in every batch and in every process.

    Args:
        labels: N integers or booleans, shape ``(N,)``.
        count: N as it should be.

    Raises:
        ValueError: they are words, or beyond int64, whose codes would differ from batch to batch.
    """
    if not isinstance(labels, Tensor):
        array = plain_labels(labels)
        # uint64 beyond int64 is numbered by rank, as words are.
        if array.dtype.kind == "U" or beyond_int64(array):
            raise ValueError("labels are words, or beyond int64: number them once for all data, so that batches agree")
    return encode_labels(labels, count=count)
