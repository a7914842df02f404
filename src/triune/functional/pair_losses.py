"""Losses of the pairs of a batch: contrastive, lifted structure, N-pairs, multi-similarity, InfoNCE, circle, AP, …

Each takes embeddings (N, D) as they are (give unit rows where the paper does), N labels of any kind, its settings, and
returns a scalar. N-pairs apart, each also takes

- ``pairs``: of any miner, in place of all pairs: (anchor, positive, anchor, negative), or triplets (a, p, n), whose
  matching and non-matching pairs are meant. A pair counts once, however often it is listed.
- ``reference``, ``reference_labels``, ``own_rows``: where positives and negatives are taken from instead of the batch,
  such as a memory bank (M, D), as in :func:`triune.functional.triplets.mine_triplets`. Gradients flow to it too.

Half precision is computed, and returned, in float32, also under autocast. Memory is O(N·M), with M = N where there is
no reference. A batch without a usable pair costs 0, with a graph; a NaN or infinite embedding makes the loss NaN.
Labels and shapes that disagree, and settings out of range, raise ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.checkpoint import checkpoint

from triune.functional.distances import Embeddings, as_embeddings, check_finite, pairwise_distance
from triune.functional.labels import Labels, encode_labels
from triune.functional.triplets import Choice, Triplets, draw_uniform, masks, resolve_reference

BLOCK_CELLS = 1 << 22
"""Smooth-AP compares this many (query, positive, item) at a time, or all those of one query if they are more."""


class Pairs(NamedTuple):
    """Rows of matching and of non-matching pairs, int64, as pytorch-metric-learning's miners return them."""

    anchor: Tensor
    """Anchors of the matching pairs (P,)."""
    positive: Tensor
    """Their partners (P,)."""
    negative_anchor: Tensor
    """Anchors of the non-matching pairs (Q,)."""
    negative: Tensor
    """Their partners (Q,)."""


