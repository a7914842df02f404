"""The pairs that the threshold gets most wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from triune.evaluation.results import AppliedThreshold, Results
from triune.report.models import SPLITS
from triune.report.scale import Scale
from triune.report.sections.section import Section
from triune.report.shown_items import Picture, ShownItems, varied
from triune.verification.hardest import HardPairs, hardest_pairs

SHOWN: Final = 6

SEARCHED: Final = 2000
"""Of each kind, so many of the worst pairs are looked at to find some of different identities."""


class Mistake(NamedTuple):
    """A pair decided wrongly."""

    first: Picture
    second: Picture
    distance: float


class Count(NamedTuple):
    """How many pairs of a kind are decided wrongly, of how many."""

    wrong: int
    total: int

    @property
    def share(self) -> float | None:
        """Wrong of all; ``None`` where there is no such pair."""
        return self.wrong / self.total if self.total else None


@dataclass(frozen=True)
class MistakesSection(Section):
    """What the section shows.

    Args:
        split: what the items are of, in words.
        accepted: different, but accepted; the closest first.
        accepted_count: of all such pairs; ``None`` where they were not counted.
        rejected: same, but rejected; the farthest first.
        rejected_count: of all such pairs; ``None`` where they were not counted.
    """

    key = "mistakes"
    title = "Mistakes at the threshold"

    split: str
    accepted: list[Mistake]
    accepted_count: Count | None
    rejected: list[Mistake]
    rejected_count: Count | None


def mistakes_section(items: ShownItems | None, results: Results) -> MistakesSection | None:
    """The section, or ``None`` without images or threshold."""
    point = results.threshold
    if items is None or not items.have_images() or not isinstance(point, AppliedThreshold):
        return None
    closest, farthest = hardest_pairs(items.embeddings, items.identities, metric=items.metric, k=SEARCHED)
    counts = point.on_test if items.split == "test" else point.on_fitted
    return MistakesSection(
        split=SPLITS[items.split],
        accepted=_worst(items, closest, np.flatnonzero(closest.score >= point.threshold).tolist()),
        accepted_count=None if counts is None else Count(counts.fp, counts.fp + counts.tn),
        rejected=_worst(items, farthest, np.flatnonzero(farthest.score < point.threshold).tolist()),
        rejected_count=None if counts is None else Count(counts.fn, counts.fn + counts.tp),
    )


def _worst(items: ShownItems, pairs: HardPairs, wrong: Sequence[int]) -> list[Mistake]:
    """Some of the pairs that are wrong, spread over the identities."""
    scale = Scale(items.metric)
    rows = [(int(pairs.first[k]), int(pairs.second[k])) for k in wrong]
    kinds = ["\n".join(sorted((items.identity(i), items.identity(j)))) for i, j in rows]
    return [
        Mistake(
            items.picture(int(pairs.first[k])),
            items.picture(int(pairs.second[k])),
            scale.shown(float(pairs.score[k])),
        )
        for k in varied(wrong, kinds, SHOWN)
    ]
