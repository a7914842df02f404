"""Losses of the pairs of a batch: contrastive, lifted structure, N-pairs, multi-similarity, InfoNCE, circle, AP.

All take embeddings (N, D) as they are (give unit rows where the paper does), labels of any kind, and optionally the
``pairs`` of a miner; half precision is computed in float32. Each is O(N²) in time and memory unless its docstring says
otherwise. A batch without a usable pair costs 0, with a graph.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.checkpoint import checkpoint

from triune.functional.distances import Embeddings, as_embeddings, pairwise_distance
from triune.functional.labels import Labels, encode_labels
from triune.functional.triplets import Triplets

ANCHORS_A_BLOCK = 1 << 22
"""Smooth-AP compares this many (query, positive, item) at a time."""


class Pairs(NamedTuple):
    """Rows of matching and of non-matching pairs, as pytorch-metric-learning's miners return them."""

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
) -> Tensor:
    """Mean over active matching pairs of max(0, d − m₊)ᵖ, plus mean over active others of max(0, m₋ − d)ᵖ.

    Hadsell, Chopra and LeCun 2006 (there p = 2). d is the Euclidean distance; a pair is active if it costs something.

    Args:
        embeddings: ``(N, D)``.
        labels: ``(N,)``.
        positive_margin, negative_margin: m₊ and m₋.
        power: p.
        pairs: of a miner, in place of all pairs.
    """
    x, positive, negative = _batch(embeddings, labels, pairs)
    d = pairwise_distance(x)
    near = (d - positive_margin).relu() ** power
    far = (negative_margin - d).relu() ** power
    return _mean_active(near, positive) + _mean_active(far, negative)


def lifted_structure_loss(
    embeddings: Embeddings,
    labels: Labels,
    *,
    positive_margin: float = 0.0,
    negative_margin: float = 1.0,
    pairs: Sequence[Tensor] | None = None,
) -> Tensor:
    """Mean over anchors of max(0, log Σₚ exp(d_ap − m₊) + log Σₙ exp(m₋ − d_an)).

    The generalised lifted structure loss of Hermans, Beyer and Leibe 2017, eq. 10 (after Oh Song et al. 2016); over
    the anchors that have both a positive and a negative.
    """
    x, positive, negative = _batch(embeddings, labels, pairs)
    d = pairwise_distance(x)
    near = _logsumexp(d - positive_margin, positive)
    far = _logsumexp(negative_margin - d, negative)
    valid = positive.any(1) & negative.any(1)
    return _mean((near.where(valid, 0.0) + far.where(valid, 0.0)).relu(), valid)


def n_pairs_loss(embeddings: Embeddings, labels: Labels, *, l2: float = 0.0) -> Tensor:
    """Cross-entropy of each class's anchor against the positives of all classes (Sohn 2016, eq. 11).

    Of each class with two items or more, the first is the anchor and the second the positive. Similarity is the inner
    product; ``l2`` weighs the mean squared length of the embeddings, which the paper regularises.
    """
    x = as_embeddings(embeddings)
    codes = encode_labels(labels, count=len(x), device=x.device)
    order = codes.argsort(stable=True)
    sorted_codes = codes[order]
    begins = torch.ones_like(sorted_codes, dtype=torch.bool)
    begins[1:] = sorted_codes[1:] != sorted_codes[:-1]
    has_second = torch.zeros_like(begins)
    has_second[:-1] = begins[:-1] & ~begins[1:]
    places = has_second.nonzero().flatten()
    anchor, positive = x[order[places]], x[order[places + 1]]
    if len(places) == 0:
        return _nothing(x)
    logits = anchor @ positive.T
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(len(places), device=x.device))
    if l2:
        loss = loss + l2 * (anchor.square().sum(1) + positive.square().sum(1)).mean() / 2
    return loss


def multi_similarity_loss(
    embeddings: Embeddings,
    labels: Labels,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    pairs: Sequence[Tensor] | None = None,
) -> Tensor:
    """Mean over anchors of log(1 + Σₚ exp(−α(s−λ)))/α + log(1 + Σₙ exp(β(s−λ)))/β (Wang et al. 2019, eq. 15).

    s is the inner product of unit embeddings, λ = ``base``. :func:`multi_similarity_pairs` is the paper's mining.
    """
    x, positive, negative = _batch(embeddings, labels, pairs)
    s = x @ x.T
    near = softplus(_logsumexp(-alpha * (s - base), positive)) / alpha
    far = softplus(_logsumexp(beta * (s - base), negative)) / beta
    return (near + far).sum() / max(1, len(x))


