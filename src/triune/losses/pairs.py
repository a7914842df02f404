"""What the losses of pairs share: the batch, its pairs, and sums over those that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from triune.distances.embeddings import Embeddings, as_embeddings, check_finite, unit
from triune.labels import Labels
from triune.losses.batch import masks, resolve_reference

BLOCK_CELLS = 1 << 22
"""Smooth-AP compares this many (query, positive, item) at a time, or all those of one query if they are more."""


def check_above_zero(**settings: float) -> None:
    """Raise ValueError, naming it, if a setting is not above 0."""
    for name, value in settings.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; give a number above 0")


class PairBatch(NamedTuple):
    """Embeddings x (N, D), what they are compared with y (M, D), and which pairs match and which do not (N, M)."""

    x: Tensor
    y: Tensor
    positive: Tensor
    negative: Tensor

    def cost(self, loss: Tensor) -> Tensor:
        """The loss with a graph, and NaN if an embedding is not finite: no mask hides it."""
        loss = loss + nothing(self.x)
        return loss if self.y is self.x else loss + nothing(self.y)


def pair_batch(
    embeddings: Embeddings,
    labels: Labels,
    pairs: Sequence[Tensor] | None,
    reference: Embeddings | None,
    reference_labels: Labels | None,
    own_rows: Tensor | None,
) -> PairBatch:
    """The rows of a batch with the pairs that match and that do not, all of them or those listed."""
    x = as_embeddings(embeddings)
    y, codes, reference_codes, own = resolve_reference(x, labels, embeddings, reference, reference_labels, own_rows)
    if x.dtype != y.dtype:
        wide = torch.promote_types(x.dtype, y.dtype)
        x, y = x.to(wide), y.to(wide)
    if pairs is None:
        return PairBatch(x, y, *masks(codes, reference_codes, own))
    anchor, positive, other, negative = pair_columns(pairs, x.device)
    empty = torch.zeros(len(x), len(y), dtype=torch.bool, device=x.device)
    true = torch.ones((), dtype=torch.bool, device=x.device)
    return PairBatch(x, y, empty.index_put((anchor, positive), true), empty.index_put((other, negative), true))


def finite_pair_batch(
    embeddings: Embeddings,
    labels: Labels,
    reference: Embeddings | None,
    reference_labels: Labels | None,
    own_rows: Tensor | None,
) -> PairBatch:
    """A batch to mine in: a NaN would win or lose every comparison in silence."""
    batch = pair_batch(embeddings, labels, None, reference, reference_labels, own_rows)
    check_finite(batch.x)
    if batch.y is not batch.x:
        check_finite(batch.y, "reference")
    return batch


def pair_columns(pairs: Sequence[Tensor], device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Matching pairs and non-matching pairs of a miner's index tuple."""
    columns = [torch.as_tensor(column, device=device).long() for column in pairs]
    if len(columns) == 3:
        columns = [columns[0], columns[1], columns[0], columns[2]]
    shapes = [column.shape for column in columns]
    if len(columns) != 4 or any(column.ndim != 1 for column in columns) or shapes[::2] != shapes[1::2]:
        raise ValueError(
            f"pairs hold {len(pairs)} tensors of shapes {[tuple(torch.as_tensor(column).shape) for column in pairs]}; "
            f"pairs are four (anchor, positive, anchor, negative), equal in twos, "
            f"triplets are three of one length (anchor, positive, negative)"
        )
    return columns[0], columns[1], columns[2], columns[3]


def similarity(x: Tensor, y: Tensor) -> Tensor:
    """Inner products (N, M). Autocast would round them to half precision, which the exponents that follow enlarge."""
    with torch.autocast(x.device.type, enabled=False):
        return x @ y.T


def positive_columns(positive: Tensor) -> Tensor:
    """The columns of each row's positives first, (N, K) for at most K in a row; rows with fewer are padded."""
    slots = int(positive.sum(1).max()) if len(positive) else 0
    return (~positive).to(torch.int8).argsort(dim=1, stable=True)[:, :slots]


def block_rows(columns: Tensor, s: Tensor) -> int:
    """How many queries fit a block of comparisons."""
    return max(1, BLOCK_CELLS // max(1, columns.shape[1] * s.shape[1]))


def logsumexp_over(values: Tensor, kept: Tensor) -> Tensor:
    """log Σ exp over the kept entries of each row; −∞ in a row without one, and no NaN in its gradient."""
    if values.shape[1] == 0:
        return values.sum(1) - torch.inf
    any_kept = kept.any(1)
    masked = values.where(kept, -torch.inf).where(any_kept[:, None], 0.0)
    return masked.logsumexp(1).where(any_kept, -torch.inf)


def mean_over(values: Tensor, kept: Tensor) -> Tensor:
    """Mean over the kept entries; 0 if there is none."""
    return values.where(kept, 0.0).sum() / kept.sum().clamp(min=1)


def nothing(x: Tensor) -> Tensor:
    """0 with a graph; NaN if x is not finite."""
    return (x * 0).sum()


class PairLoss(nn.Module):
    """How every pair loss is called; ``_loss`` of a subclass hands the batch on with its settings."""

    def __init__(self, normalize: bool) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        indices: Sequence[Tensor] | None = None,
        reference: Embeddings | None = None,
        reference_labels: Labels | None = None,
        *,
        own_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The scalar loss of embeddings (N, D) with N labels.

        Args:
            embeddings: shape (N, D).
            labels: N integers or strings.
            indices: of any miner, in place of all pairs.
            reference: where positives and negatives are taken from, shape (M, D).
            reference_labels: the identity of each reference row.
            own_rows: which reference row is embedding i, −1 for none.
            generator: source of the random draws of a loss that makes some.
        """
        x, y = embeddings, reference
        if self.normalize:
            x = unit(as_embeddings(embeddings))
            if reference is not None:
                y = x if reference is embeddings else unit(as_embeddings(reference, "reference"))
        batch = {"pairs": indices, "reference": y, "reference_labels": reference_labels, "own_rows": own_rows}
        return self._loss(x, labels, batch, generator)

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        hidden = ("training",)
        return ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if k[0] != "_" and k not in hidden)

    def _loss(self, x: Embeddings, labels: Labels, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        raise NotImplementedError
