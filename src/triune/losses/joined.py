"""Losses over several processes: those of the joined batch, in value and gradient; triplets with the work divided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings, as_embeddings
from triune.labels import whole_numbers
from triune.losses.batch import LabelledBatch, zero_or_nan
from triune.losses.compared import BatchLabels, plain
from triune.losses.outcome import TripletOutcome, TripletSums, anchor_sums, per_anchor, reduce
from triune.losses.remembered import Remembered
from triune.losses.triplet import TripletLoss
from triune.losses.triplet_settings import TripletSettings
from triune.losses.triplet_sums import triplet_costs, triplet_sums


class DistributedTripletLoss(TripletLoss):
    """A :class:`TripletLoss` of the joined batch of all processes; the plain one where there is only one.

    Each process takes its own items as anchors and the items of all as positives and negatives, so that no triplet is
    computed twice. The value is that of the joined batch, in every process. So is the gradient: since
    DistributedDataParallel averages over W processes, each sends back W times its part of the joined batch's gradient.
    Batches may differ in size; a process may have none. Every process has to call it, and the backward pass, as often.

    Random triplets are drawn from the generator of the first process, those of one process. With ``indices`` or a
    ``reference`` the loss is that of the process alone.

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
        labels: BatchLabels | None = None,
        indices: Sequence[Tensor] | None = None,
        reference: Embeddings | None = None,
        reference_labels: BatchLabels | None = None,
        *,
        own_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> TripletOutcome:
        """The loss of the joined batch with its statistics.

        Args:
            embeddings: this process's anchors, shape (N, D).
            labels: N whole numbers, which mean the same in every process; may be left out beside indices.
            indices: triplets or pairs of any miner: the loss is then that of the process alone.
            reference: where positives and negatives are taken from: the loss is then that of the process alone.
            reference_labels: the label of each reference row.
            own_rows: which reference row is embedding i, −1 for none.
            generator: source of the random draws; that of the first process counts.

        Raises:
            ValueError: labels are words, whose codes would differ from process to process.
        """
        if _is_one_process(self.group) or indices is not None or reference is not None or labels is None:
            return super().outcome(
                embeddings, labels, indices, reference, reference_labels, own_rows=own_rows, generator=generator
            )
        x = as_embeddings(embeddings)
        codes = whole_numbers(plain(labels), len(x)).to(x.device)
        return self._joined(x, codes, Remembered(x[:0].detach(), codes[:0]), generator)[0]

    def with_memory(self, x: Tensor, codes: Tensor, memory: Remembered) -> tuple[TripletOutcome, Tensor, Tensor]:
        """The outcome of the joined batch, whose positives and negatives come from itself and from remembered rows.

        Args:
            x: this process's anchors, shape (N, D).
            codes: their labels, int64 (N,).
            memory: embeddings of earlier batches, the same in every process.

        Returns:
            The outcome, and the joined batch with its codes: what the memory should take in.
        """
        if _is_one_process(self.group):
            return super().with_memory(x, codes, memory)
        return self._joined(x, codes, memory, None)

    def _joined(
        self, x: Tensor, codes: Tensor, memory: Remembered, generator: torch.Generator | None
    ) -> tuple[TripletOutcome, Tensor, Tensor]:
        """The outcome of the joined batch with remembered rows as further reference, and that batch with its codes."""
        if self.reduction == "none":
            raise ValueError("reduction 'none' is that of one process: leave it out")
        if self.averaged:
            x = _ScaledGradient.apply(x, dist.get_world_size(self.group))
        sizes = _batch_sizes(len(x), x.device, self.group)
        all_rows = _AllGather.apply(x, sizes, self.group)
        all_codes = _all_gather(codes, sizes, self.group)
        first = sum(sizes[: dist.get_rank(self.group)])
        own_rows = first + torch.arange(len(x), device=x.device)
        reference, reference_codes = memory.reference(all_rows, all_codes)
        indices = memory.mined(x, codes, reference, reference_codes, own_rows)
        batch = LabelledBatch(x, reference, codes, reference_codes, own_rows)
        settings = TripletSettings(self.margin, self.metric, self.mining, self.gap, self.swap, self.smooth)
        if self.mining == "random":
            generator = _generator_of_first(generator, self.group)
        batch = batch.at_unit_length() if self.normalize else batch
        if self.reduction == "per_anchor":
            costs = triplet_costs(batch, settings, indices, generator)
            own = anchor_sums(costs, len(x)) + (zero_or_nan(batch.x.detach()) + zero_or_nan(batch.y.detach()))
            outcome = per_anchor(_AllReduce.apply(own, self.group))
        else:
            own = torch.stack(list(triplet_sums(batch, settings, indices, generator)))
            outcome = reduce(TripletSums(*_AllReduce.apply(own, self.group).unbind()), self.reduction)
        return outcome._replace(loss=outcome.loss.to(x.dtype)), all_rows.detach(), all_codes


