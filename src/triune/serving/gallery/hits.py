"""What a search answers: for each query the rows that are most alike, best first."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl

from triune.distances.metric import Metric, to_distance
from triune.serving.gallery.card import OWN, STAMP

Array: TypeAlias = np.ndarray[Any, Any]

TOLD: Final = frozenset(("row", *OWN, *STAMP))
"""Columns of a gallery's rows that are told of a hit under their own names, or not at all."""

FEW: Final = 64
"""Up to so many rows are taken one by one, which is quicker than what polars begins in threads for them."""


@dataclass(frozen=True)
class Hit:
    """A row of a gallery that was found.

    Args:
        row: its place in the gallery, as in ``gallery.rows()`` and ``gallery.embeddings``.
        image: its path.
        label: its class, where known.
        identity: what it shows, where known.
        score: of the pair: the cosine similarity, or minus the distance.
        distance: the distance that the score stands for.
        columns: the table's own columns.
    """

    row: int
    image: str
    label: str | None
    identity: str | None
    score: float
    distance: float
    columns: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        columns = {name: _plain(value) for name, value in self.columns.items()}
        return {
            "row": self.row,
            "image": self.image,
            "label": self.label,
            "identity": self.identity,
            "score": self.score,
            "distance": self.distance,
            "columns": columns,
        }

    def __repr__(self) -> str:
        words = [word for word in dict.fromkeys((self.label, self.identity)) if word is not None]
        return f"<{self.image}; {', '.join([*words, f'score {self.score:.4f}'])}>"


@dataclass(frozen=True)
class Hits:
    """What was found for one query.

    Args:
        query: its path, or what it is called.
        hits: the rows that were found, the most alike first.
    """

    query: str
    hits: tuple[Hit, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"query": self.query, "hits": [hit.to_dict() for hit in self.hits]}

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.hits[:3]))
        return f"<{self.query}: {len(self.hits)} hits{': ' if shown else ''}{shown}{', …' if self.hits[3:] else ''}>"


def cells_of(frame: pl.DataFrame, rows: Array) -> dict[int, dict[str, Any]]:
    """The cells of some rows of a gallery, by their numbers.

    Args:
        frame: all rows.
        rows: int64 of any shape; −1 stands for none.
    """
    several = np.unique(rows[rows >= 0]).tolist()
    if len(several) <= FEW:
        names = frame.columns
        return {row: dict(zip(names, frame.row(row), strict=True)) for row in several}
    return dict(zip(several, frame[several].to_dicts(), strict=True))


def hits_of(query: str, rows: Array, scores: Array, cells: Mapping[int, Mapping[str, Any]], metric: Metric) -> Hits:
    """What was found for a query.

    Args:
        query: what was looked for.
        rows: ``(k,)`` the rows that were found, the best first.
        scores: one each.
        cells: of these rows, from :func:`cells_of`.
        metric: what the scores are.
    """
    hits = []
    for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
        known = cells[row]
        columns = {name: value for name, value in known.items() if name not in TOLD}
        own = (known["image"], known["label"], known["identity"])
        hits.append(Hit(row, *own, score, to_distance(score, metric), columns))
    return Hits(query, tuple(hits))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else value
