"""How sure a verification figure is: intervals that resample identities.

The pairs of one identity stand or fall together, so pairs taken as independent give intervals that are far too narrow.
Here *identities* are drawn with replacement (Bolle, Ratha & Pankanti 2004, "Error analysis of pattern recognition
systems: the subsets bootstrap"; for pairs, whose two sides are both resampled, the vertex bootstrap of Snijders &
Borgatti 1999, reviewed in Fogliato, Patil & Perona 2024, "Confidence intervals for error rates in 1:1 matching tasks").
An identity g drawn w_g times gives each of its matching pairs the weight w_g, and each pair of different identities g
and h the weight w_g·w_h; copies of one identity are not paired with one another.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.labels import Labels, encode_labels_together
from triune.pairs.prepared import PreparedEmbeddings, as_prepared
from triune.parallel.blocks import own_blocks
from triune.parallel.divide import all_reduce, exact_sums, gather_in_order
from triune.parallel.group import rank_and_size
from triune.ranges import is_number
from triune.verification.all_pairs import verify_embeddings
from triune.verification.intervals import Interval, check_resamples, rate_interval
from triune.verification.new_identities import jackknife_interval
from triune.verification.pair_noise import (
    COLUMNS,
    accepted_by_identity,
    add_by_identity,
    identity_turns,
    without_pair_noise,
)
from triune.verification.resampled_figures import ResampledFigures, figures_of_histograms, joined_figures
from triune.verification.roc import FPRS, Verification, as_array, verify_scores
from triune.verification.weighing import (
    bins_of,
    choose_knots,
    draw_weights,
    match_scores_by_identity,
    weigh_impostors,
    weigh_list,
    weigh_matches,
)

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Intervals:
    """The verification figures with their intervals.

    Args:
        auc: area under the ROC curve.
        eer: equal error rate.
        tpr_at_fpr: by false-positive budget; the threshold is found anew in every resample.
        tpr_at_threshold: by threshold, which stays as it is.
        fpr_at_threshold: likewise.
        identities: how many identities were resampled.
        resamples: how often.
        level: the share of such intervals that should cover the truth.
    """

    auc: Interval
    eer: Interval
    tpr_at_fpr: Mapping[float, Interval]
    tpr_at_threshold: Mapping[float, Interval]
    fpr_at_threshold: Mapping[float, Interval]
    identities: int
    resamples: int
    level: float


def bootstrap_verification(
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels | None = None,
    *,
    metric: Metric | None = None,
    fprs: Sequence[float] = FPRS,
    thresholds: Sequence[float] = (),
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    groups: Labels | None = None,
    max_pairs: int = 100_000_000,
    verification: Verification | None = None,
    divide_over: ProcessGroup | None = None,
) -> Intervals:
    """AUC, EER, TPR@FPR and the rates at fixed thresholds over all pairs, with intervals that resample identities.

    Estimates are exact, those of :func:`~triune.verification.all_pairs.verify_embeddings`. Resampled figures come from
    histograms with an edge at every distinct match score, and are exact too where there are at most 2,000 of them;
    of more, 2,000 evenly spaced ones are taken, and TPR is off by less than the weight of the matching pairs between
    two neighbours, about 0.0005. Beyond ``max_pairs`` pairs the impostors are a random part of all: the items are
    split into equal random sets, and pairs within a set are weighed; resampled values are then shifted by what this
    changes in the estimate.

    Intervals are percentile intervals, but that of the FPR at a threshold, which leaves out one identity at a time
    (:func:`~triune.verification.new_identities.jackknife_interval`): of few identities resampled rates scatter too
    little. The spread of those that are given as its values is corrected
    (:func:`~triune.verification.pair_noise.without_pair_noise`). A resample without a matching or a non-matching pair
    is left out.

    Memory: about 32 KiB a resample and thread, a byte a resample and identity, 30 bytes a matching pair.
    Time: 3 to 10 s for 10,000 items and 1,000 resamples on two processor cores.

    Args:
        embeddings: ``(N, D)``; or what :func:`~triune.pairs.prepared.prepare` made of them, without labels, metric and
            groups.
        labels: ``(N,)`` identities.
        metric: the distance, the cosine where not given; the score is the cosine similarity, or minus the distance.
        fprs: false-positive budgets.
        thresholds: scores from which pairs are accepted.
        resamples: how often identities are drawn.
        level: the share of intervals that should cover the truth.
        seed: of the drawing.
        groups: ``(N,)``: pairs within a group are excluded, as in ``verify_embeddings``.
        max_pairs: most impostor pairs weighed.
        verification: what ``verify_embeddings`` says of the very same pairs, where it is at hand; saves doing it again.
        divide_over: processes that share the pairs and the resamples; each must call this with the same arguments,
            and all get the same.

    Raises:
        ValueError: as ``verify_embeddings``; or ``resamples``, ``level`` or a threshold makes no sense; or
            ``verification`` is of other pairs.
    """
    _check_settings(resamples, level, fprs, thresholds)
    prepared = as_prepared(embeddings, labels, metric, groups)
    exact = verification or verify_embeddings(prepared, fprs=fprs, divide_over=divide_over)
    items = prepared.cpu()
    weights = draw_weights(items.identities, resamples, seed)
    found = match_scores_by_identity(items)
    if verification is not None:
        _require_same_pairs(verification, found)
    witnesses = len({code for scores, code in found if len(scores)})
    values, own = _resample_items(items, found, weights, fprs, thresholds, max_pairs, seed, divide_over)
    return _summarise(exact, values, own, fprs, thresholds, (items.identities, witnesses), level)


ROUNDING = 1e-3
"""Scores of the same pairs, made in two ways, differ by less."""


def _require_same_pairs(verification: Verification, found: Sequence[tuple[Array, int]]) -> None:
    """Raise where a verification that was given is seen to be of other pairs: it has other matching scores."""
    scores = np.sort(np.concatenate([part for part, _ in found])) if found else np.empty(0)
    given = verification.match_scores
    if len(given) != len(scores):
        raise ValueError(
            f"verification is of other data: it has {len(given)} matching pairs, these embeddings have {len(scores)}"
        )
    apart = np.abs(given - scores) > ROUNDING * np.maximum(np.abs(scores), 1.0)
    if apart.any():
        raise ValueError(
            f"verification is of other data: the scores of {int(apart.sum())} matching pairs are not those of these "
            "embeddings"
        )


def bootstrap_scores(
    scores: Tensor | Array | Sequence[float],
    first_identity: Labels,
    second_identity: Labels,
    *,
    fprs: Sequence[float] = FPRS,
    thresholds: Sequence[float] = (),
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """The same for a list of scored pairs, such as a protocol's; a pair matches where both sides have one identity.

    Args:
        scores: ``(L,)``, higher means more alike.
        first_identity: ``(L,)`` who is on one side.
        second_identity: ``(L,)`` who is on the other.
        fprs: false-positive budgets.
        thresholds: scores from which pairs are accepted.
        resamples: how often identities are drawn.
        level: the share of intervals that should cover the truth.
        seed: of the drawing.

    Raises:
        ValueError: as :func:`~triune.verification.roc.verify_scores`; or there are not as many identities as scores.
    """
    _check_settings(resamples, level, fprs, thresholds)
    values = as_array(scores)
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    counts, names = (len(values), len(values)), ("first_identity", "second_identity")
    pair = encode_labels_together(
        first_identity, second_identity, counts=counts, names=names, against=("scores", "scores"), device="cpu"
    )
    first, second = (part.numpy() for part in pair)
    flags = first == second
    exact = verify_scores(values, flags)
    known, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    first, second = codes[: len(values)], codes[len(values) :]
    weights = draw_weights(len(known), resamples, seed)
    knots = choose_knots(exact.match_scores, thresholds)
    bins = bins_of(knots, values)
    matches = weigh_matches([(bins[flags], first[flags])], len(knots), weights)
    witnesses = len(np.unique(first[flags]))
    impostors = weigh_list(bins[~flags], first[~flags], second[~flags], len(knots), weights)
    figures = figures_of_histograms(matches, impostors, knots, fprs, thresholds)
    first, second = first[~flags], second[~flags]
    couples = np.minimum(first, second) * len(known) + np.maximum(first, second)
    figures = figures._replace(
        fpr_at_threshold=[
            without_pair_noise(rates, _listed_pair_noise(couples, values[~flags] >= threshold))
            for threshold, rates in zip(thresholds, figures.fpr_at_threshold)
        ]
    )
    ends = np.concatenate([first, second])
    met = np.bincount(ends, minlength=len(known))
    by_identity = [np.stack([np.bincount(ends, np.tile(values[~flags] >= t, 2), len(known)), met]) for t in thresholds]
    return _summarise(exact, figures, by_identity, fprs, thresholds, (len(known), witnesses), level)


def _couple_sums(
    items: PreparedEmbeddings, threshold: float, divide_over: ProcessGroup | None
) -> tuple[list[tuple[float, ...]], Array]:
    """Over pairs of identities, a of n pairs accepted: Σ a, Σ n, Σ a², Σ a·n, Σ n² of each of this process's turns.

    And ``(2, G)``: how many pairs of each identity with others are accepted, and how many it has.
    """
    sums = []
    by_identity = np.zeros((2, items.identities))
    for own, a, n in accepted_by_identity(items, items, threshold, identity_turns(items.identities, 0, divide_over)):
        for each in (a, n):
            each[np.arange(len(each)), np.arange(own.start, own.stop)] = 0
        add_by_identity(by_identity, own, a, n)
        products = (a, n, np.square(a), a * n, np.square(n))
        sums.append(tuple(float(each.sum()) for each in products))
    return sums, by_identity


def _pair_noise(a: float, n: float, aa: float, an: float, nn: float) -> float:
    """D / (Σ n)² of :func:`without_pair_noise`, from :func:`_couple_sums` of one or more parts.

    Two identities that meet in several parts are taken for several pairs, which can only make the interval wider.
    """
    rate = a / n if n else 0.0
    return float(aa - 2 * rate * an + rate * rate * nn) / max(n, 1.0) ** 2


def _listed_pair_noise(couples: Array, accepted: Array) -> float:
    """The same for listed pairs: each one's couple of identities, and whether it is accepted."""
    place = np.unique(couples, return_inverse=True)[1]
    residuals = np.bincount(place, accepted - accepted.mean())
    return float(np.square(residuals).sum() / len(couples) ** 2)


