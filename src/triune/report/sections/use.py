"""The commands that use the model of this folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from triune.evaluation.results import AppliedThreshold, Results
from triune.report.sections.section import Section

STRICTER: Final = 0.01
"""A false-positive rate for the example of another threshold."""


@dataclass(frozen=True)
class UseSection(Section):
    """What the section shows.

    Args:
        folder: the run's.
        stricter: a false-positive rate that ``triune verify`` can be asked for; ``None`` where none is stored.
    """

    key = "use"
    title = "Use it"

    folder: str
    stricter: float | None


def use_section(folder: Path, results: Results, has_model: bool) -> UseSection | None:
    """The section, or ``None`` where the folder holds no model.

    Args:
        folder: the run's.
        results: what was found.
        has_model: whether the folder holds a model.
    """
    if not has_model:
        return None
    return UseSection(str(folder), STRICTER if isinstance(results.threshold, AppliedThreshold) else None)
