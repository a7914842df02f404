"""How well predicted masks cover the true ones, and some of them side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from triune.data.reading import Reading
from triune.evaluation.results import MaskResult, Results, Unavailable
from triune.report.contents import PredictedMask
from triune.report.models import SPLITS
from triune.report.sections.section import Section
from triune.report.shown_items import spread
from triune.report.thumbnails import mask_overlap, overlay

SHOWN: Final = 8


class MaskPair(NamedTuple):
    """An image with each of its masks laid over it.

    Args:
        identity: whom or what it shows.
        true: with the true mask, a data URI.
        predicted: with the predicted mask, a data URI.
        overlap: intersection over union of everything that is not background; ``None`` where both are empty.
    """

    identity: str
    true: str
    predicted: str
    overlap: float | None


@dataclass(frozen=True)
class MasksSection(Section):
    """What the section shows.

    Args:
        found: the figures, or why there are none.
        split: what the images are of, in words.
        shown: a sample.
    """

    key = "masks"
    title = "Masks"

    found: MaskResult | Unavailable
    split: str
    shown: list[MaskPair]


def masks_section(results: Results, masks: Sequence[PredictedMask]) -> MasksSection | None:
    """The section, or ``None`` where masks were not judged."""
    found = results.segmentation
    if found is None:
        return None
    if isinstance(found, Unavailable):
        return MasksSection(found, "", [])
    values = results.data.mask_values
    reading = Reading(mask_values=None if values is None else tuple(values))
    chosen = [masks[i] for i in spread(len(masks), SHOWN).tolist()]
    return MasksSection(
        found, SPLITS[found.split], [pair for mask in chosen if (pair := _pair(mask, reading)) is not None]
    )


def _pair(mask: PredictedMask, reading: Reading) -> MaskPair | None:
    true = overlay(mask.image, mask.true, reading=reading, box=mask.box)
    predicted = overlay(mask.image, mask.predicted, box=mask.box)
    if true is None or predicted is None:
        return None
    return MaskPair(mask.identity, true, predicted, mask_overlap(mask.true, mask.predicted, reading))