class JoinedLoss(nn.Module):
    """Any loss of embeddings and labels, taken of the joined batch of all processes; as it is where there is only one.

    Every process computes the whole loss, O(N²) for the N items of all: what a pair loss divides by is known to no part
    of the batch. Gradients, those of the loss's own parameters too, are those of the joined batch. Batches may differ
    in size; every process has to call it, and the backward pass, as often. Losses that draw do so in each process by
    itself, and the gradient is the mean over the draws.

    >>> from triune.losses import NTXentLoss
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

    def forward(self, embeddings: Embeddings, labels: BatchLabels) -> Tensor:
        """The scalar loss of the embeddings ``(N, D)`` and whole-number labels of all processes."""
        if _is_one_process(self.group):
            own_loss: Tensor = self.criterion(embeddings, labels)
            return own_loss
        x = as_embeddings(embeddings)
        loss: Tensor = self.criterion(*self._joined(x, whole_numbers(plain(labels), len(x)).to(x.device)))
        return self._shared_out(loss)

    def with_memory(self, x: Tensor, codes: Tensor, memory: Remembered) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of the joined batch, whose positives and negatives come from itself and from remembered rows.

        Args:
            x: this process's anchors, shape (N, D).
            codes: their labels, int64 (N,).
            memory: embeddings of earlier batches, the same in every process.

        Returns:
            The loss, and the joined batch with its codes: what the memory should take in.
        """
        criterion: Any = self.criterion  # a pair loss, which CrossBatchMemory checks
        if _is_one_process(self.group):
            alone: tuple[Tensor, Tensor, Tensor] = criterion.with_memory(x, codes, memory)
            return alone
        loss, rows, row_codes = criterion.with_memory(*self._joined(x, codes), memory)
        return self._shared_out(loss), rows, row_codes

    def _joined(self, x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The rows and labels of all processes."""
        sizes = _batch_sizes(len(x), x.device, self.group)
        return _AllGather.apply(x, sizes, self.group), _all_gather(codes, sizes, self.group)

    def _shared_out(self, loss: Tensor) -> Tensor:
        """W processes send back the gradient of the whole loss each: W times too much, which averaging takes away."""
        return loss if self.averaged else _ScaledGradient.apply(loss, 1 / dist.get_world_size(self.group))


def joined_sum(part: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """The sum over all processes of each one's part, of any shape, in every process; averaged gradients are its own.

    >>> joined_sum(torch.tensor([3.0, 2.0]))  # of one process
    tensor([3., 2.])

    Args:
        part: this process's part of the sum.
        group: the processes; all of them where not given.
    """
    if _is_one_process(group):
        return part
    total: Tensor = _AllReduce.apply(_ScaledGradient.apply(part, dist.get_world_size(group)), group)
    return total


def _is_one_process(group: ProcessGroup | None) -> bool:
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


class _AllGather(torch.autograd.Function):
    """The rows of all processes; the gradients that all send to a process's rows are summed there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], group: ProcessGroup | None) -> Tensor:
        ctx.sizes, ctx.group = sizes, group
        return _all_gather(x, sizes, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        total = grad.contiguous().clone()
        dist.all_reduce(total, group=ctx.group)
        return total.split(ctx.sizes)[dist.get_rank(ctx.group)], None, None  # type: ignore[no-untyped-call]


class _AllReduce(torch.autograd.Function):
    """The sum over processes. Each holds the whole loss of it, so the gradient of a part is that of the sum."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: ProcessGroup | None) -> Tensor:
        total = part.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def _generator_of_first(generator: torch.Generator | None, group: ProcessGroup | None) -> torch.Generator:
    """A generator that will draw in every process what the one of the first process would; that one moves on, too."""
    own = torch.default_generator if generator is None else generator
    state: list[Any] = [own.get_state(), own.device.type] if dist.get_rank(group) == 0 else [None, None]
    torch.randint(2**63 - 1, (), device=own.device, generator=own)
    dist.broadcast_object_list(state, group=group, group_src=0)
    copied = torch.Generator(state[1])
    copied.set_state(state[0])
    return copied


def _batch_sizes(count: int, device: torch.device, group: ProcessGroup | None) -> list[int]:
    """How many rows each process has."""
    own = torch.tensor([count], device=device)
    gathered = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(gathered, own, group=group)
    return torch.cat(gathered).tolist()


def _all_gather(rows: Tensor, sizes: list[int], group: ProcessGroup | None) -> Tensor:
    """The rows of all processes one after another; shorter ones travel padded, since collectives want equal shapes."""
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    gathered = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(gathered, padded, group=group)
    return torch.cat([part[:size] for part, size in zip(gathered, sizes, strict=True)])
