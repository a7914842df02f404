"""What the losses of pairs share: the pairs of a batch, those of a miner, and how every pair loss is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Unpack

import torch
from torch import Tensor, nn

from triune.arrays import as_tensor
from triune.distances.embeddings import Embeddings
from triune.losses.batch import labelled_batch, masks, unit_rows, zero_or_nan
from triune.losses.compared import BatchLabels, left_out
from triune.losses.keywords import PeerNames, by_either_name
from triune.losses.miner import Where, settings_of
from triune.losses.remembered import Remembered


class Pairs(NamedTuple):
    """Rows of matching and of non-matching pairs, int64, as pytorch-metric-learning's miners return them."""

    anchor: Tensor
    """Anchors of the matching pairs (P,)."""
    positive: Tensor
    """Their partners (P,)."""
    negative_anchor: Tensor
    """Anchors of the non-matching pairs (Q,)."""
    negative: Tensor
    """Their partners (Q,)."""


class PairBatch(NamedTuple):
    """Anchors, the rows that they are compared with, and which of the N·M pairs match and which do not."""

    x: Tensor
    """The anchors (N, D)."""
    y: Tensor
    """What they are compared with (M, D); the same tensor object as x where the batch is its own reference."""
    positive: Tensor
    """Which pairs match, bool (N, M)."""
    negative: Tensor
    """Which do not, bool (N, M); a pair that is left out, such as an item with itself, is neither."""

    def guarded(self, loss: Tensor) -> Tensor:
        """The loss with a graph, and NaN if an embedding is not finite: no mask hides it."""
        loss = loss + zero_or_nan(self.x)
        return loss if self.y is self.x else loss + zero_or_nan(self.y)


class PairOptions(Where):
    """What every function of pairs takes in addition to embeddings, labels and its own settings."""

    pairs: Sequence[Tensor] | None


class PairLoss(nn.Module):
    """How every pair loss is called; ``_loss`` of a subclass hands the batch on with its settings.

    Args:
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(self, normalize: bool) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(
        self,
        embeddings: Embeddings,
        labels: BatchLabels | None = None,
        indices: Sequence[Tensor] | None = None,
        reference: Embeddings | None = None,
        reference_labels: BatchLabels | None = None,
        *,
        own_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
        **peer_names: Unpack[PeerNames],
    ) -> Tensor:
        """The scalar loss.

        Args:
            embeddings: the anchors, shape (N, D).
            labels: N integers or strings; may be left out beside indices.
            indices: pairs or triplets of any miner, in place of all pairs.
            reference: what the embeddings are compared with, shape (M, D).
            reference_labels: the label of each reference row.
            own_rows: which reference row is embedding i, −1 for none.
            generator: source of the random draws of a loss that makes some.
            peer_names: ``indices_tuple`` for indices, ``ref_emb`` for reference, ``ref_labels`` for reference_labels.
        """
        indices, reference, reference_labels = by_either_name(
            peer_names, indices=indices, reference=reference, reference_labels=reference_labels
        )
        if labels is None:
            labels, reference_labels = left_out(indices, len(embeddings), None if reference is None else len(reference))
        x: Embeddings = embeddings
        y: Embeddings | None = reference
        if self.normalize:
            x, y = unit_rows(embeddings, reference)
        options = PairOptions(pairs=indices, reference=y, reference_labels=reference_labels, own_rows=own_rows)
        return self._loss(x, labels, options, generator)

    def with_memory(self, x: Tensor, codes: Tensor, memory: Remembered) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of a batch whose positives and negatives come from itself and from remembered rows.

        Args:
            x: shape (N, D).
            codes: the labels, int64 (N,).
            memory: embeddings of earlier batches.

        Returns:
            The loss, and the batch with its codes: what the memory should take in.
        """
        reference, reference_codes = memory.reference(x, codes)
        own_rows = torch.arange(len(x), device=x.device)
        indices = memory.mined(x, codes, reference, reference_codes, own_rows)
        loss: Tensor = self(x, codes, indices, reference, reference_codes, own_rows=own_rows)
        return loss, x.detach(), codes

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        return settings_of(self)

    def _loss(
        self, x: Embeddings, labels: BatchLabels, options: PairOptions, generator: torch.Generator | None
    ) -> Tensor:
        raise NotImplementedError


def pair_batch(
    embeddings: Embeddings,
    labels: BatchLabels,
    pairs: Sequence[Tensor] | None = None,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
) -> PairBatch:
    """The rows of a batch with the pairs that match and that do not, all of them or those listed.

    Args:
        embeddings: the anchors, shape (N, D).
        labels: N integers or strings.
        pairs: of any miner, in place of all pairs, see :func:`as_pairs`.
        reference: what the embeddings are compared with, shape (M, D); the embeddings where not given.
        reference_labels: the label of each reference row.
        own_rows: which reference row is embedding i, −1 for none.

    Raises:
        ValueError: shapes or label counts disagree.
    """
    batch = labelled_batch(embeddings, labels, reference, reference_labels, own_rows)
    x, y = batch.x, batch.y
    if x.dtype != y.dtype:
        wide = torch.promote_types(x.dtype, y.dtype)
        x, y = x.to(wide), y.to(wide)
    if pairs is None:
        return PairBatch(x, y, *masks(batch))
    listed = as_pairs(pairs, x.device)
    empty = torch.zeros(len(x), len(y), dtype=torch.bool, device=x.device)
    true = torch.ones((), dtype=torch.bool, device=x.device)
    positive = empty.index_put((listed.anchor, listed.positive), true)
    return PairBatch(x, y, positive, empty.index_put((listed.negative_anchor, listed.negative), true))


def as_pairs(indices: Sequence[Tensor], device: torch.device) -> Pairs:
    """Pairs from a miner's index tuple: (a, p, a', n) as they are, or triplets (a, p, n) as their two pairs each.

    Raises:
        ValueError: there are not 3 or 4 index tensors, or their lengths disagree.
    """
    columns = [as_tensor(column, "indices").to(device).long() for column in indices]
    if len(columns) == 3:
        columns = [columns[0], columns[1], columns[0], columns[2]]
    shapes = [column.shape for column in columns]
    if len(columns) != 4 or any(column.ndim != 1 for column in columns) or shapes[::2] != shapes[1::2]:
        raise ValueError(
            f"pairs hold {len(indices)} tensors of shapes "
            f"{[tuple(as_tensor(column, 'indices').shape) for column in indices]}; "
            f"pairs are four (anchor, positive, anchor, negative), equal in twos, "
            f"triplets are three of one length (anchor, positive, negative)"
        )
    return Pairs(columns[0], columns[1], columns[2], columns[3])


def similarity(x: Tensor, y: Tensor) -> Tensor:
    """Inner products (N, M). Autocast would round them to half precision, which the exponents that follow enlarge."""
    with torch.autocast(x.device.type, enabled=False):
        return x @ y.T


def positive_columns(positive: Tensor) -> Tensor:
    """The columns of each row's positives first, (N, K) for at most K in a row; rows with fewer are padded."""
    slots = int(positive.sum(1).max()) if len(positive) else 0
    return (~positive).to(torch.int8).argsort(dim=1, stable=True)[:, :slots]


def check_above_zero(**settings: float) -> None:
    """Raise ValueError, naming it, if a setting is not above 0."""
    for name, value in settings.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; give a number above 0")
