"""How sure a verification figure is: intervals that resample identities, and those of plain counts.

The pairs of one identity stand or fall together, so pairs taken as independent give intervals that are far too narrow.
Here *identities* are drawn with replacement (Bolle, Ratha & Pankanti 2004, "Error analysis of pattern recognition
systems: the subsets bootstrap"; for pairs, whose two sides are both resampled, the vertex bootstrap of Snijders &
Borgatti 1999, reviewed in Fogliato, Patil & Perona 2024, "Confidence intervals for error rates in 1:1 matching tasks").
An identity g drawn w_g times gives each of its matching pairs the weight w_g, and each pair of different identities g
and h the weight w_g·w_h; copies of one identity are not paired with one another.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from scipy import sparse, special
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.functional.distances import Embeddings, Metric, as_embeddings, check_finite, check_metric
from triune.functional.divided import in_order, own_blocks, process_share, rounded_sums
from triune.functional.kernels import resampling
from triune.functional.labels import Labels, encode_labels
from triune.functional.pairs import verify_embeddings
from triune.functional.roc import Verification, verify_scores
from triune.functional.tiles import PairTiles, encode_together, scores_between, sorted_rows

Array: TypeAlias = np.ndarray[Any, Any]

KNOTS = 2000
"""Up to so many distinct match scores the resampled figures are exact. Of more, so many are chosen, evenly."""
BLOCK_CELLS = 1 << 20
ROWS = 64
COLUMNS = 256
"""Resamples weighed at a time."""
TURNS = 64
"""Runs of identities that processes take turns in, at least."""
WIDE = 64
"""Resamples whose weights are float64 at a time."""


@dataclass(frozen=True)
class Interval:
    """A figure and how sure it is.

    Args:
        estimate: of the sample itself, exact.
        low, high: ends of the interval; NaN where no resample defines the figure.
        values: ``(resamples,)`` the figure of each resample, NaN where it is not defined.
    """

    estimate: float
    low: float
    high: float
    values: Array


@dataclass(frozen=True)
class Intervals:
    """The verification figures with their intervals.

    Args:
        auc, eer: as in :class:`~triune.functional.roc.Verification`.
        tpr_at_fpr: by false-positive budget; the threshold is found anew in every resample.
        tpr_at_threshold, fpr_at_threshold: by threshold, which stays as it is.
        identities: how many identities were resampled.
        resamples: how often.
        level: the share of such intervals that should cover the truth.
    """

    auc: Interval
    eer: Interval
    tpr_at_fpr: Mapping[float, Interval]
    tpr_at_threshold: Mapping[float, Interval]
    fpr_at_threshold: Mapping[float, Interval]
    identities: int
    resamples: int
    level: float


class Difference(NamedTuple):
    """A figure of the first model minus that of the second, on the same items.

    Args:
        estimate: the difference, exact.
        low, high: ends of its interval.
        p_value: two-sided: twice the share of resamples on the rarer side of zero, (1 + #) / (1 + resamples).
    """

    estimate: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """Two models on the same items.

    Args:
        auc, eer: differences, first minus second.
        tpr_at_fpr: by false-positive budget.
        first, second: each model's own intervals, from the same resamples.
    """

    auc: Difference
    eer: Difference
    tpr_at_fpr: Mapping[float, Difference]
    first: Intervals
    second: Intervals


def wilson_interval(successes: Any, trials: Any, level: float = 0.95) -> tuple[Any, Any]:
    """Wilson's score interval of a proportion (1927), for *independent* trials; pairs of few identities are not.

    >>> low, high = wilson_interval(8, 10)
    >>> round(float(low), 3), round(float(high), 3)
    (0.49, 0.943)

    Args:
        successes: a number or array, from 0 to ``trials``; need not be whole.
        trials: a number or array that broadcasts with it; none gives (0, 1).
        level: the share of intervals that should cover the truth.

    Returns:
        Lower and upper ends, floats or arrays.
    """
    k, n = _checked_counts(successes, trials, level)
    z2 = float(special.ndtri(0.5 + level / 2)) ** 2
    rate = k / np.maximum(n, 1e-300)
    middle = (rate + z2 / (2 * np.maximum(n, 1e-300))) / (1 + z2 / np.maximum(n, 1e-300))
    half = np.sqrt(z2 * (rate * (1 - rate) * n + z2 / 4)) / (n + z2)
    # At the ends the formula gives 0 and 1 but for rounding.
    low = np.where(k == 0, 0.0, np.clip(middle - half, 0.0, 1.0))
    high = np.where(k == n, 1.0, np.clip(middle + half, 0.0, 1.0))
    return low[()], high[()]


def clopper_pearson_interval(successes: Any, trials: Any, level: float = 0.95) -> tuple[Any, Any]:
    """The exact binomial interval (Clopper & Pearson 1934): never covers less than ``level``, so it is wider.

    >>> low, high = clopper_pearson_interval(0, 10)
    >>> float(low), round(float(high), 3)
    (0.0, 0.308)

    Args:
        successes, trials, level: as in :func:`wilson_interval`.
    """
    k, n = _checked_counts(successes, trials, level)
    tail = (1 - level) / 2
    low = np.where(k == 0, 0.0, special.betaincinv(np.maximum(k, 1e-300), n - k + 1, tail))
    high = np.where(k == n, 1.0, special.betaincinv(k + 1, np.maximum(n - k, 1e-300), 1 - tail))
    return low[()], high[()]


def bootstrap_verification(
    embeddings: Embeddings,
    labels: Labels,
    *,
    metric: Metric = "cosine",
    fprs: Sequence[float] = (0.05, 0.01, 0.001),
    thresholds: Sequence[float] = (),
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    groups: Labels | None = None,
    max_pairs: int = 100_000_000,
    verification: Verification | None = None,
    divide_over: ProcessGroup | None = None,
) -> Intervals:
    """AUC, EER, TPR@FPR and the rates at fixed thresholds over all pairs, with intervals that resample identities.

    Estimates are exact, those of :func:`~triune.functional.pairs.verify_embeddings`. Resampled figures come from
    histograms with an edge at every distinct match score, and are exact too where there are at most 2,000 of them;
    of more, 2,000 evenly spaced ones are taken, and TPR is off by less than the weight of the matching pairs between
    two neighbours, about 0.0005. Beyond ``max_pairs`` pairs the impostors are a random part of all: the items are
    split into equal random sets, and pairs within a set are weighed; resampled values are then shifted by what this
    changes in the estimate.

    Intervals are percentile intervals; for the FPR at a threshold the resampled rates are first drawn in
    (:func:`without_pair_noise`). A resample without a matching or a non-matching pair is left out.

    Memory: about 32 KiB a resample and thread, a byte a resample and identity, 30 bytes a matching pair.
    Time: 3 to 10 s for 10,000 items and 1,000 resamples on two processor cores.

    Args:
        embeddings: ``(N, D)``.
        labels: ``(N,)`` identities.
        metric: the distance; the score is the cosine similarity, or minus the distance.
        fprs: false-positive budgets.
        thresholds: scores from which pairs are accepted.
        resamples: how often identities are drawn.
        level: the share of intervals that should cover the truth.
        seed: of the drawing.
        groups: ``(N,)``: pairs within a group are excluded, as in ``verify_embeddings``.
        max_pairs: most impostor pairs weighed.
        verification: what ``verify_embeddings`` says of the same pairs, where it is at hand; saves doing it again.
        divide_over: processes that share the pairs and the resamples; each must call this with the same arguments,
            and all get the same.

    Raises:
        ValueError: as ``verify_embeddings``; or ``resamples``, ``level`` or a threshold makes no sense.
    """
    _check_settings(resamples, level, fprs, thresholds)
    exact = verification or verify_embeddings(
        embeddings, labels, metric=metric, groups=groups, fprs=fprs, divide_over=divide_over
    )
    items, _ = Items.prepare(embeddings, labels, metric, groups, exact)
    weights = draw_weights(items.identities, resamples, seed)
    found = items.match_scores()
    witnesses = len({code for scores, code in found if len(scores)})
    values = _resample_items(items, found, weights, fprs, thresholds, max_pairs, seed, divide_over)
    return _summarise(exact, values, fprs, thresholds, (items.identities, witnesses), level)


def bootstrap_scores(
    scores: Tensor | Array | Sequence[float],
    is_match: Tensor | Array | Sequence[bool],
    first_identity: Labels,
    second_identity: Labels,
    *,
    fprs: Sequence[float] = (0.05, 0.01, 0.001),
    thresholds: Sequence[float] = (),
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """The same for a list of scored pairs, such as a protocol's, with the identities of both sides.

    Args:
        scores: ``(L,)``, higher means more alike.
        is_match: ``(L,)`` booleans: whether the pair shows the same identity.
        first_identity, second_identity: ``(L,)`` who is on each side.
        fprs, thresholds, resamples, level, seed: as in :func:`bootstrap_verification`.

    Raises:
        ValueError: as :func:`~triune.functional.roc.verify_scores`; or ``is_match`` disagrees with the identities.
    """
    _check_settings(resamples, level, fprs, thresholds)
    exact = verify_scores(scores, is_match)  # type: ignore[arg-type]
    values, flags = _plain(scores), _plain(is_match).astype(bool)
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    counts, names = (len(values), len(values)), ("first_identity", "second_identity")
    first, second = encode_together(first_identity, second_identity, counts, names)
    wrong = np.flatnonzero((first == second) != flags)
    if len(wrong):
        said = "a match" if flags[wrong[0]] else "no match"
        raise ValueError(
            f"is_match[{wrong[0]}] says {said}, but the identities of the two sides "
            f"{'differ' if flags[wrong[0]] else 'are the same'} ({len(wrong)} such pairs): mend the list"
        )
    known, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    first, second = codes[: len(values)], codes[len(values) :]
    weights = draw_weights(len(known), resamples, seed)
    knots = _knots(exact.match_scores, thresholds)
    bins = _bins(knots, values)
    matches = _weigh_matches([(bins[flags], first[flags])], len(knots), weights)
    impostors = _weigh_list(bins[~flags], first[~flags], second[~flags], len(knots), weights)
    figures = _figures(matches, impostors, knots, fprs, thresholds)
    couples = (np.minimum(first, second) * len(known) + np.maximum(first, second))[~flags]
    figures = figures._replace(
        fpr_at_threshold=[
            without_pair_noise(rates, _listed_pair_noise(couples, values[~flags] >= threshold))
            for threshold, rates in zip(thresholds, figures.fpr_at_threshold)
        ]
    )
    return _summarise(exact, figures, fprs, thresholds, (len(known), len(np.unique(first[flags]))), level)


def compare_verification(
    first: Embeddings,
    second: Embeddings,
    labels: Labels,
    *,
    metric: Metric = "cosine",
    second_metric: Metric | None = None,
    fprs: Sequence[float] = (0.05, 0.01, 0.001),
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    groups: Labels | None = None,
    max_pairs: int = 100_000_000,
    divide_over: ProcessGroup | None = None,
) -> Comparison:
    """Two models on the same items: differences with intervals and p-values from the same resampled identities.

    What both models find hard or easy cancels, so the interval of a difference is narrower than those of the two
    figures would suggest. The p-value inverts the percentile interval: it is below 1 − ``level`` where the interval
    leaves out zero, but never below 2 / (1 + resamples).

    Args:
        first: ``(N, D)`` embeddings by the first model.
        second: ``(N, E)`` by the second, of the same items in the same order.
        labels: ``(N,)`` identities.
        metric: the distance; for the second model ``second_metric``, where it is another.
        second_metric: see there.
        fprs, resamples, level, seed, groups, max_pairs, divide_over: as in :func:`bootstrap_verification`.
    """
    if len(first) != len(second):
        raise ValueError(
            f"first has {len(first)} rows but second has {len(second)}: the same items, in the same order, are needed"
        )
    both = [
        bootstrap_verification(
            each,
            labels,
            metric=its_metric,
            fprs=fprs,
            resamples=resamples,
            level=level,
            seed=seed,
            groups=groups,
            max_pairs=max_pairs,
            divide_over=divide_over,
        )
        for each, its_metric in ((first, metric), (second, second_metric or metric))
    ]
    return compare_intervals(*both)


def compare_intervals(first: Intervals, second: Intervals) -> Comparison:
    """The same from intervals that are at hand already, of the same items, resamples, seed, budgets and level.

    Raises:
        ValueError: they differ in one of these.
    """
    for name in ("identities", "resamples", "level"):
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            raise ValueError(f"{name} is {one} for the first and {other} for the second: resample both alike")
    if set(first.tpr_at_fpr) != set(second.tpr_at_fpr):
        raise ValueError("the two have different false-positive budgets: resample both alike")
    level = first.level
    budgets = {fpr: _difference(interval, second.tpr_at_fpr[fpr], level) for fpr, interval in first.tpr_at_fpr.items()}
    return Comparison(
        auc=_difference(first.auc, second.auc, level),
        eer=_difference(first.eer, second.eer, level),
        tpr_at_fpr=budgets,
        first=first,
        second=second,
    )


def percentile_interval(estimate: float, values: Array, level: float) -> Interval:
    """The interval between two percentiles of the resampled values; those that are not defined are left out."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Interval(estimate, math.nan, math.nan, values)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), values)


def rate_interval(estimate: float, values: Array, level: float, trials: float) -> Interval:
    """The percentile interval of a rate; where all resamples are 0, or all 1, Wilson's for ``trials`` identities."""
    interval = percentile_interval(estimate, values, level)
    if interval.low == interval.high and estimate in (0.0, 1.0):
        low, high = wilson_interval(estimate * trials, trials, level)
        return Interval(estimate, float(low), float(high), values)
    return interval


def draw_weights(identities: int, resamples: int, seed: int) -> Array:
    """How often each identity is drawn, uint8 ``(identities, resamples + 1)``; column 0 is the sample: all ones."""
    rng = np.random.default_rng(seed)
    weights = np.ones((identities, resamples + 1), np.uint8)
    for r in range(1, resamples + 1):
        # An identity drawn more than 255 times would need as many identities, and luck beyond 1 in 10^500.
        weights[:, r] = np.bincount(rng.integers(0, identities, identities), minlength=identities)
    return weights


def without_pair_noise(rates: Array, noise: Array | float) -> Array:
    """Resampled false-positive rates ``(R + 1,)``, drawn in to the spread they should have.

    Of θ = Σ_g<h a_gh / Σ_g<h n_gh (a_gh of n_gh pairs accepted), let e_gh = a_gh − θ·n_gh. To first order the variance
    of θ is V = (Σ_g e_g·² − D) / (Σ n)², D = Σ_g<h e_gh², but weights w_g·w_h have V + 2·D / (Σ n)²: what is peculiar
    to a pair of identities counts three times. (Put δ_g = w_g − 1 into Σ e_gh·w_g·w_h.) Where that dominates, as at a
    low FPR, plain resampling would give intervals √3 times too wide.

    Args:
        rates: the first is the sample's own.
        noise: D / (Σ n)².
    """
    spread = float(np.nanvar(rates[1:])) if np.isfinite(rates[1:]).any() else 0.0
    if not spread > 0:
        return rates
    factor = math.sqrt(min(1.0, max(spread - 2 * float(noise), float(noise)) / spread))
    result: Array = rates[0] + factor * (rates - rates[0])
    return result


def identity_turns(identities: int, turn: int, divide_over: ProcessGroup | None) -> list[slice]:
    """Runs of identities 0 … G−1 that are this process's. Which process has the first run goes round with ``turn``."""
    width = max(1, min(BLOCK_CELLS // max(identities, 1), math.ceil(identities / TURNS)))
    share, processes = process_share(divide_over)
    starts = range(0, identities, width)[(share - turn) % processes :: processes]
    return [slice(first, min(first + width, identities)) for first in starts]


def accepted_by_identity(
    rows: "Items", columns: "Items", threshold: float, turns: Sequence[slice]
) -> Iterator[tuple[slice, Array, Array]]:
    """Accepted and all pairs between some identities of ``rows`` and every identity of ``columns``.

    Both know the same identities, some perhaps without an item. Where ``rows`` is ``columns`` every pair is counted
    once, its lower identity first.

    Args:
        rows, columns: the items.
        threshold: scores from here are accepted.
        turns: which identities of the rows, a part of :func:`identity_turns`.

    Returns:
        For each turn the turn, and two float64 counts ``(identities of the turn, G)``.
    """
    identities = columns.identities
    limit = _as_knot(threshold, np.float32)
    starts, present = _runs(columns.codes)
    height = max(1, BLOCK_CELLS // max(len(columns.codes), 1))
    for turn in turns:
        first, last = turn.start, turn.stop
        begin, end = np.searchsorted(rows.codes, [first, last]).tolist()
        accepted, pairs = np.zeros((2, last - first, identities))
        for row in range(begin, end, height):
            block = slice(row, min(row + height, end))
            scores = scores_between(rows.x[block], columns.x, columns.metric).numpy()
            taken = scores >= limit
            known = np.ones_like(taken)
            if rows is columns:
                known = np.arange(row, block.stop)[:, None] < np.arange(len(columns.codes))[None, :]
            if len(columns.groups):
                known &= rows.groups[block][:, None] != columns.groups[None, :]
            taken &= known
            row_starts, row_present = _runs(rows.codes[block])
            for counts, mask in ((accepted, taken), (pairs, known)):
                summed = np.add.reduceat(np.add.reduceat(mask, starts, axis=1, dtype=np.int32), row_starts, axis=0)
                counts[np.ix_(row_present - first, present)] += summed
        yield turn, accepted, pairs


@dataclass(frozen=True)
class Items:
    """N items sorted by identity.

    Args:
        x: ``(N, D)`` float32, of unit length for the cosine.
        codes: ``(N,)`` identities 0 … G−1, ascending, int32.
        groups: ``(N,)`` int64, pairs within a group are excluded; empty where none is.
        metric: the distance.
        identities: G.
    """

    x: Tensor
    codes: Array
    groups: Array
    metric: Metric
    identities: int

    @classmethod
    def prepare(
        cls,
        embeddings: Embeddings,
        labels: Labels,
        metric: Metric,
        groups: Labels | None,
        verification: Verification | None = None,
    ) -> tuple["Items", Array]:
        """Check the items and sort them; the order as well. A verification of the same items may have them sorted."""
        check_metric(metric)
        x = as_embeddings(embeddings).detach().cpu()
        check_finite(x)
        codes = np.unique(encode_labels(labels, count=len(x), device="cpu").numpy(), return_inverse=True)[1]
        order = np.argsort(codes, kind="stable")
        kinds = np.empty(0, np.int64)
        if groups is not None:
            kinds = encode_labels(groups, count=len(x), name="groups", device="cpu").numpy()[order]
        sorted_codes = codes[order].astype(np.int32)
        count = int(sorted_codes[-1]) + 1 if len(x) else 0
        rows = _sorted_before(verification, order, metric)
        if rows is None:
            rows = sorted_rows(x.float(), order, metric)
        return cls(rows, sorted_codes, kinds, metric, count), order

    def take(self, rows: Array) -> "Items":
        """Some of the items, still sorted."""
        groups = self.groups[rows] if len(self.groups) else self.groups
        return Items(self.x[torch.from_numpy(rows)], self.codes[rows], groups, self.metric, self.identities)

    def among(self, known: Array) -> "Items":
        """The same items, their identities numbered among the known ones, ascending."""
        return replace(self, codes=np.searchsorted(known, self.codes).astype(np.int32), identities=len(known))

    def scores(self, rows: slice, columns: slice) -> Array:
        """Scores ``(rows, columns)`` float32."""
        array: Array = scores_between(self.x[rows], self.x[columns], self.metric).numpy()
        return array

    def match_scores(self) -> list[tuple[Array, int]]:
        """The scores of each identity's matching pairs, and which identity it is."""
        found = []
        ends = np.append(np.flatnonzero(np.diff(self.codes)) + 1, len(self.codes))
        start = 0
        for end in ends.tolist():
            for row in range(start, end, 1024):
                rows = slice(row, min(row + 1024, end))
                if end - row < 2:
                    continue
                scores = self.scores(rows, slice(row, end))
                kept = np.triu(np.ones(scores.shape, bool), 1)
                if len(self.groups):
                    kept &= self.groups[rows][:, None] != self.groups[row:end][None, :]
                found.append((scores[kept], int(self.codes[start])))
            start = end
        return found

    def impostor_weight(self, weights: Array) -> Array:
        """The weight of all impostor pairs, for each weighting ``(R,)``: exact, in float64.

        Half of (Σ_g a_g w_g)² − Σ_g (a_g w_g)², a_g items each, less the same within every group.
        """
        total = _cross_weight(np.bincount(self.codes, minlength=len(weights))[None, :], weights)
        if len(self.groups):
            kinds = np.unique(self.groups, return_inverse=True)[1]
            shape = (int(kinds.max()) + 1, len(weights))
            counts = sparse.csr_array((np.ones(len(kinds)), (kinds, self.codes)), shape=shape)
            for first in range(0, shape[0], 1024):
                total -= _cross_weight(counts[first : first + 1024], weights)
        return total


def _runs(codes: Array) -> tuple[Array, Array]:
    """Where each run of equal codes begins, and its code."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1])[: len(codes)]
    return starts, codes[starts]


def _couple_sums(items: Items, threshold: float, divide_over: ProcessGroup | None) -> list[tuple[float, ...]]:
    """Over pairs of identities, a of n pairs accepted: Σ a, Σ n, Σ a², Σ a·n, Σ n² of each of this process's turns."""
    sums = []
    for own, a, n in accepted_by_identity(items, items, threshold, identity_turns(items.identities, 0, divide_over)):
        for each in (a, n):
            each[np.arange(len(each)), np.arange(own.start, own.stop)] = 0
        products = (a, n, np.square(a), a * n, np.square(n))
        sums.append(tuple(float(each.sum()) for each in products))
    return sums


def _pair_noise(a: float, n: float, aa: float, an: float, nn: float) -> float:
    """D / (Σ n)² of :func:`without_pair_noise`, from :func:`_couple_sums` of one or more parts.

    Two identities that meet in several parts are taken for several pairs, which can only make the interval wider.
    """
    rate = a / n if n else 0.0
    return float(aa - 2 * rate * an + rate * rate * nn) / max(n, 1.0) ** 2


def _listed_pair_noise(couples: Array, accepted: Array) -> float:
    """The same for listed pairs: each one's couple of identities, and whether it is accepted."""
    place = np.unique(couples, return_inverse=True)[1]
    residuals = np.bincount(place, accepted - accepted.mean())
    return float(np.square(residuals).sum() / len(couples) ** 2)


def _cross_weight(counts: Any, weights: Array) -> Array:
    """Σ over the rows of ``counts (S, G)`` of half of (Σ_g a w)² − Σ_g (a w)², shape (R,)."""
    counts = sparse.csr_array(counts, dtype=np.float64)
    squared = counts.power(2)
    sums = []
    for first in range(0, weights.shape[1], WIDE):
        wide = weights[:, first : first + WIDE].astype(np.float64)
        both = np.square(counts @ wide) - squared @ np.square(wide)
        sums.append(np.asarray(both.sum(0) / 2))
    return np.concatenate(sums)


def _resample_items(
    items: Items,
    found: Sequence[tuple[Array, int]],
    weights: Array,
    fprs: Sequence[float],
    thresholds: Sequence[float],
    max_pairs: int,
    seed: int,
    divide_over: ProcessGroup | None,
) -> "_Figures":
    knots = _knots(np.sort(np.concatenate([scores for scores, _ in found])), thresholds).astype(np.float32)
    count = len(items.codes)
    sets = max(1, math.ceil(count * count / 2 / max_pairs))
    order = np.random.default_rng([seed, 1]).permutation(count)

    def parts() -> Iterator[tuple[Items, Array]]:
        """The random sets of items whose pairs are weighed, and the identities they know."""
        for rows in np.array_split(order, sets):
            part = items.take(np.sort(rows)) if sets > 1 else items
            known = np.unique(part.codes)
            yield part.among(known), known

    figures = []
    _, processes = process_share(divide_over)
    # Histograms of all resamples at once would be the largest thing in memory.
    width = min(COLUMNS, math.ceil(weights.shape[1] / processes))
    for first in own_blocks(range(0, weights.shape[1], width), divide_over):
        drawn = np.ascontiguousarray(weights[:, first : first + width])
        impostors = np.zeros((2 * len(knots) + 1, drawn.shape[1]))
        for part, known in parts():
            _weigh_items(part, knots, drawn[known], impostors)
        # Only now, when the threads' own histograms are gone.
        binned = ((_bins(knots, scores), np.full(len(scores), code)) for scores, code in found)
        figures.append(_figures(_weigh_matches(binned, len(knots), drawn), impostors, knots, fprs, thresholds))
    joined = _joined(in_order(figures, divide_over))
    own: list[list[tuple[float, ...]]] = [[] for _ in thresholds]
    if thresholds:
        for part, _ in parts():
            for k, threshold in enumerate(thresholds):
                own[k] += _couple_sums(part, threshold, divide_over)
    sums = rounded_sums(own, 5, divide_over)
    rates = [without_pair_noise(each, _pair_noise(*sums[k])) for k, each in enumerate(joined.fpr_at_threshold)]
    return joined._replace(fpr_at_threshold=rates)


def _weigh_items(items: Items, knots: Array, weights: Array, histograms: Array) -> None:
    """Add the impostor scores to their histograms ``(2K + 1, R)``."""
    bins, resamples = 2 * len(knots) + 1, weights.shape[1]
    total = items.impostor_weight(weights)
    skip = _fullest_bin(items, knots)
    # Whole numbers, in 32 bits where they fit: the sum over all bins is known.
    dtype = np.uint32 if total.max(initial=0) < 2**32 else np.int64
    count = len(items.codes)
    rows = max(1, min(ROWS, BLOCK_CELLS // max(count, 1)))
    starts = iter(range(0, count, rows))

    def run(_: int) -> Array:
        histogram = np.zeros((bins, resamples), dtype)
        room = resampling.scratch(rows * count, bins, resamples)
        for row in starts:
            scores = items.scores(slice(row, row + rows), slice(row, count))
            resampling.weigh_block(scores, row, items.codes, items.groups, knots, weights, skip, histogram, room)
        return histogram

    threads = torch.get_num_threads()
    try:  # each thread multiplies by itself: see PairTiles.visit
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            left = total
            for part in pool.map(run, range(threads)):
                histograms += part
                left -= part.sum(0, dtype=np.float64)
    finally:
        torch.set_num_threads(threads)
    histograms[skip] += left


def _sorted_before(verification: Verification | None, order: Array, metric: Metric) -> Tensor | None:
    """The rows that a verification holds, where they are in this very order: at N = 100,000 a copy counts."""
    tiles = getattr(verification.impostor, "visits", None) if verification is not None else None
    if not isinstance(tiles, PairTiles) or tiles.x is not tiles.y or tiles.metric != metric:
        return None
    return tiles.x if tiles.x.device.type == "cpu" and np.array_equal(tiles.orders[0], order) else None


def _fullest_bin(items: Items, knots: Array) -> int:
    """The bin that holds most scores of a few rows."""
    rows = np.linspace(0, len(items.codes) - 1, min(16, len(items.codes))).astype(np.int64)
    counts = np.zeros(2 * len(knots) + 1, np.int64)
    for row in np.unique(rows).tolist():
        scores = items.scores(slice(row, row + 1), slice(0, len(items.codes)))[0]
        counts += np.bincount(_bins(knots, scores), minlength=len(counts))
    return int(counts.argmax())


def _weigh_list(bins: Array, first: Array, second: Array, knots: int, weights: Array) -> Array:
    """Histograms ``(2K + 1, R)`` of listed impostor pairs."""
    order = np.argsort(bins, kind="stable")
    arrays = [np.ascontiguousarray(each[order]) for each in (bins, first, second)]
    shares = np.array_split(np.arange(len(bins)), torch.get_num_threads())

    def run(share: Array) -> Array:
        histogram = np.zeros((2 * knots + 1, weights.shape[1]), np.int64)
        if len(share):
            part = slice(int(share[0]), int(share[-1]) + 1)
            resampling.weigh_list(*(each[part] for each in arrays), weights, histogram)
        return histogram

    with ThreadPoolExecutor(len(shares)) as pool:
        return np.asarray(np.sum(list(pool.map(run, shares)), axis=0, dtype=np.float64))


def _weigh_matches(parts: Any, knots: int, weights: Array) -> Array:
    """Histograms ``(2K + 1, R)`` of matching pairs, given as parts of (bins, identities)."""
    shape = (2 * knots + 1, len(weights))
    counts = sparse.csr_array(shape, dtype=np.float64)
    waiting: list[tuple[Array, Array]] = []

    def added() -> Any:
        bins, codes = (np.concatenate(each) for each in zip(*waiting))
        return counts + sparse.csr_array((np.ones(len(bins)), (bins, codes)), shape=shape)

    for part in parts:
        waiting.append(part)
        if sum(len(bins) for bins, _ in waiting[-1:]) > 1 << 20 or len(waiting) >= 4096:
            counts = added()
            waiting = []
    if waiting:
        counts = added()
    result = np.empty((shape[0], weights.shape[1]))
    for first in range(0, weights.shape[1], 64):
        result[:, first : first + 64] = counts @ weights[:, first : first + 64].astype(np.float64)
    return result


class _Figures(NamedTuple):
    """Resampled figures; the first entry of each array is that of the sample itself, as the histograms have it."""

    auc: Array
    eer: Array
    tpr_at_fpr: list[Array]
    tpr_at_threshold: list[Array]
    fpr_at_threshold: list[Array]


def _figures(
    matches: Array, impostors: Array, knots: Array, fprs: Sequence[float], thresholds: Sequence[float]
) -> _Figures:
    """The figures of each column of the two histograms ``(2K + 1, R)``; some columns at a time."""
    places = [int(np.searchsorted(knots, _as_knot(t, knots.dtype))) for t in thresholds]
    columns = np.array_split(np.arange(matches.shape[1]), max(1, matches.shape[1] // 64))
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [_columns_figures(matches[:, each], impostors[:, each], fprs, places) for each in columns]
    joined = [np.concatenate(each, axis=-1) for each in zip(*parts)]
    return _Figures(joined[0][0], joined[1][0], *(list(each) for each in joined[2:]))


def _joined(parts: Sequence[_Figures]) -> _Figures:
    """The figures of several sets of resamples as one."""
    auc, eer = (np.concatenate([getattr(part, name) for part in parts]) for name in ("auc", "eer"))
    lists = [
        [np.concatenate(each) for each in zip(*(getattr(part, name) for part in parts))]
        for name in ("tpr_at_fpr", "tpr_at_threshold", "fpr_at_threshold")
    ]
    return _Figures(auc, eer, *lists)


def _columns_figures(matches: Array, impostors: Array, fprs: Sequence[float], places: list[int]) -> tuple[Array, ...]:
    p, q = matches.sum(0), impostors.sum(0)
    defined = (p > 0) & (q > 0)
    p, q = np.where(defined, p, np.nan), np.where(defined, q, np.nan)
    fp = impostors[::-1].cumsum(0)[::-1]
    tpr = matches[::-1].cumsum(0)[::-1] / p
    auc = (matches * (q - fp + impostors / 2)).sum(0) / (p * q)
    fpr = fp / q
    tprs = np.stack([_tpr_at(budget, fpr, tpr, p) for budget in fprs]) if fprs else np.empty((0, len(p)))
    # EER: the last bin from the top where FNR + 0 still exceeds FPR, and the next.
    gap = np.concatenate([(1 - tpr) - fpr, np.ones((1, len(p)))])
    rate = np.concatenate([fpr, np.zeros((1, len(p)))])
    after = len(fpr) - 1 - (gap[:-1] <= 0)[::-1].argmax(0)[None, :]
    g0, g1 = (np.take_along_axis(gap, each, 0)[0] for each in (after + 1, after))
    r0, r1 = (np.take_along_axis(rate, each, 0)[0] for each in (after + 1, after))
    eer = r0 + g0 / (g0 - g1) * (r1 - r0)
    rows = [2 * k + 1 for k in places]
    return auc[None, :], eer[None, :], tprs, tpr[rows], fpr[rows]


def _tpr_at(budget: float, fpr: Array, tpr: Array, matches: Array) -> Array:
    """TPR@FPR of each column, from the rates of accepting each bin and all above it ``(2K + 1, R)``."""
    kept = fpr[1::2] <= budget
    some = kept.any(0)
    # The bin just below the lowest knot that keeps the budget; from the top where none does.
    under = np.where(some, 2 * kept.argmax(0), len(fpr) - 1)[None, :]
    above = np.minimum(under + 1, len(fpr) - 1)
    f0, t0 = (np.where(some, np.take_along_axis(rate, above, 0)[0], 0.0) for rate in (fpr, tpr))
    f1, t1 = (np.take_along_axis(rate, under, 0)[0] for rate in (fpr, tpr))
    # Only where match scores were passed over does that bin hold any: they are taken as evenly spread among its
    # impostors.
    share = np.where(f1 <= budget, 1.0, (budget - f0) / np.maximum(f1 - f0, 1e-300))
    result: Array = np.where(np.isnan(matches), np.nan, t0 + np.clip(share, 0.0, 1.0) * (t1 - t0))
    return result


def _summarise(
    exact: Verification,
    values: _Figures,
    fprs: Sequence[float],
    thresholds: Sequence[float],
    identities: tuple[int, int],
    level: float,
) -> Intervals:
    """Estimates and intervals; ``identities``: how many there are, and how many of them have a matching pair."""

    def interval(estimate: float, figure: Array, independent: float) -> Interval:
        # What the choice of knots and of pairs changes in the sample itself is taken off the resamples.
        off = estimate - figure[0]
        return rate_interval(estimate, np.clip(figure[1:] + off, 0.0, 1.0), level, independent)

    points = [exact.confusion_at(t) for t in thresholds]
    # Nothing seen in any resample: every identity with a matching pair is a trial of TPR, every two of FPR.
    couples, trials = float(max(identities[0] // 2, 1)), float(identities[1])
    return Intervals(
        auc=interval(exact.auc, values.auc, trials),
        eer=interval(exact.eer, values.eer, trials),
        tpr_at_fpr={f: interval(exact.tpr_at_fpr(f), v, trials) for f, v in zip(fprs, values.tpr_at_fpr)},
        tpr_at_threshold={
            t: interval(point.tpr, v, trials) for t, point, v in zip(thresholds, points, values.tpr_at_threshold)
        },
        fpr_at_threshold={
            t: interval(point.fpr, v, couples) for t, point, v in zip(thresholds, points, values.fpr_at_threshold)
        },
        identities=identities[0],
        resamples=len(values.auc) - 1,
        level=level,
    )


def _difference(first: Interval, second: Interval, level: float) -> Difference:
    values = first.values - second.values
    values = values[~np.isnan(values)]
    estimate = first.estimate - second.estimate
    if not len(values):
        return Difference(estimate, math.nan, math.nan, math.nan)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    rarer = min(int((values <= 0).sum()), int((values >= 0).sum()))
    return Difference(estimate, float(low), float(high), min(1.0, 2 * (1 + rarer) / (1 + len(values))))


def _knots(match_scores: Array, thresholds: Sequence[float]) -> Array:
    """Scores at which the figures are known exactly, ascending: match scores, and the thresholds."""
    knots = np.unique(match_scores)
    if len(knots) > KNOTS:
        knots = np.unique(match_scores[np.linspace(0, len(match_scores) - 1, KNOTS).round().astype(np.int64)])
    extra = np.array([_as_knot(t, match_scores.dtype) for t in thresholds], dtype=knots.dtype)
    return np.union1d(knots, extra)


def _as_knot(threshold: float, dtype: Any) -> Any:
    """The least score of the type that is accepted: rounding down would accept a score below the threshold."""
    value = np.asarray(threshold, dtype=dtype)[()]
    return value if float(value) >= threshold else np.nextafter(value, np.asarray(np.inf, dtype=dtype)[()])


def _bins(knots: Array, scores: Array) -> Array:
    """Bin 2k + 1 for a score equal to knot k, bin 2k between knots k − 1 and k."""
    result: Array = np.searchsorted(knots, scores, side="left") + np.searchsorted(knots, scores, side="right")
    return result


def _checked_counts(successes: Any, trials: Any, level: float) -> tuple[Array, Array]:
    _check_level(level)
    k, n = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(trials, np.float64))
    if not ((k >= 0) & (k <= n)).all():
        bad = np.flatnonzero(~((k >= 0) & (k <= n)).ravel())[0]
        raise ValueError(f"{k.ravel()[bad]:g} successes in {n.ravel()[bad]:g} trials: from 0 to all are possible")
    return k, n


def _check_settings(resamples: int, level: float, fprs: Sequence[float], thresholds: Sequence[float]) -> None:
    _check_level(level)
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}: at least 1 is needed, 1000 is common")
    for fpr in fprs:
        if not 0 <= fpr <= 1:
            raise ValueError(f"fprs holds {fpr}: rates from 0 to 1 are needed")
    for threshold in thresholds:
        if math.isnan(threshold):
            raise ValueError("thresholds holds NaN: numbers are needed")


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: a share between 0 and 1, such as 0.95, is needed")


def _plain(values: Any) -> Array:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype.is_floating_point and values.dtype.itemsize < 4 else values
        array: Array = values.numpy()
        return array
    return np.asarray(values)
