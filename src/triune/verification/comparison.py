"""Two models on the same items: differences of their figures, from the same resampled identities."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.labels import Labels
from triune.pairs.prepared import PreparedEmbeddings, as_prepared
from triune.verification.bootstrap import Intervals, bootstrap_verification
from triune.verification.intervals import Interval
from triune.verification.roc import FPRS


class Difference(NamedTuple):
    """A figure of the first model minus that of the second, on the same items.

    Args:
        estimate: the difference, exact.
        low: lower end of its interval.
        high: upper end.
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
        auc: the difference, first minus second.
        eer: likewise.
        tpr_at_fpr: by false-positive budget.
        first: the first model's own intervals.
        second: the second model's, from the same resamples.
    """

    auc: Difference
    eer: Difference
    tpr_at_fpr: Mapping[float, Difference]
    first: Intervals
    second: Intervals


def compare_verification(
    first: Embeddings | PreparedEmbeddings,
    second: Embeddings | PreparedEmbeddings,
    labels: Labels | None = None,
    *,
    metric: Metric | None = None,
    second_metric: Metric | None = None,
    fprs: Sequence[float] = FPRS,
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
        fprs: false-positive budgets.
        resamples: how often identities are drawn.
        level: the share of intervals that should cover the truth.
        seed: of the drawing.
        groups: ``(N,)``: pairs within a group are excluded; left out where both are prepared.
        max_pairs: most impostor pairs weighed.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Raises:
        ValueError: as :func:`~triune.verification.bootstrap.bootstrap_verification`, or the items differ.
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


def _difference(first: Interval, second: Interval, level: float) -> Difference:
    values = first.values - second.values
    values = values[~np.isnan(values)]
    estimate = first.estimate - second.estimate
    if not len(values):
        return Difference(estimate, math.nan, math.nan, math.nan)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    rarer = min(int((values <= 0).sum()), int((values >= 0).sum()))
    return Difference(estimate, float(low), float(high), min(1.0, 2 * (1 + rarer) / (1 + len(values))))
