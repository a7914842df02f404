"""Training in several processes: how many, what Lightning is told of them, and what they must have in common."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from triune.errors import InputError
from triune.model.network import MultiTaskModel
from triune.parallel.command import PATIENCE, joined_processes
from triune.parallel.group import rank_and_size, sharing
from triune.parallel.started import Place, started_place
from triune.run.settings import TrainConfig


def processes_to_start(config: TrainConfig) -> int:
    """How many processes have to be started for a training: one a device; 1 where that is done, or one is enough.

    Raises:
        InputError: there are fewer devices than were asked for.
    """
    if started_place() is not None or sharing() is not None:
        return 1
    asked, there = config.trainer.devices, _gpus(config)
    if asked == "auto":
        if there > 1:
            print(f"training on {there} GPUs; --trainer.devices 1 takes one", file=sys.stderr, flush=True)
        return max(1, there)
    if there and asked > there:
        raise InputError(f"--trainer.devices is {asked}, but this machine has {there} GPU{'s' * (there > 1)}")
    return asked


def _gpus(config: TrainConfig) -> int:
    """How many of NVIDIA's or AMD's GPUs training may use here."""
    on_gpus = config.trainer.accelerator in ("auto", "gpu", "cuda")
    return torch.cuda.device_count() if on_gpus and torch.cuda.is_available() else 0


@contextmanager
def training_processes(config: TrainConfig) -> Iterator[None]:
    """Within the block the processes that were started together are one group, if they are not yet.

    Raises:
        InputError: more devices are asked for than there are processes for.
    """
    place = started_place()
    asked = config.trainer.devices
    if place is not None and asked not in ("auto", place.on_host):
        raise InputError(
            f"--trainer.devices is {asked}, but {place.by} started {place.on_host} on this host: leave it at auto"
        )
    if place is None and sharing() is None and asked != "auto" and asked > 1:
        raise InputError(
            f"trainer.devices is {asked}, and this program is one process: start it with "
            f"`torchrun --nproc_per_node {asked}`, or train by the command `triune train`"
        )
    if place is None or sharing() is not None:
        yield
        return
    with joined_processes(on_gpus=True):
        yield


def tell_other_number(before: int, now: int) -> None:
    """Say that a training goes on in another number of processes, and what that changes."""
    if before != now:
        print(
            f"begun in {before} process{'es' * (before > 1)}, goes on in {now}: batches, learning rate and order stay; "
            "random changes, dropout and, on a processor, the statistics of batch normalisation follow each process's "
            "share of a batch",
            file=sys.stderr,
            flush=True,
        )


class OwnSignals(pl.Callback):
    """Of several processes each ends by itself at SIGTERM, as it would without Lightning.

    Lightning's handler talks to the others first, and waits for them for ever where they ended already.
    """

    def __init__(self) -> None:
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Lightning has set its handler by now."""
        if trainer.world_size > 1 and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)


class StartedProcesses(ClusterEnvironment):
    """What Lightning asks about processes that are there already: each is a host of its own to it, with one device.

    So hosts may have unlike numbers of them, and a process may see its own GPU only, as srun has it.
    """

    def __init__(self, rank: int, processes: int) -> None:
        super().__init__()
        self._rank = rank
        self._processes = processes

    @property
    def creates_processes_externally(self) -> bool:
        """They are there."""
        return True

    @property
    def main_address(self) -> str:
        """Of the first process."""
        return os.environ.get("MASTER_ADDR", "127.0.0.1")

    @property
    def main_port(self) -> int:
        """Of the first process."""
        return int(os.environ.get("MASTER_PORT", "0"))

    @staticmethod
    def detect() -> bool:
        """It is given, never found."""
        return False

    def world_size(self) -> int:
        """How many there are."""
        return self._processes

    def set_world_size(self, size: int) -> None:
        """They are as many as were started."""

    def global_rank(self) -> int:
        """Which this is."""
        return self._rank

    def set_global_rank(self, rank: int) -> None:
        """It is what it was started as."""

    def local_rank(self) -> int:
        """Of the one device."""
        return 0

    def node_rank(self) -> int:
        """Of the host that this process is to Lightning."""
        return self._rank


Devices: TypeAlias = tuple[dict[str, Any], Sequence[ClusterEnvironment]]
"""What Lightning's trainer is told of the devices, and the plugins it needs for them."""


def device_options(config: TrainConfig, *, has_unused: bool) -> Devices:
    """What Lightning's trainer is told of the devices, and the plugins it needs.

    Args:
        config: the settings.
        has_unused: whether there are weights that the loss does not depend on.

    Raises:
        InputError: there is no GPU for this process.
    """
    rank, size = rank_and_size(sharing())
    if size == 1:
        return {"devices": 1}, []
    # Statistics are made equal after every step, see `equal_statistics`.
    strategy = DDPStrategy(broadcast_buffers=False, find_unused_parameters=has_unused, timeout=PATIENCE)
    gpus = _gpus(config)
    devices: Any = [_own_gpu(started_place(), gpus)] if gpus else 1
    return {"devices": devices, "num_nodes": size, "strategy": strategy}, [StartedProcesses(rank, size)]


def _own_gpu(place: Place | None, gpus: int) -> int:
    """The number of this process's GPU among those that it sees."""
    local_rank = 0 if place is None else place.local_rank
    if local_rank < gpus:
        return local_rank
    if gpus == 1 and "SLURM_STEP_ID" in os.environ:  # srun shows each task its own alone
        return 0
    raise InputError(
        f"process {local_rank} of this host has no GPU, it has {gpus}: start {gpus} a host, or train with "
        "--trainer.accelerator cpu"
    )


def with_joint_normalisation(model: MultiTaskModel, config: TrainConfig) -> MultiTaskModel:
    """The network with batch normalisation over the joined batch, where that lies on GPUs.

    torch has none on the processor: there each process normalises by its own part of the batch.
    """
    if sharing() is None or not _gpus(config):
        return model
    from timm.layers.norm_act import convert_sync_batchnorm

    converted: MultiTaskModel = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return converted


@torch.no_grad()
def equal_statistics(model: nn.Module) -> None:
    """Give all processes the same running statistics of batch normalisation: the mean of theirs."""
    group = sharing()
    if group is None:
        return
    ends = ("running_mean", "running_var")
    # What is frozen answers as in use, and its statistics stay as they are, to the last bit.
    layers = [each for each in model.modules() if each.training]
    buffers = [each for layer in layers for name, each in layer.named_buffers(recurse=False) if name.endswith(ends)]
    if not buffers:
        return
    joined = torch.cat([each.flatten() for each in buffers])
    dist.all_reduce(joined, group=group)
    joined /= rank_and_size(group)[1]
    for buffer, mean in zip(buffers, torch.split(joined, [each.numel() for each in buffers]), strict=True):
        buffer.copy_(mean.view_as(buffer))


def has_unused(model: nn.Module, size: tuple[int, int], channels: int) -> bool:
    """Whether the network has weights that no output depends on: several processes would wait for their gradients.

    Args:
        model: called with images, gives a tuple of outputs.
        size: height and width of the images in pixels.
        channels: of the images.
    """
    trained = [each for each in model.parameters() if each.requires_grad]
    if not trained:
        return False
    was_training = model.training
    model.eval()
    outputs = model(torch.zeros(2, channels, *size, device=trained[0].device, dtype=trained[0].dtype))
    total = torch.stack([each.sum() for each in outputs if each is not None]).sum()
    gradients = torch.autograd.grad(total, trained, allow_unused=True)
    model.train(was_training)
    return any(gradient is None for gradient in gradients)
