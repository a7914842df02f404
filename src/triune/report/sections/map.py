"""The embeddings on a plane, coloured by identity, each with its image on hover."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from triune.report.embedding_map import embedding_map
from triune.report.models import SPLITS
from triune.report.sections.section import Section
from triune.report.shown_items import ShownItems, spread
from triune.report.thumbnails import Sheet, sheet

MOST_POINTS: Final = 1000

MOST_NAMES: Final = 24
"""With more identities, their names are not listed beside the map."""

SIDE: Final = 640
MARGIN: Final = 22

COLOURS: Final = 10
SHAPES: Final = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0",
    "M-4.4 -4.4h8.8v8.8h-8.8z",
    "M0 -5.6L5.4 4.2H-5.4z",
    "M0 -6.2L6.2 0L0 6.2L-6.2 0z",
)
"""SVG paths of disc, square, triangle and diamond, about 10 units wide."""


class Dot(NamedTuple):
    """An item on the map.

    Args:
        x: from the left, of :data:`SIDE`.
        y: from the top, of :data:`SIDE`.
        identity: its place in the list of names.
    """

    x: float
    y: float
    identity: int

    @property
    def style(self) -> str:
        """The CSS class of its colour."""
        return colour(self.identity)

    @property
    def path(self) -> str:
        """Its shape."""
        return shape(self.identity)


class Named(NamedTuple):
    """An identity in the list beside the map."""

    name: str
    style: str
    path: str


@dataclass(frozen=True)
class MapSection(Section):
    """What the section shows.

    Args:
        split: what the items are of, in words.
        dots: the items.
        names: the identities, by number.
        listed: those that are listed beside the map; none where there are too many.
        images: thumbnails of all items; ``None`` where none can be read.
    """

    key = "map"
    title = "Embedding map"

    split: str
    dots: list[Dot]
    names: list[str]
    listed: list[Named]
    images: Sheet | None
    side: int = SIDE

    @property
    def facts(self) -> dict[str, Any]:
        """What the page's script needs."""
        columns, side = (self.images.columns, self.images.side) if self.images is not None else (0, 0)
        return {"names": self.names, "columns": columns, "thumb": side}


def map_section(items: ShownItems | None) -> MapSection | None:
    """The section, or ``None`` for fewer than three items."""
    if items is None or len(items) < 3:
        return None
    chosen = spread(len(items), MOST_POINTS)
    places = embedding_map(items.embeddings[chosen])
    found, codes = np.unique(items.identities[chosen], return_inverse=True)
    names = [str(name) for name in found]
    at = MARGIN + np.stack([places[:, 0], 1 - places[:, 1]], axis=1) * (SIDE - 2 * MARGIN)
    return MapSection(
        split=SPLITS[items.split],
        dots=[Dot(x, y, code) for (x, y), code in zip(at.tolist(), codes.tolist(), strict=True)],
        names=names,
        listed=[Named(name, colour(code), shape(code)) for code, name in enumerate(names)]
        if len(names) <= MOST_NAMES
        else [],
        images=sheet([items.images[i] for i in chosen.tolist()], boxes=[items.box(i) for i in chosen.tolist()]),
    )


def colour(identity: int) -> str:
    """The CSS class of an identity's colour; from the eleventh on colours are used again, in another shape."""
    return f"c{identity % COLOURS}"


def shape(identity: int) -> str:
    """The SVG path of an identity's dots."""
    return SHAPES[identity // COLOURS % len(SHAPES)]
