"""The judged items that the page may show: their images, identities and embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import polars

from triune.data.boxes import Box, boxes_of
from triune.distances.metric import Metric
from triune.distances.pairwise import paired_distance
from triune.evaluation.results import JUDGED_SPLITS, Split
from triune.report.thumbnails import thumbnail

Array: TypeAlias = np.ndarray[Any, Any]

MOST_ITEMS: Final = 4000
"""Of a larger split, this many items spread over it are looked at."""


class Picture(NamedTuple):
    """An image on the page.

    Args:
        identity: whom or what it shows.
        source: the image as a data URI; ``None`` where its file cannot be read.
    """

    identity: str
    source: str | None


@dataclass(frozen=True)
class ShownItems:
    """N judged items that have an embedding and an identity.

    Args:
        images: ``(N,)`` paths.
        embeddings: ``(N, D)`` float32, finite.
        identities: ``(N,)`` strings.
        split: the split they are of.
        metric: the distance.
        boxes: the part of each image that was looked at; ``None`` for whole images.
    """

    images: list[str]
    embeddings: Array
    identities: Array
    split: Split
    metric: Metric
    boxes: list[Box | None] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, index: int) -> Picture:
        """One item, small."""
        return Picture(self.identity(index), thumbnail(self.images[index], box=self.box(index)))

    def box(self, index: int) -> Box | None:
        """The part of an item's image that was looked at; ``None`` for all of it."""
        return None if self.boxes is None else self.boxes[index]

    def identity(self, index: int) -> str:
        """Whom or what an item shows."""
        return str(self.identities[index])

    def have_images(self) -> bool:
        """Whether image files are there to be shown: a few are looked for."""
        return any(Path(self.images[i]).is_file() for i in spread(len(self), 5).tolist())

    def distances(self, first: Array, second: Array) -> Array:
        """The distances of P pairs of items.

        Args:
            first: ``(P,)`` places of items.
            second: ``(P,)`` places of the items they are compared with.
        """
        found: Array = paired_distance(self.embeddings[first], self.embeddings[second], self.metric).cpu().numpy()
        return found


def choose_items(table: polars.DataFrame, metric: Metric) -> ShownItems | None:
    """The test items, or the validation items where there are none.

    Args:
        table: the rows of ``embeddings.parquet``.
        metric: the distance.
    """
    named = table.filter(polars.col("identity").is_not_null())
    for split in JUDGED_SPLITS:
        part = named.filter(polars.col("split") == split)
        if len(part):
            part = part[spread(len(part), MOST_ITEMS)]
            embeddings = np.asarray(part["embedding"].to_list(), np.float32)
            finite = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
            part, embeddings = part[finite], embeddings[finite]
            identities = part["identity"].cast(polars.String).to_numpy()
            return ShownItems(part["image"].to_list(), embeddings, identities, split, metric, boxes_of(part))
    return None


def spread(size: int, most: int) -> Array:
    """At most ``most`` of ``size`` places, evenly spread."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(int)) if size else np.empty(0, int)


def varied(ordered: Sequence[int], kinds: Sequence[str], most: int) -> list[int]:
    """The first ``most`` of what is ordered, kept in order, with every kind served before any is served once more.

    Args:
        ordered: what to choose from, the best first.
        kinds: of what kind each is.
        most: how many are chosen.
    """
    turns: dict[str, int] = {}
    ranked = []
    for place, kind in enumerate(kinds):
        turns[kind] = turns.get(kind, -1) + 1
        ranked.append((turns[kind], place))
    return [ordered[place] for place in sorted(place for _, place in sorted(ranked)[:most])]
