"""The score from which on somebody is named, so that at most a share of strangers is.

The false-positive identification rate (FPIR) of a gallery is the share of strangers, people who are not enrolled, that
it names all the same (ISO/IEC 19795-1; NIST's FRTE 1:N). It grows with the gallery: the more are enrolled, the more
alike to a stranger the closest of them is. So a threshold for pairs says little of it, and 1 − (1 − FPR)^N, which takes
the scores of one stranger for independent, needs an FPR of FPIR / N, which no validation set of a usual size can
measure. Here strangers are held against the very gallery that is used, however large it is and however many images of
each identity it holds: the highest score of each is what a stranger reaches *there*. benchmarks/identification.py
compares the ways.

With n identities of strangers, let r(t) be the mean, over identities, of the share of its images that reach a score t.
The threshold is the lowest t between two observed scores with r(t) ≤ FPIR. If the next stranger is exchangeable with
these, its rate is at most

    (n · FPIR + 1) / (n + 1)

in the mean over such sets of strangers, whatever the scores are like: one more identity among n + 1 is no worse than
the others (split conformal prediction; Bates et al. 2023, "Testing for outliers with conformal p-values"; for several
images of an identity: Dunn, Wasserman & Ramdas 2022, "Distribution-free prediction sets for two-layer hierarchical
models"). Where n · FPIR < 1, less than one identity may be named, and the lowest such t lies at the end of what was
observed: t is then also no lower than where the tail of the highest scores falls to FPIR. Distances d end at 0, so
that the smallest of them follow a power of d (Gnedenko 1943): −log d has an exponential tail, which is fitted by its
mean excess (Hill 1975).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from triune.distances.metric import Metric, check_metric
from triune.plain_labels import label_codes
from triune.ranges import is_number
from triune.recognition.named_strangers import FpirThreshold as FpirThreshold, StrangersNamed as StrangersNamed
from triune.verification.intervals import check_level, wilson_interval

Array: TypeAlias = np.ndarray[Any, Any]

TAIL_SHARE: Final = 0.1
"""Of the scores, the highest: the tail."""

TAIL_LEAST: Final = 10
"""Scores that a tail is fitted to at least, where there are as many."""

LEAST_DISTANCE: Final = 1e-7
"""Smaller ones are rounding."""

SLACK: Final = 1e-12
"""For rounding, where a rate is exactly the one asked for."""


@dataclass(frozen=True)
class StrangerScores:
    """How alike strangers are to a gallery.

    Args:
        name: who they are, in words.
        scores: ``(P,)`` each image's highest score with an enrolled identity that is not its own: the cosine
            similarity, or minus the distance.
        identities: ``(P,)`` whose image it is, int64 codes.
        exchangeable: whether the next stranger is as these are, so that they can promise something; not so of the
            enrolled identities themselves, nor of identities by which something of the network was chosen.
    """

    name: str
    scores: Array
    identities: Array
    exchangeable: bool = True


def fpir_threshold(
    strangers: Sequence[StrangerScores], fpir: float, *, metric: Metric = "cosine", level: float = 0.95
) -> FpirThreshold:
    """The score from which on somebody is named, so that a share of strangers of at most ``fpir`` is.

    >>> known = StrangerScores("validation", scores, identities)
    >>> fpir_threshold([known], 0.05).threshold

    Args:
        strangers: one set, or several of which the strictest decides.
        fpir: the false-positive identification rate asked for.
        metric: what the scores are.
        level: of the intervals.

    Raises:
        ValueError: there are no strangers, a score is NaN, counts differ, or ``fpir`` does not lie between 0 and 1.
    """
    check_level(level)
    check_metric(metric)
    if not (is_number(fpir) and 0 < fpir < 1):
        raise ValueError(f"fpir is {fpir!r}: a rate between 0 and 1, such as 0.01, is needed")
    sets = [(each, *_checked(each)) for each in strangers if len(each.scores)]
    if not sets:
        raise ValueError("there are no strangers to set a threshold by")
    own = [_own_threshold(scores, weights, count, fpir, metric) for _, scores, weights, count in sets]
    threshold = max(value for value, _ in own)
    found, promised = [], None
    for (each, scores, weights, count), (_, extrapolated) in zip(sets, own, strict=True):
        rate = min(1.0, float(weights[scores >= threshold].sum()))
        low, high = wilson_interval(rate * count, count, level)
        found.append(StrangersNamed(each.name, count, len(scores), rate, float(low), float(high), level, extrapolated))
        if each.exchangeable:
            bound = (count * fpir + 1) / (count + 1)
            promised = bound if promised is None else min(promised, bound)
    return FpirThreshold(threshold, float(fpir), promised, tuple(found))


def _checked(strangers: StrangerScores) -> tuple[Array, Array, int]:
    """Scores in float64, what each weighs (all together 1, each identity alike), and the number of identities."""
    scores = np.asarray(strangers.scores, dtype=np.float64)
    codes = label_codes(strangers.identities, count=len(scores), name="identities", against="scores")
    if np.isnan(scores).any():
        raise ValueError(f"scores of strangers ({strangers.name}) hold NaN in row {int(np.isnan(scores).argmax())}")
    _, place, images = np.unique(codes, return_inverse=True, return_counts=True)
    return scores, 1 / (len(images) * images[place]), len(images)


def _own_threshold(scores: Array, weights: Array, count: int, fpir: float, metric: Metric) -> tuple[float, bool]:
    """What one set of strangers asks for, and whether that follows from the tail of their scores.

    Args:
        scores: ``(P,)``.
        weights: ``(P,)``, all together 1.
        count: of identities.
        fpir: the rate.
        metric: what the scores are.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, reached = scores[order], np.cumsum(weights[order])
    # Equal scores are accepted together: the rate of a score is that of its last occurrence.
    last = np.append(ranked[1:] != ranked[:-1], True)
    values, rates = ranked[last], reached[last]
    kept = int(np.searchsorted(rates, fpir + SLACK, side="right"))
    if kept == len(values):
        counted = -math.inf  # all may be named
    elif kept == 0:
        counted = _just_above(values[0])
    else:
        middle = values[kept] / 2 + values[kept - 1] / 2
        counted = middle if middle > values[kept] else values[kept - 1]
    if fpir * count >= 1:
        return float(counted), False
    return max(float(counted), _tail(ranked, weights[order], fpir, metric)), True


def _tail(ranked: Array, weights: Array, fpir: float, metric: Metric) -> float:
    """Where the tail falls to a rate; −∞ where there is none to fit.

    With w the share of the images above the score of y = −log d, and b their mean excess over y, it does so where
    w · e^−((y' − y) / b) = fpir.

    Args:
        ranked: ``(P,)`` scores, the highest first.
        weights: ``(P,)`` what each counts, all together 1.
        fpir: the rate.
        metric: what the scores are.
    """
    k = min(max(TAIL_LEAST, math.ceil(TAIL_SHARE * len(ranked))), len(ranked) - 1)
    if k < 2:
        return -math.inf
    offset = 1.0 if metric == "cosine" else 0.0
    y = -np.log(np.maximum(offset - ranked[: k + 1], LEAST_DISTANCE))
    share = float(weights[:k].sum())
    if fpir >= share:
        return -math.inf
    excess = float((weights[:k] * (y[:k] - y[k])).sum()) / share
    return offset - math.exp(-(float(y[k]) + excess * math.log(share / fpir)))


def _just_above(score: float) -> float:
    """A little more than a score, by more than rounding may move it where it is computed in another way."""
    return float(score + max(abs(score), 1e-3) * 1e-5)
