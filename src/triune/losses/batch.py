"""A batch of embeddings with its labels, and the reference set that positives and negatives come from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from triune.distances.embeddings import Embeddings, as_embeddings, check_finite, unit
from triune.labels import encode_labels, encode_labels_together
from triune.losses.compared import BatchLabels, ComparedLabels, compared

ALL_ROWS = slice(None)


class LabelledBatch(NamedTuple):
    """N anchors, M reference rows, and the labels of both as codes: equal codes are equal labels."""

    x: Tensor
    """The anchors (N, D)."""
    y: Tensor
    """The reference rows (M, D); the same tensor object as x where the batch is its own reference."""
    codes: Tensor
    """The anchors' labels, int64 (N,)."""
    reference_codes: Tensor
    """The reference rows' labels, int64 (M,)."""
    own_rows: Tensor
    """Which reference row is the anchor itself, int64 (N,); −1 where there is none."""
    same: Tensor | None = None
    """Which reference rows match each anchor, bool (N, M), where a rule says so in place of the codes, which are then
    all 0."""

    def detached(self) -> LabelledBatch:
        """The same without gradients."""
        x = self.x.detach()
        return self._replace(x=x, y=x if self.y is self.x else self.y.detach())

    def at_unit_length(self) -> LabelledBatch:
        """The same with every row divided by its length."""
        x = unit(self.x)
        return self._replace(x=x, y=x if self.y is self.x else unit(self.y))


def labelled_batch(
    embeddings: Embeddings,
    labels: BatchLabels,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
) -> LabelledBatch:
    """Check what a loss or a miner is called with, and make a record of it.

    Args:
        embeddings: the anchors, shape (N, D).
        labels: N integers or strings; or :class:`~triune.losses.compared.ComparedLabels`.
        reference: where positives and negatives are taken from, shape (M, D); the embeddings where not given.
        reference_labels: M labels of the same kind.
        own_rows: which reference row *is* embedding i, int64 (N,), −1 for none. Left out, a reference that is the same
            object as the embeddings holds each item at its own row, and any other reference holds none of them.

    Raises:
        ValueError: shapes or label counts disagree, or only one of reference and reference_labels is given.
    """
    x = as_embeddings(embeddings)
    if (reference is None) != (reference_labels is None):
        given, missing = ("reference_labels", "reference") if reference is None else ("reference", "reference_labels")
        raise ValueError(f"{given} is given without {missing}: pass both or neither")
    y, same = x, None
    if reference is not None and reference is not embeddings:
        y = as_embeddings(reference, "reference").to(x.device)
        if y.shape[1] != x.shape[1]:
            raise ValueError(f"embeddings are {x.shape[1]} wide but the reference is {y.shape[1]} wide")
    if isinstance(labels, ComparedLabels):
        same = compared(labels, reference_labels, (len(x), len(y)), x.device)
        codes, reference_codes = (torch.zeros(len(rows), dtype=torch.int64, device=x.device) for rows in (x, y))
    elif reference_labels is None:
        codes = reference_codes = encode_labels(labels, count=len(x), device=x.device)
    elif isinstance(reference_labels, ComparedLabels):
        raise ValueError("reference_labels are compared by a rule and labels are not: give both as ComparedLabels")
    else:
        codes, reference_codes = encode_labels_together(
            labels, reference_labels, counts=(len(x), len(y)), device=x.device
        )
    if own_rows is not None:
        own = torch.as_tensor(own_rows, device=x.device, dtype=torch.int64)
        if own.shape != (len(x),):
            raise ValueError(f"own_rows has shape {tuple(own.shape)} but there are {len(x)} embeddings")
    elif y is x:
        own = torch.arange(len(x), device=x.device)
    else:
        own = torch.full((len(x),), -1, device=x.device)
    return LabelledBatch(x, y, codes, reference_codes, own, same)


def masks(batch: LabelledBatch, rows: slice = ALL_ROWS) -> tuple[Tensor, Tensor]:
    """Which of M reference rows are positives and which negatives of R anchors, bool (R, M) each."""
    own_rows = batch.own_rows[rows, None]
    if batch.same is None:
        same = batch.codes[rows, None] == batch.reference_codes[None, :]
    else:
        same = batch.same[rows]
    itself = own_rows == torch.arange(batch.reference_codes.shape[0], device=own_rows.device)[None, :]
    return same & ~itself, ~same


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


def unit_rows(embeddings: Embeddings, reference: Embeddings | None) -> tuple[Tensor, Tensor | None]:
    """Embeddings and reference divided by their lengths; one tensor where both are one object."""
    x = unit(as_embeddings(embeddings))
    if reference is None or reference is embeddings:
        return x, None if reference is None else x
    return x, unit(as_embeddings(reference, "reference"))


def check_finite_rows(x: Tensor, y: Tensor) -> None:
    """Raise ValueError, naming the rows, if an anchor or a reference row is not finite. Waits for the GPU."""
    check_finite(x)
    if y is not x:
        check_finite(y, "reference")


def zero_or_nan(x: Tensor) -> Tensor:
    """0 with a graph, or NaN if x holds NaN or infinity: added to a loss, it shows what a mask would hide."""
    return (x * 0).sum()
