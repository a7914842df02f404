"""How a model came about: what training says of itself, and what ``metrics.json`` repeats."""

from typing import Annotated, Literal

from pydantic import Field

from triune.files import Record

Count = Annotated[int, Field(ge=0)]


class TrainingFacts(Record):
    """How the model came about.

    Args:
        epochs: how many were trained.
        steps: how many optimiser steps.
        seconds: wall time of the training; of a resumed run that of all its parts, as far as checkpoints were written.
        seed: of everything random.
        best_epoch: the one whose weights were kept, from 1.
        margin: of the triplet loss; ``None`` where the metric loss is another.
    """

    epochs: Count
    steps: Count
    seconds: float
    seed: int
    best_epoch: Count | None = None
    margin: float | Literal["soft"] | None = None
