"""Cross-batch memory: pairs and triplets between a batch and the embeddings of earlier batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from triune.distances.embeddings import Embeddings, as_embeddings
from triune.labels import whole_numbers
from triune.losses.compared import BatchLabels, plain
from triune.losses.contrastive import NPairsLoss
from triune.losses.joined import JoinedLoss
from triune.losses.outcome import TripletOutcome
from triune.losses.pairs import PairLoss
from triune.losses.remembered import Remembered
from triune.losses.triplet import TripletLoss


class CrossBatchMemory(nn.Module):
    """A loss whose positives and negatives also come from a ring of earlier embeddings (Wang et al. 2020, XBM).

    Anchors are the rows of the batch; the reference set is the batch itself, with gradients, and the memory, without.
    With a :class:`triune.losses.joined.DistributedTripletLoss` or :class:`triune.losses.joined.JoinedLoss` the batch is
    that of all processes, and each remembers all of it: the rings stay equal. In ``eval()`` nothing is remembered. The
    ring, its position, how full it is and the number of steps are buffers: a loss loaded from ``state_dict`` goes on
    bit for bit. Memory: size·(D·4 + 8) bytes.

    >>> criterion = CrossBatchMemory(TripletLoss(mining="hard"), size=1024, embedding_dim=64)
    >>> loss = criterion(torch.randn(8, 64, requires_grad=True), [0, 0, 1, 1, 2, 2, 3, 3])

    Args:
        criterion: the triplet loss, or any pair loss but N-pairs, which has no reference set.
        size: how many embeddings are remembered.
        embedding_dim: D.
        start: the first step that uses the memory; embeddings drift quickly while training is young.
        miner: which pairs or triplets of the batch with batch and memory are used, in place of the criterion's own
            choice: a miner of this package or of pytorch-metric-learning, called with embeddings, labels, reference and
            its labels. An item is never its own positive.

    Raises:
        ValueError: a size is out of range, or the criterion takes no reference set.
    """

    embeddings: Tensor
    labels: Tensor
    position: Tensor
    filled: Tensor
    steps: Tensor

    def __init__(
        self,
        criterion: TripletLoss | PairLoss | JoinedLoss,
        size: int,
        embedding_dim: int,
        start: int = 0,
        miner: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__()
        inner = criterion.criterion if isinstance(criterion, JoinedLoss) else criterion
        if not isinstance(inner, TripletLoss | PairLoss) or isinstance(inner, NPairsLoss):
            raise ValueError(
                f"{type(inner).__name__} takes no reference set, which a memory is: give TripletLoss or a pair loss"
            )
        if size < 1 or embedding_dim < 1 or start < 0:
            raise ValueError(f"size is {size}, embedding_dim {embedding_dim}, start {start}: at least 1, 1 and 0")
        self.criterion = criterion
        self.size = size
        self.start = start
        self.miner = miner
        self.register_buffer("embeddings", torch.zeros(size, embedding_dim))
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, embeddings: Embeddings, labels: BatchLabels) -> Tensor:
        """The loss of embeddings ``(N, D)`` with N whole-number labels; remembers them afterwards.

        Waits for the device, to know how full the memory is.

        Raises:
            ValueError: the embeddings are not of the memory's width, or labels are not whole numbers.
        """
        answer = self._answer(embeddings, labels)
        return answer.loss if isinstance(answer, TripletOutcome) else answer

    def outcome(self, embeddings: Embeddings, labels: BatchLabels) -> TripletOutcome:
        """The loss of a triplet loss with its statistics, as in calling this.

        Raises:
            ValueError: as in calling this, or the criterion is no triplet loss.
        """
        if not isinstance(self.criterion, TripletLoss):
            raise ValueError(
                f"{type(self.criterion).__name__} has no triplets to tell of: call the memory for its loss"
            )
        answer: TripletOutcome = self._answer(embeddings, labels)
        return answer

    def _answer(self, embeddings: Embeddings, labels: BatchLabels) -> Any:
        """What the criterion says of a batch with the memory: an outcome, or a loss."""
        x = as_embeddings(embeddings)
        if x.shape[1] != self.embeddings.shape[1]:
            raise ValueError(
                f"embeddings have {x.shape[1]} dimensions but the memory was made for {self.embeddings.shape[1]}"
            )
        codes = whole_numbers(plain(labels), len(x)).to(x.device)
        filled = int(self.filled) if int(self.steps) >= self.start else 0
        # A copy, since the ring is written to before the backward pass comes by.
        memory = Remembered(self.embeddings[:filled].to(x.dtype).clone(), self.labels[:filled].clone(), self.miner)
        answer, rows, row_codes = self.criterion.with_memory(x, codes, memory)
        if self.training:
            self.remember(rows, row_codes)
        return answer

    @torch.no_grad()
    def remember(self, embeddings: Tensor, labels: Tensor) -> None:
        """Write a batch over the oldest entries; of a batch larger than the memory the last rows stay.

        Rows with NaN or infinity are left out: a step that is skipped for them must not spoil those that follow.
        """
        finite = torch.isfinite(embeddings).all(dim=1)
        kept, codes = embeddings[finite][-self.size :], labels[finite][-self.size :]
        places = (self.position + torch.arange(len(kept), device=self.labels.device)) % self.size
        self.embeddings[places] = kept.to(self.embeddings)
        self.labels[places] = codes.to(self.labels)
        self.position.copy_((self.position + len(kept)) % self.size)
        self.filled.copy_((self.filled + len(kept)).clamp(max=self.size))
        self.steps += 1

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        return f"size={self.size}, start={self.start}"
