"""Random changes of an image and its mask together, and the normalisation before the network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torchvision import tv_tensors
from torchvision.transforms import v2

from triune.data.augment import AugmentConfig
from triune.data.decode import IGNORE
from triune.errors import InputError

Size: TypeAlias = int | tuple[int, int]


MEAN = {1: (0.449,), 3: (0.485, 0.456, 0.406)}
"""Mean of ImageNet's photographs by number of channels, in [0, 1]; what pretrained backbones expect."""


STD = {1: (0.226,), 3: (0.229, 0.224, 0.225)}
"""Their standard deviation."""


@dataclass(frozen=True)
class ItemTransform:
    """What happens to an image and its mask between the cache and the batch.

    Args:
        size: height and width that come out.
        stored: height and width that go in; images are kept in memory at this size.
        steps: a torchvision v2 transform of (Image, Mask), or ``None`` to change nothing.
    """

    size: tuple[int, int]
    stored: tuple[int, int]
    steps: v2.Transform | None = None

    def __call__(self, image: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Change ``image (C, h, w)`` and ``mask (h, w)``, uint8, alike; draws from torch's CPU generator."""
        if self.steps is None:
            return image, mask
        if mask is None:
            return self.steps(tv_tensors.Image(image)).as_subclass(Tensor), None
        changed, ids = self.steps(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return changed.as_subclass(Tensor), ids.as_subclass(Tensor)


def train_transform(size: Size, config: AugmentConfig | None = None) -> ItemTransform:
    """Random changes for training: rotation, shift, zoom, crop, mirroring, colour, erasing.

    Geometry moves image and mask together; masks are resampled by nearest neighbour, and what comes into view
    from outside repeats the image's border and is 255 (ignore) in the mask. Images are stored a little larger
    than ``size``, so that a crop need not be enlarged.

    Args:
        size: side of the square, or height and width.
        config: which changes, how strong; the defaults of :class:`AugmentConfig` where not given.
    """
    config = config or AugmentConfig()
    height, width = as_pair(size)
    steps: list[v2.Transform] = []
    if config.crop < 1 or config.aspect > 1 or config.degrees or config.shift or config.zoom:
        steps.append(_View((height, width), config))
    if config.flip:
        steps.append(v2.RandomHorizontalFlip(config.flip))
    if config.brightness or config.contrast or config.saturation or config.hue:
        steps.append(v2.ColorJitter(config.brightness, config.contrast, config.saturation, config.hue))
    if config.grayscale:
        steps.append(v2.RandomGrayscale(config.grayscale))
    if config.erase:
        steps.append(_Erase(config.erase))
    scale = config.crop**-0.5
    stored = (round(height * scale), round(width * scale))
    return ItemTransform((height, width), stored, v2.Compose(steps) if steps else None)


def eval_transform(size: Size) -> ItemTransform:
    """No change: images are resized to ``size`` (side of the square, or height and width) and kept so."""
    return ItemTransform(as_pair(size), as_pair(size))


def normalise(images: Tensor, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> Tensor:
    """Images as a network takes them: scaled to [0, 1], less the mean, over the standard deviation.

    Args:
        images: ``(..., C, H, W)`` uint8.
        mean: C means of the channels, in [0, 1]; those of ImageNet's photographs (:data:`MEAN`) where not given.
        std: C standard deviations likewise (:data:`STD`).

    Returns:
        ``(..., C, H, W)`` float32.
    """
    channels = images.shape[-3]
    centre = torch.tensor(mean or MEAN[channels], device=images.device)[:, None, None] * 255
    spread = torch.tensor(std or STD[channels], device=images.device)[:, None, None] * 255
    return (images.float() - centre).div_(spread)


class _View(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Another view of the picture: crop, stretch, rotate, shift and zoom in one resampling.

    One resampling instead of one a change keeps the picture sharp and takes a quarter of the time. What comes into
    view from outside repeats the picture's border; in the mask it is 255.
    """

    def __init__(self, size: tuple[int, int], config: AugmentConfig) -> None:
        super().__init__()
        self.size = size
        self.config = config

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the grid ``(1, H, W, 2)`` that says from where in the picture each pixel is taken."""
        config = self.config
        height, width = flat_inputs[0].shape[-2:]
        area, stretch, across, down, turn, right, below, zoom = torch.rand(8).tolist()
        share = config.crop + (1 - config.crop) * area
        ratio = config.aspect ** (2 * stretch - 1)
        wide, high = min(1.0, (share * ratio) ** 0.5), min(1.0, (share / ratio) ** 0.5)
        # In torch's coordinates the picture runs from -1 to 1: a crop that keeps a share has as much room to move.
        x = (2 * across - 1) * (1 - wide) + (2 * right - 1) * 2 * config.shift
        y = (2 * down - 1) * (1 - high) + (2 * below - 1) * 2 * config.shift
        factor = 1 + (2 * zoom - 1) * config.zoom
        angle = math.radians((2 * turn - 1) * config.degrees)
        cos, sin = math.cos(angle) / factor, math.sin(angle) / factor
        theta = [[cos * wide, -sin * high * height / width, x], [sin * wide * width / height, cos * high, y]]
        return {"grid": affine_grid(torch.tensor([theta]), [1, 1, *self.size], align_corners=False)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resample an image smoothly, a mask by nearest neighbour."""
        if isinstance(inpt, tv_tensors.Mask):
            # Zero comes from outside, so ids are moved up by one on the way.
            ids = inpt.as_subclass(Tensor)[None, None].float() + 1
            seen = grid_sample(ids, params["grid"], "nearest", "zeros", align_corners=False)[0, 0]
            return tv_tensors.Mask(torch.where(seen == 0, IGNORE, seen - 1).to(torch.uint8))
        pixels = inpt.as_subclass(Tensor)[None].float()
        seen = grid_sample(pixels, params["grid"], "bilinear", "border", align_corners=False)[0]
        return tv_tensors.Image(seen.round_().to(torch.uint8))


class _Erase(v2.Transform):  # type: ignore[misc]
    """Blank a random rectangle of the image, 2 to 33 % of it, with its mean colour (Zhong and others, AAAI 2020)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the rectangle; one without pixels where nothing is to be erased."""
        height, width = flat_inputs[0].shape[-2:]
        chance, area, stretch, down, right = torch.rand(5).tolist()
        share = 0.02 + 0.31 * area if chance < self.probability else 0.0
        ratio = 3.3 ** (2 * stretch - 1)
        high, wide = (min(1.0, (share * r) ** 0.5) for r in (ratio, 1 / ratio))
        top, left = round(down * (1 - high) * height), round(right * (1 - wide) * width)
        return {"rows": slice(top, top + round(high * height)), "columns": slice(left, left + round(wide * width))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Blank the image; leave the mask."""
        if isinstance(inpt, tv_tensors.Mask):
            return inpt
        changed = inpt.as_subclass(Tensor).clone()
        mean = changed.float().mean(dim=(1, 2), keepdim=True).to(torch.uint8)
        changed[:, params["rows"], params["columns"]] = mean
        return tv_tensors.Image(changed)


def as_pair(size: Size) -> tuple[int, int]:
    """Height and width of a size, which may be the side of a square."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise InputError(f"size is {size}: images need at least one pixel")
    return int(height), int(width)
