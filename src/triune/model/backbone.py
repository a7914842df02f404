"""The backbone: made by name, with published weights, those of a file, or none; and images as large as it needs."""

import contextlib
from collections.abc import Sequence
from typing import Any

import segmentation_models_pytorch as smp
import timm
from torch import Tensor, nn
from torch.nn.functional import pad

from triune.errors import InputError
from triune.model.hub import hub_asked_once
from triune.model.layers import outline


def build_segmenter(
    backbone: str,
    decoder: str,
    in_channels: int,
    mask_channels: int,
    decoder_channels: Sequence[int],
    drop_path: float = 0.0,
) -> nn.Module:
    """A timm backbone under a decoder of segmentation-models-pytorch, both with random weights.

    Args:
        backbone: any timm model that gives feature maps.
        decoder: any architecture of segmentation-models-pytorch.
        in_channels: 3 for RGB, 1 for grey.
        mask_channels: outputs of the mask head.
        decoder_channels: width of each decoder stage, deepest first; only decoders built of such stages use it.
        drop_path: rate of stochastic depth in the backbone's last block.

    Raises:
        InputError: one of the two is not known, or they do not go together.
    """
    options: dict[str, Any] = drop_path_options(drop_path)
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
    except (KeyError, IndexError, ValueError, RuntimeError, AttributeError, TypeError, AssertionError) as error:
        if backbone not in timm.list_models(backbone.split(".")[0]):
            raise InputError(f"there is no timm backbone {backbone!r}; timm.list_models() lists them") from error
        raise InputError(f"backbone {backbone!r} and decoder {decoder!r} do not go together: {error}") from error


def drop_path_options(rate: float) -> dict[str, Any]:
    """What timm is told of stochastic depth (Huang et al. 2016), whose rate grows from 0 to this one over the blocks.

    Nothing for a rate of 0, which not every model takes.
    """
    return {"drop_path_rate": rate} if rate else {}


def check_drop_path(backbone: str, rate: float) -> None:
    """Refuse a rate of stochastic depth that would do nothing.

    Raises:
        InputError: the backbone has no block that can be left out.
    """
    if not rate:
        return
    blocks = False
    with contextlib.suppress(TypeError):  # a model that has no such setting
        made = outline(backbone, drop_path_rate=rate)
        if made is None:
            made = timm.create_model(backbone, pretrained=False, drop_path_rate=rate)
        blocks = any(type(each).__name__.startswith("DropPath") for each in made.modules())
    if not blocks:
        raise InputError(f"backbone {backbone} has no blocks that can be left out: leave --model.drop_path at 0")


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


def padded(images: Tensor, stride: int) -> Tensor:
    """Images extended on the right and below, by repeating the border, to a multiple of the backbone's stride."""
    height, width = images.shape[-2:]
    below, right = -height % stride, -width % stride
    return pad(images, (0, right, 0, below), mode="replicate") if below or right else images
