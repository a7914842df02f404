"""Counts to rates: TPR, FPR, ROC, AUC, TPR@FPR, EER, from the scores of matching and of non-matching pairs."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from torch import Tensor

from triune.arrays import as_tensor
from triune.ranges import is_number
from triune.verification.impostors import Impostors, Listed

Array: TypeAlias = np.ndarray[Any, Any]


FPRS: Final = (0.05, 0.01, 0.001)
"""The false-positive budgets that are reported where no others are asked for, the most generous first."""

LEAST_EXPECTED_FALSE_POSITIVES = 30
"""With fewer expected false positives, a measured FPR is off by about a fifth or more, one time in three."""


class Confusion(NamedTuple):
    """Pairs accepted and rejected at one threshold.

    Args:
        tp: matching pairs that are accepted.
        fp: non-matching pairs that are accepted.
        tn: non-matching pairs that are rejected.
        fn: matching pairs that are rejected.
    """

    tp: int
    fp: int
    tn: int
    fn: int

    @property
    def tpr(self) -> float:
        """TP / (TP + FN); NaN without matching pairs."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def fpr(self) -> float:
        """FP / (FP + TN); NaN without non-matching pairs."""
        return _ratio(self.fp, self.fp + self.tn)

    @property
    def precision(self) -> float:
        """TP / (TP + FP); NaN where nothing is accepted."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def accuracy(self) -> float:
        """(TP + TN) / all."""
        return _ratio(self.tp + self.tn, sum(self))


class OperatingPoint(NamedTuple):
    """What a false-positive budget gives.

    Args:
        target_fpr: the budget.
        threshold: the lowest observed score that keeps it; +∞ where none does.
        tpr: the share of matching pairs accepted there.
        fpr: the share of non-matching pairs really accepted there, never above the budget.
        reliable: whether there are enough non-matching pairs to measure the budget by.
        reason: why not.
    """

    target_fpr: float
    threshold: float
    tpr: float
    fpr: float
    reliable: bool
    reason: str | None


class Bracket(NamedTuple):
    """The two observed scores between which a false-positive budget divides the pairs; no score lies between them.

    Args:
        rejected: the highest score that is rejected; −∞ where every pair is accepted.
        accepted: the lowest score that is accepted; +∞ where none is.
        false_positives: how many non-matching pairs are accepted.
    """

    rejected: float
    accepted: float
    false_positives: int


class CostPoint(NamedTuple):
    """The threshold that costs least.

    Args:
        threshold: an observed score, or +∞ where accepting nothing costs least.
        cost: expected cost of a comparison.
        normalized: the same over that of the better of accepting all and accepting nothing; 1 means useless scores.
        confusion: what the threshold does to the pairs.
    """

    threshold: float
    cost: float
    normalized: float
    confusion: Confusion


@dataclass(frozen=True)
class Verification:
    """The exact ROC of a set of scored pairs. A pair is accepted when its score ≥ threshold; ties go together.

    Made by :func:`verify_scores` or :func:`~triune.verification.all_pairs.verify_embeddings`.

    Args:
        match_scores: of the matching pairs, ascending.
        impostor: the scores of the non-matching pairs, listed or counted.
    """

    match_scores: Array
    impostor: Impostors

    @property
    def matches(self) -> int:
        """How many pairs match."""
        return len(self.match_scores)

    @property
    def impostors(self) -> int:
        """How many pairs do not."""
        return self.impostor.count

    def detached(self) -> "Verification":
        """The same without the embeddings it came from, to be kept or pickled.

        Curves, AUC, EER and the budgets it was made for are at hand; another budget or threshold, which would take
        another visit of all pairs, is then a ValueError. Of listed scores nothing changes.
        """
        return Verification(self.match_scores, self.impostor.detached())

    @property
    def impostor_scores(self) -> Array:
        """Of the non-matching pairs, ascending, where they are listed."""
        if not isinstance(self.impostor, Listed):
            raise ValueError("the non-matching pairs were counted, not listed: ask for histogram(), roc() or at()")
        return self.impostor.scores

    @cached_property
    def auc(self) -> float:
        """Area under the step ROC, ties counted half: the Mann–Whitney statistic."""
        scores, times = self._knots
        both = self.impostor.below(scores) + self.impostor.up_to(scores)
        # Whole numbers until the last step: Python's have no limit, and 64 bits hold a score's share of them.
        return int(sum(int(part.sum()) for part in np.array_split(both * times, 1024))) / (
            2 * self.matches * self.impostors
        )

    @cached_property
    def eer(self) -> float:
        """Equal error rate: where FNR meets FPR, by linear interpolation between the two neighbouring points."""
        fpr, tpr, _ = self.roc()
        gap = (1 - tpr) - fpr
        # Never the first point, which accepts nothing: its gap is 1.
        after = int(np.argmax(gap <= 0))
        if gap[after] == 0:
            return float(fpr[after])
        share = gap[after - 1] / (gap[after - 1] - gap[after])
        return float(fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))

    def roc(self) -> tuple[Array, Array, Array]:
        """FPR, TPR and threshold, from +∞ (nothing accepted) down to the lowest score.

        A point for every observed score where the scores are listed. Where they are counted, the corners: the points
        left out lie on the straight lines between them, and the threshold before a corner is the least float above a
        match score.
        """
        scores = self.impostor.corners(self._knots[0])[::-1]
        tp = self.matches - np.searchsorted(self.match_scores, scores, side="left")
        fp = self.impostors - self.impostor.below(scores)
        start = np.zeros(1)
        return (
            np.concatenate([start, fp / self.impostors]),
            np.concatenate([start, tp / self.matches]),
            np.concatenate([[math.inf], scores.astype(np.float64)]),
        )

    def det(self) -> tuple[Array, Array, Array]:
        """The detection error trade-off: FPR, FNR = 1 − TPR and threshold, as in :meth:`roc`."""
        fpr, tpr, threshold = self.roc()
        return fpr, 1 - tpr, threshold

    def partial_auc(self, max_fpr: float, *, standardized: bool = False) -> float:
        """Area under the ROC from FPR 0 to ``max_fpr``, over ``max_fpr``: the mean TPR in that range.

        Within tied scores the curve is the straight line between its points, as in :attr:`auc`.

        Args:
            max_fpr: a rate above 0, up to 1.
            standardized: scale it so that chance gives ½ and perfect scores 1 (McClish 1989), as scikit-learn does.
        """
        if not (is_number(max_fpr) and 0 < max_fpr <= 1):
            raise ValueError(f"max_fpr is {max_fpr}: a rate above 0, up to 1, is needed")
        fpr, tpr, _ = self.roc()
        stop = int(np.searchsorted(fpr, max_fpr, side="right"))
        end = np.interp(max_fpr, fpr[stop - 1 : stop + 1], tpr[stop - 1 : stop + 1])
        x, y = np.append(fpr[:stop], max_fpr), np.append(tpr[:stop], end)
        area = float(np.trapezoid(y, x))
        if not standardized:
            return area / max_fpr
        chance = 0.5 * max_fpr * max_fpr
        return 0.5 * (1 + (area - chance) / (max_fpr - chance))

    def tpr_at_fpr(self, fpr: float) -> float:
        """TPR@FPR: the largest TPR among the thresholds whose FPR ≤ ``fpr``; no interpolation."""
        # TPR only grows as the threshold falls: the lowest match score that keeps the budget has it.
        knots, _ = self._knots
        kept = self.impostors - self.impostor.below(knots) <= self._allowed(fpr)
        if not kept.any():
            return 0.0
        lowest = knots[int(np.argmax(kept))]
        return (self.matches - int(np.searchsorted(self.match_scores, lowest, side="left"))) / self.matches

    def threshold_at_fpr(self, fpr: float) -> float:
        """The lowest observed score whose FPR ≤ ``fpr``; +∞ where even the highest score accepts too many.

        Raises:
            ValueError: ``fpr`` is not from 0 to 1.
        """
        return self.bracket_at_fpr(fpr).accepted

    def bracket_at_fpr(self, fpr: float) -> Bracket:
        """The neighbouring observed scores between which a budget divides the pairs.

        Any threshold above the first and up to the second decides these pairs alike. An impostor score is what bars a
        lower threshold, so it is the next lower score of all: nothing more has to be looked up.

        Raises:
            ValueError: ``fpr`` is not from 0 to 1.
        """
        allowed = self._allowed(fpr)
        if allowed >= self.impostors:
            return Bracket(-math.inf, float(min(self.match_scores[0], self.impostor.lowest)), self.impostors)
        barred = self.impostor.around(self.impostors - 1 - allowed)  # accepting it would be one too many
        place = int(np.searchsorted(self.match_scores, barred.score, side="right"))
        matching = float(self.match_scores[place]) if place < self.matches else math.inf
        return Bracket(barred.score, min(matching, barred.above), self.impostors - barred.up_to)

    def operating_point(self, fpr: float) -> OperatingPoint:
        """The threshold, the TPR and the realised FPR of a budget, and whether there are pairs enough to trust it."""
        bracket = self.bracket_at_fpr(fpr)
        reason = self.why_unreliable_at(fpr)
        return OperatingPoint(
            target_fpr=fpr,
            threshold=bracket.accepted,
            tpr=self.tpr_at_fpr(fpr),
            fpr=bracket.false_positives / self.impostors,
            reliable=reason is None,
            reason=reason,
        )

    def least_cost(self, prior: float, *, miss: float = 1.0, false_alarm: float = 1.0) -> CostPoint:
        """The threshold with the least expected cost, prior·miss·FNR + (1 − prior)·false_alarm·FPR.

        The detection cost function of NIST's speaker recognition evaluations. Of equal costs the highest threshold.

        Args:
            prior: how likely a comparison is of the same identity, from 0 to 1.
            miss: what rejecting a matching pair costs.
            false_alarm: what accepting a non-matching pair costs.
        """
        if not (is_number(prior) and 0 <= prior <= 1):
            raise ValueError(f"prior is {prior}: a probability from 0 to 1 is needed")
        if not (0 <= miss < math.inf and 0 <= false_alarm < math.inf):
            raise ValueError(f"the costs are {miss} and {false_alarm}: finite numbers, at least 0, are needed")
        knots = self._knots[0]
        fnr = np.append(np.searchsorted(self.match_scores, knots, side="left") / self.matches, 1.0)
        fpr = np.append((self.impostors - self.impostor.below(knots)) / self.impostors, 0.0)
        cost = prior * miss * fnr + (1 - prior) * false_alarm * fpr
        best = len(cost) - 1 - int(np.argmin(cost[::-1]))
        threshold = math.inf if best == len(knots) else float(knots[best])
        trivial = min(prior * miss, (1 - prior) * false_alarm)
        least = float(cost[best])
        return CostPoint(threshold, least, least / trivial if trivial else math.nan, self.confusion_at(threshold))

    def confusion_at(self, threshold: float) -> Confusion:
        """TP, FP, TN, FN when pairs with score ≥ ``threshold`` are accepted."""
        if not is_number(threshold):
            raise ValueError(f"threshold is {threshold}: a number is needed")
        fn = int(np.searchsorted(self.match_scores, threshold, side="left"))
        tn = int(self.impostor.below(np.array([threshold], dtype=np.float64))[0])
        return Confusion(tp=self.matches - fn, fp=self.impostors - tn, tn=tn, fn=fn)

    def histogram(self, bins: int = 80) -> tuple[Array, Array, Array]:
        """Histograms of all scores: edges ``(B + 1,)``, counts of matching and of non-matching pairs ``(B,)`` int64.

        Listed scores fall into exactly ``bins`` bins; counted ones into about as many.
        """
        low = min(float(self.match_scores[0]), self.impostor.lowest)
        high = max(float(self.match_scores[-1]), self.impostor.at(self.impostors - 1))
        if not high > low:
            low, high = low - 0.5, high + 0.5
        edges, impostors = self.impostor.histogram(low, high, bins)
        return edges, np.histogram(self.match_scores, edges)[0], impostors

    def reliable_at(self, fpr: float) -> bool:
        """Whether there are enough non-matching pairs to measure this FPR: at least 30 false positives expected."""
        return fpr * self.impostors >= LEAST_EXPECTED_FALSE_POSITIVES

    def why_unreliable_at(self, fpr: float) -> str | None:
        """Why there are not enough, or ``None`` where there are."""
        if self.reliable_at(fpr):
            return None
        expected = fpr * self.impostors
        return f"only {expected:.1f} false positives are expected; {LEAST_EXPECTED_FALSE_POSITIVES} are needed"

    @cached_property
    def _knots(self) -> tuple[Array, Array]:
        """The distinct match scores, ascending, and how often each occurs."""
        return np.unique(self.match_scores, return_counts=True)

    def _allowed(self, fpr: float) -> int:
        """How many false positives ``fpr`` allows: the largest whole number whose rate does not exceed it."""
        if not (is_number(fpr) and 0 <= fpr <= 1):
            raise ValueError(f"fpr is {fpr}: a rate from 0 to 1 is needed")
        # The rate is compared, not the product: 7 of 100 keep a budget of 0.07 although 0.07 * 100 > 7.
        count = math.floor(fpr * self.impostors)
        while count < self.impostors and (count + 1) / self.impostors <= fpr:
            count += 1
        while count / self.impostors > fpr:
            count -= 1
        return count


def verify_scores(scores: Tensor | Array | list[float], is_match: Tensor | Array | list[bool]) -> Verification:
    """The exact ROC of a list of scored pairs. Scores are used as they are: nothing squashes them.

    Args:
        scores: ``(N,)``, higher means more alike (give minus the distance for distances); ±∞ is allowed.
        is_match: ``(N,)`` booleans, or 0 and 1: whether the pair shows the same identity.

    Raises:
        ValueError: shapes differ, a score is NaN, ``is_match`` holds something else, or one kind of pair is missing.
    """
    values = as_array(scores)
    flags = as_array(is_match, "is_match")
    if values.ndim != 1 or values.shape != flags.shape:
        raise ValueError(f"scores has shape {values.shape} and is_match {flags.shape}: one score and one flag a pair")
    if values.dtype.kind not in "fiub":
        raise ValueError(f"scores has dtype {values.dtype}: numbers are needed")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError(f"scores[{int(np.isnan(values).argmax())}] is NaN: drop the pair or mend its score")
    if flags.dtype != np.bool_:
        if not np.isin(flags, (0, 1)).all():
            raise ValueError("is_match holds something other than 0 and 1, or True and False")
        flags = flags.astype(bool)
    return from_scores(values[flags], values[~flags])


def from_scores(match_scores: Array, impostor_scores: Array) -> Verification:
    """The ROC of matching and non-matching pairs' scores, in any order.

    Raises:
        ValueError: one of the two is empty.
    """
    if not len(match_scores):
        raise ValueError("there is no matching pair: TPR is not defined; give pairs that show the same identity")
    if not len(impostor_scores):
        raise ValueError("there is no non-matching pair: FPR is not defined; give pairs of different identities")
    return Verification(np.sort(match_scores), Listed(np.sort(impostor_scores)))


def as_array(values: Any, name: str = "scores") -> Array:
    """Numbers or flags as a NumPy array; half precision widened to float32, so that thresholds are float32 scores.

    Args:
        values: whatever :func:`~triune.arrays.as_tensor` reads.
        name: how errors call them.
    """
    tensor = as_tensor(values, name).detach().cpu()
    tensor = tensor.float() if tensor.dtype.is_floating_point and tensor.dtype.itemsize < 4 else tensor
    return np.asarray(tensor.numpy())


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
