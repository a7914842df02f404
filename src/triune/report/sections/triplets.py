"""The anchors whose farthest positive lies most beyond their closest negative."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from triune.losses.mining import mine_triplets
from triune.report.sections.section import Section
from triune.report.shown_items import Picture, ShownItems, varied

SHOWN: Final = 6


class Triplet(NamedTuple):
    """An anchor with its hardest positive and negative.

    Args:
        anchor: the item compared.
        positive: its farthest item of the same identity.
        negative: its closest item of another.
        to_positive: the distance between anchor and positive.
        to_negative: the distance between anchor and negative.
    """

    anchor: Picture
    positive: Picture
    negative: Picture
    to_positive: float
    to_negative: float


@dataclass(frozen=True)
class TripletsSection(Section):
    """What the section shows.

    Args:
        triplets: the hardest first.
    """

    key = "triplets"
    title = "Hardest triplets"

    triplets: list[Triplet]


def triplets_section(items: ShownItems | None) -> TripletsSection | None:
    """The section, or ``None`` without images, or where the items make no triplet."""
    if items is None or not items.have_images():
        return None
    mined = mine_triplets(items.embeddings, items.identities, "batch_hard", metric=items.metric)
    anchor, positive, negative = (part.cpu().numpy() for part in mined)
    if not len(anchor):
        return None
    far, near = items.distances(anchor, positive), items.distances(anchor, negative)
    order = np.argsort(near - far, kind="stable").tolist()
    chosen = varied(order, [items.identity(anchor[k]) for k in order], SHOWN)
    return TripletsSection(
        [
            Triplet(
                items.picture(int(anchor[k])),
                items.picture(int(positive[k])),
                items.picture(int(negative[k])),
                float(far[k]),
                float(near[k]),
            )
            for k in chosen
        ]
    )
