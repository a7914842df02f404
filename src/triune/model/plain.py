"""Plain transformers (ViT, DeiT, DINO, CLIP, EVA …): all maps of one size, with prefix tokens; masks by DPT."""

import inspect
import math
from functools import lru_cache
from typing import Any, NamedTuple

import segmentation_models_pytorch as smp
import timm
import torch
from segmentation_models_pytorch.encoders.timm_vit import TimmViTEncoder
from torch import Tensor, nn
from torch.nn.functional import interpolate

from triune.errors import InputError
from triune.model.backbone import drop_path_options
from triune.model.layers import outline

DEPTH = 4
"""Blocks whose maps are given, evenly over the network, the last one among them."""

FUSION = 128
"""Width of the DPT decoder; its four inputs are reassembled to widths up to four times as large."""


class Maps(NamedTuple):
    """What a backbone makes of images.

    Args:
        levels: the images as the backbone took them, then its feature maps ``(B, C, h, w)``, finest first.
        tokens: of a plain transformer for each map: its prefix tokens ``(B, P, C)``, the class token first, or
            ``None`` where it has none; of any other backbone ``None``.
    """

    levels: list[Tensor]
    tokens: list[Tensor | None] | None = None

    @property
    def features(self) -> list[Tensor]:
        """The feature maps that have channels, finest first."""
        return [each for each in self.levels[1:] if each.shape[1]]


def is_plain(backbone: str) -> bool:
    """Whether a timm model is a transformer whose maps all have one size, which no pyramid can be made of as they are.

    Raises:
        InputError: timm has no such model.
    """
    return plain_blocks(backbone) > 0


@lru_cache
def plain_blocks(backbone: str) -> int:
    """How many blocks a plain transformer has; 0 of any other timm model. No weights are made.

    Raises:
        InputError: timm has no such model.
    """
    made = outline(backbone)
    if made is None:
        return 0
    try:
        reductions = [each["reduction"] for each in made.feature_info]
    except (AttributeError, KeyError, TypeError):  # what tells nothing of its maps is none
        return 0
    return len(reductions) if len(reductions) > 1 and len(set(reductions)) == 1 else 0


