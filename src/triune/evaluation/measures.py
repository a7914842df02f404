"""What was found of pairs, rankings, classes and masks, as the typed records of ``metrics.json``."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from triune.evaluation import results
from triune.evaluation.results import ScoreKind, Split
from triune.retrieval.metrics import RetrievalMetrics
from triune.verification import bootstrap, comparison as compared, conditions, roc
from triune.verification.decision import Threshold
from triune.verification.folds import FoldResult
from triune.verification.intervals import Interval, too_few_identities
from triune.verification.roc import FPRS, Verification

Array: TypeAlias = np.ndarray[Any, Any]

CURVE_POINTS = 1000
HISTOGRAM_BINS = 80


def verification_result(
    verification: Verification, intervals: bootstrap.Intervals | None = None, seed: int = 0
) -> results.VerificationResult:
    """ROC, AUC, EER, the operating points of :data:`FPRS` and the histogram.

    Args:
        verification: the pairs.
        intervals: the same figures' intervals, where there are any.
        seed: that they were drawn with.
    """
    points = []
    for fpr in FPRS:
        ends = None if intervals is None else interval(intervals.tpr_at_fpr[fpr])
        points.append(results.OperatingPoint(**verification.operating_point(fpr)._asdict(), interval=ends))
    return results.VerificationResult(
        matches=verification.matches,
        impostors=verification.impostors,
        auc=verification.auc,
        auc_interval=None if intervals is None else interval(intervals.auc),
        eer=verification.eer,
        eer_interval=None if intervals is None else interval(intervals.eer),
        points=points,
        roc=thinned_curve(verification),
        histogram=histogram(verification),
        uncertainty=None if intervals is None else uncertainty(intervals, seed),
    )


def interval(found: Interval) -> results.Interval:
    """The ends."""
    return results.Interval(low=found.low, high=found.high)


def uncertainty(found: bootstrap.Intervals, seed: int) -> results.Uncertainty:
    """How intervals were made."""
    return made_uncertainty(found.level, found.resamples, found.identities, seed)


def made_uncertainty(level: float, resamples: int, identities: int, seed: int) -> results.Uncertainty:
    """How intervals were made, and whether they can be leaned on.

    Args:
        level: the share of such intervals that should cover the truth.
        resamples: how often identities were drawn.
        identities: how many there are.
        seed: of the drawing.
    """
    reason = too_few_identities(identities) if resamples else None
    return results.Uncertainty(
        level=level, resamples=resamples, identities=identities, seed=seed, reliable=reason is None, reason=reason
    )


def thinned_curve(verification: Verification) -> results.Curve:
    """The ROC at about a thousand of its own points, spread evenly over FPR and over its logarithm."""
    fpr, tpr, thresholds = (np.asarray(part, dtype=np.float64) for part in verification.roc())
    half = CURVE_POINTS // 2
    low = 1.0 / max(1, int(verification.impostors))
    grid = np.concatenate([np.linspace(0, 1, half), np.geomspace(low, 1, half)])
    # The last point at or below each FPR: thinning then never shows a TPR the curve does not have.
    keep = np.unique(np.concatenate([[0, len(fpr) - 1], np.searchsorted(fpr, grid, side="right") - 1]).clip(0))
    return results.Curve(fpr=_list(fpr[keep]), tpr=_list(tpr[keep]), threshold=_list(thresholds[keep]))


def histogram(verification: Verification) -> results.Histogram | None:
    """How the scores are spread; ``None`` where one is infinite, or all are too nearly the same to be told apart."""
    matches, others = verification.match_scores, verification.impostor
    if not np.isfinite([matches[0], matches[-1], others.lowest, others.at(others.count - 1)]).all():
        return None
    edges, same, different = verification.histogram(HISTOGRAM_BINS)
    if not (np.diff(edges) > 0).all():  # so many bins do not fit between the lowest and the highest
        return None
    return results.Histogram(edges=_list(edges), matches=_list(same), impostors=_list(different))


def retrieval_result(found: RetrievalMetrics, cmc: Sequence[float] | Array = ()) -> results.RetrievalResult:
    """Retrieval figures.

    Args:
        found: the figures.
        cmc: the share of queries with a hit among the first 1, 2, ….
    """
    return results.RetrievalResult(**vars(found), cmc=_list(cmc))


def confusion(found: roc.Confusion) -> results.Confusion:
    """Pairs accepted and rejected, and their rates."""
    rates = {name: getattr(found, name) for name in ("tpr", "fpr", "precision", "accuracy")}
    return results.Confusion(**found._asdict(), **rates)


def applied_threshold(
    threshold: Threshold, fitted: Verification | None, judged: Verification | None
) -> results.AppliedThreshold:
    """A threshold that was fitted on some pairs, and what it does to those and to others.

    Args:
        threshold: of the scores of embeddings.
        fitted: the pairs that it was fitted on, where they are at hand.
        judged: the pairs that it is applied to.
    """
    if threshold.metric is None:
        raise ValueError("a threshold of scores that are no distances of embeddings cannot be applied to embeddings")
    return results.AppliedThreshold(
        metric=threshold.metric,
        target_fpr=threshold.target_fpr,
        threshold=threshold.threshold,
        distance=threshold.distance,
        fitted_on=threshold.fitted_on,
        on_fitted=None if fitted is None else confusion(threshold.apply(fitted)),
        on_test=None if judged is None else confusion(threshold.apply(judged)),
        expected=threshold.expected,
        confidence=threshold.confidence,
    )


def distance_of(score: float, metric: ScoreKind) -> float:
    """The distance that a score stands for: 1 − similarity for the cosine, minus the score otherwise."""
    return 1.0 - score if metric == "cosine" else -score


def comparison(found: compared.Comparison, against: str, seed: int) -> results.Comparison:
    """Two models' differences.

    Args:
        found: the differences.
        against: what the other model is called.
        seed: that identities were drawn with.
    """

    def difference(each: compared.Difference) -> results.Difference:
        return results.Difference(**each._asdict())

    return results.Comparison(
        against=against,
        uncertainty=uncertainty(found.first, seed),
        auc=difference(found.auc),
        eer=difference(found.eer),
        tpr_at_fpr={fpr: difference(each) for fpr, each in found.tpr_at_fpr.items()},
    )


def condition_table(
    column: str, found: conditions.RatesByCondition, metric: ScoreKind, made: results.Uncertainty, *, fitted_here: bool
) -> results.ConditionsResult:
    """Rates by the values of one column.

    Args:
        column: its name.
        found: the rates.
        metric: what the scores are.
        made: how the intervals were made.
        fitted_here: whether the threshold was fitted on these very pairs.
    """

    def rate(each: Interval) -> results.Rate:
        return results.Rate(estimate=each.estimate, low=each.low, high=each.high)

    def inequity(each: conditions.Inequity) -> results.Inequity:
        worst = None if each.worst is None else str(each.worst)
        return results.Inequity(max_over_min=each.max_over_min, max_over_mean=each.max_over_mean, worst=worst)

    return results.ConditionsResult(
        column=column,
        threshold=found.threshold,
        distance=distance_of(found.threshold, metric),
        fitted_here=fitted_here,
        uncertainty=made,
        rows=[
            results.ConditionResult(
                condition=str(row.first),
                items=row.items,
                identities=row.identities,
                matches=row.matches,
                impostors=row.impostors,
                tpr=rate(row.tpr),
                fpr=rate(row.fpr),
                reliable=too_few_identities(row.identities) is None,
            )
            for row in found.within
        ],
        inequity={"fpr": inequity(found.inequity("fpr")), "fnr": inequity(found.inequity("fnr"))},
    )


def folds_result(found: FoldResult) -> results.FoldsResult:
    """Accuracy and TPR@FPR over folds."""

    def estimate(each: Any) -> results.Estimate:
        return results.Estimate(**each._asdict())

    return results.FoldsResult(
        names=[str(name) for name in found.folds],
        accuracy=estimate(found.accuracy),
        accuracies=_list(found.accuracies),
        tpr_at_fpr={
            fpr: results.FoldRates(
                tpr=estimate(rates.mean_tpr), fpr=estimate(rates.mean_fpr), reliable=bool(rates.reliable)
            )
            for fpr, rates in found.rates.items()
        },
    )


def class_result(
    truth: Array, predicted: Array, classes: list[str], split: Split, labels: Sequence[str | None] = ()
) -> results.ClassResult:
    """Accuracy and confusion matrix of the items whose class the network knows.

    Args:
        truth: ``(N,)`` class indices, −1 where an item's class is missing or was never trained.
        predicted: ``(N,)`` class indices.
        classes: names of the classes.
        split: which items these are.
        labels: the N names of the items' classes, ``None`` where they are missing: those that are not among
            ``classes`` are counted.
    """
    known = truth >= 0
    unknown = Counter(label for label in labels if label is not None and label not in classes)
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (truth[known], predicted[known]), 1)
    return results.ClassResult(
        split=split,
        items=int(known.sum()),
        accuracy=float(np.trace(counts) / max(1, known.sum())),
        classes=classes,
        confusion=counts.tolist(),
        untrained=dict(sorted(unknown.items())),
    )


def mask_result(counts: Array, masked: int, split: Split) -> results.MaskResult:
    """Intersection over union and Dice from pixel counts; of the foreground alone, or the mean over several ids.

    Args:
        counts: ``(M, M)`` pixels, true id by predicted id.
        masked: how many items were counted.
        split: which items these are.
    """
    hits = np.diag(counts).astype(np.float64)
    sizes = counts.sum(axis=0) + counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        iou, dice = hits / (sizes - hits), 2 * hits / sizes
    first = 1 if len(counts) == 2 else 0
    return results.MaskResult(
        split=split,
        items=masked,
        iou=float(np.nanmean(iou[first:])),
        dice=float(np.nanmean(dice[first:])),
        per_channel=_list(iou[first:]),
    )


def _list(values: Any) -> list[Any]:
    converted: list[Any] = np.asarray(values).tolist()
    return converted
