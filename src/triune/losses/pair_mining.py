"""Which pairs to learn from: those on the wrong side of a margin, or an easy or hard partner of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric, check_metric
from triune.distances.pairwise import pairwise_distance
from triune.losses.batch import check_finite_rows
from triune.losses.compared import BatchLabels
from triune.losses.miner import Miner, Where, check_numbers
from triune.losses.pairs import Pairs, pair_batch
from triune.ranges import is_number

Partner: TypeAlias = Literal["easy", "semihard", "hard", "all"]
"""Of an anchor's positives the closest, the farthest that is closer than its negative, the farthest, or all of them;
of its negatives the farthest, the closest that is farther than its positive, the closest, or all."""

Range: TypeAlias = tuple[float, float]
"""(low, high): the distances that may be chosen, both included."""


@torch.no_grad()
def pair_margin_pairs(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    positive_margin: float = 0.2,
    negative_margin: float = 0.8,
    metric: Metric = "euclidean",
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
) -> Pairs:
    """Matching pairs farther apart than a margin, and others closer than another.

    Args:
        embeddings: the anchors, shape (N, D).
        labels: N integers or strings.
        positive_margin: matching pairs with d > positive_margin are kept.
        negative_margin: others with d < negative_margin are.
        metric: the distance d, as in :func:`triune.distances.pairwise.pairwise_distance`.
        reference: what the embeddings are compared with, shape (M, D).
        reference_labels: the label of each reference row.
        own_rows: which reference row is embedding i, int64 (N,), −1 for none; where not given, a reference that is the
            same object as the embeddings holds each at its own row, and another holds none of them.

    Returns:
        Pairs sorted by (anchor, partner). Memory: O(N·M).

    Raises:
        ValueError: shapes or label counts disagree, or an embedding is not finite (the row is named).
    """
    check_numbers(positive_margin=positive_margin, negative_margin=negative_margin)
    batch = pair_batch(embeddings, labels, None, reference, reference_labels, own_rows)
    check_finite_rows(batch.x, batch.y)
    d = pairwise_distance(batch.x, batch.y, metric)
    near, far = batch.negative & (d < negative_margin), batch.positive & (d > positive_margin)
    return Pairs(*far.nonzero(as_tuple=True), *near.nonzero(as_tuple=True))


class PairMarginMiner(Miner):
    """The pairs on the wrong side of a margin.

    See :func:`triune.losses.pair_mining.pair_margin_pairs`.

    Args:
        positive_margin: matching pairs farther apart are kept.
        negative_margin: others closer are.
        metric: the distance.
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(
        self,
        positive_margin: float = 0.2,
        negative_margin: float = 0.8,
        metric: Metric = "euclidean",
        normalize: bool = True,
    ) -> None:
        super().__init__(normalize)
        check_metric(metric)
        check_numbers(positive_margin=positive_margin, negative_margin=negative_margin)
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin
        self.metric: Metric = metric

    def _mine(self, x: Embeddings, labels: BatchLabels, where: Where, generator: torch.Generator | None) -> Pairs:
        return pair_margin_pairs(
            x, labels, positive_margin=self.positive_margin, negative_margin=self.negative_margin, metric=self.metric,
            **where,
        )  # fmt: skip


@torch.no_grad()
def easy_hard_pairs(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    positive: Partner = "easy",
    negative: Partner = "semihard",
    positive_range: Range | None = None,
    negative_range: Range | None = None,
    metric: Metric = "euclidean",
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
) -> Pairs:
    """One positive and one negative an anchor, each easy, semi-hard or hard (Xuan, Stylianou and Pless 2020).

    Easy positives let a class keep several clusters. Ties go to the lowest index. Where both are a single partner, an
    anchor that lacks one of them gives no pair, and the pairs are triplets; with ``"all"`` of one kind the anchors of
    the two kinds stand for themselves.

    Args:
        embeddings: the anchors, shape (N, D).
        labels: N integers or strings.
        positive: ``"easy"`` the closest, ``"hard"`` the farthest, ``"semihard"`` the farthest that is closer than the
            anchor's negative, ``"all"``.
        negative: ``"easy"`` the farthest, ``"hard"`` the closest, ``"semihard"`` the closest that is farther than the
            anchor's positive, ``"all"``.
        positive_range: (low, high), the distances that a chosen positive may have; of ``"all"`` none is left out.
        negative_range: the same of a negative.
        metric: the distance, as in :func:`triune.distances.pairwise.pairwise_distance`.
        reference: what the embeddings are compared with, shape (M, D).
        reference_labels: the label of each reference row.
        own_rows: which reference row is embedding i, int64 (N,), −1 for none; where not given, a reference that is the
            same object as the embeddings holds each at its own row, and another holds none of them.

    Returns:
        Pairs sorted by (anchor, partner). Memory: O(N·M).

    Raises:
        ValueError: shapes or label counts disagree, a setting is unknown, or an embedding is not finite (the row is
            named).
    """
    check_partners(positive, negative)
    check_ranges(positive_range=positive_range, negative_range=negative_range)
    batch = pair_batch(embeddings, labels, None, reference, reference_labels, own_rows)
    check_finite_rows(batch.x, batch.y)
    d = pairwise_distance(batch.x, batch.y, metric)
    is_positive, is_negative = batch.positive, batch.negative
    if d.shape[1] == 0:
        return Pairs(*is_positive.nonzero(as_tuple=True), *is_negative.nonzero(as_tuple=True))
    if positive != "all":
        is_positive = is_positive & _inside(d, positive_range)
    if negative != "all":
        is_negative = is_negative & _inside(d, negative_range)
    if positive == "semihard":
        is_negative = _one(d, is_negative, closest=negative == "hard")
        is_positive = is_positive & (d < torch.where(is_negative, d, torch.inf).amin(1, keepdim=True))
    if positive != "all":
        is_positive = _one(d, is_positive, closest=positive == "easy")
    if negative == "semihard":
        is_negative = is_negative & (d > torch.where(is_positive, d, -torch.inf).amax(1, keepdim=True))
    if negative != "all":
        is_negative = _one(d, is_negative, closest=negative != "easy")
    if "all" not in (positive, negative):
        both = is_positive.any(1, keepdim=True) & is_negative.any(1, keepdim=True)
        is_positive, is_negative = is_positive & both, is_negative & both
    return Pairs(*is_positive.nonzero(as_tuple=True), *is_negative.nonzero(as_tuple=True))


