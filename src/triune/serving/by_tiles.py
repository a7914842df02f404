"""The mask of a large image by tiles, by a run and by an exported file alike."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from triune.data.boxes import Box
from triune.data.decode import Array, Source, upright_size
from triune.data.interpolating import ids_in_size, ids_of
from triune.data.laid_back import in_box
from triune.data.tiles import Segment, grid, tiled
from triune.errors import InputError
from triune.run.card import ModelCard
from triune.serving.networks import Tiles

MOST_SCALED: Final = 1 << 26
"""Pixels of an image as the network sees it by tiles: what 8,192 x 8,192 are."""


@dataclass(frozen=True)
class Segmenter:
    """What says the mask of a tile.

    Args:
        trained: how the network was trained, and how it reads images.
        side: height and width of the tiles that it takes.
        stride: pixels by which its coarsest map is smaller than the image: tiles lie at multiples of it.
        segment: mask logits ``(B, M, h, w)`` float32 of tiles ``(B, h, w, C)`` uint8.
    """

    trained: ModelCard
    side: tuple[int, int]
    stride: int
    segment: Segment


def mask_by_tiles(by: Segmenter, source: Source, tiles: Tiles, box: Box | None = None) -> Array | None:
    """The mask ``(H, W)`` uint8 of an image by tiles; ``None`` of an image that is no larger than one.

    The image is scaled so that a tile is as large as training images were (of those that were no squares, as the
    longer side); its proportions stay. In memory: the image, one row of tiles, and where the scale is not 1 the
    logits.

    Args:
        by: says the mask of a tile.
        source: a path, the content of an image file, or an image.
        tiles: how it is cut.
        box: the part of it that is looked at, and cut; all of it where not given.

    Raises:
        InputError: such tiles cannot be.
        OSError, ValueError: the image cannot be read.
    """
    trained = by.trained
    box = box if trained.boxes else None
    whole = upright_size(source)
    size = whole if box is None else box.size
    if max(size) <= tiles.side:
        return None
    down, across = (grid(side, tiles.overlap, by.stride) for side in by.side)
    seen = trained.preprocessing.scaled(_scaled(size, max(trained.size), tiles.side))
    pixels, _ = seen.image(source, trained.channels, box, trained.image_bits)
    rows = tiled(by.segment, pixels, down, across)
    if seen.size == size:
        ids = np.concatenate([ids_of(each) for each in rows])
    else:
        ids = ids_in_size(np.concatenate(list(rows), axis=1), size)
    return ids if box is None else in_box(ids, whole, box)


def _scaled(size: tuple[int, int], trained: int, side: int) -> tuple[int, int]:
    """Height and width of an image of which so large a tile is as large as training images were.

    Raises:
        InputError: that is too large an image; with the least tile that would do.
    """
    height, width = (max(1, round(length * trained / side)) for length in size)
    if height * width > MOST_SCALED:
        least = -(-trained * math.isqrt(size[0] * size[1]) // math.isqrt(MOST_SCALED))
        raise InputError(
            f"tiles of {side} pixels would enlarge an image of {size[1]} x {size[0]} to {width} x {height}: "
            f"choose a tile of {least} or more"
        )
    return height, width
