"""The differences between two models on the same pairs, with intervals and p-values."""

from dataclasses import dataclass

from triune.evaluation.results import Comparison, Difference, Results
from triune.report.formatting import round_percent
from triune.report.sections.section import Section


@dataclass(frozen=True)
class ComparisonSection(Section):
    """What the section shows.

    Args:
        found: the comparison.
        rows: each figure's name and difference.
    """

    key = "comparison"
    title = "Against the other model"

    found: Comparison
    rows: list[tuple[str, Difference]]


def comparison_section(results: Results) -> ComparisonSection | None:
    """The section, or ``None`` where nothing was compared."""
    found = results.comparison
    if found is None:
        return None
    rows = [(f"TPR at {round_percent(fpr)}", difference) for fpr, difference in found.tpr_at_fpr.items()]
    return ComparisonSection(found, [*rows, ("AUC", found.auc), ("EER", found.eer)])
