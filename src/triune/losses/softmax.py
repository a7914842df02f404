"""Losses that are a softmax over pairs: NT-Xent (InfoNCE) and SupCon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn.functional import softplus

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.distances.pairwise import pairwise_distance
from triune.losses.compared import BatchLabels
from triune.losses.masked import masked_logsumexp, masked_mean
from triune.losses.pairs import PairLoss, PairOptions, check_above_zero, pair_batch, similarity

Likeness: TypeAlias = Metric | Literal["inner_product"]
"""How alike two embeddings are: their inner product, or minus a distance."""


def nt_xent_loss(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    temperature: float = 0.07,
    metric: Likeness = "inner_product",
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """Mean over matching pairs of −log(exp(s_ap/τ) / (exp(s_ap/τ) + Σₙ exp(s_an/τ))): InfoNCE, NT-Xent.

    Van den Oord, Li and Vinyals 2018, eq. 4; Chen et al. 2020, eq. 1. s is the inner product of unit embeddings. Other
    positives of the anchor are not in the denominator; with two views a class, as in the papers, there are none.

    Args:
        embeddings: shape (N, D), unit rows.
        labels: N integers or strings.
        temperature: τ, above 0.
        metric: ``"inner_product"``; or a distance, s is then minus it (``"cosine"`` is 1 − s: on unit rows the same).
        pairs: of any miner, in place of all pairs; or triplets, which mean their two pairs each, once.
        reference: what the embeddings are compared with, shape (M, D); gradients flow to it too.
        reference_labels: the label of each reference row.
        own_rows: which reference row is embedding i, int64 (N,), −1 for none; where not given, a reference that is the
            same object as the embeddings holds each at its own row, and another holds none of them.
    """
    check_above_zero(temperature=temperature)
    batch = pair_batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    s = likeness(batch.x, batch.y, metric) / temperature
    far = masked_logsumexp(s, batch.negative)
    # log(1 + exp(far − s)), which neither overflows nor loses small terms.
    return batch.guarded(masked_mean(softplus((far[:, None] - s).where(batch.positive, 0.0)), batch.positive))


class NTXentLoss(PairLoss):
    """Softmax of each positive against the anchor's negatives: InfoNCE (Van den Oord et al. 2018, Chen et al. 2020).

    See :func:`triune.losses.softmax.nt_xent_loss`.

    Args:
        temperature: above 0.
        normalize: divide every embedding, and reference row, by its length first.
        metric: ``"inner_product"``, or a distance, less of which is more alike.
    """

    def __init__(self, temperature: float = 0.07, normalize: bool = True, metric: Likeness = "inner_product") -> None:
        super().__init__(normalize)
        check_above_zero(temperature=temperature)
        check_likeness(metric)
        self.metric: Likeness = metric
        self.temperature = temperature

    def _loss(
        self, x: Embeddings, labels: BatchLabels, options: PairOptions, generator: torch.Generator | None
    ) -> Tensor:
        return nt_xent_loss(x, labels, temperature=self.temperature, metric=self.metric, **options)


def sup_con_loss(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    temperature: float = 0.1,
    metric: Likeness = "inner_product",
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """Mean over anchors of the mean over positives of −log(exp(s_ap/τ) / Σ exp(s_ai/τ)), i over all others.

    Supervised contrastive learning, L_out (Khosla et al. 2020, eq. 2), over the anchors that have a positive. s is the
    inner product of unit embeddings.

    Args:
        embeddings: shape (N, D), unit rows.
        labels: N integers or strings.
        temperature: τ, above 0.
        metric: ``"inner_product"``; or a distance, s is then minus it (``"cosine"`` is 1 − s: on unit rows the same).
        pairs: of any miner, in place of all pairs; or triplets, which mean their two pairs each, once.
        reference: what the embeddings are compared with, shape (M, D); gradients flow to it too.
        reference_labels: the label of each reference row.
        own_rows: which reference row is embedding i, int64 (N,), −1 for none; where not given, a reference that is the
            same object as the embeddings holds each at its own row, and another holds none of them.
    """
    check_above_zero(temperature=temperature)
    batch = pair_batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    s = likeness(batch.x, batch.y, metric) / temperature
    everything = masked_logsumexp(s, batch.positive | batch.negative)
    log_share = (s - everything[:, None]).where(batch.positive, 0.0)
    counts = batch.positive.sum(1)
    return batch.guarded(masked_mean(-log_share.sum(1) / counts.clamp(min=1), counts > 0))


class SupConLoss(PairLoss):
    """Softmax of each positive against all other items, averaged outside the logarithm (Khosla et al. 2020).

    See :func:`triune.losses.softmax.sup_con_loss`.

    Args:
        temperature: above 0.
        normalize: divide every embedding, and reference row, by its length first.
        metric: ``"inner_product"``, or a distance, less of which is more alike.
    """

    def __init__(self, temperature: float = 0.1, normalize: bool = True, metric: Likeness = "inner_product") -> None:
        super().__init__(normalize)
        check_above_zero(temperature=temperature)
        check_likeness(metric)
        self.metric: Likeness = metric
        self.temperature = temperature

    def _loss(
        self, x: Embeddings, labels: BatchLabels, options: PairOptions, generator: torch.Generator | None
    ) -> Tensor:
        return sup_con_loss(x, labels, temperature=self.temperature, metric=self.metric, **options)


def likeness(x: Tensor, y: Tensor, metric: Likeness) -> Tensor:
    """How alike N and M rows are, (N, M): inner products, or minus their distances.

    Args:
        x: rows (N, D).
        y: rows (M, D).
        metric: ``"inner_product"``, or a distance.
    """
    check_likeness(metric)
    return similarity(x, y) if metric == "inner_product" else -pairwise_distance(x, y, metric)


def check_likeness(metric: str) -> None:
    """Raise ValueError, listing the known ones, if the metric is none of them."""
    known = ("inner_product", *get_args(Metric))
    if metric not in known:
        raise ValueError(f"metric is {metric!r}; known are {', '.join(map(repr, known))}")
