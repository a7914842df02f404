"""Margin loss with distance-weighted sampling (Wu et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from triune.distances.embeddings import Embeddings
from triune.distances.pairwise import pairwise_distance
from triune.labels import whole_numbers
from triune.losses.batch import check_finite_rows
from triune.losses.class_logits import check_classes
from triune.losses.compared import BatchLabels, plain
from triune.losses.draws import draw_uniform
from triune.losses.miner import Miner, Where
from triune.losses.mining import Choice, Triplets
from triune.losses.pairs import PairBatch, PairLoss, PairOptions, as_pairs, pair_batch, positive_columns


def margin_loss(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    margin: float | Tensor = 0.2,
    beta: float | Tensor = 1.2,
    nu: float = 0.0,
    cutoff: float = 0.5,
    farthest: float = 1.4,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean over active pairs of max(0, α + d_ap − β) and max(0, α + β − d_an) (Wu et al. 2017, eqs. 6 and 9).

    d is the Euclidean distance. The pairs are those of :func:`distance_weighted_triplets`; here, unlike in the other
    losses, a pair counts as often as it is listed, since a negative that is drawn twice weighs twice.

    Args:
        embeddings: shape (N, D), unit rows.
        labels: N integers or strings.
        margin: α: one, or one for each anchor, shape (N,), such as that of its class.
        beta: β, the boundary between matching and non-matching distances: one, or one for each anchor, shape (N,), such
            as that of its class. A tensor is learnt.
        nu: ν, weight of β as a regulariser that keeps boundaries small. One β costs ν·β; one for each anchor cost
            ν·Σ β over the matching pairs, divided as the pairs are (the authors' code). Without a pair it costs 0.
        cutoff: of the sampling, see there.
        farthest: of the sampling, see there.
        pairs: of any miner, in place of sampling.
        reference: what the embeddings are compared with, shape (M, D); gradients flow to it too.
        reference_labels: the label of each reference row.
        own_rows: which reference row is embedding i, int64 (N,), −1 for none; where not given, a reference that is the
            same object as the embeddings holds each at its own row, and another holds none of them.
        generator: source of the draws; on the CPU the same seed draws what :func:`distance_weighted_triplets` does.

    Memory: O(N·M). Nothing waits for a GPU.
    """
    batch = pair_batch(embeddings, labels, None, reference, reference_labels, own_rows)
    d = pairwise_distance(batch.x, batch.y)
    boundary, of_anchor = _of_anchors(beta, d, "beta")
    _, alpha = _of_anchors(margin, d, "margin")
    if pairs is None:
        choice = draw_negatives(d.detach(), batch, cutoff, farthest, generator)
        d_ap, d_an, kept = d.gather(1, choice.positive), d.gather(1, choice.negative), choice.kept
        beta_ap = beta_an = of_anchor[:, None]
        alpha_ap = alpha_an = alpha[:, None]
    else:
        anchor, positive, other, negative = as_pairs(pairs, d.device)
        d_ap, d_an = d[anchor, positive], d[other, negative]
        beta_ap, beta_an = of_anchor[anchor], of_anchor[other]
        alpha_ap, alpha_an = alpha[anchor], alpha[other]
        kept = torch.ones_like(anchor, dtype=torch.bool)
    near = (d_ap + (alpha_ap - beta_ap)).relu()
    far = ((alpha_an + beta_an) - d_an).relu()
    if pairs is None:
        near, far = near.where(kept, 0.0), far.where(kept, 0.0)
    active = (near > 0).sum() + (far > 0).sum()
    loss = (near.sum() + far.sum()) / active.clamp(min=1)
    if boundary.ndim:
        small = (beta_ap * kept).sum() / active.clamp(min=1) * (active > 0)
    else:
        small = boundary * (kept.any() if pairs is None else len(d_ap) + len(d_an) > 0)
    return batch.guarded(loss + nu * small)


