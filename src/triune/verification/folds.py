"""Published lists of pairs in folds (LFW): thresholds from the other folds, rates in the one left out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from torch import Tensor

from triune.labels import Labels, encode_labels, plain_labels
from triune.verification.roc import FPRS, Verification, as_array, verify_scores

Array: TypeAlias = np.ndarray[Any, Any]


class Estimate(NamedTuple):
    """A mean over folds.

    Args:
        mean: over the folds.
        standard_error: standard deviation (over folds − 1) divided by √folds, as LFW prescribes.
    """

    mean: float
    standard_error: float


@dataclass(frozen=True)
class FoldRates:
    """What one false-positive budget gives in each fold.

    Args:
        target_fpr: the budget.
        thresholds: ``(F,)``, each fitted on the other folds; +∞ where no score keeps the budget there.
        tpr: ``(F,)``, the share of the fold's own matching pairs that the threshold accepts.
        fpr: ``(F,)``, that of the others; it may exceed the budget.
        reliable: whether the other folds always had enough non-matching pairs: 30 false positives expected.
    """

    target_fpr: float
    thresholds: Array
    tpr: Array
    fpr: Array
    reliable: bool

    @property
    def mean_tpr(self) -> Estimate:
        """TPR over the folds."""
        return _estimate(self.tpr)

    @property
    def mean_fpr(self) -> Estimate:
        """Realised FPR over the folds."""
        return _estimate(self.fpr)


@dataclass(frozen=True)
class FoldResult:
    """Thresholds chosen on all folds but one and applied to that one, F times.

    Args:
        folds: the F names, in the order of their first pair.
        thresholds: ``(F,)``: the most accurate on the other folds.
        accuracies: ``(F,)``: the share of the fold's own pairs that it decides rightly.
        rates: budget → its rates.
    """

    folds: tuple[Any, ...]
    thresholds: Array
    accuracies: Array
    rates: dict[float, FoldRates]

    @property
    def accuracy(self) -> Estimate:
        """Over the folds: LFW's "μ̂ ± S_E"."""
        return _estimate(self.accuracies)


def cross_validated_accuracy(
    scores: Tensor | Array | list[float],
    is_match: Tensor | Array | list[bool],
    folds: Labels,
    *,
    fprs: Sequence[float] = FPRS,
) -> FoldResult:
    """Thresholds chosen on all folds but one, applied to that one; mean and standard error over the folds.

    The protocol of Labeled Faces in the Wild, "View 2" (Huang, Ramesh, Berg and Learned-Miller 2007, section III.B),
    which has ten folds. A pair is accepted when its score ≥ threshold. Thresholds are observed scores of the other
    folds; of equally accurate ones the highest, which accepts the fewest pairs. Time: that of sorting the scores once
    a fold, too little to be divided over processes.

    Args:
        scores: ``(P,)``, higher means more alike; they are used as they are.
        is_match: ``(P,)`` booleans, or 0 and 1.
        folds: ``(P,)`` integers or strings.
        fprs: false-positive budgets whose thresholds are fitted and applied in the same way.

    Raises:
        ValueError: shapes differ, a score is NaN, there are fewer than two folds, or a fold lacks matching or
            non-matching pairs.
    """
    verify_scores(scores, is_match)  # raises what is wrong with the whole list
    values, flags = as_array(scores), as_array(is_match, "is_match").astype(bool)
    codes = encode_labels(folds, count=len(values), name="folds", against="scores", device="cpu").numpy()
    _, starts = np.unique(codes, return_index=True)
    starts = np.sort(starts)
    names = tuple(plain_labels(folds, "folds")[starts].tolist())
    if len(names) < 2:
        raise ValueError(
            f"folds names {len(names)} fold: at least two are needed, to choose on one and judge on another"
        )
    for name, start in zip(names, starts):
        kinds = flags[codes == codes[start]]
        if kinds.all() or not kinds.any():
            missing = "non-matching" if kinds.all() else "matching"
            raise ValueError(f"fold {name!r} has no {missing} pair: spread both kinds over all folds")
    thresholds, accuracies = np.empty(len(names)), np.empty(len(names))
    at = {fpr: (np.empty(len(names)), np.empty(len(names)), np.empty(len(names))) for fpr in fprs}
    reliable = dict.fromkeys(fprs, True)
    for place, start in enumerate(starts):
        held = codes == codes[start]
        others, own = verify_scores(values[~held], flags[~held]), verify_scores(values[held], flags[held])
        thresholds[place] = _most_accurate(others)
        accuracies[place] = own.confusion_at(thresholds[place]).accuracy
        for fpr, (chosen, tpr, realised) in at.items():
            chosen[place] = others.threshold_at_fpr(fpr)
            confusion = own.confusion_at(chosen[place])
            tpr[place], realised[place] = confusion.tpr, confusion.fpr
            reliable[fpr] &= others.reliable_at(fpr)
    rates = {fpr: FoldRates(fpr, *arrays, reliable=reliable[fpr]) for fpr, arrays in at.items()}
    return FoldResult(names, thresholds, accuracies, rates)


def _most_accurate(pairs: Verification) -> float:
    """The observed score with the fewest wrong decisions; of several the highest."""
    scores = np.union1d(pairs.match_scores, pairs.impostor_scores)
    rejected = np.searchsorted(pairs.match_scores, scores, side="left")
    accepted = pairs.impostors - np.searchsorted(pairs.impostor_scores, scores, side="left")
    wrong = rejected + accepted
    return float(scores[len(scores) - 1 - int(np.argmin(wrong[::-1]))])


def _estimate(values: Array) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))))
