"""How many images and identities each split has."""

from dataclasses import dataclass

from triune.evaluation.results import Results, SplitCounts
from triune.report.models import SPLITS
from triune.report.sections.section import Section


@dataclass(frozen=True)
class DataSection(Section):
    """What the section shows.

    Args:
        splits: each split's name, and what it has.
        notes: what was left out of the data or decided about them.
    """

    key = "data"
    title = "Data"

    splits: list[tuple[str, SplitCounts]]
    notes: list[str]


def data_section(results: Results) -> DataSection | None:
    """The section, or ``None`` where no splits are known."""
    splits = results.data.splits
    named = [(SPLITS[split], counts) for split, counts in splits.items()]
    return DataSection(named, list(results.data.notes)) if splits else None
