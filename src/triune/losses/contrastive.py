"""Losses of pairs that pull and push: contrastive, lifted structure, N-pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from triune.distances.embeddings import Embeddings, as_embeddings
from triune.distances.metric import Metric, check_metric
from triune.distances.pairwise import pairwise_distance
from triune.labels import encode_labels
from triune.losses.batch import zero_or_nan
from triune.losses.compared import BatchLabels, plain
from triune.losses.masked import masked_logsumexp, masked_mean
from triune.losses.pairs import PairLoss, PairOptions, as_pairs, check_above_zero, pair_batch, similarity


def contrastive_loss(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    positive_margin: float = 0.0,
    negative_margin: float = 1.0,
    power: int = 1,
    metric: Metric = "euclidean",
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """Mean over active matching pairs of max(0, d − m₊)ᵖ, plus mean over active others of max(0, m₋ − d)ᵖ.

    Hadsell, Chopra and LeCun 2006, eq. 4, where p = 2, m₊ = 0 and d is the Euclidean distance. A pair is active if it
    costs something, and each kind has its own mean, so that the many non-matching pairs do not drown the others.

    Margins in cosine similarity, max(0, s₊ − s) and max(0, s − s₋), are those of ``metric="cosine"``, d = 1 − s, with
    m₊ = 1 − s₊ and m₋ = 1 − s₋.

    >>> contrastive_loss(torch.tensor([[0.0], [0.5], [0.75]]), [0, 0, 1], negative_margin=0.5)
    tensor(0.7500)

    Args:
        embeddings: shape (N, D).
        labels: N integers or strings.
        positive_margin: m₊; matching pairs closer than this cost nothing.
        negative_margin: m₋; non-matching pairs farther apart than this cost nothing.
        power: p, above 0.
        metric: the distance d, as in :func:`triune.distances.pairwise.pairwise_distance`.
        pairs: of any miner, in place of all pairs; or triplets, which mean their two pairs each, once.
        reference: what the embeddings are compared with, shape (M, D); gradients flow to it too.
        reference_labels: the label of each reference row.
        own_rows: which reference row is embedding i, int64 (N,), −1 for none; where not given, a reference that is the
            same object as the embeddings holds each at its own row, and another holds none of them.
    """
    check_above_zero(power=power)
    batch = pair_batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    d = pairwise_distance(batch.x, batch.y, metric)
    near = (d - positive_margin).relu() ** power
    far = (negative_margin - d).relu() ** power
    return batch.guarded(masked_mean(near, batch.positive & (near > 0)) + masked_mean(far, batch.negative & (far > 0)))


class ContrastiveLoss(PairLoss):
    """Matching pairs together, others apart up to a margin (Hadsell et al. 2006).

    See :func:`triune.losses.contrastive.contrastive_loss`.

    >>> criterion = ContrastiveLoss(negative_margin=0.5)
    >>> embeddings, labels = torch.randn(8, 16, requires_grad=True), [0, 0, 1, 1, 2, 2, 3, 3]
    >>> criterion(embeddings, labels).backward()

    Args:
        positive_margin: matching pairs closer than this cost nothing.
        negative_margin: non-matching pairs farther apart than this cost nothing.
        power: 1, or 2 as in the paper.
        normalize: divide every embedding, and reference row, by its length first.
        metric: the distance; margins in cosine similarity are 1 minus those of ``"cosine"``.
    """

    def __init__(
        self,
        positive_margin: float = 0.0,
        negative_margin: float = 1.0,
        power: int = 1,
        normalize: bool = True,
        metric: Metric = "euclidean",
    ) -> None:
        super().__init__(normalize)
        check_above_zero(power=power)
        check_metric(metric)
        self.metric: Metric = metric
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin
        self.power = power

    def _loss(
        self, x: Embeddings, labels: BatchLabels, options: PairOptions, generator: torch.Generator | None
    ) -> Tensor:
        return contrastive_loss(
            x, labels, positive_margin=self.positive_margin, negative_margin=self.negative_margin, power=self.power,
            metric=self.metric, **options,
        )  # fmt: skip


def lifted_structure_loss(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    positive_margin: float = 0.0,
    negative_margin: float = 1.0,
    metric: Metric = "euclidean",
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """Mean over anchors of max(0, log Σₚ exp(d_ap − m₊) + log Σₙ exp(m₋ − d_an)).

    The generalised lifted structure loss of Hermans, Beyer and Leibe 2017, eq. 10, after Oh Song et al. 2016. The mean
    is over the anchors that have both a positive and a negative.

    Args:
        embeddings: shape (N, D).
        labels: N integers or strings.
        positive_margin: m₊; only m₋ − m₊ counts.
        negative_margin: m₋.
        metric: the distance d, as in :func:`triune.distances.pairwise.pairwise_distance`.
        pairs: of any miner, in place of all pairs; or triplets, which mean their two pairs each, once.
        reference: what the embeddings are compared with, shape (M, D); gradients flow to it too.
        reference_labels: the label of each reference row.
        own_rows: which reference row is embedding i, int64 (N,), −1 for none; where not given, a reference that is the
            same object as the embeddings holds each at its own row, and another holds none of them.
    """
    batch = pair_batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    d = pairwise_distance(batch.x, batch.y, metric)
    valid = batch.positive.any(1) & batch.negative.any(1)
    near = masked_logsumexp(d - positive_margin, batch.positive).where(valid, 0.0)
    far = masked_logsumexp(negative_margin - d, batch.negative).where(valid, 0.0)
    return batch.guarded(masked_mean((near + far).relu(), valid))


class LiftedStructureLoss(PairLoss):
    """Smooth maximum of positives against smooth minimum of negatives (Hermans et al. 2017; Oh Song et al. 2016).

    See :func:`triune.losses.contrastive.lifted_structure_loss`.

    Args:
        positive_margin: taken from the distance of matching pairs.
        negative_margin: how much farther others should be.
        normalize: divide every embedding, and reference row, by its length first.
        metric: the distance.
    """

    def __init__(
        self,
        positive_margin: float = 0.0,
        negative_margin: float = 1.0,
        normalize: bool = True,
        metric: Metric = "euclidean",
    ) -> None:
        super().__init__(normalize)
        check_metric(metric)
        self.metric: Metric = metric
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin

    def _loss(
        self, x: Embeddings, labels: BatchLabels, options: PairOptions, generator: torch.Generator | None
    ) -> Tensor:
        return lifted_structure_loss(
            x, labels, positive_margin=self.positive_margin, negative_margin=self.negative_margin, metric=self.metric,
            **options,
        )  # fmt: skip


def n_pairs_loss(
    embeddings: Embeddings, labels: BatchLabels, *, l2: float = 0.0, pairs: Sequence[Tensor] | None = None
) -> Tensor:
    """Cross-entropy of each class's anchor against the positives of all C classes (Sohn 2016, eq. 11).

    Of each class with two items or more, the first is the anchor and the second the positive; of a miner's pairs, the
    first pair of each class. Similarity is the inner product of embeddings that keep their length, which the paper
    holds down by ``l2``. Time O(N²·D), memory O(N²): N²/4 similarities, or N² of a miner's pairs.

    Args:
        embeddings: shape (N, D).
        labels: N integers or strings.
        l2: weight of the mean squared length of the anchors and positives, halved.
        pairs: of any miner; of triplets, the matching pairs are taken.
    """
    x = as_embeddings(embeddings)
    codes = encode_labels(plain(labels), count=len(x), device=x.device)
    slots = len(x)
    if pairs is None:  # of items sorted by class, neighbours are pairs; with two items a class, C is half of N at most
        order = codes.argsort(stable=True)
        anchor, positive, slots = order[:-1], order[1:], slots // 2
    else:
        anchor, positive, _, _ = as_pairs(pairs, x.device)
        order = codes[anchor].argsort(stable=True)
        anchor, positive = anchor[order], positive[order]
    # The first pair of each class goes to a slot of its own, all others to one beyond: nothing waits for their number.
    begins = torch.ones_like(anchor, dtype=torch.bool)
    begins[1:] = codes[anchor[1:]] != codes[anchor[:-1]]
    first = begins & (codes[anchor] == codes[positive])
    place = torch.where(first, first.cumsum(0) - 1, slots)
    empty = torch.zeros(slots + 1, dtype=torch.int64, device=x.device)
    anchors, positives = (x[empty.scatter(0, place, rows)[:slots]] for rows in (anchor, positive))
    classes = first.sum()
    used = torch.arange(slots, device=x.device) < classes
    logits = similarity(anchors, positives)
    loss = (masked_logsumexp(logits, used.expand(logits.shape)) - logits.diagonal()).where(used, 0.0).sum()
    length = (anchors.square().sum(1) + positives.square().sum(1)).where(used, 0.0).sum() / 2
    return (loss + l2 * length) / classes.clamp(min=1) + zero_or_nan(x)


class NPairsLoss(PairLoss):
    """One pair a class, told apart from the positives of all other classes (Sohn 2016).

    See :func:`triune.losses.contrastive.n_pairs_loss`. It takes no reference set.

    Args:
        l2: weight of the embeddings' mean squared length, which the paper adds because it does not normalise.
        normalize: divide every embedding by its length first; not in the paper.
    """

    def __init__(self, l2: float = 0.02, normalize: bool = False) -> None:
        super().__init__(normalize)
        self.l2 = l2

    def _loss(
        self, x: Embeddings, labels: BatchLabels, options: PairOptions, generator: torch.Generator | None
    ) -> Tensor:
        if options["reference"] is not None:
            raise ValueError("NPairsLoss compares the pairs of a batch: leave reference out, or take NTXentLoss")
        return n_pairs_loss(x, labels, l2=self.l2, pairs=options["pairs"])
