"""What a search answers: for each query the rows that are most alike, best first."""

import datetime
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from triune.distances.embeddings import Metric
from triune.pairs.scores import to_distance
from triune.serving.gallery.card import OWN, STAMP

Array: TypeAlias = np.ndarray[Any, Any]


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


def hits_of(query: str, frame: pl.DataFrame, scores: Array, metric: Metric) -> Hits:
    """What was found, from the rows of a gallery.

    Args:
        query: what was looked for.
        frame: the rows that were found, the best first, with all that the gallery holds of them.
        scores: one each.
        metric: what the scores are.
    """
    hits = []
    for score, cells in zip(scores.tolist(), frame.drop(STAMP, strict=False).to_dicts(), strict=True):
        columns = {name: value for name, value in cells.items() if name not in ("row", *OWN)}
        known = (cells["row"], cells["image"], cells["label"], cells["identity"])
        hits.append(Hit(*known, score, to_distance(score, metric), columns))
    return Hits(query, tuple(hits))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else value