@torch.no_grad()
def multi_similarity_pairs(embeddings: Embeddings, labels: Labels, *, epsilon: float = 0.1) -> Pairs:
    """The pairs worth learning from (Wang et al. 2019, eqs. 10 and 11), by the inner product of unit embeddings.

    A non-matching pair is kept if it is more alike than the anchor's least alike positive, less ε; a matching pair if
    it is less alike than the anchor's most alike negative, plus ε.
    """
    x, positive, negative = _batch(embeddings, labels, None)
    s = x @ x.T
    least = s.where(positive, torch.inf).amin(1, keepdim=True) if len(x) else s
    most = s.where(negative, -torch.inf).amax(1, keepdim=True) if len(x) else s
    negatives = (negative & (s + epsilon > least)).nonzero(as_tuple=True)
    positives = (positive & (s - epsilon < most)).nonzero(as_tuple=True)
    return Pairs(*positives, *negatives)


def nt_xent_loss(
    embeddings: Embeddings, labels: Labels, *, temperature: float = 0.07, pairs: Sequence[Tensor] | None = None
) -> Tensor:
    """Mean over matching pairs of −log(exp(s_ap/τ) / (exp(s_ap/τ) + Σₙ exp(s_an/τ))): InfoNCE, NT-Xent.

    Van den Oord, Li and Vinyals 2018; Chen et al. 2020, eq. 1. s is the inner product of unit embeddings. Other
    positives of the anchor are not in the denominator.
    """
    x, positive, negative = _batch(embeddings, labels, pairs)
    s = x @ x.T / _above_zero(temperature, "temperature")
    far = _logsumexp(s, negative)
    # log(1 + exp(far − s)), which neither overflows nor loses small terms.
    cost = softplus((far[:, None] - s).where(positive, 0.0))
    return _mean(cost, positive)


def sup_con_loss(
    embeddings: Embeddings, labels: Labels, *, temperature: float = 0.1, pairs: Sequence[Tensor] | None = None
) -> Tensor:
    """Mean over anchors of the mean over positives of −log(exp(s_ap/τ) / Σ exp(s_ai/τ)), i over all others.

    Supervised contrastive learning, L_out (Khosla et al. 2020, eq. 2), over the anchors that have a positive.
    """
    x, positive, negative = _batch(embeddings, labels, pairs)
    s = x @ x.T / _above_zero(temperature, "temperature")
    everything = _logsumexp(s, positive | negative)
    log_share = (s - everything[:, None]).where(positive, 0.0)
    counts = positive.sum(1)
    return _mean(-log_share.sum(1) / counts.clamp(min=1), counts > 0)


def circle_loss(
    embeddings: Embeddings,
    labels: Labels,
    *,
    margin: float = 0.4,
    gamma: float = 80.0,
    pairs: Sequence[Tensor] | None = None,
) -> Tensor:
    """Mean over anchors of log(1 + Σₙ exp(γ αₙ(sₙ − m)) · Σₚ exp(−γ αₚ(sₚ − 1 + m))) (Sun et al. 2020, eq. 6).

    αₚ = max(0, 1 + m − sₚ) and αₙ = max(0, sₙ + m) carry no gradient. Over the anchors that have both kinds of pairs.
    """
    x, positive, negative = _batch(embeddings, labels, pairs)
    s = x @ x.T
    near = -gamma * (1 + margin - s.detach()).relu() * (s - 1 + margin)
    far = gamma * (s.detach() + margin).relu() * (s - margin)
    valid = positive.any(1) & negative.any(1)
    together = _logsumexp(near, positive).where(valid, 0.0) + _logsumexp(far, negative).where(valid, 0.0)
    return _mean(softplus(together), valid)


