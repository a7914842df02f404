"""Mining as a callable that holds its settings; the mathematics is in functional/triplets.py."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from triune.functional.distances import Embeddings, Metric, as_embeddings, check_metric, unit
from triune.functional.labels import Labels
from triune.functional.triplets import (
    Gap,
    Margin,
    Strategy,
    Triplets,
    check_gap,
    check_margin,
    check_strategy,
    mine_triplets,
)


@dataclass(frozen=True)
class TripletMiner:
    """``miner(embeddings, labels)`` → (anchor, positive, negative), for any loss that takes index tuples.

    >>> miner = TripletMiner("batch_hard")
    >>> miner(torch.tensor([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0]]), ["a", "a", "b"])
    Triplets(anchor=tensor([0, 1]), positive=tensor([1, 0]), negative=tensor([2, 2]))
    """

    strategy: Strategy = "semihard"
    """``"all"``, ``"hard"``, ``"batch_hard"``, ``"semihard"`` or ``"random"``."""
    margin: Margin = 0.2
    """Upper bound of the semi-hard band."""
    metric: Metric = "euclidean"
    """The distance to mine by."""
    normalize: bool = True
    """Divide every embedding by its length first, as :class:`triune.losses.TripletLoss` does."""
    gap: Gap | None = None
    """Keep, of the mined triplets, those with low < d(a,n) − d(a,p) ≤ high."""

    def __post_init__(self) -> None:
        check_strategy(self.strategy)
        check_margin(self.margin)
        check_metric(self.metric)
        check_gap(self.gap)

    def __call__(
        self,
        embeddings: Embeddings,
        labels: Labels,
        reference: Embeddings | None = None,
        reference_labels: Labels | None = None,
        *,
        own_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Triplets:
        """Mine a batch, see :func:`triune.functional.triplets.mine_triplets`."""
        x, y = embeddings, reference
        if self.normalize:
            x = unit(as_embeddings(embeddings).detach())
            if reference is not None:
                y = x if reference is embeddings else unit(as_embeddings(reference, "reference").detach())
        return mine_triplets(
            x, labels, self.strategy, metric=self.metric, margin=self.margin, gap=self.gap, reference=y,
            reference_labels=reference_labels, own_rows=own_rows, generator=generator,
        )  # fmt: skip
