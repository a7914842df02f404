"""How every miner is called: embeddings and labels to indices, for any loss that takes those of a miner."""

from __future__ import annotations

from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from triune.distances.embeddings import Embeddings
from triune.losses.batch import unit_rows
from triune.losses.compared import BatchLabels
from triune.losses.keywords import PeerReference, by_either_name
from triune.ranges import is_number


class Where(TypedDict):
    """Where positives and negatives are taken from, as every function that mines takes it."""

    reference: Embeddings | None
    reference_labels: BatchLabels | None
    own_rows: Tensor | None


class Miner(nn.Module):
    """Called as ``miner(embeddings, labels)``; ``_mine`` of a subclass hands the batch on with its settings.

    Args:
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(self, normalize: bool) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(
        self,
        embeddings: Embeddings,
        labels: BatchLabels,
        reference: Embeddings | None = None,
        reference_labels: BatchLabels | None = None,
        *,
        own_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
        **peer_names: Unpack[PeerReference],
    ) -> tuple[Tensor, ...]:
        """The indices of triplets or of pairs. No gradient flows through them.

        Args:
            embeddings: the anchors, shape (N, D).
            labels: N integers or strings.
            reference: where positives and negatives are taken from, shape (M, D).
            reference_labels: the label of each reference row.
            own_rows: which reference row is embedding i, −1 for none.
            generator: source of the draws of a miner that makes some.
            peer_names: ``ref_emb`` for reference, ``ref_labels`` for reference_labels.
        """
        reference, reference_labels = by_either_name(peer_names, reference=reference, reference_labels=reference_labels)
        with torch.no_grad():
            x: Embeddings = embeddings
            y: Embeddings | None = reference
            if self.normalize:
                x, y = unit_rows(embeddings, reference)
            where = Where(reference=y, reference_labels=reference_labels, own_rows=own_rows)
            return self._mine(x, labels, where, generator)

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        return settings_of(self)

    def _mine(
        self, x: Embeddings, labels: BatchLabels, where: Where, generator: torch.Generator | None
    ) -> tuple[Tensor, ...]:
        raise NotImplementedError


def check_numbers(**settings: float) -> None:
    """Raise ValueError, naming it, if a setting is not a number; infinity is one."""
    for name, value in settings.items():
        if not is_number(value):
            raise ValueError(f"{name} is {value!r}; give a number")


def settings_of(module: nn.Module) -> str:
    """The settings that a loss or miner holds as plain attributes, ``name=value`` each."""
    return ", ".join(f"{k}={v!r}" for k, v in vars(module).items() if k[0] != "_" and k != "training")
