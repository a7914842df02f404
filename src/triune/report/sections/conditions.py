"""TPR and FPR within each value of each condition, at one threshold."""

import math
from dataclasses import dataclass

from triune.evaluation.results import ConditionsResult, Results
from triune.report.scale import Scale
from triune.report.sections.section import Section


@dataclass(frozen=True)
class ConditionsSection(Section):
    """What the section shows.

    Args:
        scale: how scores are shown.
        found: the rates by each condition, all at the same threshold.
        with_intervals: whether any rate has an interval.
    """

    key = "conditions"
    title = "By condition"

    scale: Scale
    found: list[ConditionsResult]
    with_intervals: bool


def conditions_section(results: Results) -> ConditionsSection | None:
    """The section, or ``None`` where no conditions were given."""
    found = results.conditions
    if not found:
        return None
    rates = [rate for each in found for row in each.rows for rate in (row.tpr, row.fpr)]
    return ConditionsSection(Scale(results.metric), found, any(math.isfinite(rate.low) for rate in rates))
