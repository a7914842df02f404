"""From an image to what a network sees of it: resized, padded or cropped, and normalised; one way for every use."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from triune.data.boxes import Box
from triune.data.decode import (
    IGNORE,
    MOST_PIXELS,
    Array,
    Decoded,
    Interpolation,
    Source,
    decode_image,
    nearest,
    read_mask,
)
from triune.data.reading import AS_IT_IS, Reading
from triune.errors import InputError

Fit: TypeAlias = Literal["squash", "pad", "crop"]
Size: TypeAlias = int | tuple[int, int]


MEAN = {1: (0.449,), 3: (0.485, 0.456, 0.406)}
"""Mean of ImageNet's photographs by number of channels, in [0, 1]; what many pretrained backbones expect."""


STD = {1: (0.226,), 3: (0.229, 0.224, 0.225)}
"""Their standard deviation."""


class Placement(NamedTuple):
    """Where an image lies in the frame that a network sees.

    Args:
        resized: height and width that the image is resized to.
        top: the frame's row of its first one; below 0 where rows are cropped.
        left: the frame's column of its first one, likewise.
        frame: height and width of the frame.
    """

    resized: tuple[int, int]
    top: int
    left: int
    frame: tuple[int, int]

    @property
    def fills(self) -> bool:
        """Whether the image is the whole frame, and the frame the whole image."""
        return self.resized == self.frame


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes what a network sees, and its mask alike.

    Args:
        size: height and width that the network sees.
        fit: ``squash`` resizes to that size whatever the image's shape; ``pad`` keeps the shape and fills the rest with
            the mean colour (255, ignore, in the mask); ``crop`` resizes so that the size is covered and takes the
            middle.
        interpolation: the filter that images are resized by; masks take the nearest pixel.
        mean: a channel, in [0, 1]; those of ImageNet's photographs (:data:`MEAN`) where not given.
        std: standard deviations likewise (:data:`STD`).
        share: of the sides of the resized image (with what was filled) the part whose middle is seen: 1 sees all;
            timm's ``crop_pct``.

    Raises:
        InputError: the size has no pixels.
    """

    size: tuple[int, int]
    fit: Fit = "squash"
    interpolation: Interpolation = "bicubic"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        as_pair(self.size)

    def of_size(self, size: tuple[int, int]) -> "Preprocessing":
        """The same for a network that sees another height and width."""
        return replace(self, size=size)

    def scaled(self, size: tuple[int, int]) -> "Preprocessing":
        """The same, but for the whole image resized to a height and width, as for an image by tiles."""
        return replace(self, size=size, fit="squash", share=1.0)

    def placed(self, own: tuple[int, int]) -> Placement:
        """Where an image lies in what the network sees.

        Args:
            own: its height and width; of an item with a box, those of the box.
        """
        height, width = own
        # The outer frame, of which the network sees the middle.
        high, wide = (math.floor(side / self.share) for side in self.size)
        if self.fit == "squash":
            resized = high, wide
        elif self.fit == "pad":
            scale = max(height / high, width / wide)
            resized = max(1, round(height / scale)), max(1, round(width / scale))
        elif height * wide <= width * high:  # the height is the shorter side, measured by the frame's
            resized = high, max(wide, high * width // height)
        else:
            resized = max(high, wide * height // width), wide
        (down, across), (frame_high, frame_wide) = resized, self.size
        return Placement(resized, _first(down, frame_high), _first(across, frame_wide), self.size)

    def image(self, source: Source, channels: int, box: Box | None = None, bits: int | None = None) -> Decoded:
        """What the network sees of an image, ``(H, W, C)`` uint8, and the size that the whole image has.

        Args:
            source: the file, its content, or an image.
            channels: 1 for grey, 3 for RGB.
            box: the part that is looked at; all of it where not given.
            bits: how many bits deep values use.

        Raises:
            OSError, ValueError: it cannot be read, the box is not within it, or it is too elongated.
        """
        if self.fit == "squash" and self.share == 1:
            return decode_image(source, channels, self.size, bits, box=box, interpolation=self.interpolation)
        decoded = decode_image(source, channels, self._resized, bits, box=box, interpolation=self.interpolation)
        placed = self.placed(decoded.size if box is None else box.size)
        fill = np.array([round(255 * each) for each in self.mean or MEAN[channels]], np.uint8)
        return Decoded(_laid(decoded.pixels, placed, fill), decoded.size)

    def mask(self, path: str | Path, reading: Reading = AS_IT_IS, box: Box | None = None) -> Array:
        """The ids ``(H, W)`` uint8 of an image's mask as the network sees the image; 255 where there is no image.

        Args:
            path: the file.
            reading: says which pixel values stand for which ids.
            box: the part that is looked at; all of it where not given.

        Raises:
            OSError, ValueError: it cannot be read, or the box is not within it.
        """
        if self.fit == "squash" and self.share == 1:
            return read_mask(path, self.size, reading, box)
        ids = read_mask(path, None, reading, box)
        own = ids.shape[0], ids.shape[1]
        return _laid(nearest(ids, self._resized(own)), self.placed(own), np.uint8(IGNORE))

    def _resized(self, own: tuple[int, int]) -> tuple[int, int]:
        resized = self.placed(own).resized
        if resized[0] * resized[1] > MOST_PIXELS:
            raise ValueError(
                f"it is {own[1]} x {own[0]} pixels, so elongated that {self.fit} would make it {resized[1]} x "
                f"{resized[0]}: crop it first"
            )
        return resized


def as_pair(size: Size) -> tuple[int, int]:
    """Height and width of a size, which may be the side of a square."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise InputError(f"size is {size}: images need at least one pixel")
    return int(height), int(width)


def _first(length: int, frame: int) -> int:
    """Where the first of ``length`` pixels lies in a frame that they stand in the middle of."""
    return (frame - length) // 2 if length <= frame else -round((length - frame) / 2)


def _laid(array: Array, placed: Placement, fill: Array | np.uint8) -> Array:
    """A resized array ``(h, w, ...)`` in its frame; what it does not cover is filled."""
    if placed.fills:
        return array
    (height, width), (high, wide) = placed.resized, placed.frame
    frame: Array = np.empty((high, wide, *array.shape[2:]), np.uint8)
    frame[...] = fill
    rows = slice(max(0, placed.top), min(high, placed.top + height))
    columns = slice(max(0, placed.left), min(wide, placed.left + width))
    frame[rows, columns] = array[
        rows.start - placed.top : rows.stop - placed.top, columns.start - placed.left : columns.stop - placed.left
    ]
    return frame
