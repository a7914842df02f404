"""From table rows to batches of tensors: decode, change image and mask together, collate."""

import hashlib
import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.utils.data import Dataset

from triune.data.boxes import boxes_of
from triune.data.decode import IGNORE, Array, read_mask
from triune.data.normalising import normalise
from triune.data.preprocessing import MEAN
from triune.data.reading import AS_IT_IS, Reading
from triune.data.transform import ItemTransform
from triune.errors import InputError


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


class ItemDataset(Dataset[Item]):
    """The rows of a frame as examples; decoded images stay in memory while there is room.

    Every example's random changes are drawn from a generator of their own, seeded by ``seed``, the indices of
    the batch and the place in it. They do not depend on the number of workers, the same image twice in a
    batch is changed in two ways, and an epoch that is resumed in its middle goes on exactly as it would have.

    Args:
        frame: rows with ``image`` and, as far as there are, ``mask``, ``label``, ``identity`` and the box
            ``x_1, y_1, x_2, y_2``, as in :class:`~triune.data.items.ItemTable`.
        channels: 1 for grey, 3 for RGB.
        classes: names of the classes; a label that is not among them is missing (-1).
        identities: names of the identities; likewise.
        transform: :func:`train_transform` or :func:`eval_transform`, which says how images come out.
        reading: how pixels of files are read.
        cache_bytes: memory for decoded images. The first rows that fit are kept; the others are decoded every
            time. The memory is taken as images arrive and is shared with forked loader processes.
        seed: of the random changes.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        *,
        channels: int,
        classes: Sequence[str],
        identities: Sequence[str],
        transform: ItemTransform,
        reading: Reading = AS_IT_IS,
        cache_bytes: int = 1 << 30,
        seed: int = 0,
    ) -> None:
        if channels not in MEAN:
            raise InputError(f"channels is {channels}: images are grey (1) or RGB (3)")
        self.transform = transform
        self.reading = reading
        self.frame = frame
        self.channels = channels
        self.seed = seed
        self.cache_bytes = cache_bytes
        self.class_codes = _codes(frame, "label", classes)
        self.identity_codes = _codes(frame, "identity", identities)
        self._images: list[str] = frame["image"].to_list()
        self._masks: list[str | None] = frame["mask"].to_list() if "mask" in frame.columns else [None] * len(frame)
        self._boxes = boxes_of(frame)
        self._storing = transform.storing
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

    def input(self, index: int) -> Tensor:
        """A row's image ``(C, h, w)`` float32, normalised as the network takes it, before the random changes.

        Raises:
            InputError: a file cannot be read.
        """
        seen = self.transform.preprocessing
        return normalise(self.stored(index)[0], seen.mean, seen.std)

    def largest_mask_id(self) -> int:
        """The largest id in the masks, 255 (ignore) left out; -1 without any mask. Reads every mask once."""
        largest = -1
        for mask, box in zip(self._masks, self._boxes, strict=True):
            if mask is not None:
                ids = _readable(read_mask, mask, None, self.reading, box)
                largest = max(largest, int(ids[ids != IGNORE].max(initial=0)))
        return largest

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": None}

    def _new_cache(self) -> "_Cache":
        return _Cache(len(self), (self.channels + self._has_masks, *self.transform.stored), self.cache_bytes)

    def _item(self, index: int, image: Tensor, mask: Tensor | None) -> Item:
        return Item(image, mask, self._labels[index], self._identities[index], index)

    def _decode(self, index: int) -> Tensor:
        storing, box = self._storing, self._boxes[index]

        def decoded(path: str) -> Array:
            return storing.image(path, self.channels, box, self.reading.bits).pixels

        image = torch.tensor(_readable(decoded, self._images[index])).permute(2, 0, 1)
        if not self._has_masks:
            return image
        path = self._masks[index]
        if path is None:
            return torch.cat([image, torch.full((1, *storing.size), IGNORE, dtype=torch.uint8)])
        return torch.cat([image, torch.tensor(_readable(storing.mask, path, self.reading, box))[None]])


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


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Keep what the block draws from torch's CPU generator from being felt outside of it."""
    state = torch.default_generator.get_state()
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


def _codes(frame: pl.DataFrame, column: str, names: Sequence[str]) -> Tensor:
    if column not in frame.columns:
        return torch.full((len(frame),), -1)
    places = {name: place for place, name in enumerate(names)}
    return torch.tensor([places.get(name, -1) for name in frame[column].to_list()], dtype=torch.int64)


def _readable(read: Callable[..., Array], path: str, *arguments: Any) -> Array:
    try:
        return read(path, *arguments)
    except Exception as error:
        said = str(error).removeprefix(f"{path} cannot be read: ")
        raise InputError(f"{path} cannot be read ({said}): replace the file or remove its row") from error
