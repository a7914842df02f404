"""Is an image of the kind that a run knows? How far its embedding lies from those that the run was validated on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from triune.distances.embeddings import Metric
from triune.pairs.scores import scores_between
from triune.run.judged_items import read_judged_items

Array: TypeAlias = np.ndarray[Any, Any]

SHARE: Final = 0.999
"""Of the validation images that count as familiar when they are compared with the others."""

BLOCK: Final = 2048
"""Rows that are compared at a time."""


@dataclass(frozen=True, eq=False)
class Familiar:
    """What a run was validated on.

    Args:
        rows: ``(N, D)`` float32 embeddings, of unit length.
        metric: the distance.
        least: an image whose highest score with the rows is lower lies far from all of them.
    """

    rows: Array
    metric: Metric
    least: float

    def is_far(self, embeddings: Array) -> Array:
        """Which of ``(M, D)`` embeddings lie far from everything the run was validated on, ``(M,)`` booleans."""
        return highest_scores(embeddings, self.rows, self.metric) < self.least


def familiar_of(rows: Array, identities: Array, metric: Metric) -> Familiar | None:
    """What lies far, told from validation embeddings alone.

    New images may show new identities. So for each validation image its nearest neighbour of *another* identity is
    looked at; the quantile of :data:`SHARE` of those distances is the limit.

    Args:
        rows: ``(N, D)`` float32, of unit length.
        identities: ``(N,)``.
        metric: the distance.

    Returns:
        ``None`` where there are fewer than two identities.
    """
    if len(np.unique(identities)) < 2:
        return None
    scores = highest_scores(rows, rows, metric, identities)
    return Familiar(rows, metric, float(np.quantile(scores, 1 - SHARE, method="lower")))


def read_familiar(folder: Path, metric: Metric) -> Familiar | None:
    """What the run in a folder was validated on; ``None`` where the folder does not hold it.

    Raises:
        InputError: ``embeddings.parquet`` is damaged.
    """
    path = folder / "embeddings.parquet"
    if not path.is_file():
        return None
    held_out = read_judged_items(path)
    known = held_out.filter((held_out["split"] == "val") & held_out["identity"].is_not_null())
    known = known.filter(known["embedding"].is_not_null())
    if not len(known):
        return None
    rows = np.array(known["embedding"].to_list(), dtype=np.float32)
    return familiar_of(rows, known["identity"].to_numpy(), metric)


def highest_scores(embeddings: Array, rows: Array, metric: Metric, identities: Array | None = None) -> Array:
    """Each embedding's highest score with any of the rows, ``(M,)``.

    Args:
        embeddings: ``(M, D)``.
        rows: ``(N, D)``.
        metric: the distance.
        identities: ``(N,)`` of the rows, which then are the embeddings, too: pairs of one identity do not count.
    """
    found = np.empty(len(embeddings), np.float32)
    known = torch.from_numpy(np.ascontiguousarray(rows))
    for start in range(0, len(embeddings), BLOCK):
        part = torch.from_numpy(np.ascontiguousarray(embeddings[start : start + BLOCK]))
        scores = scores_between(part, known, metric).numpy()
        if identities is not None:
            scores[identities[start : start + BLOCK, None] == identities] = -np.inf
        found[start : start + BLOCK] = scores.max(1)
    return found