def margin_loss(
    embeddings: Embeddings,
    triplets: Sequence[Tensor],
    *,
    beta: float | Tensor = 1.2,
    margin: float = 0.2,
    nu: float = 0.0,
) -> Tensor:
    """Mean over active pairs of max(0, α + d_ap − β) and max(0, α + β − d_an) (Wu et al. 2017, eq. 6).

    Args:
        embeddings: ``(N, D)``, unit rows.
        triplets: (anchor, positive, negative), such as of :func:`distance_weighted_triplets`.
        beta: the boundary between matching and non-matching distances; a tensor is learnt.
        margin: α.
        nu: weight of ``beta`` as a regulariser.
    """
    x = as_embeddings(embeddings)
    anchor, positive, negative = triplets
    boundary = torch.as_tensor(beta, device=x.device)
    near = (margin + _distance(x[anchor], x[positive]) - boundary).relu()
    far = (margin + boundary - _distance(x[anchor], x[negative])).relu()
    active = ((near > 0).sum() + (far > 0).sum()).clamp(min=1)
    return _nothing(x) + (near.sum() + far.sum()) / active + nu * boundary * (len(anchor) > 0)


@torch.no_grad()
def distance_weighted_triplets(
    embeddings: Embeddings,
    labels: Labels,
    *,
    cutoff: float = 0.5,
    farthest: float = 1.4,
    generator: torch.Generator | None = None,
) -> Triplets:
    """For each matching pair a negative, drawn so that its distance is spread evenly (Wu et al. 2017, section 4).

    Distances between random points of the unit sphere crowd around √2; each negative is weighted by one over the
    density there, q(d) ∝ d^(D−2) (1 − d²/4)^((D−3)/2), with d at least ``cutoff``. Negatives farther than ``farthest``
    are not drawn, unless an anchor has no other. An anchor without a negative gives no triplet.

    Args:
        embeddings: ``(N, D)``, unit rows.
        labels: ``(N,)``.
        cutoff: distances below are weighted as if here.
        farthest: negatives beyond it cost nothing.
        generator: source of the draws.
    """
    x, positive, negative = _batch(embeddings, labels, None)
    d = pairwise_distance(x)
    width = x.shape[1]
    clipped = d.clamp(min=cutoff, max=1.999).double()
    log_weight = (2 - width) * clipped.log() - (width - 3) / 2 * (1 - clipped.square() / 4).log()
    near = negative & (d < farthest)
    allowed = torch.where(near.any(1, keepdim=True), near, negative)
    log_weight = log_weight.where(allowed, -torch.inf)
    anchor, partner = (positive & allowed.any(1, keepdim=True)).nonzero(as_tuple=True)
    if len(anchor) == 0:
        return Triplets(anchor, partner, anchor)
    # The largest of independent Gumbel-shifted log weights falls on each with its probability.
    draws = torch.rand(len(anchor), len(x), generator=generator, dtype=torch.float64, device=x.device)
    gumbel = -(-draws.clamp(min=1e-300).log()).log()
    return Triplets(anchor, partner, (log_weight[anchor] + gumbel).argmax(1))


