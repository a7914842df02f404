"""Random changes of an image and its mask together, between the resized image and the network."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torchvision import tv_tensors
from torchvision.transforms import v2

from triune.data.augment import AugmentConfig
from triune.data.decode import IGNORE
from triune.data.preprocessing import Preprocessing, Size, as_pair


@dataclass(frozen=True)
class ItemTransform:
    """What happens to an image and its mask between the cache and the batch.

    Args:
        preprocessing: how the network sees images: those that come out.
        stored: height and width that go in; images are kept in memory at this size.
        steps: a torchvision v2 transform of (Image, Mask), or ``None`` to change nothing.
    """

    preprocessing: Preprocessing
    stored: tuple[int, int]
    steps: v2.Transform | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that come out."""
        return self.preprocessing.size

    @property
    def storing(self) -> Preprocessing:
        """How images are kept in memory."""
        return self.preprocessing.of_size(self.stored)

    def __call__(self, image: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Change ``image (C, h, w)`` and ``mask (h, w)``, uint8, alike; draws from torch's CPU generator."""
        if self.steps is None:
            return image, mask
        if mask is None:
            return self.steps(tv_tensors.Image(image)).as_subclass(Tensor), None
        changed, ids = self.steps(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return changed.as_subclass(Tensor), ids.as_subclass(Tensor)


def train_transform(seen: Size | Preprocessing, config: AugmentConfig | None = None) -> ItemTransform:
    """Random changes for training: rotation, shift, zoom, crop, mirroring, colour, erasing.

    Geometry moves image and mask together; masks are resampled by nearest neighbour, and what comes into view
    from outside repeats the image's border and is 255 (ignore) in the mask. Images are stored a little larger
    than the network sees them, so that a crop need not be enlarged.

    Args:
        seen: side of the square, or height and width, to which images are squashed; or all that is to be done.
        config: which changes, how strong; the defaults of :class:`AugmentConfig` where not given.
    """
    config = config or AugmentConfig()
    preprocessing = _whole(seen)
    height, width = preprocessing.size
    steps: list[v2.Transform] = []
    if config.crop < 1 or config.aspect > 1 or config.degrees or config.shift or config.zoom:
        steps.append(_View((height, width), config))
    if config.mirrored:
        steps.append(v2.RandomHorizontalFlip(config.mirrored))
    if config.brightness or config.contrast or config.saturation or config.hue:
        steps.append(v2.ColorJitter(config.brightness, config.contrast, config.saturation, config.hue))
    if config.grayscale:
        steps.append(v2.RandomGrayscale(config.grayscale))
    if config.erase:
        steps.append(_Erase(config.erase))
    scale = config.crop**-0.5
    stored = (round(height * scale), round(width * scale))
    return ItemTransform(preprocessing, stored, v2.Compose(steps) if steps else None)


def eval_transform(seen: Size | Preprocessing) -> ItemTransform:
    """No random change: images are kept as the network sees them.

    Args:
        seen: as in :func:`train_transform`.
    """
    preprocessing = _whole(seen)
    return ItemTransform(preprocessing, preprocessing.size)


def _whole(seen: Size | Preprocessing) -> Preprocessing:
    return seen if isinstance(seen, Preprocessing) else Preprocessing(as_pair(seen))


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