def _resample_items(
    items: PreparedEmbeddings,
    found: Sequence[tuple[Array, int]],
    weights: Array,
    fprs: Sequence[float],
    thresholds: Sequence[float],
    max_pairs: int,
    seed: int,
    divide_over: ProcessGroup | None,
) -> tuple[ResampledFigures, Array]:
    """The resampled figures, and ``(thresholds, 2, G)``: each identity's accepted and all pairs with others."""
    knots = choose_knots(np.sort(np.concatenate([scores for scores, _ in found])), thresholds).astype(np.float32)
    count = len(items.codes)
    sets = max(1, math.ceil(count * count / 2 / max_pairs))
    order = np.random.default_rng([seed, 1]).permutation(count)

    def parts() -> Iterator[tuple[PreparedEmbeddings, Array]]:
        """The random sets of items whose pairs are weighed, and the identities they know."""
        for rows in np.array_split(order, sets):
            part = items.take(np.sort(rows)) if sets > 1 else items
            known = np.unique(part.codes)
            yield part.among(known), known

    figures = []
    _, processes = rank_and_size(divide_over)
    # Histograms of all resamples at once would be the largest thing in memory.
    width = min(COLUMNS, math.ceil(weights.shape[1] / processes))
    for first in own_blocks(range(0, weights.shape[1], width), divide_over):
        drawn = np.ascontiguousarray(weights[:, first : first + width])
        impostors = np.zeros((2 * len(knots) + 1, drawn.shape[1]))
        for part, known in parts():
            weigh_impostors(part, knots, drawn[known], impostors)
        # Only now, when the threads' own histograms are gone.
        binned = ((bins_of(knots, scores), np.full(len(scores), code)) for scores, code in found)
        figures.append(
            figures_of_histograms(weigh_matches(binned, len(knots), drawn), impostors, knots, fprs, thresholds)
        )
    joined = joined_figures(gather_in_order(figures, divide_over))
    own: list[list[tuple[float, ...]]] = [[] for _ in thresholds]
    by_identity = np.zeros((len(thresholds), 2, items.identities))
    if thresholds:
        for part, known in parts():
            for k, threshold in enumerate(thresholds):
                sums_of_turns, counts = _couple_sums(part, threshold, divide_over)
                own[k] += sums_of_turns
                by_identity[k][:, known] += counts
    sums = exact_sums(own, 5, divide_over)
    rates = [without_pair_noise(each, _pair_noise(*sums[k])) for k, each in enumerate(joined.fpr_at_threshold)]
    by_identity = all_reduce(torch.from_numpy(by_identity), divide_over).numpy()
    return joined._replace(fpr_at_threshold=rates), by_identity


