"""``thresholds.json``: the thresholds that a run fitted on its validation pairs, one for each false-positive budget."""

import math
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import field_validator

from triune.distances.metric import Metric
from triune.errors import InputError
from triune.files import Record, read_record
from triune.verification.decision import Threshold

FORMAT: Final = 2
"""Of the file; 1 was the untyped dictionary of version 0.1.0's first runs."""


class StoredThresholds(Record):
    """The content of ``thresholds.json``.

    Args:
        metric: what the scores are.
        target_fpr: the budget of the run's own threshold.
        thresholds: one for each budget, the most generous first; empty where none could be fitted.
        unavailable: why there is none.
    """

    format: Literal[2] = FORMAT
    metric: Metric
    target_fpr: float
    thresholds: list[Threshold]
    unavailable: str | None = None

    @field_validator("thresholds")
    @classmethod
    def _decide(cls, thresholds: list[Threshold]) -> list[Threshold]:
        if any(math.isnan(each.threshold) for each in thresholds):
            raise ValueError("a threshold is not a number, and would call every pair different")
        for each in thresholds:
            if each.confidence is not None and not 0 < each.confidence < 1:
                raise ValueError(f"a threshold has the confidence {each.confidence:g}, which does not lie in 0 to 1")
            known = each.expected
            if known is not None and not (0 <= known.low <= known.estimate <= known.high <= 1 and 0 < known.level < 1):
                raise ValueError("the rate expected of a threshold does not lie in its interval, or that not in 0 to 1")
        return thresholds

    def at(self, fpr: float, source: str) -> Threshold:
        """The threshold of a budget.

        Args:
            fpr: the budget.
            source: what messages call the file.

        Raises:
            InputError: there is none for it; the message lists those there are.
        """
        if self.unavailable is not None:
            raise InputError(f"{source} holds no threshold: {self.unavailable}")
        for threshold in self.thresholds:
            if threshold.target_fpr == fpr:
                return threshold
        known = ", ".join(f"{threshold.target_fpr:g}" for threshold in self.thresholds)
        raise InputError(f"{source} holds no threshold for FPR {fpr:g}; it has them for {known}")

    def within(self, fpr: float, source: str) -> Threshold:
        """The threshold of a budget, or where none is stored for it that of the largest budget below, which keeps it.

        Args:
            fpr: the budget.
            source: what messages call the file.

        Raises:
            InputError: there is none for it, and none for a smaller one; the message lists those there are.
        """
        below = [each.target_fpr for each in self.thresholds if each.target_fpr <= fpr]
        return self.at(max(below, default=fpr), source)

    def own(self, source: str) -> Threshold:
        """The threshold of the run's own budget; as :meth:`at`."""
        return self.at(self.target_fpr, source)


def read_thresholds(path: Path) -> StoredThresholds:
    """Read a run's ``thresholds.json``, or one :meth:`Threshold.as_dict` as JSON.

    Raises:
        InputError: it is missing, damaged or another file; the message names the field.
    """
    return read_record(path, StoredThresholds, migrated)


def migrated(stored: Any) -> Any:
    """What format 1 held, or one threshold alone, as format 2; anything else as it is.

    Raises:
        KeyError, TypeError, AttributeError: it looks like one of the two, but parts are missing.
    """
    if not isinstance(stored, dict) or "format" in stored:
        return stored
    if "unavailable" in stored:
        # Format 1 did not say which metric and budget there would have been: those of the defaults stand for them.
        return {"format": FORMAT, "metric": "cosine", "target_fpr": 0.05, "thresholds": [], **stored}
    if "all" in stored:
        several = [_threshold(each) for each in stored["all"].values()]
        return {
            "format": FORMAT, "metric": stored["metric"], "target_fpr": stored["target_fpr"], "thresholds": several
        }  # fmt: skip
    if "threshold" in stored:
        one = {"format": FORMAT, "metric": stored["metric"], "target_fpr": stored["target_fpr"]}
        return {**one, "thresholds": [_threshold(stored)]}
    return stored


def _threshold(stored: dict[str, Any]) -> dict[str, Any]:
    """A threshold's own fields: its distance follows from them. Format 1 stored the lowest accepted score itself."""
    fields = {name: each for name, each in stored.items() if name != "distance"}
    fields.setdefault("lowest_accepted", fields["threshold"])
    return {**fields, "fitted_on": "validation pairs" if fields["fitted_on"] == "val" else fields["fitted_on"]}