class BatchEasyHardMiner(Miner):
    """One positive and one negative an anchor, each easy, semi-hard or hard (Xuan et al. 2020).

    See :func:`triune.losses.pair_mining.easy_hard_pairs`.

    >>> miner = BatchEasyHardMiner(positive="easy", negative="hard")
    >>> miner(torch.tensor([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0]]), ["a", "a", "b"])
    Pairs(anchor=tensor([0, 1]), positive=tensor([1, 0]), negative_anchor=tensor([0, 1]), negative=tensor([2, 2]))

    Args:
        positive: ``"easy"``, ``"semihard"``, ``"hard"`` or ``"all"``.
        negative: the same.
        positive_range: (low, high), the distances that a chosen positive may have.
        negative_range: the same of a negative.
        metric: the distance.
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(
        self,
        positive: Partner = "easy",
        negative: Partner = "semihard",
        positive_range: Range | None = None,
        negative_range: Range | None = None,
        metric: Metric = "euclidean",
        normalize: bool = True,
    ) -> None:
        super().__init__(normalize)
        check_partners(positive, negative)
        check_ranges(positive_range=positive_range, negative_range=negative_range)
        check_metric(metric)
        self.positive: Partner = positive
        self.negative: Partner = negative
        self.positive_range = positive_range
        self.negative_range = negative_range
        self.metric: Metric = metric

    def _mine(self, x: Embeddings, labels: BatchLabels, where: Where, generator: torch.Generator | None) -> Pairs:
        return easy_hard_pairs(
            x, labels, positive=self.positive, negative=self.negative, positive_range=self.positive_range,
            negative_range=self.negative_range, metric=self.metric, **where,
        )  # fmt: skip


def check_partners(positive: str, negative: str) -> None:
    """Raise ValueError if a choice of partners is unknown, or semi-hard against what is no single partner."""
    for name, value in (("positive", positive), ("negative", negative)):
        if value not in get_args(Partner):
            raise ValueError(f"{name} is {value!r}; known are {', '.join(map(repr, get_args(Partner)))}")
    if "semihard" in (positive, negative) and (positive == negative or "all" in (positive, negative)):
        raise ValueError(
            f"positive is {positive!r} and negative {negative!r}: semi-hard is measured by the other partner, "
            f"which is to be 'easy' or 'hard'"
        )


def check_ranges(**ranges: Range | None) -> None:
    """Raise ValueError, naming it, if a range is not two numbers in order."""
    for name, bounds in ranges.items():
        if bounds is None:
            continue
        numbers = isinstance(bounds, Sequence) and len(bounds) == 2 and all(map(is_number, bounds))
        if not (numbers and bounds[0] <= bounds[1]):
            raise ValueError(f"{name} is {bounds!r}; give (low, high), the distances that may be chosen")


def _inside(d: Tensor, bounds: Range | None) -> Tensor:
    """Which distances lie in a range."""
    return torch.ones_like(d, dtype=torch.bool) if bounds is None else (bounds[0] <= d) & (d <= bounds[1])


def _one(d: Tensor, among: Tensor, closest: bool) -> Tensor:
    """The closest, or the farthest, of those marked in each row, the first of equal ones; none where none is marked."""
    best = torch.where(among, d, torch.inf).argmin(1) if closest else torch.where(among, d, -torch.inf).argmax(1)
    return torch.zeros_like(among).scatter(1, best[:, None], among.any(1, keepdim=True))