class MarginLoss(PairLoss):
    """Pairs on the right side of a learnt boundary, negatives drawn over all distances (Wu et al. 2017).

    See :func:`triune.losses.margin.margin_loss`. Its boundary is the parameter ``beta``, to be given to the
    optimiser and saved with the model: one number, or one for each class, which anchors are held to (β_class in the
    paper). With classes, labels are whole numbers from 0 to num_classes − 1.

    Args:
        margin: how far from the boundary pairs should be; one number, or with num_classes one for each class.
        beta: where the boundary begins.
        learn_beta: whether it is learnt.
        num_classes: how many classes have a boundary of their own; not given: one boundary for all.
        nu: weight of the boundary as a regulariser.
        cutoff: distances below are drawn as if here; from 0 to 2, neither included.
        farthest: negatives from here on are not drawn.
        normalize: divide every embedding, and reference row, by its length first; the sampling needs unit rows.
    """

    margins: Tensor

    def __init__(
        self,
        margin: float | Sequence[float] = 0.2,
        beta: float = 1.2,
        learn_beta: bool = True,
        num_classes: int | None = None,
        nu: float = 0.0,
        cutoff: float = 0.5,
        farthest: float = 1.4,
        normalize: bool = True,
    ) -> None:
        super().__init__(normalize)
        check_sampling(cutoff)
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}: at least 1 is needed")
        margins = torch.as_tensor(margin, dtype=torch.float32)
        if margins.ndim and margins.shape != (num_classes,):
            raise ValueError(
                f"margin has shape {tuple(margins.shape)} and num_classes is {num_classes}: "
                f"give one number, or one for each class"
            )
        self.margin = margin
        self.register_buffer("margins", margins, persistent=False)
        shape = () if num_classes is None else (num_classes,)
        self.beta = nn.Parameter(torch.full(shape, float(beta)), requires_grad=learn_beta)
        self.learn_beta = learn_beta
        self.num_classes = num_classes
        self.nu = nu
        self.cutoff = cutoff
        self.farthest = farthest

    def _loss(
        self, x: Embeddings, labels: BatchLabels, options: PairOptions, generator: torch.Generator | None
    ) -> Tensor:
        beta: Tensor = self.beta
        margin: Any = self.margin
        if self.num_classes is not None:
            labels = whole_numbers(plain(labels), len(x)).to(beta.device)
            check_classes(labels, self.num_classes, "boundaries")
            beta = beta[labels]
            margin = self.margins[labels] if self.margins.ndim else margin
        return margin_loss(
            x, labels, margin=margin, beta=beta, nu=self.nu, cutoff=self.cutoff, farthest=self.farthest,
            generator=generator, **options,
        )  # fmt: skip


