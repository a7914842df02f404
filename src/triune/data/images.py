"""From table rows to batches of tensors: decode, change image and mask together, collate."""

import hashlib
import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from triune.data.augment import AugmentConfig
from triune.data.decode import IGNORE, Array, read_image, read_mask
from triune.errors import InputError

Size: TypeAlias = int | tuple[int, int]

MEAN = {1: (0.449,), 3: (0.485, 0.456, 0.406)}
"""Mean of ImageNet's photographs by number of channels, in [0, 1]; what pretrained backbones expect."""
STD = {1: (0.226,), 3: (0.229, 0.224, 0.225)}
"""Their standard deviation."""


class Item(NamedTuple):
    """One example before collation.

    Args:
        image: ``(C, H, W)`` uint8.
        mask: ``(H, W)`` uint8 ids, 255 to ignore; ``None`` without a mask.
        label: index of the class, -1 for none.
        identity: index of the identity, -1 for none.
        row: place in the data set.
    """

    image: Tensor
    mask: Tensor | None
    label: int
    identity: int
    row: int


@dataclass(frozen=True)
class Batch:
    """B examples as tensors.

    Args:
        images: ``(B, C, H, W)`` float32, scaled to [0, 1] and normalised by mean and standard deviation.
        classes: ``(B,)`` int64, -1 where the class is missing.
        identities: ``(B,)`` int64, -1 where the identity is missing.
        masks: ``(B, H, W)`` int64, 255 where a pixel is to be ignored or the mask is missing.
        rows: ``(B,)`` int64 places in the data set.
    """

    images: Tensor
    classes: Tensor
    identities: Tensor
    masks: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory, from which copies to a GPU run in the background."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return Batch(**{field.name: change(getattr(self, field.name)) for field in fields(self)})


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
    height, width = _pair(size)
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
    return ItemTransform(_pair(size), _pair(size))


