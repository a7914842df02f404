"""The backbone: made by name, with published weights, those of a file, or none; and images as large as it needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from triune.errors import InputError
from triune.model.hub import hub_asked_once


def build_segmenter(
    backbone: str, decoder: str, in_channels: int, mask_channels: int, decoder_channels: Sequence[int]
) -> nn.Module:
    """A timm backbone under a decoder of segmentation-models-pytorch, both with random weights.

    Args:
        backbone: any timm model that gives feature maps.
        decoder: any architecture of segmentation-models-pytorch.
        in_channels: 3 for RGB, 1 for grey.
        mask_channels: outputs of the mask head.
        decoder_channels: width of each decoder stage, deepest first; only decoders built of such stages use it.

    Raises:
        InputError: one of the two is not known, or they do not go together.
    """
    options: dict[str, Any] = {}
    if decoder in ("unet", "unetplusplus", "manet"):
        options["decoder_channels"] = tuple(decoder_channels)
    try:
        segmenter: nn.Module = smp.create_model(
            decoder,
            encoder_name=f"tu-{backbone}",
            encoder_weights=None,
            in_channels=in_channels,
            classes=mask_channels,
            **options,
        )
        return segmenter
    except (KeyError, ValueError, RuntimeError, AttributeError, TypeError, AssertionError) as error:
        if backbone not in timm.list_models(backbone.split(".")[0]):
            raise InputError(f"there is no timm backbone {backbone!r}; timm.list_models() lists them") from error
        raise InputError(f"backbone {backbone!r} and decoder {decoder!r} do not go together: {error}") from error


def fetch_weights(model: Any, backbone: str, in_channels: int, *, plain: bool = False) -> None:
    """Give the backbone timm's published weights.

    Args:
        model: the backbone.
        backbone: its name.
        in_channels: 3 for RGB, 1 for grey.
        plain: whether it is a plain transformer, of which the whole is taken but for its classifier.

    Raises:
        InputError: they cannot be fetched.
    """
    options: dict[str, Any] = {"num_classes": 0}
    if not plain:
        options = {"features_only": True, "out_indices": model.feature_info.out_indices}
    try:
        with hub_asked_once():
            fetched = timm.create_model(backbone, pretrained=True, in_chans=in_channels, **options)
    except Exception as error:  # the hub raises many kinds; each means that the weights are not there
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"the pretrained weights of {backbone} cannot be fetched ({reason}): train from scratch with "
            "--model.pretrained false, or name a local weights file with --model.weights FILE"
        ) from error
    model.load_state_dict(fetched.state_dict())


def read_weights(path: Path) -> dict[str, Any]:
    """The tensors of a local file by name: safetensors, or a state dict, whose loading runs no code.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: a local file of backbone weights is needed")
    try:
        if path.suffix == ".safetensors":
            state: dict[str, Any] = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} cannot be read as weights: {error}") from error
    found: dict[str, Any] = state.get("state_dict", state)
    return found


def load_weights(model: Any, path: Path) -> None:
    """Give the backbone the weights of a local file.

    Raises:
        InputError: the file is missing, cannot be read, or does not fit the backbone.
    """
    state = read_weights(path)
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in state or state[name].shape != wanted[name].shape]
    if missing:
        raise InputError(
            f"{path} does not fit the backbone: {len(missing)} of {len(wanted)} tensors are missing or misshapen, "
            f"{missing[0]} for one"
        )
    model.load_state_dict({name: state[name] for name in wanted})


def padded(images: Tensor, stride: int) -> Tensor:
    """Images extended on the right and below, by repeating the border, to a multiple of the backbone's stride."""
    height, width = images.shape[-2:]
    below, right = -height % stride, -width % stride
    return pad(images, (0, right, 0, below), mode="replicate") if below or right else images