@torch.no_grad()
def distance_weighted_triplets(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    cutoff: float = 0.5,
    farthest: float = 1.4,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Triplets:
    """For each matching pair a negative, drawn so that its distance is spread evenly (Wu et al. 2017, section 4).

    Distances between random points of the unit sphere crowd around √2; each negative is weighted by one over the
    density there, q(d) ∝ d^(D−2) (1 − d²/4)^((D−3)/2). The paper caps the weight; here, as in its authors' code, the
    distance is held above ``cutoff``. Negatives at ``farthest`` or beyond are not drawn, unless an anchor has no other.
    An anchor without a negative gives no triplet.

    Args:
        embeddings: shape (N, D), unit rows.
        labels: N integers or strings.
        cutoff: distances below are weighted as if here; from 0 to 2, neither included.
        farthest: negatives from here on cost nothing, and are not drawn.
        reference: what the embeddings are compared with, shape (M, D); gradients flow to it too.
        reference_labels: the label of each reference row.
        own_rows: which reference row is embedding i, int64 (N,), −1 for none; where not given, a reference that is the
            same object as the embeddings holds each at its own row, and another holds none of them.
        generator: source of the draws; the same seed draws the same negatives.

    Returns:
        Triplets sorted by (anchor, positive). Memory: O(N·M), the draws included.

    Raises:
        ValueError: shapes or label counts disagree, or an embedding is not finite (the row is named).
    """
    batch = pair_batch(embeddings, labels, None, reference, reference_labels, own_rows)
    check_finite_rows(batch.x, batch.y)
    choice = draw_negatives(pairwise_distance(batch.x, batch.y), batch, cutoff, farthest, generator)
    anchor, slot = choice.kept.nonzero(as_tuple=True)
    return Triplets(anchor, choice.positive[anchor, slot], choice.negative[anchor, slot])


class DistanceWeightedMiner(Miner):
    """For each matching pair a negative, drawn so that distances are spread evenly (Wu et al. 2017).

    See :func:`triune.losses.margin.distance_weighted_triplets`.

    Args:
        cutoff: distances below are drawn as if here; from 0 to 2, neither included.
        farthest: negatives from here on are not drawn, unless an anchor has no other.
        normalize: divide every embedding, and reference row, by its length first; the sampling needs unit rows.
    """

    def __init__(self, cutoff: float = 0.5, farthest: float = 1.4, normalize: bool = True) -> None:
        super().__init__(normalize)
        check_sampling(cutoff)
        self.cutoff = cutoff
        self.farthest = farthest

    def _mine(self, x: Embeddings, labels: BatchLabels, where: Where, generator: torch.Generator | None) -> Triplets:
        return distance_weighted_triplets(
            x, labels, cutoff=self.cutoff, farthest=self.farthest, generator=generator, **where
        )


def check_sampling(cutoff: float) -> None:
    """Raise ValueError unless the cutoff is a distance between points of the unit sphere."""
    if not 0 < cutoff < 2:
        raise ValueError(f"cutoff is {cutoff}; give a distance of unit vectors, above 0 and below 2")


def _of_anchors(number: float | Tensor, d: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """A setting as it is, () or (N,), and for each of N anchors; in the type of the distances (N, M)."""
    given = number.to(d) if isinstance(number, Tensor) else d.new_full((), number)
    if given.ndim and given.shape != d.shape[:1]:
        raise ValueError(f"{name} has shape {tuple(given.shape)}; one number, or one for each of {len(d)} anchors")
    return given, given.expand(d.shape[:1])


def draw_negatives(
    d: Tensor, batch: PairBatch, cutoff: float, farthest: float, generator: torch.Generator | None
) -> Choice:
    """A negative for each matching pair by inverting its anchor's cumulative weights: O(N·M) for any number of pairs.

    Args:
        d: Euclidean distances of the batch, (N, M).
        batch: which pairs match and which do not.
        cutoff: distances below are weighted as if here.
        farthest: negatives from here on are not drawn, unless an anchor has no other.
        generator: source of the draws.

    Returns:
        (N, Q) slots that hold the anchors' pairs in order: Q is the largest number of positives on the CPU. Elsewhere,
        and to the compiler, that number is not known without waiting, and Q is M.
    """
    check_sampling(cutoff)
    counts, columns = batch.positive.sum(1), d.shape[1]
    if columns == 0:
        none = counts[:, None].expand(d.shape)
        return Choice(none, none, batch.positive)
    if d.device.type == "cpu" and not torch.compiler.is_compiling():
        positive = positive_columns(batch.positive)
    else:
        positive = (~batch.positive).to(torch.int8).argsort(dim=1, stable=True)
    width = batch.x.shape[1]
    near = batch.negative & (d < farthest)
    allowed = torch.where(near.any(1, keepdim=True), near, batch.negative)
    # At antipodes the density is 0: the weight there is held finite.
    clipped = d.double().clamp(min=cutoff, max=1.999)
    log_weight = (2 - width) * clipped.log() - (width - 3) / 2 * (1 - clipped.square() / 4).log()
    largest = log_weight.where(allowed, -torch.inf).amax(1, keepdim=True)
    cumulative = (log_weight - largest).exp().where(allowed, 0.0).cumsum(1)
    draws = draw_uniform(positive.shape, d.device, generator)
    # Below the total, so that the column found is one whose weight is not 0.
    total = cumulative[:, -1:]
    level = torch.minimum(draws * total, torch.nextafter(total, torch.zeros_like(total)))
    drawn = torch.searchsorted(cumulative, level, right=True).clamp(max=columns - 1)
    exists = torch.arange(positive.shape[1], device=d.device) < counts[:, None]
    return Choice(positive, drawn, exists & allowed.any(1, keepdim=True))
