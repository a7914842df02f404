"""Weights of torchvision's networks under timm's names, where the same network goes by others there."""

import re
from collections.abc import Mapping

from torch import Tensor

_VIT = {
    r"^class_token$": "cls_token",
    r"^encoder\.pos_embedding$": "pos_embed",
    r"^conv_proj\.": "patch_embed.proj.",
    r"^encoder\.layers\.encoder_layer_(\d+)\.": r"blocks.\1.",
    r"^encoder\.ln\.": "norm.",
    r"\.ln_([12])\.": r".norm\1.",
    r"\.self_attention\.in_proj_": ".attn.qkv.",
    r"\.self_attention\.out_proj\.": ".attn.proj.",
    r"\.mlp\.(?:0|linear_1)\.": ".mlp.fc1.",
    r"\.mlp\.(?:3|linear_2)\.": ".mlp.fc2.",
}
"""Of the vision transformer; what it calls ``in_proj`` holds queries, keys and values in timm's order."""

COUNTER = "num_batches_tracked"
"""A buffer of batch normalisation that old files lack, and that has no part in what a network answers."""


def is_transformer(state: Mapping[str, Tensor]) -> bool:
    """Whether names are those of torchvision's vision transformer."""
    return "encoder.pos_embedding" in state


def transformer_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of torchvision's vision transformer by timm's names."""
    found = {}
    for name, tensor in state.items():
        for pattern, replacement in _VIT.items():
            name = re.sub(pattern, replacement, name)
        found[name] = tensor
    return found


def by_order(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of torchvision's EfficientNet, MobileNet, ConvNeXt and their like by timm's names.

    They number their layers (``features.1.0.block.0.0.weight``) in the order in which timm has them under names. That
    it is the same network is taken for granted only where every tensor of the backbone, one after the other, has the
    kind and the shape of the file's; else nothing is given.

    Args:
        state: the file's.
        own: the backbone's by timm's names; it may end before the file does.
    """
    if not all(re.match(r"(features|layers|classifier|avgpool)\.\d", name) for name in state):
        return {}
    given = [(name, tensor) for name, tensor in state.items() if not name.endswith(COUNTER)]
    wanted = [(name, tensor) for name, tensor in own.items() if not name.endswith(COUNTER)]
    if len(wanted) > len(given):
        return {}
    found = {}
    for (theirs, tensor), (ours, like) in zip(given, wanted, strict=False):
        if _kind(theirs) != _kind(ours) or tensor.squeeze().shape != like.squeeze().shape:
            return {}
        found[ours] = tensor.reshape(like.shape)
    # What is over keeps its name, to be told.
    return found | dict(given[len(wanted) :])


def _kind(name: str) -> str:
    last = name.rpartition(".")[2]
    return "gamma" if last == "layer_scale" else last
