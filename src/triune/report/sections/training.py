"""Loss curves, health of the triplets and validation over the steps of training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars
from markupsafe import Markup

from triune.evaluation.results import AppliedThreshold, Results, TrainingFacts
from triune.report import charts
from triune.report.formatting import round_percent
from triune.report.sections.section import Section
from triune.report.task_conflicts import TASKS, Driver, Fight, drivers, fights, norm_column, pairs

SMOOTHED_FROM: Final = 40
"""Lines of more values than this are drawn faintly, with their running mean in front."""


class Curves(NamedTuple):
    """A chart of columns of the history.

    Args:
        title: above the chart.
        unit: of its vertical axis; ``share`` is drawn from 0% to 100%, ``cosine`` from -1 to 1.
        columns: column of the history → name in the legend.
    """

    title: str
    unit: str
    columns: dict[str, str]


CURVES: Final = (
    Curves(
        "Losses",
        "loss",
        {"train_classification": "classes", "train_segmentation": "masks", "train_triplet": "triplets"},
    ),
    Curves(
        "Distances in triplets",
        "mean distance",
        {"train_positive_distance": "d(a,p)", "train_negative_distance": "d(a,n)"},
    ),
    Curves("Triplet health", "share", {"train_active_share": "active triplets", "train_collapse": "collapse"}),
    Curves("Validation", "share", {"val_tpr": "TPR", "val_auc": "AUC"}),
    Curves("Gradients on the backbone", "norm", {norm_column(task): name for task, name in TASKS.items()}),
    Curves("Angles between gradients", "cosine", pairs()),
    Curves("Weights of the tasks", "weight", {f"train_weight_{task}": name for task, name in TASKS.items()}),
)


class Drawn(NamedTuple):
    """A chart with its title and legend."""

    title: str
    picture: Markup
    legend: Markup


@dataclass(frozen=True)
class TrainingSection(Section):
    """What the section shows.

    Args:
        facts: how long, how many steps; ``None`` where not known.
        drawn: the charts.
        drivers: how much each task moved the backbone.
        fights: how the tasks' gradients lay to each other.
    """

    key = "training"
    title = "Training"

    facts: TrainingFacts | None
    drawn: list[Drawn]
    drivers: list[Driver]
    fights: list[Fight]


def training_section(results: Results, history: polars.DataFrame | None) -> TrainingSection | None:
    """The section, or ``None`` without a history of at least two steps."""
    if history is None or len(history) < 2:
        return None
    drawn = [chart for curves in CURVES if (chart := _drawn(curves, history, results)) is not None]
    return TrainingSection(results.training, drawn, drivers(history), fights(history)) if drawn else None


def _drawn(curves: Curves, history: polars.DataFrame, results: Results) -> Drawn | None:
    lines: list[charts.Series] = []
    for place, (column, name) in enumerate(curves.columns.items()):
        steps, values = _column(history, column)
        if not values:
            continue
        if column == "val_tpr" and isinstance(results.threshold, AppliedThreshold):
            name = f"TPR at FPR {round_percent(results.threshold.target_fpr)}"
        if len(values) > SMOOTHED_FROM:
            lines.append(charts.Series("", steps, values, f"s{place} faint"))
            values = running_mean(values)
        lines.append(charts.Series(name, steps, values, f"s{place}"))
    if not lines:
        return None
    high = 1.0 if curves.unit == "share" else max(max(line.y) for line in lines) * 1.05 or 1.0
    x = charts.Axis("step", 0, max(1.0, *_column(history, "step")[1]))
    if curves.unit == "cosine":
        y = charts.Axis(curves.unit, -1.0, 1.0)
    else:
        y = charts.Axis(curves.unit, 0.0, high, percent=curves.unit == "share")
    marks = _kept(history, results.training) if curves.title == "Validation" else []
    picture = charts.chart(f"{curves.title} over the steps of training", x, y, lines, marks)
    return Drawn(curves.title, picture, charts.legend(lines))


def _kept(history: polars.DataFrame, facts: TrainingFacts | None) -> list[charts.Mark]:
    """A line at the end of the epoch whose weights were kept; the first epoch is 1 there, and 0 in the history."""
    if facts is None or facts.best_epoch is None:
        return []
    steps, _ = _column(history.filter(polars.col("epoch") < facts.best_epoch), "step")
    return [charts.Mark(f"kept: epoch {facts.best_epoch}", max(steps, default=0.0), None, low=True)]


def _column(history: polars.DataFrame, name: str) -> tuple[list[float], list[float]]:
    """The steps that have a value in a column, and the values."""
    part = history.filter(polars.col(name).is_finite())
    return part["step"].cast(polars.Float64).to_list(), part[name].cast(polars.Float64).to_list()


def running_mean(values: Sequence[float]) -> list[float]:
    """The mean of a window of a fortieth of all values around each; narrower at both ends.

    Args:
        values: ``(N,)``.
    """
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    smoothed: list[float] = ((sums[high] - sums[low]) / (high - low)).tolist()
    return smoothed
