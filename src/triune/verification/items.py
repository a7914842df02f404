"""Items of known identity, prepared so that the pairs of resampled identities can be weighed."""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from triune.distances.embeddings import Metric
from triune.pairs.prepared import PreparedEmbeddings
from triune.pairs.scores import scores_between

Array: TypeAlias = np.ndarray[Any, Any]

WIDE = 64
"""Resamples whose weights are float64 at a time."""


@dataclass(frozen=True)
class Items:
    """N items sorted by identity.

    Args:
        x: ``(N, D)`` float32, of unit length for the cosine.
        codes: ``(N,)`` identities 0 … G−1, ascending, int32.
        groups: ``(N,)`` int64, pairs within a group are excluded; empty where none is.
        metric: the distance.
        identities: G.
    """

    x: Tensor
    codes: Array
    groups: Array
    metric: Metric
    identities: int

    @classmethod
    def of(cls, prepared: PreparedEmbeddings) -> "Items":
        """Prepared embeddings in the host's memory."""
        here = prepared.cpu()
        return cls(here.x, here.codes, here.groups, here.metric, here.identities)

    def take(self, rows: Array) -> "Items":
        """Some of the items, still sorted."""
        groups = self.groups[rows] if len(self.groups) else self.groups
        return Items(self.x[torch.from_numpy(rows)], self.codes[rows], groups, self.metric, self.identities)

    def among(self, known: Array) -> "Items":
        """The same items, their identities numbered among the known ones, ascending."""
        return replace(self, codes=np.searchsorted(known, self.codes).astype(np.int32), identities=len(known))

    def scores(self, rows: slice, columns: slice) -> Array:
        """Scores ``(rows, columns)`` float32."""
        array: Array = scores_between(self.x[rows], self.x[columns], self.metric).numpy()
        return array

    def match_scores(self) -> list[tuple[Array, int]]:
        """The scores of each identity's matching pairs, and which identity it is."""
        found = []
        ends = np.append(np.flatnonzero(np.diff(self.codes)) + 1, len(self.codes))
        start = 0
        for end in ends.tolist():
            for row in range(start, end, 1024):
                rows = slice(row, min(row + 1024, end))
                if end - row < 2:
                    continue
                scores = self.scores(rows, slice(row, end))
                kept = np.triu(np.ones(scores.shape, bool), 1)
                if len(self.groups):
                    kept &= self.groups[rows][:, None] != self.groups[row:end][None, :]
                found.append((scores[kept], int(self.codes[start])))
            start = end
        return found

    def impostor_weight(self, weights: Array) -> Array:
        """The weight of all impostor pairs, for each weighting ``(R,)``: exact, in float64.

        Half of (Σ_g a_g w_g)² − Σ_g (a_g w_g)², a_g items each, less the same within every group.
        """
        total = _cross_weight(np.bincount(self.codes, minlength=len(weights))[None, :], weights)
        if len(self.groups):
            kinds = np.unique(self.groups, return_inverse=True)[1]
            shape = (int(kinds.max()) + 1, len(weights))
            counts = sparse.csr_array((np.ones(len(kinds)), (kinds, self.codes)), shape=shape)
            for first in range(0, shape[0], 1024):
                total -= _cross_weight(counts[first : first + 1024], weights)
        return total


def _cross_weight(counts: Any, weights: Array) -> Array:
    """Σ over the rows of ``counts (S, G)`` of half of (Σ_g a w)² − Σ_g (a w)², shape (R,)."""
    counts = sparse.csr_array(counts, dtype=np.float64)
    squared = counts.power(2)
    sums = []
    for first in range(0, weights.shape[1], WIDE):
        wide = weights[:, first : first + WIDE].astype(np.float64)
        both = np.square(counts @ wide) - squared @ np.square(wide)
        sums.append(np.asarray(both.sum(0) / 2))
    return np.concatenate(sums)