class PlainTransformer(nn.Module):
    """A plain transformer that takes images of any size.

    Where timm can stretch its position embeddings to the images (``dynamic_img_size``), it sees them as they are,
    extended to whole patches; where it cannot, they are scaled to the size that it was made for.

    Args:
        name: at timm.
        in_channels: 3 for RGB, 1 for grey.
        drop_path: rate of stochastic depth in the last block.

    Raises:
        InputError: timm gives no maps of it.
    """

    def __init__(self, name: str, in_channels: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.fixed: tuple[int, int] | None = None
        options = {"name": name, "in_channels": in_channels, "pretrained": False, "num_classes": 0}
        options |= drop_path_options(drop_path)
        try:
            try:
                encoder = _encoder(options | {"dynamic_img_size": True})
            except TypeError:
                encoder = _encoder(options)
                self.fixed = tuple(encoder.model.default_cfg["input_size"][-2:])
        except (ValueError, RuntimeError, AttributeError, AssertionError) as error:
            raise InputError(f"timm gives no feature maps of backbone {name!r}: {error}") from error
        self.model: Any = encoder.model
        self.indices: list[int] = encoder._output_indices
        self.prefix: bool = encoder.has_prefix_tokens
        self.has_class_token: bool = getattr(self.model, "cls_token", None) is not None
        self.output_stride = int(encoder.output_stride)
        self.output_strides: list[int] = encoder.output_strides
        self.out_channels: list[int] = [in_channels, *encoder.out_channels]
        accepted = inspect.signature(self.model.forward_intermediates).parameters
        self.prefix &= "return_prefix_tokens" in accepted
        self.has_class_token &= self.prefix
        self.options = {"norm": True} if "norm" in accepted else {}

    def forward(self, images: Tensor) -> Maps:
        """The maps of the last block and of three before it, normalised as timm's own last map is."""
        given = in_own_size(images, self.fixed)
        more = {"return_prefix_tokens": True} if self.prefix else {}
        found = self.model.forward_intermediates(
            given, indices=self.indices, intermediates_only=True, **self.options, **more
        )
        if not self.prefix:
            return Maps([images, *found], [None] * len(found))
        return Maps([images, *(each for each, _ in found)], [tokens for _, tokens in found])


class Pooled(nn.Module):
    """A backbone that gives no maps that a decoder takes: timm's own pooled features, as one map of one pixel.

    Args:
        name: at timm.
        in_channels: 3 for RGB, 1 for grey.
        drop_path: rate of stochastic depth in the last block.
    """

    def __init__(self, name: str, in_channels: int, drop_path: float = 0.0) -> None:
        super().__init__()
        more = drop_path_options(drop_path)
        made: Any = timm.create_model(name, pretrained=False, in_chans=in_channels, num_classes=0, **more)
        self.model = made
        self.fixed: tuple[int, int] = tuple(made.default_cfg["input_size"][-2:])
        self.output_stride = 1
        with torch.inference_mode():
            width = made.eval()(torch.zeros(1, in_channels, *self.fixed)).shape[-1]
        self.model.train()
        self.out_channels = [in_channels, int(width)]

    def forward(self, images: Tensor) -> Maps:
        """The features ``(B, C, 1, 1)`` of images that are scaled to the size it was made for."""
        return Maps([images, self.model(in_own_size(images, self.fixed))[:, :, None, None]])


def pooled(name: str, in_channels: int, drop_path: float = 0.0) -> Pooled:
    """A backbone of which only its pooled features are used.

    Args:
        name: at timm.
        in_channels: 3 for RGB, 1 for grey.
        drop_path: rate of stochastic depth in the last block.

    Raises:
        InputError: timm cannot make it without a classifier.
    """
    try:
        return Pooled(name, in_channels, drop_path)
    except (KeyError, ValueError, RuntimeError, AttributeError, TypeError, AssertionError) as error:
        raise InputError(f"timm gives no features of backbone {name!r}: {error}") from error


def own_size(model: Any) -> tuple[int, int] | None:
    """The only size that a timm model takes; ``None`` where it takes any."""
    settings = model.default_cfg
    return tuple(settings["input_size"][-2:]) if settings.get("fixed_input_size", False) else None


def in_own_size(images: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Images scaled to a size, where one is given and they have another."""
    if size is None or images.shape[-2:] == size:
        return images
    return interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def _encoder(options: dict[str, Any]) -> TimmViTEncoder:
    return TimmViTEncoder(depth=min(DEPTH, plain_blocks(options["name"])), **options)


class DenseHead(nn.Module):
    """Mask logits from the maps of a plain transformer (DPT: Ranftl, Bochkovskiy and Koltun 2021).

    Args:
        backbone: whose maps they are.
        mask_channels: outputs.
    """

    def __init__(self, backbone: PlainTransformer, mask_channels: int) -> None:
        super().__init__()
        count = len(backbone.output_strides)
        self.decoder = smp.decoders.dpt.decoder.DPTDecoder(
            encoder_out_channels=backbone.out_channels[1:],
            # Of patches of 14 as of 16: the decoder doubles and halves, and what comes out is scaled to the images.
            encoder_output_strides=[2 ** round(math.log2(stride)) for stride in backbone.output_strides],
            encoder_has_prefix_tokens=backbone.prefix,
            readout="cat" if backbone.prefix else "ignore",
            intermediate_channels=(FUSION, 2 * FUSION, 4 * FUSION, 4 * FUSION)[-count:],
            fusion_channels=FUSION,
        )
        self.head = smp.decoders.dpt.decoder.DPTSegmentationHead(
            in_channels=FUSION, out_channels=mask_channels, activation=None, kernel_size=3, upsampling=2
        )

    def forward(self, maps: Maps) -> Tensor:
        """Logits ``(B, M, H, W)`` as large as the images that the backbone took."""
        logits: Tensor = self.head(self.decoder(maps.features, maps.tokens))
        size = maps.levels[0].shape[-2:]
        if logits.shape[-2:] == size:
            return logits
        return interpolate(logits, size=size, mode="bilinear", align_corners=False)
