"""What the run's files say of it: the figures of its report, and how far apart its validation pairs lie."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from triune.errors import InputError
from triune.evaluation.abridged import RATES
from triune.evaluation.results import Interval, ModelResult, Results, RetrievalResult, VerificationResult
from triune.run.places import folder_of
from triune.run.thresholds import StoredThresholds
from triune.serving.loaded import LoadedRun
from triune.verification.decision import ExpectedFPR, Threshold
from triune.web.answers import Expected, Figure, Figures, Level, Number, PairsAnswer


def thresholds_of(run: LoadedRun) -> StoredThresholds | str:
    """The thresholds that were fitted for a run's network, or why there are none.

    Raises:
        InputError: there are some, but they are damaged.
    """
    try:
        return run.network.thresholds
    except InputError as error:
        if run.folder is not None and (folder_of(run.folder) / "thresholds.json").exists():
            raise
        return str(error)


def figures_of(results: Results | None, target_fpr: float | None) -> Figures:
    """The figures of a run's report, as far as it has them.

    Args:
        results: the content of its ``metrics.json``.
        target_fpr: the budget of its own threshold.
    """
    if results is None:
        return Figures(target_fpr=target_fpr)
    model = results.models[0]
    found: dict[str, Any] = {}
    judged = model.judged()
    split: str | None = None
    level: float | None = None
    if judged is not None:
        split, verification = judged
        level = None if verification.uncertainty is None else verification.uncertainty.level
        found["auc"] = _figure(verification.auc, verification.auc_interval)
        found["eer"] = _figure(verification.eer, verification.eer_interval)
        for point in verification.points:
            if point.target_fpr == target_fpr:
                found["tpr_at_fpr"] = _figure(point.tpr, point.interval)
    if isinstance(model.retrieval, RetrievalResult):
        found["map_at_r"] = _figure(model.retrieval.map_at_r)
        if 1 in model.retrieval.recall_at:
            found["recall_at_1"] = _figure(model.retrieval.recall_at[1])
    accuracy = getattr(results.classification, "accuracy", None)
    iou = getattr(results.segmentation, "iou", None)
    found |= {name: _figure(value) for name, value in (("accuracy", accuracy), ("iou", iou)) if value is not None}
    sound = {name: each for name, each in found.items() if math.isfinite(each.value)}
    return Figures(split=split, level=level, target_fpr=target_fpr, **sound)


def pairs_of(results: Results | None, thresholds: StoredThresholds | str, name: str) -> PairsAnswer:
    """How far apart validation pairs lie, matching ones and others, and the thresholds that they give.

    Thresholds that the run stores are its own; those between are points of the report's ROC, which is thinned: each
    keeps its rate, and another one may keep it with a few more matching pairs.

    Args:
        results: the content of the run's ``metrics.json``.
        thresholds: from :func:`thresholds_of`.
        name: what messages call the run.

    Raises:
        InputError: the run stores no such pairs.
    """
    validation = _validation(results.models[0]) if results is not None else None
    if isinstance(thresholds, str) or validation is None or validation.histogram is None:
        raise InputError(f"{name} stores no validation pairs: `triune train` does, or `triune evaluate` of a run")
    if thresholds.unavailable is not None:
        raise InputError(f"{name} has no threshold: {thresholds.unavailable}")
    histogram, cosine = validation.histogram, thresholds.metric == "cosine"
    edges = [(1.0 - edge if cosine else -edge) for edge in reversed(histogram.edges)]
    stored = {each.target_fpr: each for each in thresholds.thresholds}
    levels = [_stored_level(each) for each in stored.values()]
    roc = validation.roc
    for rate in RATES:
        if rate * validation.impostors < 1:
            continue
        place = int(np.searchsorted(roc.fpr, rate, side="right")) - 1
        score, fpr = roc.threshold[place], roc.fpr[place]
        if math.isfinite(score) and fpr > 0:
            distance = 1.0 - score if cosine else -score
            levels.append(
                Level(fpr=rate, distance=distance, validation_fpr=fpr, tpr=roc.tpr[place], expected=None, exact=False)
            )
    levels.sort(key=lambda each: (each.fpr, not each.exact))
    kept: list[Level] = []
    for each in levels:
        if each.exact or not kept or kept[-1].validation_fpr != each.validation_fpr:
            kept.append(each)
    own = next(place for place, each in enumerate(kept) if each.exact and each.fpr == thresholds.target_fpr)
    return PairsAnswer(
        metric=thresholds.metric,
        edges=edges,
        matching=histogram.matches[::-1],
        others=histogram.impostors[::-1],
        split="validation",
        levels=kept,
        own=own,
    )


def number(value: float) -> Number:
    """A number as JSON holds it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def expected(known: ExpectedFPR | None) -> Expected | None:
    """A rate that is expected among new identities, as it is sent."""
    return None if known is None else Expected(**asdict(known))


def _figure(value: float, interval: Interval | None = None) -> Figure:
    ends = {} if interval is None else {"low": interval.low, "high": interval.high}
    return Figure(value=value, **{name: end for name, end in ends.items() if math.isfinite(end)})


def _validation(model: ModelResult) -> VerificationResult | None:
    found = model.verification.get("val")
    return found if isinstance(found, VerificationResult) else None


def _stored_level(stored: Threshold) -> Level:
    return Level(
        fpr=stored.target_fpr,
        distance=number(stored.distance),
        validation_fpr=stored.fpr,
        tpr=stored.tpr,
        expected=expected(stored.expected),
        exact=True,
    )
