"""Distances of same and of different pairs with the threshold between them, and what the threshold does."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from triune.evaluation.results import AppliedThreshold, Confusion, Results, Unavailable, VerificationResult
from triune.report import charts
from triune.report.models import judged_model, these_pairs
from triune.report.scale import Scale
from triune.report.sections.section import Section
from triune.report.threshold_words import for_new_identities


class DistanceChart(NamedTuple):
    """How the pairs' distances (or scores) are spread.

    Args:
        picture: the chart.
        legend: of its two hills.
        low: the lowest distance on it.
        high: the highest.
        start: where the slider of thresholds begins: at the threshold, or where there is none at that of the most
            generous budget.
    """

    picture: Markup
    legend: Markup
    low: float
    high: float
    start: float


class Decisions(NamedTuple):
    """What the threshold does to a set of pairs.

    Args:
        title: which pairs, in words.
        note: what they have to do with the threshold.
        counts: of pairs accepted and rejected.
    """

    title: str
    note: str
    counts: Confusion


@dataclass(frozen=True)
class ThresholdSection(Section):
    """What the section shows.

    Args:
        scale: how scores are shown.
        applied: the threshold, or why there is none; ``None`` where none was asked for.
        applied_to: the judged pairs, in words.
        distances: ``None`` where no histogram was made.
        decisions: on the pairs it was fitted on, and on the judged ones.
    """

    key = "threshold"
    title = "Where the threshold lies"

    scale: Scale
    applied: AppliedThreshold | Unavailable | None
    applied_to: str
    distances: DistanceChart | None
    decisions: list[Decisions]

    @property
    def limit(self) -> float | None:
        """The threshold as people see it: a distance; of a list of scores, a score. ±inf accepts all pairs or none."""
        return _limit(self.applied, self.scale)

    @property
    def worth(self) -> str | None:
        """What the threshold is worth to new identities, as a sentence without its full stop."""
        if not isinstance(self.applied, AppliedThreshold):
            return None
        words = for_new_identities(self.applied.target_fpr, self.applied.expected, self.applied.confidence)
        return words[0].upper() + words[1:]

    @property
    def accepts_all(self) -> bool:
        """Whether the threshold rejects no pair."""
        return isinstance(self.applied, AppliedThreshold) and self.applied.threshold == -math.inf


def threshold_section(results: Results) -> ThresholdSection | None:
    """The section, or ``None`` where there is neither a histogram nor a word on the threshold."""
    main, applied, scale = judged_model(results), results.threshold, Scale(results.metric)
    distances = None if main is None else _distances(main.figures, _limit(applied, scale), scale)
    if distances is None and applied is None:
        return None
    to = these_pairs(results.data)
    decisions = []
    if isinstance(applied, AppliedThreshold):
        if applied.on_fitted is not None:
            decisions.append(Decisions(f"On {applied.fitted_on}", "where it was chosen", applied.on_fitted))
        if applied.on_test is not None:
            decisions.append(Decisions(f"On {to}", "where it was applied", applied.on_test))
    return ThresholdSection(scale, applied, to, distances, decisions)


def _limit(applied: AppliedThreshold | Unavailable | None, scale: Scale) -> float | None:
    if not isinstance(applied, AppliedThreshold):
        return None
    return applied.distance if scale.closer else applied.threshold


def _distances(figures: VerificationResult, limit: float | None, scale: Scale) -> DistanceChart | None:
    histogram = figures.histogram
    if histogram is None:
        return None
    edges = [scale.shown(edge) for edge in histogram.edges]
    matches, impostors = histogram.matches, histogram.impostors
    if edges[0] > edges[-1]:
        edges, matches, impostors = edges[::-1], matches[::-1], impostors[::-1]
    lines = [
        charts.Series("same identity", *charts.steps(edges, matches), "s0", True),
        charts.Series("different identities", *charts.steps(edges, impostors), "s1", True),
    ]
    there = limit if limit is not None and math.isfinite(limit) else None
    marks = [] if there is None else [charts.Mark("threshold", there, None)]
    x = charts.Axis(scale.name, edges[0], edges[-1])
    y = charts.Axis("share of pairs", 0.0, max(max(line.y) for line in lines) * 1.1, percent=True)
    picture = charts.chart(f"{scale.name} of same and of different pairs", x, y, lines, marks, "distances")
    start = scale.shown(figures.points[0].threshold) if there is None else there
    start = min(max(start, edges[0]), edges[-1])
    return DistanceChart(picture, charts.legend(lines), edges[0], edges[-1], start)
