"""The ROC on two axes, with the operating points, the other models and chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from triune.evaluation.results import AppliedThreshold, Results, Uncertainty, VerificationResult
from triune.report import charts
from triune.report.formatting import percent, round_percent
from triune.report.models import JudgedModel, judged_models, pairs_of
from triune.report.scale import Scale
from triune.report.sections.section import Section


@dataclass(frozen=True)
class VerificationSection(Section):
    """What the section shows.

    Args:
        pairs: what the judged pairs are called.
        models: those whose pairs were judged, the judged one first.
        linear: the ROC with a linear FPR axis.
        logarithmic: the same with a logarithmic one.
        legend: of both.
        uncertainty: how intervals were made; ``None`` where there are none.
        curve: the judged model's curve for the page's script: FPR, TPR, and the distance or score of each point.
    """

    key = "verification"
    title = "Same or different"

    pairs: str
    models: list[JudgedModel]
    linear: Markup
    logarithmic: Markup
    legend: Markup
    uncertainty: Uncertainty | None
    curve: dict[str, Any]

    @property
    def main(self) -> VerificationResult:
        """The judged model's figures."""
        return self.models[0].figures


def verification_section(results: Results) -> VerificationSection | None:
    """The section, or ``None`` where no model's pairs were judged."""
    models = judged_models(results)
    if not models:
        return None
    main = models[0]
    lines = _lines(models, log=False)
    made = [m.figures.uncertainty for m in models if m.figures.auc_interval is not None]
    return VerificationSection(
        pairs=pairs_of(results.data, main.split),
        models=models,
        linear=_roc(main.figures, lines, log=False),
        logarithmic=_roc(main.figures, _lines(models, log=True), log=True),
        legend=charts.legend(lines[::-1]),
        uncertainty=next((each for each in made if each is not None), None),
        curve=_curve(results, main.figures),
    )


def _lines(models: Sequence[JudgedModel], *, log: bool) -> list[charts.Series]:
    """Chance behind, the judged model in front."""
    grid = np.geomspace(_lowest_fpr(models[0].figures), 1, 60).tolist() if log else [0.0, 1.0]
    lines = [charts.Series("chance", grid, grid, "chance")]
    for judged in reversed(models):
        roc = judged.figures.roc
        lines.append(charts.Series(judged.model.name, *charts.staircase(roc.fpr, roc.tpr), judged.style))
    return lines


def _roc(main: VerificationResult, lines: Sequence[charts.Series], *, log: bool) -> Markup:
    x = charts.Axis("false-positive rate: different pairs accepted", _lowest_fpr(main) if log else 0.0, 1.0, log, True)
    y = charts.Axis("true-positive rate: same pairs recognised", 0.0, 1.0, percent=True)
    marks = [
        charts.Mark(f"{percent(point.tpr)} at {round_percent(point.target_fpr)}", point.fpr, point.tpr)
        # On the linear axis all but the first lie at its left end.
        for point in (main.points if log else main.points[:1])
    ]
    title = f"ROC curve with a {'logarithmic' if log else 'linear'} false-positive axis"
    return charts.chart(title, x, y, lines, marks, "roc")


def _lowest_fpr(main: VerificationResult) -> float:
    """Where the logarithmic axis begins: the power of ten below that of a single false positive."""
    return float(10.0 ** max(-6, math.floor(math.log10(1 / max(10, main.impostors)))))


def _curve(results: Results, main: VerificationResult) -> dict[str, Any]:
    scale, applied = Scale(results.metric), results.threshold
    points = list(zip(main.roc.fpr, main.roc.tpr, main.roc.threshold, strict=True))
    if isinstance(applied, AppliedThreshold) and applied.on_test is not None:
        # The stored curve is thinned; with the applied point in it, all places of the page say the same of it.
        points.append((applied.on_test.fpr, applied.on_test.tpr, applied.threshold))
    points = sorted((point for point in points if all(map(math.isfinite, point))), key=lambda point: point[:2])
    return {
        "fpr": [round(fpr, 6) for fpr, _, _ in points],
        "tpr": [round(tpr, 5) for _, tpr, _ in points],
        "at": [round(scale.shown(score), 6) for _, _, score in points],
        "name": scale.name,
        "closer": scale.closer,
    }
