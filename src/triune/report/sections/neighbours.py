"""Sample queries with the items closest to them."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from triune.report.models import SPLITS
from triune.report.scale import Scale
from triune.report.sections.section import Section
from triune.report.shown_items import Array, Picture, ShownItems, spread
from triune.retrieval.neighbours import top_k

QUERIES: Final = 6
NEIGHBOURS: Final = 6


class Neighbour(NamedTuple):
    """An item found for a query.

    Args:
        picture: the item.
        right: whether it is of the query's identity.
        distance: from the query.
    """

    picture: Picture
    right: bool
    distance: float


class Query(NamedTuple):
    """A query and what was found for it, the closest first."""

    picture: Picture
    found: list[Neighbour]


@dataclass(frozen=True)
class NeighboursSection(Section):
    """What the section shows.

    Args:
        split: what the items are of, in words.
        queries: a sample.
    """

    key = "neighbours"
    title = "Nearest neighbours"

    split: str
    queries: list[Query]


def neighbours_section(items: ShownItems | None) -> NeighboursSection | None:
    """The section, or ``None`` without images, or where no identity has two."""
    if items is None or not items.have_images() or len(items) < 3:
        return None
    chosen = sample_queries(items.identities)
    if not chosen:
        return None
    scores, order = top_k(items.embeddings[chosen], items.embeddings, NEIGHBOURS + 1, items.metric)
    scale, queries = Scale(items.metric), []
    for query, found, closeness in zip(chosen, order.tolist(), scores.tolist(), strict=True):
        others = [(j, score) for j, score in zip(found, closeness, strict=True) if j != query][:NEIGHBOURS]
        neighbours = [
            Neighbour(items.picture(j), items.identity(j) == items.identity(query), scale.shown(score))
            for j, score in others
        ]
        queries.append(Query(items.picture(query), neighbours))
    return NeighboursSection(SPLITS[items.split], queries)


def sample_queries(identities: Array) -> list[int]:
    """One item each of some identities that have a second one, spread over all of them; two each of few identities.

    Args:
        identities: ``(N,)``.
    """
    _, firsts, counts = np.unique(identities, return_index=True, return_counts=True)
    usable = firsts[counts >= 2]
    chosen = [int(usable[i]) for i in spread(len(usable), QUERIES)]
    if 0 < len(chosen) < 4:
        # The second query of each comes from the other end of the table.
        lasts = [int(np.flatnonzero(identities == identities[i])[-1]) for i in chosen]
        chosen = [index for both in zip(chosen, lasts, strict=True) for index in both]
    return chosen
