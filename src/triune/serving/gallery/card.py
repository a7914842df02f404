"""What a gallery says of itself, and how its columns are typed."""

import os
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from triune.distances.metric import Metric
from triune.files import Record
from triune.ranges import PositiveInt

if TYPE_CHECKING:
    from triune.serving.loaded import LoadedRun

FORMAT: Final = 1

OWN: Final = ("image", "label", "identity")
"""The columns that every gallery has and that people fill."""

STAMP: Final = ("file_bytes", "file_time")
"""Size and time of change of the file that an embedding was made from: what tells whether it has changed since."""

RESERVED: Final = ("row", "embedding", "thumbnail", "score", "distance", *STAMP)
"""What no column of a table may be called."""

TYPES: Final = {"text": pl.String(), "int": pl.Int64(), "float": pl.Float64(), "bool": pl.Boolean()}
"""What ``--types`` knows."""


class GalleryCard(Record):
    """Which network made a gallery's embeddings, and how they are compared.

    Args:
        fingerprint: of the network's weights.
        source: what the network was loaded from.
        weights: the local file of a public backbone's weights, where one was given.
        metric: the distance.
        dim: length of an embedding.
    """

    format: Literal[1] = FORMAT
    fingerprint: str
    source: str
    weights: str | None = None
    metric: Metric
    dim: PositiveInt


def card_of(run: "LoadedRun") -> GalleryCard:
    """What a gallery stores of the run that fills it."""
    source = os.path.abspath(run.name) if os.path.exists(run.name) else run.name
    weights = None if run.weights is None else os.path.abspath(run.weights)
    return GalleryCard(fingerprint=run.fingerprint, source=source, weights=weights, metric=run.metric, dim=run.dim)
