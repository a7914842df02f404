"""Labels that match by a rule other than equality: several labels an item, or any comparison of one's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, TypeAlias

import torch
from torch import Tensor

from triune.arrays import as_tensor
from triune.labels import Labels

Comparison: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Labels of N anchors and of M reference rows to bool (N, M): which match."""

REFUSED = (
    "labels are compared by a rule, or left out, but here they have to be one whole number or word each: "
    "number the classes, or take a pair or triplet loss without memory in one process"
)


class ComparedLabels:
    """Labels with the rule that says which of them match, for every loss and miner that takes labels and no classes.

    Pairs that match are positives, all others negatives; an item is never its own positive. Triplet losses then take
    the path of plain torch, which holds a block of distances as the kernels do. What needs a label to be one whole
    number (proxies, a memory, several processes) refuses such labels.

    >>> ages = torch.tensor([[20.0], [21.0], [40.0]])
    >>> near = ComparedLabels(ages, lambda a, b: (a - b.T).abs() < 5)
    >>> loss = triune.TripletLoss()(torch.randn(3, 8), near)

    Args:
        values: one label for each of N rows, numbers of shape (N, …).
        matches: called with the values of anchors and of the reference, (N, …) and (M, …); answers bool (N, M).
    """

    def __init__(self, values: Any, matches: Comparison) -> None:
        self.values = as_tensor(values, "labels")
        if self.values.ndim == 0:
            raise ValueError("labels are a single number; one label a row, shape (N, …), is needed")
        self.matches = matches

    def __len__(self) -> int:
        """N, the number of rows."""
        return len(self.values)

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse to be read as plain labels, which are compared by equality."""
        raise ValueError(REFUSED)


class MultiLabels(ComparedLabels):
    """Several labels an item, as 0 and 1: two items match if they have at least ``shared`` of them in common.

    >>> tags = [[1, 1, 0], [0, 1, 1], [0, 0, 1]]  # the first two share the second tag, the last two the third
    >>> loss = triune.losses.ContrastiveLoss()(torch.randn(3, 8), MultiLabels(tags))

    Args:
        values: which of C labels each item has, 0 or 1, shape (N, C).
        shared: how many two items need to have in common, at least 1.
    """

    def __init__(self, values: Any, shared: int = 1) -> None:
        if shared < 1:
            raise ValueError(f"shared is {shared}: at least 1 label in common is needed")
        super().__init__(values, partial(_share, shared=shared))
        if self.values.ndim != 2 or not bool(((self.values == 0) | (self.values == 1)).all()):
            raise ValueError(f"labels of several kinds are 0 or 1, shape (N, C), not {tuple(self.values.shape)}")
        self.values = self.values.float()


BatchLabels: TypeAlias = Labels | ComparedLabels
"""The labels of a batch: one a row, equal or not; or compared by a rule."""


def left_out(indices: Any, count: int, reference: int | None) -> tuple[ComparedLabels, ComparedLabels | None]:
    """Labels of a batch, and of a reference set, that say nothing: the indices say which pairs match.

    Args:
        indices: of a miner.
        count: how many embeddings there are.
        reference: how many reference rows, ``None`` without a reference set.

    Raises:
        ValueError: there are no indices either.
    """
    if indices is None:
        raise ValueError("labels are left out: give them, or the indices of a miner")
    return ComparedLabels(torch.zeros(count), _nothing), (
        None if reference is None else ComparedLabels(torch.zeros(reference), _nothing)
    )


def plain(labels: BatchLabels) -> Labels:
    """The labels, which no rule compares.

    Raises:
        ValueError: a rule does.
    """
    if isinstance(labels, ComparedLabels):
        raise ValueError(REFUSED)
    return labels


def compared(
    labels: ComparedLabels, others: BatchLabels | None, counts: tuple[int, int], device: torch.device
) -> Tensor:
    """Which reference rows match each anchor by the anchors' rule, bool (N, M).

    Args:
        labels: of the anchors, with the rule.
        others: of the reference rows; those of the anchors where not given. Their own rule is not asked.
        counts: N and M as they should be.
        device: where the answer is put.

    Raises:
        ValueError: there are not so many labels, or the rule answers something else.
    """
    if others is not None and not isinstance(others, ComparedLabels):
        raise ValueError("labels are compared by a rule and reference_labels are not: give both as ComparedLabels")
    first, second = labels.values.to(device), (labels if others is None else others).values.to(device)
    for name, values, rows, count in zip(
        ("labels", "reference_labels"), (first, second), ("embeddings", "reference"), counts
    ):
        if len(values) != count:
            raise ValueError(f"{name} has {len(values)} entries but {rows} has {count} rows")
    same = labels.matches(first, second)
    if not isinstance(same, Tensor) or same.dtype != torch.bool or same.shape != counts:
        shown = f"{same.dtype}, {tuple(same.shape)}" if isinstance(same, Tensor) else type(same).__name__
        raise ValueError(f"the rule for labels answered {shown}; bool of shape {counts} is needed")
    return same


def _share(first: Tensor, second: Tensor, shared: int) -> Tensor:
    """Which rows of 0 and 1 have so many ones in common."""
    with torch.autocast(first.device.type, enabled=False):
        return first @ second.T > shared - 0.5


def _nothing(first: Tensor, second: Tensor) -> Tensor:
    """No row matches another."""
    return torch.zeros(len(first), len(second), dtype=torch.bool, device=first.device)
