"""A batch beside remembered rows: one reference set of both, and a miner's choice of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from triune.losses.miner import Miner


class Remembered(NamedTuple):
    """M embeddings of earlier batches, and who chooses among them and the batch."""

    rows: Tensor
    """Their values, without gradients (M, D)."""
    codes: Tensor
    """Their labels, int64 (M,)."""
    miner: Callable[..., Any] | None = None
    """Of pairs or triplets; ``None`` leaves the choice to the loss."""

    def reference(self, batch: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The batch (N, D) and the remembered rows as one reference set (N + M, D), and its labels."""
        return torch.cat([batch, self.rows]), torch.cat([codes, self.codes])

    def mined(
        self, x: Tensor, codes: Tensor, reference: Tensor, reference_codes: Tensor, own_rows: Tensor
    ) -> tuple[Tensor, ...] | None:
        """The indices that the miner chooses, none of which has an item as its own positive; None without a miner.

        Args:
            x: the anchors (N, D).
            codes: their labels (N,).
            reference: what they are compared with.
            reference_codes: the labels of that.
            own_rows: which reference row is each anchor, (N,).
        """
        if self.miner is None:
            return None
        ours = {"own_rows": own_rows} if isinstance(self.miner, Miner) else {}
        mined = tuple(self.miner(x.detach(), codes, reference.detach(), reference_codes, **ours))
        distinct = own_rows[mined[0]] != mined[1]
        kept = tuple(column[distinct] for column in mined[:2])
        return kept + (mined[2:] if len(mined) == 4 else tuple(column[distinct] for column in mined[2:]))
