"""AUC, EER and the rates of every resample, from weighed histograms of scores."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from triune.verification.pair_noise import as_knot

Array: TypeAlias = np.ndarray[Any, Any]


class ResampledFigures(NamedTuple):
    """Figures of the sample itself, as the histograms have it, and of R resamples: arrays ``(R + 1,)`` in this order.

    Args:
        auc: area under the curve.
        eer: equal error rate.
        tpr_at_fpr: an array for each budget.
        tpr_at_threshold: an array for each threshold.
        fpr_at_threshold: an array for each threshold.
    """

    auc: Array
    eer: Array
    tpr_at_fpr: list[Array]
    tpr_at_threshold: list[Array]
    fpr_at_threshold: list[Array]


def figures_of_histograms(
    matches: Array, impostors: Array, knots: Array, fprs: Sequence[float], thresholds: Sequence[float]
) -> ResampledFigures:
    """The figures of each column of two histograms; some columns at a time.

    Args:
        matches: ``(2K + 1, R)`` weights of the matching pairs.
        impostors: ``(2K + 1, R)`` those of the impostor pairs.
        knots: ``(K,)`` ascending.
        fprs: false-positive budgets.
        thresholds: scores from which pairs are accepted, all among the knots.
    """
    places = [int(np.searchsorted(knots, as_knot(t, knots.dtype))) for t in thresholds]
    columns = np.array_split(np.arange(matches.shape[1]), max(1, matches.shape[1] // 64))
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [_columns_figures(matches[:, each], impostors[:, each], fprs, places) for each in columns]
    joined = [np.concatenate(each, axis=-1) for each in zip(*parts)]
    return ResampledFigures(joined[0][0], joined[1][0], *(list(each) for each in joined[2:]))


def joined_figures(parts: Sequence[ResampledFigures]) -> ResampledFigures:
    """The figures of several sets of resamples as one."""
    auc, eer = (np.concatenate([getattr(part, name) for part in parts]) for name in ("auc", "eer"))
    lists = [
        [np.concatenate(each) for each in zip(*(getattr(part, name) for part in parts))]
        for name in ("tpr_at_fpr", "tpr_at_threshold", "fpr_at_threshold")
    ]
    return ResampledFigures(auc, eer, *lists)


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
