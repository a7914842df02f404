"""A threshold fitted on one set of pairs, to be applied to others: what it is, and what it was measured by."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from triune.distances.embeddings import Metric
from triune.verification.roc import Confusion, Verification, as_array

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Threshold:
    """Accept a pair when its score ≥ ``threshold``.

    The threshold lies in the middle between the lowest score that was accepted and the next lower score of any pair, so
    that it decides the pairs it was fitted on as the lowest accepted score does, and still does where rounding moves
    their scores a little (:func:`~triune.pairs.scores.paired_scores` says how far). Where the two scores are
    neighbouring floats there is no such room.

    >>> threshold = fit_threshold(validation, 0.05, metric="cosine", fitted_on="val")
    >>> threshold.apply(test).fpr, bool(threshold.accepts_distance(0.3))

    Args:
        threshold: a score in float64; +∞ where no score keeps the budget, so that nothing is accepted, and −∞ where the
            budget is 1, so that everything is.
        lowest_accepted: the lowest observed score that was accepted: the threshold to report. +∞ if there was none.
        metric: what the scores are: the cosine similarity, or minus that distance; ``None`` for scores of another kind.
        target_fpr: the budget it was fitted for.
        tpr: what it did to the matching pairs it was fitted on.
        fpr: what it did to the others; never above ``target_fpr``.
        matches: how many matching pairs those were.
        impostors: how many others.
        reliable: whether they were enough to measure the budget by.
        reason: why not.
        fitted_on: which set that was, in words.
    """

    threshold: float
    lowest_accepted: float
    metric: Metric | None
    target_fpr: float
    tpr: float
    fpr: float
    matches: int
    impostors: int
    reliable: bool
    reason: str | None
    fitted_on: str

    @property
    def distance(self) -> float:
        """The largest distance that is accepted: 1 − similarity for the cosine, minus the score otherwise."""
        return 1.0 - self.threshold if self.metric == "cosine" else -self.threshold

    def accepts(self, scores: Any) -> Array:
        """Which of the scores are accepted; booleans of their shape."""
        # In float64: NumPy would round a plain number to the float32 of the scores, which may be a rejected one.
        accepted: Array = as_array(scores) >= np.float64(self.threshold)
        return accepted

    def accepts_distance(self, distances: Any) -> Array:
        """Which of the distances are accepted.

        Raises:
            ValueError: the threshold is of scores that are no distances.
        """
        if self.metric is None:
            raise ValueError("this threshold was fitted on scores, not on distances: use accepts()")
        accepted: Array = as_array(distances) <= np.float64(self.distance)
        return accepted

    def apply(self, verification: Verification) -> Confusion:
        """What it does to other pairs."""
        return verification.confusion_at(self.threshold)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with the distance, for JSON; :meth:`from_dict` reads them back."""
        return {**asdict(self), "distance": self.distance}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Threshold":
        """The threshold of :meth:`as_dict`, also after JSON made words of infinity, and of version 0.1.0.

        Raises:
            ValueError: something is missing.
        """
        fields = {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}
        if "threshold" in fields:  # at first, the lowest accepted score was what was stored
            fields.setdefault("lowest_accepted", fields["threshold"])
        missing = sorted(set(cls.__dataclass_fields__) - set(fields))
        if missing:
            raise ValueError(f"a stored threshold lacks {', '.join(missing)}")
        return cls(**fields | {name: float(fields[name]) for name in ("threshold", "lowest_accepted")})


def fit_threshold(
    verification: Verification, fpr: float, *, metric: Metric | None = None, fitted_on: str = "validation"
) -> Threshold:
    """The threshold that keeps a false-positive budget with the most matching pairs, to be applied to other pairs.

    Args:
        verification: the pairs to fit on; not those that are to be reported.
        fpr: the budget.
        metric: what the scores are.
        fitted_on: which set that is, in words.

    Raises:
        ValueError: ``fpr`` is not from 0 to 1.
    """
    bracket = verification.bracket_at_fpr(fpr)
    everything = bracket.false_positives == verification.impostors
    reason = verification.why_unreliable_at(fpr)
    return Threshold(
        threshold=-math.inf if everything else _middle(bracket.rejected, bracket.accepted),
        lowest_accepted=bracket.accepted,
        metric=metric,
        target_fpr=fpr,
        tpr=verification.tpr_at_fpr(fpr),
        fpr=bracket.false_positives / verification.impostors,
        matches=verification.matches,
        impostors=verification.impostors,
        reliable=reason is None,
        reason=reason,
        fitted_on=fitted_on,
    )


def _middle(rejected: float, accepted: float) -> float:
    """The middle between two scores, in float64; the accepted one where no float lies between, or one is infinite."""
    middle = rejected / 2 + accepted / 2
    return middle if math.isfinite(middle) and rejected < middle else accepted
