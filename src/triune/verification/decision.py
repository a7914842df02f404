"""A threshold that was fitted on one set of pairs and decides others: what it accepts, and what it was measured by."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from triune.distances.metric import Metric

if TYPE_CHECKING:
    from triune.verification.roc import Confusion, Verification

Array: TypeAlias = np.ndarray[Any, Any]

METHOD: Final = "delete-one-identity jackknife"
"""By which the intervals of :class:`ExpectedFPR` are made."""


@dataclass(frozen=True)
class ExpectedFPR:
    """The false-positive rate to be expected of a threshold among new identities of the same kind.

    It speaks of the rate over very many new identities; that of a few new ones scatters around it.

    Args:
        estimate: the rate among the identities at hand.
        low: lower end of the interval.
        high: upper end. 0 and 1 where the identities are too few to say anything.
        level: the share of such intervals that should cover the rate.
        identities: how many there were.
        impostors: how many non-matching pairs they made.
    """

    estimate: float
    low: float
    high: float
    level: float
    identities: int
    impostors: int


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
        expected: the false-positive rate to be expected among new identities; ``None`` where it is not known, since
            only scores were at hand or an earlier version fitted it.
        confidence: how sure it is that new identities see a false-positive rate of at most ``target_fpr``
            (:mod:`~triune.verification.promise` says under which assumption); ``None`` where nothing is promised.
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
    expected: ExpectedFPR | None = None
    confidence: float | None = None

    @property
    def distance(self) -> float:
        """The largest distance that is accepted: 1 − similarity for the cosine, minus the score otherwise."""
        return 1.0 - self.threshold if self.metric == "cosine" else -self.threshold

    def accepts(self, scores: Any) -> Array:
        """Which of the scores are accepted; booleans of their shape."""
        # In float64: NumPy would round a plain number to the float32 of the scores, which may be a rejected one.
        accepted: Array = _as_array(scores) >= np.float64(self.threshold)
        return accepted

    def accepts_distance(self, distances: Any) -> Array:
        """Which of the distances are accepted.

        Raises:
            ValueError: the threshold is of scores that are no distances.
        """
        if self.metric is None:
            raise ValueError("this threshold was fitted on scores, not on distances: use accepts()")
        accepted: Array = _as_array(distances) <= np.float64(self.distance)
        return accepted

    def apply(self, verification: "Verification") -> "Confusion":
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
        missing = sorted(set(cls.__dataclass_fields__) - {"expected", "confidence"} - set(fields))
        if missing:
            raise ValueError(f"a stored threshold lacks {', '.join(missing)}")
        if fields.get("expected") is not None:
            fields["expected"] = ExpectedFPR(**fields["expected"])
        return cls(**fields | {name: float(fields[name]) for name in ("threshold", "lowest_accepted")})


def without_promise(threshold: Threshold) -> Threshold:
    """The same threshold for scores that may come from another network: nothing is known of new identities there."""
    return replace(threshold, expected=None, confidence=None)


def _as_array(values: Any) -> Array:
    """Numbers as a NumPy array; whoever has other than NumPy's and Python's has torch already."""
    if isinstance(values, float | int | np.generic) or (isinstance(values, np.ndarray) and values.dtype.kind == "f"):
        array = np.asarray(values)
        return array.astype(np.float32) if array.dtype.itemsize < 4 else array
    from triune.verification.roc import as_array

    return as_array(values)
