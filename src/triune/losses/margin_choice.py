"""Which margin suits an embedding, and what it means when a triplet loss stops teaching."""

from __future__ import annotations

from typing import NamedTuple

import torch

from triune.distances.embeddings import Embeddings, as_embeddings, check_finite
from triune.distances.metric import Metric, check_metric
from triune.distances.pairwise import paired_distance
from triune.labels import Labels, encode_labels
from triune.losses.batch import group_by_label
from triune.losses.mining import draw_random
from triune.losses.outcome import TripletOutcome
from triune.losses.triplet_settings import Margin


class MarginSuggestion(NamedTuple):
    """A margin and what the sampled triplets looked like."""

    margin: float
    """The median of |d(a,n) − d(a,p)|."""
    active_share: float
    """Share of triplets that would cost something at this margin: 1/2 if all are in order, 3/4 at chance."""
    ordered_share: float
    """Share of triplets whose negative is farther than their positive; 1/2 at chance."""
    triplets: int
    """How many triplets were sampled."""


def suggest_margin(
    embeddings: Embeddings,
    labels: Labels,
    *,
    metric: Metric = "euclidean",
    samples: int = 65536,
    generator: torch.Generator | None = None,
) -> MarginSuggestion:
    """A margin for the triplet loss, from held-out embeddings: the median of |δ|, δ = d(a,n) − d(a,p).

    A triplet teaches while δ < margin. Let F be the distribution of δ. With a margin far below the usual size of δ
    the active share F(margin) tends to the share of triplets in the wrong order, and the loss ends before classes are
    apart; with one far above it every triplet is active with slope 1, and the loss says no more than
    E[d(a,p)] − E[d(a,n)].
    The median of |δ| is the scale between: where all triplets are in order it is F's median, so that half of them are
    satisfied and half still teach; at chance, where δ is symmetric around 0, it is F's upper quartile and three in four
    teach. It is positive wherever distances differ at all, and scales with the distances, so it needs no constant.
    (Derived here; the literature gives fixed values, such as 0.2 in Schroff et al. 2015.)

    >>> x = torch.tensor([[0.0], [0.1], [1.0], [1.1]])
    >>> round(suggest_margin(x, [0, 0, 1, 1]).margin, 1)
    0.9

    Args:
        embeddings: shape (N, D), normalised if the loss normalises.
        labels: the identity of each, N integers or strings.
        metric: the distance the loss will use.
        samples: about how many triplets are drawn: one negative a pair, again and again, or for a sample of the pairs.
        generator: source of the draws, on the CPU; left out, one with seed 0, so that the answer repeats.

    Returns:
        The margin and the shares behind it. Memory: O(samples·D).

    Raises:
        ValueError: there is no triplet, no two of the sampled distances differ, or an embedding is not finite.
    """
    check_metric(metric)
    x = as_embeddings(embeddings).detach()
    check_finite(x)
    codes = encode_labels(labels, count=x.shape[0], device=x.device)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    # With many pairs, few anchors are enough; with few pairs, each gets several negatives.
    groups = group_by_label(codes, codes)
    pairs = int((groups.stop - groups.start - 1).sum())
    anchors = torch.arange(x.shape[0], device=x.device)
    if pairs > samples:
        share = max(1, x.shape[0] * samples // pairs)
        anchors = torch.randperm(x.shape[0], generator=generator)[:share].to(x.device)
    elif pairs:
        anchors = anchors.repeat(-(-samples // pairs))
    a, p, n = draw_random(groups._replace(start=groups.start[anchors], stop=groups.stop[anchors]), anchors, generator)
    a = anchors[a]
    gaps = paired_distance(x[a], x[n], metric) - paired_distance(x[a], x[p], metric)
    if gaps.numel() == 0:
        raise ValueError(
            f"{x.shape[0]} embeddings in {codes.unique().numel()} classes give no triplet: "  # type: ignore[no-untyped-call]
            f"a margin needs two items of one class and one of another"
        )
    margin = gaps.abs().median().item()
    if margin == 0:
        raise ValueError(
            "most distances are equal, so no margin tells positives from negatives: the embedding collapsed"
        )
    return MarginSuggestion(
        margin, (gaps < margin).float().mean().item(), (gaps > 0).float().mean().item(), gaps.numel()
    )


def diagnose(outcome: TripletOutcome, margin: Margin = 0.2) -> str | None:
    """Advice when a triplet loss has collapsed or stopped teaching, else None. Waits for the GPU.

    - *Collapse*: nearly every triplet is active and negatives are at (almost) no distance: all items share one point,
      where the hinge costs exactly the margin (Hermans et al. 2017, §3.2).
    - *Exhausted*: fewer than one triplet in a hundred is active.

    Args:
        outcome: of a batch, or of averages over several.
        margin: the margin of that loss.
    """
    triplets = outcome.triplets.item()
    if triplets == 0:
        return None
    share, away = outcome.active.item() / triplets, outcome.negative_distance.item()
    scale = 0.2 if isinstance(margin, str) else margin
    if share > 0.95 and away < 0.1 * scale:
        return (
            f"the embedding has collapsed: {share:.0%} of triplets are active and negatives are {away:.2g} apart. "
            f"Lower the learning rate, start with mining 'all' or 'semihard' instead of 'hard' or 'batch_hard', "
            f"or use margin 'soft'"
        )
    if share < 0.01 and not isinstance(margin, str):
        return (
            f"only {share:.1%} of triplets still cost something: use mining 'semihard' or 'batch_hard', "
            f"a larger margin (suggest_margin gives one), or more identities a batch"
        )
    return None
