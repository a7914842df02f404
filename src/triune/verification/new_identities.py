"""The false-positive rate that a threshold will have on identities it was not fitted on: an interval for it.

Pairs of few identities are not independent: one identity that resembles many others spoils many pairs at once. So
identities are resampled, each with all its pairs on both sides, by leaving out one at a time (the jackknife). Efron and
Stein (1981, "The jackknife estimate of variance", Annals of Statistics 9) prove that the variance found in this way is
not too small on average. docs/guide/thresholds.md says how often the intervals cover.
"""

import math
from typing import Any, TypeAlias

import numpy as np
import scipy  # which loads its parts where they are first used: reading a threshold needs none
import torch
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.labels import Labels
from triune.pairs.prepared import PreparedEmbeddings, as_prepared
from triune.parallel.divide import all_reduce
from triune.verification.decision import ExpectedFPR
from triune.verification.intervals import check_level
from triune.verification.pair_noise import accepted_by_identity, add_by_identity, identity_turns

Array: TypeAlias = np.ndarray[Any, Any]


def expected_fpr(
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels | None = None,
    *,
    threshold: float,
    metric: Metric | None = None,
    level: float = 0.95,
    groups: Labels | None = None,
    divide_over: ProcessGroup | None = None,
) -> ExpectedFPR:
    """The false-positive rate of a threshold among new identities, from those it was fitted on.

    With θ₍₋ᵢ₎ the rate without identity i of G, the standard error is s = √((G−1)/G · Σ (θ₍₋ᵢ₎ − mean)²), and the
    interval is logit θ ± t·s / (θ·(1−θ)) with Student's t of G − 1 degrees of freedom. Where no pair is accepted, or
    all are, s says nothing; then m = ⌊G/2⌋ pairs of identities that have none in common give 1 − ((1−level)/2)^(1/m) as
    the largest rate, by Hoeffding's bound for averages over pairs (1963, section 5).

    Args:
        embeddings: ``(N, D)`` of the items that the threshold was fitted on, or what
            :func:`~triune.pairs.prepared.prepare` made of them.
        labels: ``(N,)`` identities; left away with prepared embeddings.
        threshold: pairs with at least this score are accepted; ±∞ is allowed.
        metric: the distance; the cosine where not given.
        level: the share of such intervals that should cover the rate.
        groups: ``(N,)`` where each item comes from: pairs within a group are left out.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Raises:
        ValueError: there is no non-matching pair, the level is no share, or the threshold is NaN.
    """
    check_level(level)
    if math.isnan(threshold):
        raise ValueError("threshold is NaN: a number is needed")
    counts = _by_identity(as_prepared(embeddings, labels, metric, groups).cpu(), threshold, divide_over)
    accepted, pairs = counts[:, counts[1] > 0]  # an identity without a pair, such as one without an item, says nothing
    if not len(pairs):
        raise ValueError("there is no non-matching pair: FPR is not defined; give items of different identities")
    low, high = jackknife_interval(accepted, pairs, level)
    return ExpectedFPR(float(accepted.sum() / pairs.sum()), low, high, level, len(pairs), int(pairs.sum()) // 2)


def jackknife_interval(
    accepted: Array, pairs: Array, level: float, *, rate: float | None = None, disjoint: int | None = None
) -> tuple[float, float]:
    """The interval of :func:`expected_fpr` from counts of each identity.

    Args:
        accepted: ``(G,)`` how many non-matching pairs of each identity are accepted.
        pairs: ``(G,)`` how many it has; no pair at all says nothing, and the interval is NaN.
        level: the share of such intervals that should cover the rate.
        rate: the rate to lay the interval around, where the counts are a random part of all pairs; theirs otherwise.
        disjoint: how many pairs of identities have none in common; ⌊G/2⌋ where any two identities make a pair.
    """
    count, total, taken = len(pairs), pairs.sum() / 2, accepted.sum() / 2
    if not total:
        return math.nan, math.nan
    most_apart = count // 2
    apart = most_apart if disjoint is None else min(disjoint, most_apart)
    rate = taken / total if rate is None else rate
    if taken in (0.0, total) or rate in (0.0, 1.0):
        most = 1 - ((1 - level) / 2) ** (1 / max(apart, 1))
        low, high = (0.0, most) if rate < 0.5 else (1 - most, 1.0)
        return min(low, rate), max(high, rate)
    left = total - pairs
    if count < 3 or not (left > 0).all():  # without one identity no pair would be left
        return 0.0, 1.0
    without = (taken - accepted) / left
    error = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    # Where few identities of one kind meet many of another, the few decide how well the error itself is known.
    degrees = count - 1 if apart == most_apart else 2 * apart - 1
    half = float(scipy.special.stdtrit(degrees, (1 + level) / 2)) * error / (rate * (1 - rate))
    middle = float(scipy.special.logit(rate))
    # Where the error is 0 the rate that comes back through both functions may be a last bit off, on either side.
    return min(float(scipy.special.expit(middle - half)), rate), max(float(scipy.special.expit(middle + half)), rate)


def _by_identity(prepared: PreparedEmbeddings, threshold: float, divide_over: ProcessGroup | None) -> Array:
    """Accepted and all non-matching pairs of each identity, float64 ``(2, G)``; each pair counts for both."""
    counts = np.zeros((2, prepared.identities))
    for turn, *both in accepted_by_identity(
        prepared, prepared, threshold, identity_turns(prepared.identities, 0, divide_over)
    ):
        own = np.arange(turn.start, turn.stop)
        for part in both:
            part[own - turn.start, own] = 0  # pairs of one identity match
        add_by_identity(counts, turn, *both)
    reduced: Array = all_reduce(torch.from_numpy(counts), divide_over).numpy()
    return reduced
