"""A batch of embeddings with their label codes, and the reference set that positives and negatives come from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from triune.distances.embeddings import Embeddings, as_embeddings
from triune.labels import Labels, encode_labels, encode_labels_together


def masks(codes: Tensor, reference_codes: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Which of M reference rows are positives and which negatives of R anchors, bool (R, M) each."""
    same = codes[:, None] == reference_codes[None, :]
    itself = own[:, None] == torch.arange(reference_codes.shape[0], device=own.device)[None, :]
    return same & ~itself, ~same


def resolve_reference(
    x: Tensor,
    labels: Labels,
    embeddings: Embeddings,
    reference: Embeddings | None,
    reference_labels: Labels | None,
    own_rows: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The set positives and negatives come from, both label codes, and each anchor's own row in that set.

    Returns:
        reference (M, D), codes (N,), reference codes (M,), own rows (N,) with −1 for none.
    """
    count, device = x.shape[0], x.device
    if (reference is None) != (reference_labels is None):
        given, missing = ("reference_labels", "reference") if reference is None else ("reference", "reference_labels")
        raise ValueError(f"{given} is given without {missing}: pass both or neither")
    if reference is None or reference_labels is None:
        codes = encode_labels(labels, count=count, device=device)
        y, reference_codes, same = x, codes, True
    else:
        same = reference is embeddings
        y = x if same else as_embeddings(reference, "reference").to(device)
        if y.shape[1] != x.shape[1]:
            raise ValueError(f"embeddings are {x.shape[1]} wide but the reference is {y.shape[1]} wide")
        codes, reference_codes = encode_labels_together(
            labels, reference_labels, counts=(count, y.shape[0]), device=device
        )
    if own_rows is not None:
        own = torch.as_tensor(own_rows, device=device, dtype=torch.int64)
        if own.shape != (count,):
            raise ValueError(f"own_rows has shape {tuple(own.shape)} but there are {count} embeddings")
    elif same:
        own = torch.arange(count, device=device)
    else:
        own = torch.full((count,), -1, device=device)
    return y, codes, reference_codes, own


class Groups(NamedTuple):
    """Reference rows sorted by label, ``order`` (M,), and each anchor's class in it, ``[start, stop)`` (N,)."""

    order: Tensor
    start: Tensor
    stop: Tensor


def group_by_label(codes: Tensor, reference_codes: Tensor) -> Groups:
    """Sort the reference by label, stably: an anchor's positives become one contiguous range. O(N + M)."""
    ordered, order = reference_codes.sort(stable=True)
    codes = codes.contiguous()
    return Groups(order, torch.searchsorted(ordered, codes), torch.searchsorted(ordered, codes, right=True))