def smooth_ap_loss(embeddings: Embeddings, labels: Labels, *, temperature: float = 0.01) -> Tensor:
    """1 − mean over queries of average precision with sigmoids for steps (Brown et al. 2020, eq. 7).

    The rank of a positive is 1 + Σ σ((s_j − s_p)/τ) over the other items. Queries without a positive are left out.
    Time O(N²·K) for K positives a query; memory O(N²): blocks of queries are computed again in the backward pass.
    """
    x, positive, _ = _batch(embeddings, labels, None)
    counts = positive.sum(1)
    if not bool((counts > 0).any()):
        return _nothing(x)
    s = x @ x.T
    slots = int(counts.max())
    # The columns of each query's positives, padded.
    order = (~positive).to(torch.int8).argsort(dim=1, stable=True)[:, :slots]
    real = torch.arange(slots, device=x.device)[None, :] < counts[:, None]
    tau = _above_zero(temperature, "temperature")

    def block(s: Tensor, rows: Tensor) -> Tensor:
        own = s[rows].gather(1, order[rows])
        above = torch.sigmoid((s[rows][:, None, :] - own[:, :, None]) / tau)
        other = torch.ones_like(above, dtype=torch.bool)
        other.scatter_(2, order[rows][:, :, None], False)  # an item is not above itself
        other &= torch.arange(len(s), device=s.device)[None, None, :] != rows[:, None, None]
        above = above * other
        among_positives = 1 + (above * positive[rows][:, None, :]).sum(2)
        precision = among_positives / (1 + above.sum(2))
        return (precision * real[rows]).sum(1) / counts[rows].clamp(min=1)

    step = max(1, ANCHORS_A_BLOCK // (slots * len(x)))
    rows = torch.arange(len(x), device=x.device)
    if step >= len(x):
        precision = block(s, rows)
    else:
        precision = torch.cat([checkpoint(block, s, part, use_reentrant=False) for part in torch.split(rows, step)])
    return 1 - _mean(precision, counts > 0)


def fast_ap_loss(embeddings: Embeddings, labels: Labels, *, bins: int = 10) -> Tensor:
    """1 − mean over queries of average precision from soft histograms of distances (Cakir et al. 2019, eq. 7).

    Squared distances of unit rows lie in [0, 4]; each falls into the two nearest of ``bins`` + 1 bins in proportion.
    Queries without a positive are left out. Time and memory O(N²·bins).
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}: at least 1 is needed")
    x, positive, negative = _batch(embeddings, labels, None)
    d = pairwise_distance(x, metric="squared_euclidean")
    centres = torch.linspace(0, 4, bins + 1, device=x.device, dtype=d.dtype)
    share = (1 - (d[:, :, None] - centres).abs() / (4 / bins)).relu()
    matching = (share * positive[:, :, None]).sum(1)
    every = matching + (share * negative[:, :, None]).sum(1)
    matching_so_far, so_far = matching.cumsum(1), every.cumsum(1)
    precision = matching * matching_so_far / torch.where(so_far > 0, so_far, 1.0)
    counts = positive.sum(1)
    return _mean(1 - precision.sum(1) / counts.clamp(min=1), counts > 0)


def _batch(embeddings: Embeddings, labels: Labels, pairs: Sequence[Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings, and which pairs (N, N) are matching and which non-matching; those of a miner where given."""
    x = as_embeddings(embeddings)
    codes = encode_labels(labels, count=len(x), device=x.device)
    if pairs is None:
        same = codes[:, None] == codes[None, :]
        itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
        return x, same & ~itself, ~same
    if len(pairs) == 3:  # triplets: the same two pairs
        anchor, positive, negative = pairs
        pairs = (anchor, positive, anchor, negative)
    if len(pairs) != 4:
        raise ValueError(f"pairs hold {len(pairs)} tensors; (a, p, a', n) or triplets (a, p, n) are needed")
    masks = []
    for first, second in (pairs[:2], pairs[2:]):
        mask = torch.zeros(len(x), len(x), dtype=torch.bool, device=x.device)
        mask[first.to(x.device), second.to(x.device)] = True
        masks.append(mask)
    return x, masks[0], masks[1]


def _distance(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances of rows, whose gradient at 0 is 0."""
    squared = (x - y).square().sum(1)
    return torch.where(squared > 0, torch.where(squared > 0, squared, 1.0).sqrt(), 0.0)


def _logsumexp(values: Tensor, kept: Tensor) -> Tensor:
    """log Σ exp over the kept entries of each row; −∞ in a row without one, and no NaN in its gradient."""
    any_kept = kept.any(1)
    masked = values.where(kept, -torch.inf)
    safe = masked.where(any_kept[:, None], 0.0)
    return safe.logsumexp(1).where(any_kept, -torch.inf) if values.shape[1] else values.sum(1)


def _mean(values: Tensor, kept: Tensor) -> Tensor:
    """Mean over the kept entries; 0 if there is none."""
    return values.where(kept, 0.0).sum() / kept.sum().clamp(min=1)


def _mean_active(values: Tensor, kept: Tensor) -> Tensor:
    """Mean over the kept entries above 0; 0 if there is none."""
    return _mean(values, kept & (values > 0))


def _nothing(x: Tensor) -> Tensor:
    """0 with a graph."""
    return (x * 0).sum()


def _above_zero(value: float, name: str) -> float:
    if not value > 0:
        raise ValueError(f"{name} is {value}: a number above 0 is needed")
    return value
