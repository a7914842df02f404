"""Pyramids that no decoder of segmentation-models-pytorch takes (PiT, LeViT): masks from the sum of their maps."""

from collections.abc import Sequence
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from triune.errors import InputError
from triune.model.backbone import drop_path_options
from triune.model.plain import Maps, own_size

WIDTH = 128
"""Channels that all maps are brought to before they are added up."""


class OtherPyramid(nn.Module):
    """A backbone by timm's feature interface alone, whatever the steps between its maps.

    Args:
        name: at timm.
        in_channels: 3 for RGB, 1 for grey.
        drop_path: rate of stochastic depth in the last block.

    Raises:
        InputError: timm gives no maps of it.
    """

    def __init__(self, name: str, in_channels: int, drop_path: float = 0.0) -> None:
        super().__init__()
        options = {"in_chans": in_channels, **drop_path_options(drop_path)}
        try:
            made: Any = timm.create_model(name, pretrained=False, features_only=True, **options)
            self.fixed = own_size(made)
            self.out_channels: list[int] = [in_channels, *made.feature_info.channels()]
            self.output_stride = 1 if self.fixed else max(made.feature_info.reduction())
        except (KeyError, IndexError, ValueError, RuntimeError, AttributeError, TypeError, AssertionError) as error:
            raise InputError(f"timm gives no feature maps of backbone {name!r}: {error}") from error
        self.model = made

    def forward(self, images: Tensor) -> list[Tensor]:
        """The images, then the feature maps ``(B, C, h, w)``, finest first."""
        maps = zip(self.model(images), self.out_channels[1:], strict=True)
        return [images, *(_channels_first(each, width) for each, width in maps)]


class SummedMaps(nn.Module):
    """Mask logits from all maps added up (the segmentation branch of Kirillov et al. 2019).

    Each map is brought to one width and scaled to the size of the finest; two convolutions follow.

    Args:
        widths: channels of the maps.
        mask_channels: outputs.
    """

    def __init__(self, widths: Sequence[int], mask_channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, WIDTH, kernel_size=1) for width in widths)
        self.head = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, kernel_size=3, padding=1), nn.ReLU(), nn.Conv2d(WIDTH, mask_channels, kernel_size=1)
        )

    def forward(self, maps: Maps) -> Tensor:
        """Logits ``(B, M, H, W)`` as large as the images that the backbone took."""
        features = [layer(each) for layer, each in zip(self.lateral, maps.features, strict=True)]
        finest = features[0].shape[-2:]
        total = torch.stack([_scaled(each, finest) for each in features]).sum(dim=0)
        return _scaled(self.head(total), maps.levels[0].shape[-2:])


def takes_no_decoder(backbone: str) -> bool:
    """Whether segmentation-models-pytorch refuses a timm model that has a pyramid of maps, whatever the decoder."""
    if not timm.is_model(backbone):
        return False
    try:
        smp.encoders.get_encoder(f"tu-{backbone}", weights=None)
    except ValueError as error:
        return "downsampling pattern" in str(error)
    except IndexError:  # it has fewer maps than are asked for
        return True
    except (KeyError, RuntimeError, AttributeError, TypeError, AssertionError):
        return False
    return False


def _channels_first(features: Tensor, width: int) -> Tensor:
    """``(B, C, h, w)``, also of a network that works on ``(B, h, w, C)``."""
    return features if features.shape[1] == width else features.permute(0, 3, 1, 2)


def _scaled(features: Tensor, size: Sequence[int]) -> Tensor:
    return interpolate(features, size=tuple(size), mode="bilinear", align_corners=False)
