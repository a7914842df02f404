"""Losses that weigh each pair by how hard it is: multi-similarity, with its miner, and circle loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from triune.distances.embeddings import Embeddings
from triune.losses.batch import check_finite_rows
from triune.losses.compared import BatchLabels
from triune.losses.masked import masked_logsumexp, masked_mean
from triune.losses.miner import Miner, Where, check_numbers
from triune.losses.pairs import PairLoss, PairOptions, Pairs, check_above_zero, pair_batch, similarity


def multi_similarity_loss(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    mining: bool = False,
    epsilon: float = 0.1,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """Mean over anchors of log(1 + Σₚ exp(−α(s−λ)))/α + log(1 + Σₙ exp(β(s−λ)))/β (Wang et al. 2019, eq. 15).

    s is the inner product of unit embeddings. The mean is over all N anchors, as in the paper; one without
    pairs adds 0.

    Args:
        embeddings: shape (N, D), unit rows.
        labels: N integers or strings.
        alpha: α, above 0.
        beta: β, above 0.
        base: λ.
        mining: keep only the pairs of :func:`multi_similarity_pairs`; nothing is listed, nothing waits for a GPU.
        epsilon: of the mining.
        pairs: of any miner, in place of all pairs; or triplets, which mean their two pairs each, once;
            mining chooses among them.
        reference: what the embeddings are compared with, shape (M, D); gradients flow to it too.
        reference_labels: the label of each reference row.
        own_rows: which reference row is embedding i, int64 (N,), −1 for none; where not given, a reference that is the
            same object as the embeddings holds each at its own row, and another holds none of them.
    """
    check_above_zero(alpha=alpha, beta=beta)
    batch = pair_batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    s = similarity(batch.x, batch.y)
    positive, negative = batch.positive, batch.negative
    if mining:
        positive, negative = _informative(s.detach(), positive, negative, epsilon)
    near = softplus(masked_logsumexp(-alpha * (s - base), positive)) / alpha
    far = softplus(masked_logsumexp(beta * (s - base), negative)) / beta
    return batch.guarded((near + far).sum() / max(1, len(s)))


class MultiSimilarityLoss(PairLoss):
    """Pairs weighted by their own and by their neighbours' likeness (Wang et al. 2019).

    See :func:`triune.losses.weighted.multi_similarity_loss`.

    Args:
        alpha: sharpness for matching pairs, above 0.
        beta: sharpness for the others, above 0.
        base: the likeness that parts them.
        mining: keep only the pairs the paper's mining finds informative; pairs of a miner that are given stay all.
        epsilon: how far a pair may be from informative.
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        mining: bool = True,
        epsilon: float = 0.1,
        normalize: bool = True,
    ) -> None:
        super().__init__(normalize)
        check_above_zero(alpha=alpha, beta=beta)
        self.alpha = alpha
        self.beta = beta
        self.base = base
        self.mining = mining
        self.epsilon = epsilon

    def _loss(
        self, x: Embeddings, labels: BatchLabels, options: PairOptions, generator: torch.Generator | None
    ) -> Tensor:
        return multi_similarity_loss(
            x, labels, alpha=self.alpha, beta=self.beta, base=self.base,
            mining=self.mining and options["pairs"] is None, epsilon=self.epsilon, **options,
        )  # fmt: skip


@torch.no_grad()
def multi_similarity_pairs(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    epsilon: float = 0.1,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
) -> Pairs:
    """The pairs worth learning from (Wang et al. 2019, eqs. 10 and 11), for any loss that takes a miner's pairs.

    A non-matching pair is kept if it is more alike than the anchor's least alike positive, less ε; a matching pair if
    it is less alike than the anchor's most alike negative, plus ε. An anchor without positives keeps no negative, one
    without negatives no positive. Likeness is the inner product of unit embeddings.

    Args:
        embeddings: shape (N, D), unit rows.
        labels: N integers or strings.
        epsilon: ε.
        reference: what the embeddings are compared with, shape (M, D); gradients flow to it too.
        reference_labels: the label of each reference row.
        own_rows: which reference row is embedding i, int64 (N,), −1 for none; where not given, a reference that is the
            same object as the embeddings holds each at its own row, and another holds none of them.

    Raises:
        ValueError: shapes or label counts disagree, or an embedding is not finite (the row is named).
    """
    check_numbers(epsilon=epsilon)
    batch = pair_batch(embeddings, labels, None, reference, reference_labels, own_rows)
    check_finite_rows(batch.x, batch.y)
    positive, negative = _informative(similarity(batch.x, batch.y), batch.positive, batch.negative, epsilon)
    return Pairs(*positive.nonzero(as_tuple=True), *negative.nonzero(as_tuple=True))


