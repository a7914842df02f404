"""A threshold fitted on one set of pairs, to be applied to others: what it is, and what it was measured by."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from triune.distances.embeddings import Metric
from triune.verification.roc import Confusion, Verification

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Threshold:
    """Accept a pair when its score ≥ ``threshold``.

    >>> threshold = fit_threshold(validation, 0.05, metric="cosine", fitted_on="val")
    >>> threshold.apply(test).fpr, bool(threshold.accepts_distance(0.3))

    Args:
        threshold: a score; +∞ where no score keeps the budget, so that nothing is accepted.
        metric: what the scores are: the cosine similarity, or minus that distance; ``None`` for scores of another kind.
        target_fpr: the budget it was fitted for.
        tpr, fpr: what it did to the pairs it was fitted on.
        matches, impostors: how many those were.
        reliable: whether they were enough to measure the budget by.
        reason: why not.
        fitted_on: which set that was, in words.
    """

    threshold: float
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
        accepted: Array = np.asarray(scores) >= self.threshold
        return accepted

    def accepts_distance(self, distances: Any) -> Array:
        """Which of the distances are accepted.

        Raises:
            ValueError: the threshold is of scores that are no distances.
        """
        if self.metric is None:
            raise ValueError("this threshold was fitted on scores, not on distances: use accepts()")
        accepted: Array = np.asarray(distances) <= self.distance
        return accepted

    def apply(self, verification: Verification) -> Confusion:
        """What it does to other pairs."""
        return verification.confusion_at(self.threshold)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with the distance, for JSON; :meth:`from_dict` reads them back."""
        return {**asdict(self), "distance": self.distance}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Threshold":
        """The threshold of :meth:`as_dict`, also after JSON made words of infinity.

        Raises:
            ValueError: something is missing.
        """
        fields = {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}
        missing = sorted(set(cls.__dataclass_fields__) - set(fields))
        if missing:
            raise ValueError(f"a stored threshold lacks {', '.join(missing)}")
        return cls(**{**fields, "threshold": float(fields["threshold"])})


def fit_threshold(
    verification: Verification, fpr: float, *, metric: Metric | None = None, fitted_on: str = "validation"
) -> Threshold:
    """The lowest observed score that keeps a false-positive budget, to be applied to other pairs.

    Args:
        verification: the pairs to fit on; not those that are to be reported.
        fpr: the budget.
        metric: what the scores are.
        fitted_on: which set that is, in words.

    Raises:
        ValueError: ``fpr`` is not from 0 to 1.
    """
    point = verification.operating_point(fpr)
    return Threshold(
        threshold=point.threshold,
        metric=metric,
        target_fpr=fpr,
        tpr=point.tpr,
        fpr=point.fpr,
        matches=verification.matches,
        impostors=verification.impostors,
        reliable=point.reliable,
        reason=point.reason,
        fitted_on=fitted_on,
    )
