"""Two views of each item as a batch of its own: self-supervised learning with any pair or triplet loss."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from triune.distances.embeddings import Embeddings, as_embeddings
from triune.losses.joined import JoinedLoss
from triune.losses.memory import CrossBatchMemory
from triune.losses.proxies import ProxyLoss

MOST_ITEMS = 1 << 40
"""Of a process: labels of the next begin there, so that no two processes' items have one label."""


class SelfSupervisedLoss(nn.Module):
    """Row i of one batch and row i of the other are views of one item; all other rows are other items.

    With NT-Xent it is the loss of SimCLR (Chen et al. 2020, eq. 1). In a loss of several processes
    (:class:`triune.losses.joined.JoinedLoss`, :class:`triune.losses.joined.DistributedTripletLoss`) the items of all
    are told apart.

    >>> criterion = SelfSupervisedLoss(NTXentLoss(temperature=0.5))
    >>> loss = criterion(torch.randn(8, 16, requires_grad=True), torch.randn(8, 16, requires_grad=True))

    Args:
        criterion: a pair or triplet loss, called as ``criterion(embeddings, labels)``; of this package or of
            pytorch-metric-learning.
        symmetric: rows of both views are anchors, compared with all other rows of both; ``False``: rows of the first
            view are anchors, compared with those of the second.

    Raises:
        ValueError: the criterion needs labels that last beyond a batch.
    """

    def __init__(self, criterion: nn.Module, symmetric: bool = True) -> None:
        super().__init__()
        if isinstance(criterion, CrossBatchMemory | ProxyLoss):
            raise ValueError(
                f"{type(criterion).__name__} needs labels that mean the same in every batch, which views do not have: "
                f"give a pair or triplet loss"
            )
        if isinstance(criterion, JoinedLoss) and not symmetric:
            raise ValueError("JoinedLoss takes no reference set: give symmetric=True, or the loss inside it")
        self.criterion = criterion
        self.symmetric = symmetric

    def forward(self, first: Embeddings, second: Embeddings) -> Tensor:
        """The scalar loss of two views of N items, shape (N, D) each.

        Raises:
            ValueError: the views differ in shape.
        """
        x, y = as_embeddings(first, "first"), as_embeddings(second, "second")
        if x.shape != y.shape:
            raise ValueError(
                f"first has shape {tuple(x.shape)} and second {tuple(y.shape)}: row i of both is a view of item i"
            )
        rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
        labels = rank * MOST_ITEMS + torch.arange(len(x), device=x.device)
        loss: Tensor
        if self.symmetric:
            loss = self.criterion(torch.cat([x, y]), torch.cat([labels, labels]))
        else:
            loss = self.criterion(x, labels, None, y, labels.clone())
        return loss

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        return f"symmetric={self.symmetric}"
