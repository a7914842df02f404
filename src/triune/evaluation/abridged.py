"""What of a judgement a file says that is given away: figures and counts, without names."""

from typing import Final

import numpy as np

from triune.evaluation.results import (
    ClassResult,
    Curve,
    DataSummary,
    ModelResult,
    Results,
    RetrievalResult,
    VerificationResult,
)

RATES: Final = tuple(np.geomspace(1e-4, 0.5, 50).tolist())
"""False-positive rates whose points of a ROC are kept: those that the slider of the page passes."""


def abridged(results: Results) -> Results:
    """Results in a few kB: the judged figures, and the histogram and some points of the ROC of validation pairs.

    Left out are the names of people, of classes and of places, other models, and all that is listed by item or class.

    Args:
        results: the content of a run's ``metrics.json``.
    """
    model = results.models[0]
    judged = model.judged()
    splits = {"val": model.verification.get("val"), **({} if judged is None else {judged[0]: judged[1]})}
    kept = ModelResult(
        name=model.name,
        role=model.role,
        verification={
            split: abridged_pairs(found, spread=split == "val")
            for split, found in splits.items()
            if isinstance(found, VerificationResult)
        },
        retrieval=_without_lists(model.retrieval) if isinstance(model.retrieval, RetrievalResult) else None,
    )
    classes = results.classification
    return Results(
        triune=results.triune,
        name=results.name,
        created=results.created,
        data=DataSummary(source=""),
        metric=results.metric,
        models=[kept],
        classification=(
            classes.model_copy(update={"classes": [], "confusion": [], "untrained": {}})
            if isinstance(classes, ClassResult)
            else None
        ),
        segmentation=results.segmentation,
    )


def abridged_pairs(found: VerificationResult, *, spread: bool) -> VerificationResult:
    """Figures of pairs, without their ROC but for a few points.

    Args:
        found: all of them.
        spread: whether the histogram and points of the ROC are kept.
    """
    if not spread:
        return found.model_copy(update={"roc": Curve(fpr=[], tpr=[], threshold=[]), "histogram": None})
    places = np.unique([place for place in np.searchsorted(found.roc.fpr, RATES, side="right") - 1 if place >= 0])
    roc = Curve(**{name: [values[place] for place in places] for name, values in found.roc.model_dump().items()})
    return found.model_copy(update={"roc": roc})


def _without_lists(found: RetrievalResult) -> RetrievalResult:
    return found.model_copy(
        update={"cmc": [], "map_at": {}, "map_at_over_hits": {}, "ndcg_at": {}, "precision_at": {}, "roles": None}
    )
