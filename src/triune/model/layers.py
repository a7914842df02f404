"""The layers of a backbone in timm's order: their plain names, and the share of the learning rate that each gets."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import timm
from timm.models import group_parameters
from torch import nn

from triune.errors import InputError
from triune.model.without_memory import without_memory


def outline(backbone: str, **options: Any) -> Any | None:
    """A timm model without memory for its weights; ``None`` where timm cannot make it so, or takes no such option.

    Args:
        backbone: its name.
        options: of ``timm.create_model``.

    Raises:
        InputError: timm has no such model.
    """
    if not timm.is_model(backbone):
        raise InputError(f"there is no timm backbone {backbone!r}; timm.list_models() lists them")
    try:
        with without_memory():
            return timm.create_model(backbone, pretrained=False, **options)
    except (RuntimeError, NotImplementedError, AttributeError, KeyError, TypeError):
        return None


@lru_cache(maxsize=2)
def plain_model(backbone: str) -> Any:
    """A timm model as it is made without being taken apart, with a classifier; without memory where timm can.

    Raises:
        InputError: timm has no such model.
    """
    made = outline(backbone, num_classes=2)
    return timm.create_model(backbone, pretrained=False, num_classes=2) if made is None else made


def plain_names(model: nn.Module, whole: nn.Module) -> dict[str, str]:
    """The names that a backbone's tensors have in timm's whole model: ``stages_0.blocks.1`` is ``stages.0.blocks.1``.

    Args:
        model: the backbone, whole or taken apart for its feature maps, with or without adapters.
        whole: the model that it is of.

    Returns:
        For each name of parameters and buffers the plain one.
    """
    modules = {name for name, _ in whole.named_modules()} | {name for name, _ in whole.named_parameters()}
    flat = {name.replace(".", "_"): name for name in modules if name.count(".") == 1}
    found = {}
    for name in (*model.state_dict(), *(name for name, _ in model.named_parameters())):
        first, dot, rest = name.partition(".")
        if first in ("model", "body") and first not in modules:  # timm's wrappers around a whole model
            first, dot, rest = rest.partition(".")
        found[name] = f"{first if first in modules else flat.get(first, first)}{dot}{rest}"
    return found


def layer_scales(model: nn.Module, backbone: str, decay: float) -> dict[str, float]:
    """The share of the learning rate of each parameter: decay^(L - l), l the layer as timm counts it, L the head's.

    The stem is layer 0, the first block 1, …, the last one L - 1 (Bao et al. 2022, BEiT; Clark et al. 2020 before).

    Args:
        model: the backbone.
        backbone: its name at timm.
        decay: from one layer to the one before.

    Raises:
        InputError: timm does not tell the layers of this backbone apart.
    """
    whole = plain_model(backbone)
    if not hasattr(whole, "group_matcher"):
        raise InputError(f"timm does not tell the layers of {backbone} apart: leave --optimizer.layer_decay at 1")
    names = plain_names(model, whole)
    # With the classifier, for which no parameter of the backbone stands: its layer is the last one.
    every: Any = _Names({*(name for name, _ in whole.named_parameters()), *names.values()})
    layers: Mapping[str, int] = group_parameters(every, whole.group_matcher(coarse=False), reverse=True)
    last = max(layers.values())
    return {name: decay ** (last - layers[names[name]]) for name, _ in model.named_parameters()}


class _Names:
    """Names in place of a network, for timm, which asks a network for nothing else when it groups them."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = names

    def named_parameters(self) -> Iterator[tuple[str, None]]:
        return ((name, None) for name in self.names)
