"""Low-rank adapters of a transformer's linear layers, by peft: added for training, merged into the weights after it."""

import re
from typing import Any

import torch
from torch import nn

from triune.errors import InputError

_BLOCK = re.compile(r"(?:^|[._])(?:attn|attention|self_attn|mlp|ffn)(?:[._]|$)")
_ATTENTION = re.compile(r"(?:^|[._])(?:attn|attention|self_attn)(?:[._]|$)")


def add_adapters(model: Any, backbone: str, rank: int) -> None:
    """Freeze a backbone and add to each linear layer of its blocks a product of two narrow matrices, B·A.

    LoRA (Hu et al. 2022): W x becomes W x + B A x with A ``(rank, in)`` random and B ``(out, rank)`` zero, so that
    the network begins as it was. Only A and B learn.

    Args:
        model: a :class:`~triune.model.network.MultiTaskModel`; its backbone is changed in place.
        backbone: its name, for messages.
        rank: of the product.

    Raises:
        InputError: peft is not installed, the backbone has no attention, or the matrices would not be narrow.
    """
    try:
        import peft
    except ImportError as error:
        raise InputError("--model.adapter_rank needs peft: pip install 'triune[adapters]'") from error
    timm_model = model.backbone.model
    targets = _linear_layers(model)
    if not any(_ATTENTION.search(name) for name in targets):
        raise InputError(
            f"--model.adapter_rank is for transformers, and {backbone} has no attention layers: "
            "leave it at 0, or take a ViT"
        )
    layers = [timm_model.get_submodule(name) for name in targets]
    narrowest = min(min(layer.in_features, layer.out_features) for layer in layers)
    if rank >= narrowest:
        raise InputError(
            f"--model.adapter_rank is {rank}, and a linear layer of {backbone} has {narrowest} features: "
            "give a lower rank, such as 8"
        )
    timm_model.requires_grad_(False)
    # Scale alpha / rank = 1, whatever the rank.
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=targets, lora_dropout=0.0, bias="none")
    peft.inject_adapter_in_model(config, timm_model)


def merge_adapters(model: Any) -> None:
    """Put W + B·A in place of each adapted layer: the same answers, and the names that the backbone had before.

    Args:
        model: a :class:`~triune.model.network.MultiTaskModel`, changed in place; one without adapters stays as it is.
    """
    root = model.backbone.model
    for name, module in list(root.named_modules()):
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            module.merge(safe_merge=True)
            parent, _, child = name.rpartition(".")
            setattr(root.get_submodule(parent), child, module.get_base_layer())
    root.requires_grad_(True)


def _linear_layers(model: Any) -> list[str]:
    """The linear layers of the blocks that are called; some networks read a layer's weights past it."""
    root: nn.Module = model.backbone.model
    layers = {name: each for name, each in root.named_modules() if isinstance(each, nn.Linear) and _BLOCK.search(name)}
    called: set[nn.Module] = set()
    hooks = [each.register_forward_hook(lambda module, *_: called.add(module)) for each in layers.values()]
    weight = next(root.parameters())
    training = root.training
    try:
        # A square of whole patches and windows; batch normalisation does not count it.
        with torch.no_grad():
            size = max(model.stride, 32)
            model.eval().maps(weight.new_zeros(1, model.in_channels, size, size))
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    return [name for name, each in layers.items() if each in called]
