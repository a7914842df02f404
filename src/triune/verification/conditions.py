"""TPR and FPR by condition (camera, breed, demographic group) at one global threshold, and how unequal they are.

The differential-performance tables of NIST's face recognition tests: one threshold for all, since a deployed system has
one, then false non-matches and false matches of each group (Grother, Ngan & Hanaoka 2019, NISTIR 8280), and between
groups. Intervals of the TPR resample identities (bootstrap.py), and all cells of the table share the resamples. Those
of the FPR leave out one identity at a time (new_identities.py): resampled rates of few identities scatter too little.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.labels import Labels, encode_labels, plain_labels
from triune.pairs.prepared import PreparedEmbeddings, as_prepared
from triune.parallel.divide import all_reduce, exact_sums
from triune.ranges import is_number
from triune.verification.intervals import Interval, check_level, check_resamples, rate_interval
from triune.verification.new_identities import jackknife_interval
from triune.verification.pair_noise import accepted_by_identity, add_by_identity, identity_turns, without_pair_noise
from triune.verification.weighing import draw_weights

Array: TypeAlias = np.ndarray[Any, Any]


Cross = Literal["within", "all"]


Rate = Literal["tpr", "fnr", "fpr"]


class ConditionRates(NamedTuple):
    """Pairs of one condition with itself, or with another.

    Args:
        first: one condition.
        second: the other; the same for pairs within one.
        items: how many items the two have.
        identities: how many identities.
        matches: how many pairs of the same identity.
        impostors: how many of different ones.
        tpr: share of matching pairs accepted; NaN where there is none.
        fpr: share of the others accepted; NaN where there is none. Its interval leaves out one identity at a time.
    """

    first: Any
    second: Any
    items: int
    identities: int
    matches: int
    impostors: int
    tpr: Interval
    fpr: Interval

    @property
    def fnr(self) -> Interval:
        """1 − TPR, the false non-match rate."""
        return Interval(1 - self.tpr.estimate, 1 - self.tpr.high, 1 - self.tpr.low, 1 - self.tpr.values)


class Inequity(NamedTuple):
    """How far the worst condition lies from the others; 1 is parity (Grother 2022, NISTIR 8429).

    Args:
        max_over_min: the largest rate over the smallest; infinite where only the smallest is 0.
        max_over_mean: the largest rate over the geometric mean of all.
        worst: the condition with the largest rate.
    """

    max_over_min: float
    max_over_mean: float
    worst: Any


@dataclass(frozen=True)
class RatesByCondition:
    """The table, at one threshold.

    Args:
        conditions: sorted.
        rows: one for each condition, and with ``cross="all"`` one for each two of them.
        threshold: scores from here are accepted.
        level: of the intervals.
    """

    conditions: tuple[Any, ...]
    rows: tuple[ConditionRates, ...]
    threshold: float
    level: float

    @property
    def within(self) -> tuple[ConditionRates, ...]:
        """The rows of pairs within one condition."""
        return tuple(row for row in self.rows if row.first == row.second)

    def matrix(self, rate: Rate = "fpr") -> Array:
        """Estimates ``(C, C)``, symmetric; NaN where not computed, or where there is no such pair."""
        result = np.full((len(self.conditions),) * 2, np.nan)
        for row in self.rows:
            i, j = self.conditions.index(row.first), self.conditions.index(row.second)
            result[i, j] = result[j, i] = getattr(row, rate).estimate
        return result

    def inequity(self, rate: Rate = "fpr") -> Inequity:
        """The largest rate within a condition over the smallest, and over the geometric mean; undefined ones left out.

        A ratio of two estimates from few errors says little: look at the intervals of the rows first.
        """
        rates = [(getattr(row, rate).estimate, row.first) for row in self.within]
        rates = [each for each in rates if not math.isnan(each[0])]
        if not rates:
            return Inequity(math.nan, math.nan, None)
        values = [value for value, _ in rates]
        high, worst = max(rates, key=lambda each: each[0])
        if high == 0:
            return Inequity(math.nan, math.nan, worst)
        if min(values) == 0:
            return Inequity(math.inf, math.inf, worst)
        mean = math.exp(sum(map(math.log, values)) / len(values))
        return Inequity(high / min(values), high / mean, worst)


def rates_by_condition(
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels | None,
    conditions: Labels,
    threshold: float,
    *,
    metric: Metric | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    cross: Cross = "within",
    seed: int = 0,
    groups: Labels | None = None,
    divide_over: ProcessGroup | None = None,
) -> RatesByCondition:
    """TPR and FPR over all pairs within each condition, and between each two, at one threshold.

    Memory: a few blocks of 2²⁰ scores, and a byte a resample and identity; never the N×N matrix.

    Args:
        embeddings: ``(N, D)``; or what :func:`~triune.pairs.prepared.prepare` made of them, with ``None`` for the
            labels, and without metric and groups.
        labels: ``(N,)`` identities. An identity may have items in several conditions (cameras) or in one (breeds).
        conditions: ``(N,)`` each item's condition, integers or strings.
        threshold: pairs with score ≥ this are accepted; choose it on other data.
        metric: the distance, the cosine where not given; the score is the cosine similarity, or minus the distance.
        level: the share of intervals that should cover the truth.
        resamples: how often identities are drawn; 0 gives no intervals (NaN).
        cross: ``"within"``: pairs within a condition; ``"all"``: those between two conditions as well.
        seed: of the drawing.
        groups: ``(N,)``: pairs within a group (photo session, video) are excluded.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Raises:
        ValueError: an embedding is not finite, counts differ, or a setting makes no sense.
    """
    if cross not in ("within", "all"):
        raise ValueError(f"cross is {cross!r}; known are 'within' and 'all'")
    if not is_number(threshold):
        raise ValueError(f"threshold is {threshold}: a number is needed")
    check_level(level)
    if resamples != 0:
        check_resamples(resamples, level)
    items = as_prepared(embeddings, labels, metric, groups).cpu()
    plain = plain_labels(conditions, "conditions")
    kinds = encode_labels(plain, count=len(items.codes), name="conditions", device="cpu").numpy()
    values, places = np.unique(kinds, return_index=True)
    parts = [items.take(np.flatnonzero(kinds[items.order] == value)) for value in values]
    names = tuple(plain[place].item() for place in places)
    weights = draw_weights(items.identities, resamples, seed)
    couples = [(i, j) for i in range(len(parts)) for j in (range(i, len(parts)) if cross == "all" else (i,))]
    counts = np.zeros((len(couples), 4, weights.shape[1]))
    squares, own = [], []
    for turn, (i, j) in enumerate(couples):
        found = _count(parts[i], parts[j], threshold, weights, counts[turn], turn, divide_over)
        squares.append(found[0])
        own.append(found[1])
    # Whole numbers below 2⁵³, whose sums do not round; those of squares may be larger.
    counts = all_reduce(torch.from_numpy(counts), divide_over).numpy()
    sums = exact_sums(squares, 4, divide_over)
    widths = np.cumsum([each.shape[1] for each in own])[:-1]
    by_identity = np.split(all_reduce(torch.from_numpy(np.hstack(own)), divide_over).numpy(), widths, axis=1)
    rows = [
        _rates(parts[i], parts[j], (names[i], names[j]), counts[k], sums[k], by_identity[k], level)
        for k, (i, j) in enumerate(couples)
    ]
    return RatesByCondition(names, tuple(rows), threshold, level)


def _count(
    one: PreparedEmbeddings,
    other: PreparedEmbeddings,
    threshold: float,
    weights: Array,
    counts: Array,
    turn: int,
    divide_over: ProcessGroup | None,
) -> tuple[list[tuple[float, ...]], Array]:
    """Count this process's part of the pairs of two conditions, weighed by each resample.

    Args:
        one: the items of one condition.
        other: those of the other; the same object for pairs within one.
        threshold: scores from here are accepted.
        weights: ``(G, R)``, how often each resample draws each identity.
        counts: ``(4, R)``, written: accepted matching pairs, matching, accepted impostor and impostor pairs.
        turn: which of all such calls this is.
        divide_over: processes that share the pairs.

    Returns:
        For some identities at a time Σ a², Σ a·n and Σ n² over their pairs with others, a of n pairs accepted, and how
        many of them have a matching pair. And ``(2, identities of the two)``: how many impostor pairs of each identity
        are accepted, and how many it has.
    """
    # Only the identities of these two: with many conditions each has few.
    known = np.union1d(one.codes, other.codes)
    weights = weights[known].astype(np.float64)
    first = one.among(known)
    second = first if one is other else other.among(known)
    accepted_matches, matches, accepted, impostors = counts
    sums = []
    by_identity = np.zeros((2, len(known)))
    for own, a, n in accepted_by_identity(first, second, threshold, identity_turns(len(known), turn, divide_over)):
        mine = weights[own]
        diagonal = np.arange(len(a)), np.arange(own.start, own.stop)
        accepted_matches += a[diagonal] @ mine
        matches += n[diagonal] @ mine
        witnesses = float((n[diagonal] > 0).sum())
        a[diagonal] = n[diagonal] = 0
        add_by_identity(by_identity, own, a, n)
        accepted += (mine * (a @ weights)).sum(0)
        impostors += (mine * (n @ weights)).sum(0)
        # Σ a², Σ a·n and Σ n² over pairs of identities. Where both have items in both conditions their two counts are
        # taken for two pairs, which can only make the interval wider.
        sums.append((*(float(each.sum()) for each in (np.square(a), a * n, np.square(n))), witnesses))
    return sums, by_identity


def _rates(
    one: PreparedEmbeddings,
    other: PreparedEmbeddings,
    names: tuple[Any, Any],
    counts: Array,
    sums: Array,
    by_identity: Array,
    level: float,
) -> ConditionRates:
    """The rates of what all processes counted."""
    accepted_matches, matches, accepted, impostors = counts
    identities = by_identity.shape[1]
    # Between two conditions a pair takes an identity of each.
    apart = min(identities // 2, len(np.unique(one.codes)), len(np.unique(other.codes)))
    with np.errstate(divide="ignore", invalid="ignore"):
        tprs, fprs = accepted_matches / matches, accepted / impostors
        noise = (sums[0] - 2 * fprs[0] * sums[1] + fprs[0] ** 2 * sums[2]) / impostors[0] ** 2
    fprs = np.clip(without_pair_noise(fprs, noise), 0.0, 1.0)
    return ConditionRates(
        *names,
        items=len(one.codes) + (0 if one is other else len(other.codes)),
        identities=identities,
        matches=int(matches[0]),
        impostors=int(impostors[0]),
        tpr=rate_interval(float(tprs[0]), tprs[1:], level, int(sums[3])) if len(tprs) > 1 else _bare(tprs),
        fpr=Interval(
            float(fprs[0]), *jackknife_interval(by_identity[0], by_identity[1], level, disjoint=apart), fprs[1:]
        )
        if len(fprs) > 1
        else _bare(fprs),
    )


def _bare(rates: Array) -> Interval:
    """A rate without an interval."""
    return Interval(float(rates[0]), math.nan, math.nan, rates[1:])
