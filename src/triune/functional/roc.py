"""Counts to rates: TPR, FPR, ROC, AUC, TPR@FPR, EER, from the scores of matching and of non-matching pairs."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from torch import Tensor

Array: TypeAlias = np.ndarray[Any, Any]

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


@dataclass(frozen=True)
class Verification:
    """The exact ROC of a set of scored pairs. A pair is accepted when its score ≥ threshold; ties go together.

    Made by :func:`verify_scores` or :func:`~triune.functional.pairs.verify_embeddings`.

    Args:
        match_scores: of the matching pairs, ascending.
        impostor_scores: of the non-matching pairs, ascending.
    """

    match_scores: Array
    impostor_scores: Array

    @property
    def matches(self) -> int:
        """How many pairs match."""
        return len(self.match_scores)

    @property
    def impostors(self) -> int:
        """How many pairs do not."""
        return len(self.impostor_scores)

    @property
    def auc(self) -> float:
        """Area under the step ROC, ties counted half: the Mann–Whitney statistic."""
        below = np.searchsorted(self.impostor_scores, self.match_scores, side="left")
        up_to = np.searchsorted(self.impostor_scores, self.match_scores, side="right")
        # Whole numbers until the last step: exact up to 2**63 pairs.
        return (int(below.sum(dtype=np.int64)) + int(up_to.sum(dtype=np.int64))) / (2 * self.matches * self.impostors)

    @property
    def eer(self) -> float:
        """Equal error rate: where FNR meets FPR, by linear interpolation between the two neighbouring points."""
        fpr, tpr, _ = self.roc()
        gap = (1 - tpr) - fpr
        after = int(np.argmax(gap <= 0))
        if gap[after] == 0 or after == 0:
            return float(fpr[after])
        share = gap[after - 1] / (gap[after - 1] - gap[after])
        return float(fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))

    def roc(self) -> tuple[Array, Array, Array]:
        """FPR, TPR and threshold at every observed score, from +∞ (nothing accepted) down to the lowest."""
        scores = np.union1d(self.match_scores, self.impostor_scores)[::-1]
        tp = self.matches - np.searchsorted(self.match_scores, scores, side="left")
        fp = self.impostors - np.searchsorted(self.impostor_scores, scores, side="left")
        start = np.zeros(1)
        return (
            np.concatenate([start, fp / self.impostors]),
            np.concatenate([start, tp / self.matches]),
            np.concatenate([[math.inf], scores.astype(np.float64)]),
        )

    def tpr_at_fpr(self, fpr: float) -> float:
        """TPR@FPR: the largest TPR among the thresholds whose FPR ≤ ``fpr``; no interpolation."""
        threshold = self._lowest_allowed(fpr)
        return 0.0 if threshold is None else self.confusion_at(threshold).tpr

    def threshold_at_fpr(self, fpr: float) -> float:
        """The lowest observed score whose FPR ≤ ``fpr``; +∞ where even the highest score accepts too many.

        Raises:
            ValueError: ``fpr`` is not from 0 to 1.
        """
        threshold = self._lowest_allowed(fpr)
        return math.inf if threshold is None else threshold

    def confusion_at(self, threshold: float) -> Confusion:
        """TP, FP, TN, FN when pairs with score ≥ ``threshold`` are accepted."""
        if math.isnan(threshold):
            raise ValueError("threshold is NaN: a number is needed")
        fn = int(np.searchsorted(self.match_scores, threshold, side="left"))
        tn = int(np.searchsorted(self.impostor_scores, threshold, side="left"))
        return Confusion(tp=self.matches - fn, fp=self.impostors - tn, tn=tn, fn=fn)

    def reliable_at(self, fpr: float) -> bool:
        """Whether there are enough non-matching pairs to measure this FPR: at least 30 false positives expected."""
        return fpr * self.impostors >= LEAST_EXPECTED_FALSE_POSITIVES

    def _lowest_allowed(self, fpr: float) -> float | None:
        # TPR only grows as the threshold falls, so the lowest allowed threshold has the largest allowed TPR.
        allowed = self._allowed(fpr)
        if allowed >= self.impostors:
            return float(min(self.match_scores[0], self.impostor_scores[0]))
        barred = self.impostor_scores[self.impostors - 1 - allowed]  # accepting it would be one too many
        candidates = [
            scores[place]
            for scores in (self.match_scores, self.impostor_scores)
            if (place := int(np.searchsorted(scores, barred, side="right"))) < len(scores)
        ]
        return float(min(candidates)) if candidates else None

    def _allowed(self, fpr: float) -> int:
        """How many false positives ``fpr`` allows: the largest whole number whose rate does not exceed it."""
        if not 0 <= fpr <= 1:
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
    values = _as_array(scores)
    flags = _as_array(is_match)
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
    return Verification(np.sort(match_scores), np.sort(impostor_scores))


def _as_array(values: Any) -> Array:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype.is_floating_point and values.dtype.itemsize < 4 else values
        array: Array = values.numpy()
        return array
    return np.asarray(values)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
