"""A threshold fitted on one set of pairs, to be applied to others."""

import math
from typing import Any, TypeAlias

import numpy as np
from torch.distributed import ProcessGroup

from triune.distances.metric import Metric
from triune.pairs.prepared import PreparedEmbeddings
from triune.verification.decision import Threshold
from triune.verification.new_identities import expected_fpr
from triune.verification.promise import promised_score
from triune.verification.roc import Verification

Array: TypeAlias = np.ndarray[Any, Any]


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
