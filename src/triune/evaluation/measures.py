"""Each part of ``metrics.json`` from embeddings, classes and mask counts, as plain numbers and lists."""

from typing import Any

import numpy as np
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings, Metric
from triune.retrieval.metrics import RetrievalMetrics, retrieval_metrics
from triune.verification.all_pairs import verify_embeddings, why_not_verifiable
from triune.verification.roc import Verification
from triune.verification.thresholds import fit_threshold

Array = np.ndarray[Any, Any]

FPRS = (0.05, 0.01, 0.001)
CURVE_POINTS = 1000
HISTOGRAM_BINS = 80


def verification_summary(
    embeddings: Array, identities: Array, metric: Metric, divide_over: ProcessGroup | None = None
) -> dict[str, Any]:
    """ROC, AUC, EER and the operating points over every pair of N items.

    Args:
        embeddings: ``(N, D)``.
        identities: ``(N,)``.
        metric: the distance.
        divide_over: processes that share the work; all get the same.

    Returns:
        Plain numbers; ``{"unavailable": reason}`` where the items make no matching or no non-matching pair.
    """
    reason = why_not_verifiable(identities)
    if reason is not None:
        return {"unavailable": reason}
    return figures_of(verify_embeddings(embeddings, identities, metric=metric, divide_over=divide_over))


def figures_of(verification: Verification) -> dict[str, Any]:
    """The same of pairs that were verified already: the curve's figures and the histogram."""
    edges, matches, impostors = verification.histogram(HISTOGRAM_BINS)
    return {
        **curve_summary(verification),
        "histogram": {"edges": _list(edges), "matches": _list(matches), "impostors": _list(impostors)},
    }


def curve_summary(verification: Verification) -> dict[str, Any]:
    """AUC, EER, the operating points and the thinned ROC."""
    return {
        "auc": verification.auc,
        "eer": verification.eer,
        "matches": int(verification.matches),
        "impostors": int(verification.impostors),
        "tpr_at_fpr": {str(fpr): operating_point(verification, fpr) for fpr in FPRS},
        "roc": thinned_curve(verification),
    }


def operating_point(verification: Verification, fpr: float) -> dict[str, Any]:
    """TPR@FPR, the threshold that achieves it and the FPR it really has."""
    point = verification.operating_point(fpr)._asdict()
    del point["target_fpr"]
    return point


def thinned_curve(verification: Verification) -> dict[str, list[float]]:
    """The ROC at about a thousand of its own points, spread evenly over FPR and over its logarithm."""
    fpr, tpr, thresholds = (np.asarray(part, dtype=np.float64) for part in verification.roc())
    half = CURVE_POINTS // 2
    low = 1.0 / max(1, int(verification.impostors))
    grid = np.concatenate([np.linspace(0, 1, half), np.geomspace(low, 1, half)])
    # The last point at or below each FPR: thinning then never shows a TPR the curve does not have.
    keep = np.unique(np.concatenate([[0, len(fpr) - 1], np.searchsorted(fpr, grid, side="right") - 1]).clip(0))
    return {"fpr": _list(fpr[keep]), "tpr": _list(tpr[keep]), "threshold": _list(thresholds[keep])}


def retrieval_summary(
    embeddings: Embeddings, identities: Array, metric: Metric, divide_over: ProcessGroup | None = None
) -> dict[str, Any]:
    """Recall@1/5/10, MAP@R, R-precision and MRR, every item a query against all others."""
    if len(identities) < 2 or np.unique(identities, return_counts=True)[1].max() < 2:
        return {"unavailable": "no identity has two images"}
    return retrieval_figures(retrieval_metrics(embeddings, identities, metric=metric, divide_over=divide_over))


def retrieval_figures(found: RetrievalMetrics) -> dict[str, Any]:
    """Retrieval metrics with ranks as words, as JSON has them."""
    return {
        name: {str(k): each for k, each in value.items()} if isinstance(value, dict) else value
        for name, value in vars(found).items()
    }


def fitted_threshold(
    validation: tuple[Array, Array] | None,
    test: tuple[Array, Array] | None,
    metric: Metric,
    fpr: float,
    divide_over: ProcessGroup | None = None,
) -> dict[str, Any]:
    """The threshold chosen on validation pairs, and what it does on them and on test pairs.

    Args:
        validation: embeddings and identities the threshold is chosen on.
        test: embeddings and identities it is then applied to.
        metric: the distance.
        fpr: the budget of the run's own threshold.
        divide_over: processes that share the work; all get the same.
    """
    if validation is None:
        return {"unavailable": "there is no validation split to choose a threshold on"}
    reason = why_not_verifiable(validation[1])
    if reason is not None:
        return {"unavailable": f"validation split: {reason}"}
    on_validation = verify_embeddings(*validation, metric=metric, divide_over=divide_over)
    points = {
        str(target): fit_threshold(on_validation, target, metric=metric, fitted_on="val").as_dict()
        for target in sorted({fpr, *FPRS}, reverse=True)
    }
    threshold = points[str(fpr)]["threshold"]
    result = {
        "metric": metric,
        "target_fpr": fpr,
        "threshold": threshold,
        "distance": points[str(fpr)]["distance"],
        "fitted_on": "val",
        "val": counts_at(on_validation, threshold),
        "test": None,
        "all": points,
    }
    if test is not None and why_not_verifiable(test[1]) is None:
        result["test"] = counts_at(verify_embeddings(*test, metric=metric, divide_over=divide_over), threshold)
    return result


def counts_at(verification: Verification, threshold: float) -> dict[str, float]:
    """The confusion table at a threshold."""
    confusion = verification.confusion_at(threshold)
    names = ("tp", "fp", "tn", "fn", "tpr", "fpr", "precision", "accuracy")
    return {name: getattr(confusion, name) for name in names}


def class_measures(truth: Array, predicted: Array, classes: list[str], split: str) -> dict[str, Any]:
    """Accuracy and confusion matrix of the items whose class the network knows.

    Args:
        truth: ``(N,)`` class indices, −1 where an item's class is missing or was never trained.
        predicted: ``(N,)`` class indices.
    """
    known = truth >= 0
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (truth[known], predicted[known]), 1)
    return {
        "split": split,
        "items": int(known.sum()),
        "accuracy": float(np.trace(confusion) / max(1, known.sum())),
        "classes": classes,
        "confusion": confusion.tolist(),
    }


def mask_measures(confusion: Array, masked: int, split: str) -> dict[str, Any]:
    """Intersection over union and Dice from pixel counts; of the foreground alone, or the mean over several ids.

    Args:
        confusion: ``(M, M)`` pixel counts, true id by predicted id.
        masked: how many items were counted.
    """
    hits = np.diag(confusion).astype(np.float64)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    sizes = confusion.sum(axis=0) + confusion.sum(axis=1)
    with np.errstate(invalid="ignore"):
        iou, dice = hits / either, 2 * hits / sizes
    first = 1 if len(confusion) == 2 else 0
    return {
        "split": split,
        "items": masked,
        "iou": float(np.nanmean(iou[first:])),
        "dice": float(np.nanmean(dice[first:])),
        "per_channel": _list(iou[first:]),
    }


def _list(values: Any) -> list[float]:
    converted: list[float] = np.asarray(values).tolist()
    return converted


NAMES = {
    "trained": "this model",
    "pixels": "raw pixels",
    "untrained": "untrained backbone",
    "pretrained": "pretrained backbone",
}