class MultiSimilarityMiner(Miner):
    """The pairs that multi-similarity mining finds informative (Wang et al. 2019), for any loss that takes pairs.

    See :func:`triune.losses.weighted.multi_similarity_pairs`.

    >>> miner, criterion = MultiSimilarityMiner(epsilon=0.2), ContrastiveLoss()
    >>> embeddings, labels = torch.randn(8, 16, requires_grad=True), [0, 0, 1, 1, 2, 2, 3, 3]
    >>> criterion(embeddings, labels, miner(embeddings, labels)).backward()

    Args:
        epsilon: how far a pair may be from informative.
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(self, epsilon: float = 0.1, normalize: bool = True) -> None:
        super().__init__(normalize)
        check_numbers(epsilon=epsilon)
        self.epsilon = epsilon

    def _mine(self, x: Embeddings, labels: BatchLabels, where: Where, generator: torch.Generator | None) -> Pairs:
        return multi_similarity_pairs(x, labels, epsilon=self.epsilon, **where)


def circle_loss(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    margin: float = 0.4,
    gamma: float = 80.0,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """Mean over anchors of log(1 + Σₙ exp(γ αₙ(sₙ − m)) · Σₚ exp(−γ αₚ(sₚ − 1 + m))) (Sun et al. 2020, eq. 6).

    αₚ = max(0, 1 + m − sₚ) and αₙ = max(0, sₙ + m) carry no gradient (so the gradient is not that of the value). s is
    the inner product of unit embeddings. The mean is over the anchors that have both kinds of pairs.

    Args:
        embeddings: shape (N, D), unit rows.
        labels: N integers or strings.
        margin: m.
        gamma: γ, above 0.
        pairs: of any miner, in place of all pairs; or triplets, which mean their two pairs each, once.
        reference: what the embeddings are compared with, shape (M, D); gradients flow to it too.
        reference_labels: the label of each reference row.
        own_rows: which reference row is embedding i, int64 (N,), −1 for none; where not given, a reference that is the
            same object as the embeddings holds each at its own row, and another holds none of them.
    """
    check_above_zero(gamma=gamma)
    batch = pair_batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    s = similarity(batch.x, batch.y)
    near = -gamma * (1 + margin - s.detach()).relu() * (s - 1 + margin)
    far = gamma * (s.detach() + margin).relu() * (s - margin)
    valid = batch.positive.any(1) & batch.negative.any(1)
    near = masked_logsumexp(near, batch.positive).where(valid, 0.0)
    far = masked_logsumexp(far, batch.negative).where(valid, 0.0)
    return batch.guarded(masked_mean(softplus(near + far), valid))


class CircleLoss(PairLoss):
    """Each pair weighted by how far it is from its optimum (Sun et al. 2020).

    See :func:`triune.losses.weighted.circle_loss`.

    Args:
        margin: the optima are 1 + margin and −margin.
        gamma: sharpness, above 0.
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(self, margin: float = 0.4, gamma: float = 80.0, normalize: bool = True) -> None:
        super().__init__(normalize)
        check_above_zero(gamma=gamma)
        self.margin = margin
        self.gamma = gamma

    def _loss(
        self, x: Embeddings, labels: BatchLabels, options: PairOptions, generator: torch.Generator | None
    ) -> Tensor:
        return circle_loss(x, labels, margin=self.margin, gamma=self.gamma, **options)


def _informative(s: Tensor, positive: Tensor, negative: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Which positives, and which negatives, multi-similarity mining keeps."""
    if s.shape[1] == 0:
        return positive, negative
    least = s.where(positive, torch.inf).amin(1, keepdim=True)
    most = s.where(negative, -torch.inf).amax(1, keepdim=True)
    return positive & (s - epsilon < most), negative & (s + epsilon > least)
