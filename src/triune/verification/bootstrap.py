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
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings, Metric
from triune.kernels import resampling_cpu
from triune.labels import Labels, encode_together
from triune.pairs.prepared import PreparedEmbeddings, as_prepared
from triune.parallel.divide import exact_sums, gather_in_order, own_blocks, rank_and_size
from triune.verification.all_pairs import verify_embeddings
from triune.verification.intervals import Interval, as_array, check_level, rate_interval
from triune.verification.items import Items
from triune.verification.pair_noise import (
    BLOCK_CELLS,
    COLUMNS,
    ROWS,
    accepted_by_identity,
    as_knot,
    identity_turns,
    without_pair_noise,
)
from triune.verification.roc import Verification, verify_scores

Array: TypeAlias = np.ndarray[Any, Any]


KNOTS = 2000
"""Up to so many distinct match scores the resampled figures are exact. Of more, so many are chosen, evenly."""


@dataclass(frozen=True)
class Intervals:
    """The verification figures with their intervals.

    Args:
        auc, eer: as in :class:`~triune.verification.roc.Verification`.
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


def bootstrap_verification(
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels | None = None,
    *,
    metric: Metric | None = None,
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

    Estimates are exact, those of :func:`~triune.verification.all_pairs.verify_embeddings`. Resampled figures come from
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
        embeddings: ``(N, D)``; or what :func:`~triune.pairs.prepared.prepare` made of them, without labels, metric and
            groups.
        labels: ``(N,)`` identities.
        metric: the distance, the cosine where not given; the score is the cosine similarity, or minus the distance.
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
    prepared = as_prepared(embeddings, labels, metric, groups)
    exact = verification or verify_embeddings(prepared, fprs=fprs, divide_over=divide_over)
    items = Items.of(prepared)
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
        ValueError: as :func:`~triune.verification.roc.verify_scores`; or ``is_match`` disagrees with the identities.
    """
    _check_settings(resamples, level, fprs, thresholds)
    exact = verify_scores(scores, is_match)  # type: ignore[arg-type]
    values, flags = as_array(scores), as_array(is_match).astype(bool)
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
    first: Embeddings | PreparedEmbeddings,
    second: Embeddings | PreparedEmbeddings,
    labels: Labels | None = None,
    *,
    metric: Metric | None = None,
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
        first: ``(N, D)`` embeddings by the first model, or prepared ones.
        second: ``(N, E)`` by the second, of the same items in the same order, or prepared ones.
        labels: ``(N,)`` identities; left out where both are prepared.
        metric: the distance, the cosine where not given; for the second model ``second_metric``, where it is another.
        second_metric: see there.
        fprs, resamples, level, seed, groups, max_pairs, divide_over: as in :func:`bootstrap_verification`.
    """
    if len(first) != len(second):
        raise ValueError(
            f"first has {len(first)} rows but second has {len(second)}: the same items, in the same order, are needed"
        )
    own = (None, None) if isinstance(first, PreparedEmbeddings) else (labels, groups)
    theirs = (None, None) if isinstance(second, PreparedEmbeddings) else (labels, groups)
    one = as_prepared(first, own[0], metric, own[1])
    other_metric = second_metric or (None if isinstance(second, PreparedEmbeddings) else metric)
    other = as_prepared(second, theirs[0], other_metric, theirs[1])
    if not (np.array_equal(one.order, other.order) and np.array_equal(one.codes, other.codes)):
        raise ValueError("first and second have different labels: the same items, in the same order, are needed")

    def resampled(prepared: PreparedEmbeddings) -> Intervals:
        return bootstrap_verification(
            prepared,
            fprs=fprs,
            resamples=resamples,
            level=level,
            seed=seed,
            max_pairs=max_pairs,
            divide_over=divide_over,
        )

    return compare_intervals(resampled(one), resampled(other))


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


def draw_weights(identities: int, resamples: int, seed: int) -> Array:
    """How often each identity is drawn, uint8 ``(identities, resamples + 1)``; column 0 is the sample: all ones."""
    rng = np.random.default_rng(seed)
    weights = np.ones((identities, resamples + 1), np.uint8)
    for r in range(1, resamples + 1):
        # An identity drawn more than 255 times would need as many identities, and luck beyond 1 in 10^500.
        weights[:, r] = np.bincount(rng.integers(0, identities, identities), minlength=identities)
    return weights


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
    _, processes = rank_and_size(divide_over)
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
    joined = _joined(gather_in_order(figures, divide_over))
    own: list[list[tuple[float, ...]]] = [[] for _ in thresholds]
    if thresholds:
        for part, _ in parts():
            for k, threshold in enumerate(thresholds):
                own[k] += _couple_sums(part, threshold, divide_over)
    sums = exact_sums(own, 5, divide_over)
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
        room = resampling_cpu.scratch(rows * count, bins, resamples)
        for row in starts:
            scores = items.scores(slice(row, row + rows), slice(row, count))
            resampling_cpu.weigh_block(scores, row, items.codes, items.groups, knots, weights, skip, histogram, room)
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
            resampling_cpu.weigh_list(*(each[part] for each in arrays), weights, histogram)
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
    places = [int(np.searchsorted(knots, as_knot(t, knots.dtype))) for t in thresholds]
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
    extra = np.array([as_knot(t, match_scores.dtype) for t in thresholds], dtype=knots.dtype)
    return np.union1d(knots, extra)


def _bins(knots: Array, scores: Array) -> Array:
    """Bin 2k + 1 for a score equal to knot k, bin 2k between knots k − 1 and k."""
    result: Array = np.searchsorted(knots, scores, side="left") + np.searchsorted(knots, scores, side="right")
    return result


def _check_settings(resamples: int, level: float, fprs: Sequence[float], thresholds: Sequence[float]) -> None:
    check_level(level)
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}: at least 1 is needed, 1000 is common")
    for fpr in fprs:
        if not 0 <= fpr <= 1:
            raise ValueError(f"fprs holds {fpr}: rates from 0 to 1 are needed")
    for threshold in thresholds:
        if math.isnan(threshold):
            raise ValueError("thresholds holds NaN: numbers are needed")
