"""A threshold fitted on one set of pairs, to be applied to others: what it is, and what it was measured by."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from torch.distributed import ProcessGroup

from triune.distances.metric import Metric
from triune.pairs.prepared import PreparedEmbeddings
from triune.verification.new_identities import ExpectedFPR, expected_fpr
from triune.verification.promise import promised_score
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
        missing = sorted(set(cls.__dataclass_fields__) - {"expected", "confidence"} - set(fields))
        if missing:
            raise ValueError(f"a stored threshold lacks {', '.join(missing)}")
        if fields.get("expected") is not None:
            fields["expected"] = ExpectedFPR(**fields["expected"])
        return cls(**fields | {name: float(fields[name]) for name in ("threshold", "lowest_accepted")})


def without_promise(threshold: Threshold) -> Threshold:
    """The same threshold for scores that may come from another network: nothing is known of new identities there."""
    return replace(threshold, expected=None, confidence=None)


def fit_threshold(
    verification: Verification,
    fpr: float,
    *,
    metric: Metric | None = None,
    fitted_on: str = "validation",
    prepared: PreparedEmbeddings | None = None,
    confidence: float | None = None,
    level: float = 0.95,
    divide_over: ProcessGroup | None = None,
) -> Threshold:
    """The threshold that keeps a false-positive budget with the most matching pairs, to be applied to other pairs.

    The budget is kept on the pairs given, which says little of new identities where there are few: with the embeddings,
    the threshold carries an interval for the rate to be expected of them; and with a confidence it is the stricter
    one by which new identities see at most that rate.

    >>> prepared = triune.prepare(embeddings, labels)
    >>> pairs = triune.verify_embeddings(prepared)
    >>> fit_threshold(pairs, 0.05, prepared=prepared, confidence=0.95)

    Args:
        verification: the pairs to fit on; not those that are to be reported.
        fpr: the budget.
        metric: what the scores are; that of ``prepared`` where not given.
        fitted_on: which set that is, in words.
        prepared: the embeddings that ``verification`` was made of.
        confidence: how sure it is to be that new identities see a false-positive rate of at most ``fpr``; ``None``
            promises nothing. Nothing may have been chosen by these identities.
        level: of the interval for the rate to be expected.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Raises:
        ValueError: ``fpr`` is not from 0 to 1; ``prepared`` makes other pairs, or is for another metric; or there are
            too few identities for the promise, with the number that is needed.
    """
    if confidence is not None and prepared is None:
        raise ValueError("confidence needs prepared, the embeddings of these pairs: identities are counted, not pairs")
    if prepared is not None and metric not in (None, prepared.metric):
        raise ValueError(f"metric is {metric!r}, but prepared is for {prepared.metric!r}: leave metric away")
    budget, least, expected = fpr, -math.inf, None
    if confidence is not None and prepared is not None:
        budget, least = _promised(verification, prepared, fpr, confidence)
    bracket = verification.bracket_at_fpr(budget)
    everything = bracket.false_positives == verification.impostors
    threshold = -math.inf if everything else _middle(bracket.rejected, bracket.accepted)
    threshold = max(threshold, least)  # there may be room below what is promised, in which no score lies here
    if prepared is not None:
        expected = expected_fpr(prepared, threshold=threshold, level=level, divide_over=divide_over)
        if expected.impostors != verification.impostors:
            raise ValueError(
                f"prepared makes {expected.impostors} non-matching pairs but verification has "
                f"{verification.impostors}: give the embeddings that verification was made of"
            )
    reason = verification.why_unreliable_at(fpr)
    return Threshold(
        threshold=threshold,
        lowest_accepted=bracket.accepted,
        metric=metric or (None if prepared is None else prepared.metric),
        target_fpr=fpr,
        tpr=verification.tpr_at_fpr(budget),
        fpr=bracket.false_positives / verification.impostors,
        matches=verification.matches,
        impostors=verification.impostors,
        reliable=reason is None,
        reason=reason,
        fitted_on=fitted_on,
        expected=expected,
        confidence=confidence,
    )


def _promised(
    verification: Verification, prepared: PreparedEmbeddings, fpr: float, confidence: float
) -> tuple[float, float]:
    """The lowest score that is promised, and the rate that it lets through on these pairs: at most the budget."""
    kept = verification.bracket_at_fpr(fpr).accepted
    score = promised_score(prepared, fpr=fpr, confidence=confidence, at_least=kept)
    return (fpr, -math.inf) if score <= kept else (verification.confusion_at(score).fpr, score)


def _middle(rejected: float, accepted: float) -> float:
    """The middle between two scores, in float64; the accepted one where no float lies between, or one is infinite."""
    middle = rejected / 2 + accepted / 2
    return middle if math.isfinite(middle) and rejected < middle else accepted