class ItemDataset(Dataset[Item]):
    """The rows of a frame as examples; decoded images stay in memory while there is room.

    Every example's random changes are drawn from a generator of their own, seeded by ``seed``, the indices of
    the batch and the place in it. They do not depend on the number of workers, the same image twice in a
    batch is changed in two ways, and an epoch that is resumed in its middle goes on exactly as it would have.

    Args:
        frame: rows with ``image`` and, as far as there are, ``mask``, ``label`` and ``identity``, as in
            :class:`~triune.data.table.ItemTable`.
        size: side of the square, or height and width, of the images that come out.
        channels: 1 for grey, 3 for RGB.
        classes: names of the classes; a label that is not among them is missing (-1).
        identities: names of the identities; likewise.
        transform: :func:`train_transform` or :func:`eval_transform`; the latter where not given.
        cache_bytes: memory for decoded images. The first rows that fit are kept; the others are decoded every
            time. The memory is taken as images arrive and is shared with forked loader processes.
        seed: of the random changes.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        *,
        size: Size,
        channels: int,
        classes: Sequence[str],
        identities: Sequence[str],
        transform: ItemTransform | None = None,
        cache_bytes: int = 1 << 30,
        seed: int = 0,
    ) -> None:
        if channels not in MEAN:
            raise InputError(f"channels is {channels}: images are grey (1) or RGB (3)")
        self.transform = transform or eval_transform(size)
        if self.transform.size != _pair(size):
            raise InputError(f"the transform makes {self.transform.size} images, but size is {_pair(size)}")
        self.frame = frame
        self.channels = channels
        self.seed = seed
        self.cache_bytes = cache_bytes
        self.class_codes = _codes(frame, "label", classes)
        self.identity_codes = _codes(frame, "identity", identities)
        self._images: list[str] = frame["image"].to_list()
        self._masks: list[str | None] = frame["mask"].to_list() if "mask" in frame.columns else [None] * len(frame)
        self._labels = self.class_codes.tolist()
        self._identities = self.identity_codes.tolist()
        self._has_masks = any(mask is not None for mask in self._masks)
        # Made before loader processes are forked, so that they share it.
        self._cache: _Cache | None = self._new_cache()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Item:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        """A batch of examples; the loader calls this instead of asking for them one by one."""
        if self.transform.steps is None:
            return [self._item(index, *self.stored(index)) for index in indices]
        text = np.asarray([self.seed, *indices], dtype=np.int64).tobytes()
        base = int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "little")
        items = []
        with _own_randomness():
            for place, index in enumerate(indices):
                torch.default_generator.manual_seed(base + place)
                items.append(self._item(index, *self.transform(*self.stored(index))))
        return items

    def stored(self, index: int) -> tuple[Tensor, Tensor | None]:
        """Image ``(C, h, w)`` and mask ``(h, w)`` of a row, uint8, as they are before the random changes.

        Raises:
            InputError: a file cannot be read.
        """
        if self._cache is None:
            self._cache = self._new_cache()
        planes = self._cache.get(index)
        if planes is None:
            planes = self._cache.put(index, self._decode(index))
        mask = planes[self.channels] if self._masks[index] is not None else None
        return planes[: self.channels], mask

    def largest_mask_id(self) -> int:
        """The largest id in the masks, 255 (ignore) left out; -1 without any mask. Reads every mask once."""
        largest = -1
        for mask in self._masks:
            if mask is not None:
                ids = _readable(read_mask, mask)
                largest = max(largest, int(ids[ids != IGNORE].max(initial=0)))
        return largest

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": None}

    def _new_cache(self) -> "_Cache":
        return _Cache(len(self), (self.channels + self._has_masks, *self.transform.stored), self.cache_bytes)

    def _item(self, index: int, image: Tensor, mask: Tensor | None) -> Item:
        return Item(image, mask, self._labels[index], self._identities[index], index)

    def _decode(self, index: int) -> Tensor:
        size = self.transform.stored
        image = torch.tensor(_readable(read_image, self._images[index], self.channels, size)).permute(2, 0, 1)
        if not self._has_masks:
            return image
        path = self._masks[index]
        if path is None:
            return torch.cat([image, torch.full((1, *size), IGNORE, dtype=torch.uint8)])
        return torch.cat([image, torch.tensor(_readable(read_mask, path, size))[None]])


def collate(items: Sequence[Item], mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> Batch:
    """Stack examples to a :class:`Batch` and normalise the images.

    Args:
        items: B examples of one size.
        mean: a channel, in [0, 1]; ImageNet's where not given. For others: ``functools.partial(collate,
            mean=...)``.
        std: likewise.
    """
    images = normalise(torch.stack([item.image for item in items]), mean, std)
    masks = torch.full((len(items), *images.shape[-2:]), IGNORE, dtype=torch.int64)
    for place, item in enumerate(items):
        if item.mask is not None:
            masks[place] = item.mask
    return Batch(
        images=images,
        classes=torch.tensor([item.label for item in items]),
        identities=torch.tensor([item.identity for item in items]),
        masks=masks,
        rows=torch.tensor([item.row for item in items]),
    )


def normalise(images: Tensor, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> Tensor:
    """``images (..., C, H, W)`` uint8 as float32: scaled to [0, 1], less ``mean``, over ``std``."""
    channels = images.shape[-3]
    centre = torch.tensor(mean or MEAN[channels], device=images.device)[:, None, None] * 255
    spread = torch.tensor(std or STD[channels], device=images.device)[:, None, None] * 255
    return (images.float() - centre).div_(spread)


def as_input(image: Array) -> Tensor:
    """A decoded image ``(H, W, C)`` uint8 as a normalised network input ``(C, H, W)`` float32."""
    return normalise(torch.tensor(image).permute(2, 0, 1))


def decode_image(path: str | Path, channels: int, size: tuple[int, int] | None = None) -> Tensor:
    """An image file as ``(C, H, W)`` uint8; see :func:`triune.data.decode.read_image`."""
    return torch.tensor(read_image(path, channels, size)).permute(2, 0, 1).contiguous()


def decode_mask(path: str | Path, size: tuple[int, int] | None = None) -> Tensor:
    """A mask file as ``(H, W)`` uint8 ids; see :func:`triune.data.decode.read_mask`."""
    return torch.tensor(read_mask(path, size))


class _Cache:
    """Memory for the first rows that fit; anonymous and shared, so that forked workers fill it together."""

    def __init__(self, count: int, shape: tuple[int, int, int], limit: int) -> None:
        size = math.prod(shape)
        self.room = min(count, limit // size)
        if not self.room:
            return
        memory = mmap.mmap(-1, self.room * size)
        self.planes = torch.frombuffer(memory, dtype=torch.uint8).view(self.room, *shape)
        self.known = torch.frombuffer(mmap.mmap(-1, self.room), dtype=torch.bool)

    def get(self, index: int) -> Tensor | None:
        return self.planes[index] if index < self.room and self.known[index] else None

    def put(self, index: int, planes: Tensor) -> Tensor:
        if index < self.room:
            self.planes[index] = planes
            self.known[index] = True
        return planes


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


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Keep what the block draws from torch's CPU generator from being felt outside of it."""
    state = torch.default_generator.get_state()
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


def _pair(size: Size) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise InputError(f"size is {size}: images need at least one pixel")
    return int(height), int(width)


def _codes(frame: pl.DataFrame, column: str, names: Sequence[str]) -> Tensor:
    if column not in frame.columns:
        return torch.full((len(frame),), -1)
    places = {name: place for place, name in enumerate(names)}
    return torch.tensor([places.get(name, -1) for name in frame[column].to_list()], dtype=torch.int64)


def _readable(read: Callable[..., Array], path: str, *arguments: Any) -> Array:
    try:
        return read(path, *arguments)
    except Exception as error:
        raise InputError(f"{path} cannot be read ({error}): replace the file or remove its row") from error