def contrastive_loss(
    embeddings: Embeddings,
    labels: Labels,
    *,
    positive_margin: float = 0.0,
    negative_margin: float = 1.0,
    power: int = 1,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: Labels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """Mean over active matching pairs of max(0, d − m₊)ᵖ, plus mean over active others of max(0, m₋ − d)ᵖ.

    Hadsell, Chopra and LeCun 2006, eq. 4, where p = 2 and m₊ = 0. d is the Euclidean distance; a pair is active if it
    costs something, and each kind has its own mean, so that the many non-matching pairs do not drown the others.

    >>> contrastive_loss(torch.tensor([[0.0], [0.5], [0.75]]), [0, 0, 1], negative_margin=0.5)
    tensor(0.7500)

    Args:
        embeddings: shape (N, D).
        labels: N integers or strings.
        positive_margin: m₊; matching pairs closer than this cost nothing.
        negative_margin: m₋; non-matching pairs farther apart than this cost nothing.
        power: p, above 0.
        pairs, reference, reference_labels, own_rows: see the head of this file.
    """
    check_above_zero(power=power)
    batch = _batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    d = pairwise_distance(batch.x, batch.y)
    near = (d - positive_margin).relu() ** power
    far = (negative_margin - d).relu() ** power
    return batch.cost(_mean(near, batch.positive & (near > 0)) + _mean(far, batch.negative & (far > 0)))


def lifted_structure_loss(
    embeddings: Embeddings,
    labels: Labels,
    *,
    positive_margin: float = 0.0,
    negative_margin: float = 1.0,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: Labels | None = None,
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
        pairs, reference, reference_labels, own_rows: see the head of this file.
    """
    batch = _batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    d = pairwise_distance(batch.x, batch.y)
    valid = batch.positive.any(1) & batch.negative.any(1)
    near = _logsumexp(d - positive_margin, batch.positive).where(valid, 0.0)
    far = _logsumexp(negative_margin - d, batch.negative).where(valid, 0.0)
    return batch.cost(_mean((near + far).relu(), valid))


def n_pairs_loss(
    embeddings: Embeddings, labels: Labels, *, l2: float = 0.0, pairs: Sequence[Tensor] | None = None
) -> Tensor:
    """Cross-entropy of each class's anchor against the positives of all C classes (Sohn 2016, eq. 11).

    Of each class with two items or more, the first is the anchor and the second the positive; of a miner's pairs, the
    first pair of each class. Similarity is the inner product of embeddings that keep their length, which the paper
    holds down by ``l2``. Time O(N²·D), memory O(N²): N²/4 similarities, or N² of a miner's pairs.

    Args:
        embeddings: shape (N, D).
        labels: N integers or strings.
        l2: weight of the mean squared length of the anchors and positives, halved.
        pairs: of a miner, see the head of this file.
    """
    x = as_embeddings(embeddings)
    codes = encode_labels(labels, count=len(x), device=x.device)
    slots = len(x)
    if pairs is None:  # of items sorted by class, neighbours are pairs; with two items a class, C is half of N at most
        order = codes.argsort(stable=True)
        anchor, positive, slots = order[:-1], order[1:], slots // 2
    else:
        anchor, positive, _, _ = _columns(pairs, x.device)
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
    logits = _similarity(anchors, positives)
    loss = (_logsumexp(logits, used.expand(logits.shape)) - logits.diagonal()).where(used, 0.0).sum()
    length = (anchors.square().sum(1) + positives.square().sum(1)).where(used, 0.0).sum() / 2
    return (loss + l2 * length) / classes.clamp(min=1) + _nothing(x)


def multi_similarity_loss(
    embeddings: Embeddings,
    labels: Labels,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    mining: bool = False,
    epsilon: float = 0.1,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: Labels | None = None,
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
        pairs, reference, reference_labels, own_rows: see the head of this file; mining chooses among ``pairs``.
    """
    check_above_zero(alpha=alpha, beta=beta)
    batch = _batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    s = _similarity(batch.x, batch.y)
    positive, negative = batch.positive, batch.negative
    if mining:
        positive, negative = _informative(s.detach(), positive, negative, epsilon)
    near = softplus(_logsumexp(-alpha * (s - base), positive)) / alpha
    far = softplus(_logsumexp(beta * (s - base), negative)) / beta
    return batch.cost((near + far).sum() / max(1, len(s)))


@torch.no_grad()
def multi_similarity_pairs(
    embeddings: Embeddings,
    labels: Labels,
    *,
    epsilon: float = 0.1,
    reference: Embeddings | None = None,
    reference_labels: Labels | None = None,
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
        reference, reference_labels, own_rows: see the head of this file.

    Raises:
        ValueError: shapes or label counts disagree, or an embedding is not finite (the row is named).
    """
    batch = _finite_batch(embeddings, labels, reference, reference_labels, own_rows)
    positive, negative = _informative(_similarity(batch.x, batch.y), batch.positive, batch.negative, epsilon)
    return Pairs(*positive.nonzero(as_tuple=True), *negative.nonzero(as_tuple=True))


def nt_xent_loss(
    embeddings: Embeddings,
    labels: Labels,
    *,
    temperature: float = 0.07,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: Labels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """Mean over matching pairs of −log(exp(s_ap/τ) / (exp(s_ap/τ) + Σₙ exp(s_an/τ))): InfoNCE, NT-Xent.

    Van den Oord, Li and Vinyals 2018, eq. 4; Chen et al. 2020, eq. 1. s is the inner product of unit embeddings. Other
    positives of the anchor are not in the denominator; with two views a class, as in the papers, there are none.

    Args:
        embeddings: shape (N, D), unit rows.
        labels: N integers or strings.
        temperature: τ, above 0.
        pairs, reference, reference_labels, own_rows: see the head of this file.
    """
    check_above_zero(temperature=temperature)
    batch = _batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    s = _similarity(batch.x, batch.y) / temperature
    far = _logsumexp(s, batch.negative)
    # log(1 + exp(far − s)), which neither overflows nor loses small terms.
    return batch.cost(_mean(softplus((far[:, None] - s).where(batch.positive, 0.0)), batch.positive))


def sup_con_loss(
    embeddings: Embeddings,
    labels: Labels,
    *,
    temperature: float = 0.1,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: Labels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """Mean over anchors of the mean over positives of −log(exp(s_ap/τ) / Σ exp(s_ai/τ)), i over all others.

    Supervised contrastive learning, L_out (Khosla et al. 2020, eq. 2), over the anchors that have a positive. s is the
    inner product of unit embeddings.

    Args:
        embeddings: shape (N, D), unit rows.
        labels: N integers or strings.
        temperature: τ, above 0.
        pairs, reference, reference_labels, own_rows: see the head of this file.
    """
    check_above_zero(temperature=temperature)
    batch = _batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    s = _similarity(batch.x, batch.y) / temperature
    everything = _logsumexp(s, batch.positive | batch.negative)
    log_share = (s - everything[:, None]).where(batch.positive, 0.0)
    counts = batch.positive.sum(1)
    return batch.cost(_mean(-log_share.sum(1) / counts.clamp(min=1), counts > 0))


def circle_loss(
    embeddings: Embeddings,
    labels: Labels,
    *,
    margin: float = 0.4,
    gamma: float = 80.0,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: Labels | None = None,
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
        pairs, reference, reference_labels, own_rows: see the head of this file.
    """
    check_above_zero(gamma=gamma)
    batch = _batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    s = _similarity(batch.x, batch.y)
    near = -gamma * (1 + margin - s.detach()).relu() * (s - 1 + margin)
    far = gamma * (s.detach() + margin).relu() * (s - margin)
    valid = batch.positive.any(1) & batch.negative.any(1)
    together = _logsumexp(near, batch.positive).where(valid, 0.0) + _logsumexp(far, batch.negative).where(valid, 0.0)
    return batch.cost(_mean(softplus(together), valid))


def margin_loss(
    embeddings: Embeddings,
    labels: Labels,
    *,
    margin: float = 0.2,
    beta: float | Tensor = 1.2,
    nu: float = 0.0,
    cutoff: float = 0.5,
    farthest: float = 1.4,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: Labels | None = None,
    own_rows: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean over active pairs of max(0, α + d_ap − β) and max(0, α + β − d_an) (Wu et al. 2017, eqs. 6 and 9).

    d is the Euclidean distance. The pairs are those of :func:`distance_weighted_triplets`; here, unlike in the other
    losses, a pair counts as often as it is listed, since a negative that is drawn twice weighs twice.

    Args:
        embeddings: shape (N, D), unit rows.
        labels: N integers or strings.
        margin: α.
        beta: β, the boundary between matching and non-matching distances: one, or one for each anchor, shape (N,), such
            as that of its class. A tensor is learnt.
        nu: ν, weight of β as a regulariser that keeps boundaries small. One β costs ν·β; one for each anchor cost
            ν·Σ β over the matching pairs, divided as the pairs are (the authors' code). Without a pair it costs 0.
        cutoff, farthest: of the sampling.
        pairs: of a miner, in place of sampling.
        reference, reference_labels, own_rows: see the head of this file.
        generator: source of the draws; on the CPU the same seed draws what :func:`distance_weighted_triplets` does.

    Memory: O(N·M). Nothing waits for a GPU.
    """
    batch = _batch(embeddings, labels, None, reference, reference_labels, own_rows)
    d = pairwise_distance(batch.x, batch.y)
    boundary = beta.to(d) if isinstance(beta, Tensor) else d.new_full((), beta)
    if boundary.ndim and boundary.shape != d.shape[:1]:
        raise ValueError(f"beta has shape {tuple(boundary.shape)}; one number, or one for each of {len(d)} anchors")
    of_anchor = boundary.expand(d.shape[:1])
    if pairs is None:
        choice = _draw_negatives(d.detach(), batch, cutoff, farthest, generator)
        d_ap, d_an, kept = d.gather(1, choice.positive), d.gather(1, choice.negative), choice.kept
        beta_ap = beta_an = of_anchor[:, None]
    else:
        anchor, positive, other, negative = _columns(pairs, d.device)
        d_ap, d_an = d[anchor, positive], d[other, negative]
        beta_ap, beta_an = of_anchor[anchor], of_anchor[other]
        kept = torch.ones_like(anchor, dtype=torch.bool)
    near = (d_ap + (margin - beta_ap)).relu()
    far = ((margin + beta_an) - d_an).relu()
    if pairs is None:
        near, far = near.where(kept, 0.0), far.where(kept, 0.0)
    active = (near > 0).sum() + (far > 0).sum()
    loss = (near.sum() + far.sum()) / active.clamp(min=1)
    if boundary.ndim:
        small = (beta_ap * kept).sum() / active.clamp(min=1) * (active > 0)
    else:
        small = boundary * (kept.any() if pairs is None else len(d_ap) + len(d_an) > 0)
    return batch.cost(loss + nu * small)


@torch.no_grad()
def distance_weighted_triplets(
    embeddings: Embeddings,
    labels: Labels,
    *,
    cutoff: float = 0.5,
    farthest: float = 1.4,
    reference: Embeddings | None = None,
    reference_labels: Labels | None = None,
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
        reference, reference_labels, own_rows: see the head of this file.
        generator: source of the draws; the same seed draws the same negatives.

    Returns:
        Triplets sorted by (anchor, positive). Memory: O(N·M), the draws included.

    Raises:
        ValueError: shapes or label counts disagree, or an embedding is not finite (the row is named).
    """
    batch = _finite_batch(embeddings, labels, reference, reference_labels, own_rows)
    choice = _draw_negatives(pairwise_distance(batch.x, batch.y), batch, cutoff, farthest, generator)
    anchor, slot = choice.kept.nonzero(as_tuple=True)
    return Triplets(anchor, choice.positive[anchor, slot], choice.negative[anchor, slot])


def smooth_ap_loss(
    embeddings: Embeddings,
    labels: Labels,
    *,
    temperature: float = 0.01,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: Labels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """1 − mean over queries of average precision with sigmoids for steps (Brown et al. 2020, eq. 7).

    The rank of a positive p is 1 + Σ σ((s_j − s_p)/τ) over the other items j, the query left out; s is the inner
    product of unit embeddings. Queries without a positive are left out. The authors' code counts the query among its
    own positives, which gives every query one hit for nothing; with the batch as ``reference`` and ``own_rows`` of −1
    this function does too.

    Time O(N·M·K) for K positives a query at most. Memory O(N·M) plus one block of at most max(4 Mi, K·M) comparisons:
    past one block, blocks of queries are computed again in the backward pass. Waits for the GPU once, for K. Under
    torch.compile it has a first derivative only.

    Args:
        embeddings: shape (N, D), unit rows.
        labels: N integers or strings.
        temperature: τ, above 0.
        pairs, reference, reference_labels, own_rows: see the head of this file.
    """
    check_above_zero(temperature=temperature)
    batch = _batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    s = _similarity(batch.x, batch.y) / temperature
    counts = batch.positive.sum(1)
    if torch.compiler.is_compiling():  # K is not known to the compiler: it sees one opaque operation
        precision, _ = _smooth_precision_opaque(s, batch.positive, batch.negative)
        return batch.cost(_mean(1 - precision, counts > 0))
    parts = (s, _positive_columns(batch.positive), batch.positive, batch.negative, counts)
    step = _block_rows(parts[1], s)
    if step >= len(s):
        precision = _smooth_precision(*parts)
    else:
        # split, not indexing: its gradient is joined once, where each index would fill an N×M matrix of its own.
        blocks = zip(*(torch.split(part, step) for part in parts))
        precision = torch.cat([checkpoint(_smooth_precision, *block, use_reentrant=False) for block in blocks])
    return batch.cost(_mean(1 - precision, counts > 0))


def fast_ap_loss(
    embeddings: Embeddings,
    labels: Labels,
    *,
    bins: int = 10,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: Labels | None = None,
    own_rows: Tensor | None = None,
) -> Tensor:
    """1 − mean over queries of average precision from soft histograms of distances (Cakir et al. 2019, eq. 7).

    Squared distances of unit rows lie in [0, 4]; each falls into the two nearest of ``bins`` + 1 centres in proportion,
    so memory is O(N·M + N·bins). Queries without a positive are left out.

    Args:
        embeddings: shape (N, D), unit rows; squared distances above 4 are taken for 4.
        labels: N integers or strings.
        bins: how many intervals [0, 4] is divided into, at least 1.
        pairs, reference, reference_labels, own_rows: see the head of this file.
    """
    check_above_zero(bins=bins)
    batch = _batch(embeddings, labels, pairs, reference, reference_labels, own_rows)
    place = pairwise_distance(batch.x, batch.y, "squared_euclidean").clamp(0, 4) * (bins / 4)
    below = place.detach().nan_to_num().floor().clamp(max=bins - 1).long()
    upper = place - below

    def histogram(kept: Tensor) -> Tensor:
        empty = place.new_zeros(len(place), bins + 1)
        lower_shares, upper_shares = (1 - upper).where(kept, 0.0), upper.where(kept, 0.0)
        return empty.scatter_add(1, below, lower_shares).scatter_add(1, below + 1, upper_shares)

    matching = histogram(batch.positive)
    matching_so_far = matching.cumsum(1)
    so_far = matching_so_far + histogram(batch.negative).cumsum(1)
    hits = (matching * matching_so_far / torch.where(so_far > 0, so_far, 1.0)).sum(1)
    counts = batch.positive.sum(1)
    return batch.cost(_mean(1 - hits / counts.clamp(min=1), counts > 0))


def check_above_zero(**settings: float) -> None:
    """Raise ValueError, naming it, if a setting is not above 0."""
    for name, value in settings.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; give a number above 0")


def check_sampling(cutoff: float) -> None:
    """Raise ValueError unless the cutoff is a distance between points of the unit sphere."""
    if not 0 < cutoff < 2:
        raise ValueError(f"cutoff is {cutoff}; give a distance of unit vectors, above 0 and below 2")


class _Batch(NamedTuple):
    """Embeddings x (N, D), what they are compared with y (M, D), and which pairs match and which do not (N, M)."""

    x: Tensor
    y: Tensor
    positive: Tensor
    negative: Tensor

    def cost(self, loss: Tensor) -> Tensor:
        """The loss with a graph, and NaN if an embedding is not finite: no mask hides it."""
        loss = loss + _nothing(self.x)
        return loss if self.y is self.x else loss + _nothing(self.y)


def _batch(
    embeddings: Embeddings,
    labels: Labels,
    pairs: Sequence[Tensor] | None,
    reference: Embeddings | None,
    reference_labels: Labels | None,
    own_rows: Tensor | None,
) -> _Batch:
    x = as_embeddings(embeddings)
    y, codes, reference_codes, own = resolve_reference(x, labels, embeddings, reference, reference_labels, own_rows)
    if x.dtype != y.dtype:
        wide = torch.promote_types(x.dtype, y.dtype)
        x, y = x.to(wide), y.to(wide)
    if pairs is None:
        return _Batch(x, y, *masks(codes, reference_codes, own))
    anchor, positive, other, negative = _columns(pairs, x.device)
    empty = torch.zeros(len(x), len(y), dtype=torch.bool, device=x.device)
    true = torch.ones((), dtype=torch.bool, device=x.device)
    return _Batch(x, y, empty.index_put((anchor, positive), true), empty.index_put((other, negative), true))


def _finite_batch(
    embeddings: Embeddings,
    labels: Labels,
    reference: Embeddings | None,
    reference_labels: Labels | None,
    own_rows: Tensor | None,
) -> _Batch:
    """A batch to mine in: a NaN would win or lose every comparison in silence."""
    batch = _batch(embeddings, labels, None, reference, reference_labels, own_rows)
    check_finite(batch.x)
    if batch.y is not batch.x:
        check_finite(batch.y, "reference")
    return batch


def _columns(pairs: Sequence[Tensor], device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Matching pairs and non-matching pairs of a miner's index tuple."""
    columns = [torch.as_tensor(column, device=device).long() for column in pairs]
    if len(columns) == 3:
        columns = [columns[0], columns[1], columns[0], columns[2]]
    shapes = [column.shape for column in columns]
    if len(columns) != 4 or any(column.ndim != 1 for column in columns) or shapes[::2] != shapes[1::2]:
        raise ValueError(
            f"pairs hold {len(pairs)} tensors of shapes {[tuple(torch.as_tensor(column).shape) for column in pairs]}; "
            f"pairs are four (anchor, positive, anchor, negative), equal in twos, "
            f"triplets are three of one length (anchor, positive, negative)"
        )
    return columns[0], columns[1], columns[2], columns[3]


def _similarity(x: Tensor, y: Tensor) -> Tensor:
    """Inner products (N, M). Autocast would round them to half precision, which the exponents that follow enlarge."""
    with torch.autocast(x.device.type, enabled=False):
        return x @ y.T


def _informative(s: Tensor, positive: Tensor, negative: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Which positives, and which negatives, multi-similarity mining keeps."""
    if s.shape[1] == 0:
        return positive, negative
    least = s.where(positive, torch.inf).amin(1, keepdim=True)
    most = s.where(negative, -torch.inf).amax(1, keepdim=True)
    return positive & (s - epsilon < most), negative & (s + epsilon > least)


def _draw_negatives(
    d: Tensor, batch: _Batch, cutoff: float, farthest: float, generator: torch.Generator | None
) -> Choice:
    """A negative a matching pair by inverting each anchor's cumulative weights: O(N·M) however many pairs there are.

    (N, Q) slots hold the anchors' pairs in order: Q is the largest number of positives on the CPU. Elsewhere, and to
    the compiler, that number is not known without waiting, and Q is M.
    """
    check_sampling(cutoff)
    counts, columns = batch.positive.sum(1), d.shape[1]
    if columns == 0:
        none = counts[:, None].expand(d.shape)
        return Choice(none, none, batch.positive)
    if d.device.type == "cpu" and not torch.compiler.is_compiling():
        positive = _positive_columns(batch.positive)
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


def _smooth_precision(s: Tensor, columns: Tensor, positive: Tensor, negative: Tensor, counts: Tensor) -> Tensor:
    """Smoothed average precision (R,) of R queries, whose positives are in the first ``counts`` of ``columns``."""
    above = torch.sigmoid(s[:, None, :] - s.gather(1, columns)[:, :, None])
    # A positive is compared with itself too, which gives σ(0) = ½ and no gradient: 1 + the others is ½ + all.
    among_positives = 0.5 + (above * positive[:, None, :]).sum(2)
    among_all = among_positives + (above * negative[:, None, :]).sum(2)
    real = torch.arange(columns.shape[1], device=s.device) < counts[:, None]
    return (among_positives / among_all).where(real, 0.0).sum(1) / counts.clamp(min=1)


@torch.library.custom_op("triune::smooth_precision", mutates_args=())
def _smooth_precision_opaque(s: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """The precision of every query (N,), and its gradient with respect to the query's row of s (N, M)."""
    counts, columns = positive.sum(1), _positive_columns(positive)
    precision, slope = s.new_zeros(len(s)), torch.zeros_like(s)
    step = _block_rows(columns, s)
    for rows in (slice(start, start + step) for start in range(0, len(s), step)):
        column, few = columns[rows], counts[rows, None].clamp(min=1)
        above = torch.sigmoid(s[rows, None, :] - s[rows].gather(1, column)[:, :, None])
        hit, other = positive[rows, None, :], (positive | negative)[rows, None, :]
        hits, among_all = 0.5 + (above * hit).sum(2), 0.5 + (above * other).sum(2)
        real = torch.arange(column.shape[1], device=s.device) < counts[rows, None]
        precision[rows] = (hits / among_all).where(real, 0.0).sum(1) / few[:, 0]
        share = hit / among_all[:, :, None] - other * (hits / among_all.square())[:, :, None]
        share = (share * above * (1 - above)).where(real[:, :, None], 0.0) / few[:, :, None]
        slope[rows] = share.sum(1).scatter_add(1, column, -share.sum(2))
    return precision, slope


@_smooth_precision_opaque.register_fake
def _(s: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    return s.new_empty(s.shape[0]), torch.empty_like(s)


def _keep_slope(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])


def _scale_slope(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    (slope,) = ctx.saved_tensors
    return grad[:, None] * slope, None, None


_smooth_precision_opaque.register_autograd(_scale_slope, setup_context=_keep_slope)


def _positive_columns(positive: Tensor) -> Tensor:
    """The columns of each row's positives first, (N, K) for at most K in a row; rows with fewer are padded."""
    slots = int(positive.sum(1).max()) if len(positive) else 0
    return (~positive).to(torch.int8).argsort(dim=1, stable=True)[:, :slots]


def _block_rows(columns: Tensor, s: Tensor) -> int:
    """How many queries fit a block of comparisons."""
    return max(1, BLOCK_CELLS // max(1, columns.shape[1] * s.shape[1]))


def _logsumexp(values: Tensor, kept: Tensor) -> Tensor:
    """log Σ exp over the kept entries of each row; −∞ in a row without one, and no NaN in its gradient."""
    if values.shape[1] == 0:
        return values.sum(1) - torch.inf
    any_kept = kept.any(1)
    masked = values.where(kept, -torch.inf).where(any_kept[:, None], 0.0)
    return masked.logsumexp(1).where(any_kept, -torch.inf)


def _mean(values: Tensor, kept: Tensor) -> Tensor:
    """Mean over the kept entries; 0 if there is none."""
    return values.where(kept, 0.0).sum() / kept.sum().clamp(min=1)


def _nothing(x: Tensor) -> Tensor:
    """0 with a graph; NaN if x is not finite."""
    return (x * 0).sum()