def _summarise(
    exact: Verification,
    values: ResampledFigures,
    by_identity: Sequence[Array] | Array,
    fprs: Sequence[float],
    thresholds: Sequence[float],
    identities: tuple[int, int],
    level: float,
) -> Intervals:
    """Estimates and intervals.

    Args:
        exact: the estimates.
        values: of the resamples.
        by_identity: for each threshold ``(2, G)``, how many pairs of each identity with others are accepted, and how
            many it has; of all pairs, or of a random part.
        fprs: false-positive budgets.
        thresholds: scores from which pairs are accepted.
        identities: how many there are, and how many of them have a matching pair.
        level: of the intervals.
    """

    def shifted(estimate: float, figure: Array) -> Array:
        """The resamples, without what the choice of knots and of pairs changes in the sample itself."""
        result: Array = np.clip(figure[1:] + (estimate - figure[0]), 0.0, 1.0)
        return result

    def interval(estimate: float, figure: Array, independent: float) -> Interval:
        return rate_interval(estimate, shifted(estimate, figure), level, independent)

    points = [exact.confusion_at(t) for t in thresholds]
    trials = float(identities[1])  # where no resample saw anything, every identity with a matching pair is one of TPR
    return Intervals(
        auc=interval(exact.auc, values.auc, trials),
        eer=interval(exact.eer, values.eer, trials),
        tpr_at_fpr={f: interval(exact.tpr_at_fpr(f), v, trials) for f, v in zip(fprs, values.tpr_at_fpr)},
        tpr_at_threshold={
            t: interval(point.tpr, v, trials) for t, point, v in zip(thresholds, points, values.tpr_at_threshold)
        },
        fpr_at_threshold={
            t: Interval(
                point.fpr, *jackknife_interval(counts[0], counts[1], level, rate=point.fpr), shifted(point.fpr, v)
            )
            for t, point, v, counts in zip(thresholds, points, values.fpr_at_threshold, by_identity)
        },
        identities=identities[0],
        resamples=len(values.auc) - 1,
        level=level,
    )


def _check_settings(resamples: int, level: float, fprs: Sequence[float], thresholds: Sequence[float]) -> None:
    check_resamples(resamples, level)
    for fpr in fprs:
        if not (is_number(fpr) and 0 <= fpr <= 1):
            raise ValueError(f"fprs holds {fpr}: rates from 0 to 1 are needed")
    for threshold in thresholds:
        if math.isnan(threshold):
            raise ValueError("thresholds holds NaN: numbers are needed")
