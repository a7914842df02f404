"""Losses over several processes: those of the joined batch, in value and gradient; triplets with the work divided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings, as_embeddings, unit
from triune.labels import Labels, whole_numbers
from triune.losses.triplet import TripletLoss
from triune.losses.triplet_sums import Sums, TripletOutcome, reduce, triplet_sums


class DistributedTripletLoss(TripletLoss):
    """A :class:`TripletLoss` of the joined batch of all processes; the plain one where there is only one.

    Each process takes its own items as anchors and the items of all as positives and negatives, so that no triplet is
    computed twice. The value is that of the joined batch, in every process. So is the gradient: since
    DistributedDataParallel averages over W processes, each sends back W times its part of the joined batch's gradient.
    Batches may differ in size; a process may have none. Every process has to call it, and the backward pass, as often.

    Random triplets are drawn by each process from its own generator. With ``indices`` or a ``reference`` the loss is
    that of the process alone.

    Args:
        averaged: gradients will be averaged over the processes, as DistributedDataParallel and Lightning do; ``False``
            where they are summed.
        group: the processes; all of them where not given.
        settings: of :class:`TripletLoss`.
    """

    def __init__(self, *, averaged: bool = True, group: ProcessGroup | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.averaged = averaged
        self.group = group

    def outcome(
        self,
        embeddings: Embeddings,
        labels: Labels,
        indices: Sequence[Tensor] | None = None,
        reference: Embeddings | None = None,
        reference_labels: Labels | None = None,
        *,
        own_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> TripletOutcome:
        """The loss of the joined batch with its statistics.

        Raises:
            ValueError: labels are words, whose codes would differ from process to process.
        """
        if _alone(self.group) or indices is not None or reference is not None:
            return super().outcome(
                embeddings, labels, indices, reference, reference_labels, own_rows=own_rows, generator=generator
            )
        x = as_embeddings(embeddings)
        codes = whole_numbers(labels, len(x)).to(x.device)
        return self._joined(x, codes, x[:0].detach(), codes[:0], generator)[0]

    def beside(
        self, embeddings: Tensor, codes: Tensor, earlier: Tensor, earlier_codes: Tensor
    ) -> tuple[TripletOutcome, Tensor, Tensor]:
        """The same beside rows of earlier batches, which every process has to hold alike; and the joined batch."""
        if _alone(self.group):
            return super().beside(embeddings, codes, earlier, earlier_codes)
        return self._joined(embeddings, codes, earlier, earlier_codes, None)

    def _joined(
        self, x: Tensor, codes: Tensor, earlier: Tensor, earlier_codes: Tensor, generator: torch.Generator | None
    ) -> tuple[TripletOutcome, Tensor, Tensor]:
        """The outcome of the joined batch with earlier rows as further reference, and that batch with its codes."""
        if self.averaged:
            x = _ScaledGradient.apply(x, dist.get_world_size(self.group))
        sizes = _sizes(len(x), x.device, self.group)
        everyone = _Gathered.apply(x, sizes, self.group)
        everyones_codes = _gather(codes, sizes, self.group)
        first = sum(sizes[: dist.get_rank(self.group)])
        anchors, reference = x, torch.cat([everyone, earlier])
        if self.normalize:
            anchors, reference = unit(anchors), unit(reference)
        sums = triplet_sums(
            anchors,
            codes,
            margin=self.margin,
            metric=self.metric,
            mining=self.mining,
            gap=self.gap,
            reference=reference,
            reference_labels=torch.cat([everyones_codes, earlier_codes]),
            own_rows=first + torch.arange(len(x), device=x.device),
            generator=generator,
        )
        outcome = reduce(Sums(*_Summed.apply(torch.stack(list(sums)), self.group).unbind()), self.reduction)
        return outcome._replace(loss=outcome.loss.to(x.dtype)), everyone.detach(), everyones_codes


class JoinedLoss(nn.Module):
    """Any loss of embeddings and labels, taken of the joined batch of all processes; as it is where there is only one.

    Every process computes the whole loss, O(N²) for the N items of all: what a pair loss divides by is known to no part
    of the batch. Gradients, those of the loss's own parameters too, are those of the joined batch. Batches may differ
    in size; every process has to call it, and the backward pass, as often. Losses that draw do so in each process by
    itself, and the gradient is the mean over the draws.

    >>> from triune.losses.contrastive import NTXentLoss
    >>> criterion = JoinedLoss(NTXentLoss())
    >>> loss = criterion(torch.randn(8, 16, requires_grad=True), [0, 0, 1, 1, 2, 2, 3, 3])

    Args:
        criterion: called as ``criterion(embeddings, labels)``.
        averaged: gradients will be averaged over the processes, as DistributedDataParallel and Lightning do; ``False``
            where they are summed.
        group: the processes; all of them where not given.
    """

    def __init__(self, criterion: nn.Module, *, averaged: bool = True, group: ProcessGroup | None = None) -> None:
        super().__init__()
        self.criterion = criterion
        self.averaged = averaged
        self.group = group

    def forward(self, embeddings: Embeddings, labels: Labels) -> Tensor:
        """The scalar loss of the embeddings ``(N, D)`` and whole-number labels of all processes."""
        if _alone(self.group):
            alone: Tensor = self.criterion(embeddings, labels)
            return alone
        x = as_embeddings(embeddings)
        codes = whole_numbers(labels, len(x)).to(x.device)
        sizes = _sizes(len(x), x.device, self.group)
        loss: Tensor = self.criterion(_Gathered.apply(x, sizes, self.group), _gather(codes, sizes, self.group))
        # W processes send back the gradient of the whole loss each: W times too much, which averaging takes away.
        return loss if self.averaged else _ScaledGradient.apply(loss, 1 / dist.get_world_size(self.group))


def _alone(group: ProcessGroup | None) -> bool:
    """Whether there is one process only."""
    return not dist.is_available() or not dist.is_initialized() or dist.get_world_size(group) == 1


class _ScaledGradient(torch.autograd.Function):
    """The same values; a gradient that is ``factor`` times as large."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


class _Gathered(torch.autograd.Function):
    """The rows of all processes; the gradients that all send to a process's rows are summed there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], group: ProcessGroup | None) -> Tensor:
        ctx.sizes, ctx.group = sizes, group
        return _gather(x, sizes, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        total = grad.contiguous().clone()
        dist.all_reduce(total, group=ctx.group)
        return total.split(ctx.sizes)[dist.get_rank(ctx.group)], None, None  # type: ignore[no-untyped-call]


class _Summed(torch.autograd.Function):
    """The sum over processes. Each holds the whole loss of it, so the gradient of a part is that of the sum."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: ProcessGroup | None) -> Tensor:
        total = part.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def _sizes(count: int, device: torch.device, group: ProcessGroup | None) -> list[int]:
    """How many rows each process has."""
    own = torch.tensor([count], device=device)
    all_gather = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(all_gather, own, group=group)
    return torch.cat(all_gather).tolist()


def _gather(rows: Tensor, sizes: list[int], group: ProcessGroup | None) -> Tensor:
    """The rows of all processes one after another; shorter ones travel padded, since collectives want equal shapes."""
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    all_gather = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(all_gather, padded, group=group)
    return torch.cat([part[:size] for part, size in zip(all_gather, sizes, strict=True)])
