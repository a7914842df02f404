"""Accuracy and TPR@FPR over the folds of a published list of pairs."""

from dataclasses import dataclass

from triune.evaluation.results import FoldsResult, Results
from triune.report.sections.section import Section


@dataclass(frozen=True)
class FoldsSection(Section):
    """What the section shows.

    Args:
        found: means over the folds.
    """

    key = "folds"
    title = "Over folds"

    found: FoldsResult


def folds_section(results: Results) -> FoldsSection | None:
    """The section, or ``None`` where the pairs have no folds."""
    return None if results.folds is None else FoldsSection(results.folds)
