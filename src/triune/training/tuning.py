"""Fine-tuning: which parameters of the backbone learn, from which step on, and what it costs."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from triune.errors import InputError
from triune.model.adapters import add_adapters
from triune.model.network import MultiTaskModel
from triune.run.settings import LEARNT_POOLING, ModelConfig, TrainConfig
from triune.training.module import TrainingModule
from triune.training.optimizer import Freeze


def prepare_tuning(model: MultiTaskModel, settings: ModelConfig) -> None:
    """Freeze, adapt, checkpoint and compile the backbone as the settings say; the network is changed in place.

    Raises:
        InputError: a setting that this backbone or this machine does not do.
    """
    if settings.freeze == "all":
        model.backbone.requires_grad_(False)
    if settings.adapter_rank:
        add_adapters(model, settings.backbone, settings.adapter_rank)
    if settings.grad_checkpointing:
        checkpoint_gradients(model, settings.backbone)
    if settings.compile:
        check_compiler()
        # Its backward pass would give away what it needs to run again: once a task, where their gradients are compared.
        torch._functorch.config.donated_buffer = False
        model.backbone.compile()


def checkpoint_gradients(model: MultiTaskModel, backbone: str) -> None:
    """Let timm keep the activations between blocks only (Chen et al. 2016).

    Args:
        model: the network.
        backbone: its name, for the message.

    Raises:
        InputError: timm does not do so with this backbone.
    """
    inner = model.backbone.model
    inner = inner if hasattr(inner, "set_grad_checkpointing") else getattr(inner, "model", inner)
    try:
        inner.set_grad_checkpointing(True)
    except (AttributeError, AssertionError, NotImplementedError, TypeError) as error:
        raise InputError(
            f"timm does not checkpoint the gradients of {backbone}: leave --model.grad_checkpointing away, "
            "or train with a smaller --optimizer.chunk"
        ) from error
    model.recomputes = True


def check_compiler() -> None:
    """Compile something small, so that a machine without a compiler is told before the training.

    Raises:
        InputError: torch cannot compile here.
    """
    try:
        torch.compile(lambda x: x * 2 + 1)(torch.ones(8))
    except Exception as error:  # whatever the compiler, or the lack of one, raises
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"torch.compile does not work on this machine ({reason}): leave --model.compile away"
        ) from error


def check_chunk(model: MultiTaskModel, chunk: int) -> None:
    """Refuse to normalise over a batch of one image.

    Args:
        model: the network.
        chunk: images at a time.

    Raises:
        InputError: chunks of one image, and a network with batch normalisation that learns.
    """
    layers = (each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm))
    if chunk == 1 and any(True for _ in layers):
        raise InputError("optimizer.chunk is 1, and this network normalises over the images of a chunk: give more")


def check_steps(freeze: Freeze, total: int, memory_start: int = 0) -> None:
    """Refuse what would begin after the end: a backbone that learns, a memory that is used.

    Args:
        freeze: for how many steps the backbone is frozen.
        total: steps of the run.
        memory_start: the first step that uses a memory; 0 where there is none.

    Raises:
        InputError: as many as the run has, or more.
    """
    if memory_start >= total > 0:
        raise InputError(
            f"loss.memory_start is {memory_start}, and the run has {total} steps, so the memory would never be used: "
            "give fewer"
        )
    if freeze != "all" and freeze >= total > 0:
        raise InputError(
            f"model.freeze is {freeze}, and the run has {total} steps: give fewer, or 'all' for a backbone that never "
            "learns"
        )


def tuned(model: MultiTaskModel, config: TrainConfig) -> list[str]:
    """Lines that say how the weights of a file matched, and which part of the backbone learns."""
    settings = config.model
    lines = [] if model.loaded is None else [f"weights of {settings.weights}: {model.loaded.line()}"]
    parts = []
    if settings.adapter_rank:
        parts.append(f"of the backbone adapters of rank {settings.adapter_rank} learn, which are merged at the end")
    if settings.freeze == "all":
        parts.append("the backbone is frozen")
    elif settings.freeze:
        what = "they begin" if settings.adapter_rank else "the backbone begins"
        parts.append(f"{what} to learn after {settings.freeze} step{'s' * (settings.freeze > 1)}")
    vectors = settings.freeze == "all" and not model.mask_channels and settings.pooling not in LEARNT_POOLING
    if vectors and not settings.cache_features:
        parts.append(
            "its features are computed in every step: --model.cache_features computes them once, without augmentation"
        )
    return lines + (["; ".join(parts)] if parts else [])


class Freezing(pl.Callback):
    """Keeps the backbone as it is for some steps: its weights, and the statistics of its normalisation.

    What is frozen answers as in use: nothing of it is left out at random. Of a backbone with adapters the statistics
    stay to the end, since its weights do.

    Args:
        freeze: for how many steps, or ``all``.
        adapted: whether it has adapters.
    """

    def __init__(self, freeze: Freeze, *, adapted: bool) -> None:
        self.freeze = freeze
        self.adapted = adapted
        self._learning: list[nn.Parameter] = []
        self._frozen = False

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Remember what learns once the backbone does."""
        assert isinstance(module, TrainingModule)
        self._learning = [each for each in module.model.backbone.parameters() if each.requires_grad]

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *batch: Any) -> None:
        """Before each step, since a validation changes the modes: what depends on the step alone goes on as it was.

        Args:
            trainer: counts the steps.
            module: holds the network.
            batch: and its number, which are not looked at.
        """
        assert isinstance(module, TrainingModule)
        frozen = self.freeze == "all" or trainer.global_step < self.freeze
        backbone: nn.Module = module.model.backbone
        backbone.train(not frozen)
        self._frozen = frozen
        if trainer.world_size == 1:
            for each in self._learning:
                each.requires_grad_(not frozen)
        if self.adapted:
            for layer in backbone.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()

    def on_after_backward(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Several processes have agreed on whose gradients they wait for: those of what is frozen are dropped."""
        if self._frozen:
            for each in self._learning:
                each.grad = None
