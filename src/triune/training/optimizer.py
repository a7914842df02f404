"""How fast each parameter moves: groups with a learning rate and a weight decay, and the schedule of the rates."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import nn

from triune.model.layers import layer_scales
from triune.model.network import MultiTaskModel
from triune.run.settings import OptimizerConfig

Freeze = int | Literal["all"]
"""For how many steps the backbone stays as it is, or to the end."""

LATE = "late"
"""Mark of a group whose parameters begin to learn in the middle of a run."""


def parameter_groups(
    module: nn.Module,
    model: MultiTaskModel,
    learnt_by_loss: Iterable[nn.Parameter],
    settings: OptimizerConfig,
    freeze: Freeze = 0,
) -> list[dict[str, Any]]:
    """Groups for AdamW, those with the highest rate first.

    No weight decay on biases, normalisation layers and what a loss learns itself. With ``layer_decay`` each layer of
    the backbone has a rate of its own.

    Args:
        module: all that learns.
        model: the network in it.
        learnt_by_loss: what the metric loss learns, such as proxies, with a rate of its own.
        settings: of the optimiser.
        freeze: for how long the backbone is frozen; where it learns later it is in groups of its own.

    Returns:
        Groups with ``params``, ``lr`` and ``weight_decay``.
    """
    proxies = [parameter for parameter in learnt_by_loss if parameter.requires_grad]
    apart = set(map(id, proxies))
    scales, late = _scales(model, settings.layer_decay), freeze not in (0, "all")
    backbone = {id(parameter) for parameter in model.backbone.parameters()}
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {(1.0, False, True): [], (1.0, False, False): []}
    for parameter in module.parameters():
        if parameter.requires_grad and id(parameter) not in apart:
            place = scales.get(id(parameter), 1.0), late and id(parameter) in backbone, parameter.ndim > 1
            groups.setdefault(place, []).append(parameter)
    found = [
        {
            "params": parameters,
            "lr": settings.lr * scale,
            "weight_decay": settings.weight_decay if decays else 0.0,
            **({LATE: True} if begins_late else {}),
        }
        for (scale, begins_late, decays), parameters in sorted(
            groups.items(), key=lambda each: (-each[0][0], each[0][1], not each[0][2])
        )
    ]
    if proxies:
        found.append({"params": proxies, "lr": settings.proxy_lr, "weight_decay": 0.0})
    return found


def _scales(model: MultiTaskModel, decay: float) -> dict[int, float]:
    """The share of the learning rate of the backbone's parameters, by their id."""
    if decay == 1:
        return {}
    parameters = dict(model.backbone.model.named_parameters())
    scales = layer_scales(model.backbone.model, model.name, decay)
    return {id(parameters[name]): scale for name, scale in scales.items()}


def rate(step: int, total: int, settings: OptimizerConfig) -> float:
    """The learning rate at a step, as a share of its highest value.

    Args:
        step: from 0.
        total: steps of the run.
        settings: of the optimiser.
    """
    warmup = _warmup(total, settings)
    if step < warmup:
        return (step + 1) / warmup
    if settings.schedule == "constant":
        return 1.0
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return 0.5 * (1.0 + float(torch.cos(torch.tensor(progress * torch.pi))))


def late_rate(begin: int, total: int, settings: OptimizerConfig) -> Callable[[int], float]:
    """The same of parameters that learn from a step on: 0 before it, then as long a warm-up as the run's first one.

    Adam knows nothing of their gradients yet: its first steps would be as large as the learning rate allows.

    Args:
        begin: the first step that they learn in.
        total: steps of the run.
        settings: of the optimiser.
    """

    def share(step: int) -> float:
        if step < begin:
            return 0.0
        return rate(step, total, settings) * min(1.0, (step - begin + 1) / _warmup(total, settings))

    return share


def _warmup(total: int, settings: OptimizerConfig) -> int:
    return max(1, round(settings.warmup * total))
