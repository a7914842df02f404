"""Cross-batch memory: triplets between a batch and the embeddings of earlier batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from triune.distances.embeddings import Embeddings, as_embeddings
from triune.labels import Labels, whole_numbers
from triune.losses.outcome import TripletOutcome
from triune.losses.triplet import TripletLoss


class CrossBatchMemory(nn.Module):
    """A triplet loss whose positives and negatives also come from a ring of earlier embeddings (Wang et al. 2020, XBM).

    Anchors are the rows of the batch; the reference set is the batch itself, with gradients, and the memory, without.
    With a :class:`triune.losses.joined.DistributedTripletLoss` the batch is that of all processes, and each
    remembers all of it: the rings stay equal. In ``eval()`` nothing is remembered. The ring, its position, how full it
    is and the number of steps are buffers: a loss loaded from ``state_dict`` goes on bit for bit. Memory:
    size·(D·4 + 8) bytes.

    >>> criterion = CrossBatchMemory(TripletLoss(mining="hard"), size=1024, embedding_dim=64)
    >>> loss = criterion(torch.randn(8, 64, requires_grad=True), [0, 0, 1, 1, 2, 2, 3, 3])

    Args:
        criterion: the triplet loss.
        size: how many embeddings are remembered.
        embedding_dim: D.
        start: the first step that uses the memory; embeddings drift quickly while training is young.
    """

    embeddings: Tensor
    labels: Tensor
    position: Tensor
    filled: Tensor
    steps: Tensor

    def __init__(self, criterion: TripletLoss, size: int, embedding_dim: int, start: int = 0) -> None:
        super().__init__()
        if size < 1 or embedding_dim < 1 or start < 0:
            raise ValueError(f"size is {size}, embedding_dim {embedding_dim}, start {start}: at least 1, 1 and 0")
        self.criterion = criterion
        self.size = size
        self.start = start
        self.register_buffer("embeddings", torch.zeros(size, embedding_dim))
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, embeddings: Embeddings, labels: Labels) -> Tensor:
        """The scalar loss of embeddings ``(N, D)`` with N whole-number labels; remembers them afterwards."""
        return self.outcome(embeddings, labels).loss

    def outcome(self, embeddings: Embeddings, labels: Labels) -> TripletOutcome:
        """The loss with its statistics. Waits for the device, to know how full the memory is.

        Raises:
            ValueError: the embeddings are not of the memory's width, or labels are not whole numbers.
        """
        x = as_embeddings(embeddings)
        if x.shape[1] != self.embeddings.shape[1]:
            raise ValueError(
                f"embeddings have {x.shape[1]} dimensions but the memory was made for {self.embeddings.shape[1]}"
            )
        codes = whole_numbers(labels, len(x)).to(x.device)
        filled = int(self.filled) if int(self.steps) >= self.start else 0
        # A copy, since the ring is written to before the backward pass comes by.
        remembered = self.embeddings[:filled].to(x.dtype).clone()
        remembered_codes = self.labels[:filled].clone()
        outcome, rows, row_codes = self.criterion.outcome_with_memory(x, codes, remembered, remembered_codes)
        if self.training:
            self.remember(rows, row_codes)
        return outcome

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
