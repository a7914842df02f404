"""A large image by overlapping tiles whose answers are blended, in memory for one row of tiles."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from triune.data.decode import Array
from triune.errors import InputError

Segment: TypeAlias = Callable[[Array], Array]
"""Mask logits ``(B, M, h, w)`` float32 of images ``(B, h, w, C)``."""


class Grid(NamedTuple):
    """Where tiles lie along a side of an image.

    Args:
        side: of a tile, in pixels.
        step: from a tile to the next one.
    """

    side: int
    step: int

    @property
    def overlap(self) -> int:
        """Pixels that two neighbours share."""
        return self.side - self.step

    def count(self, length: int) -> int:
        """How many tiles cover a length."""
        return 1 + max(0, -(-(length - self.side) // self.step))


def grid(side: int, overlap: float, stride: int) -> Grid:
    """Tiles that overlap by a share of their side, or a little more.

    They lie on multiples of the network's stride: only there do its maps in a tile stand where they stand in the whole
    image.

    Args:
        side: of a tile, in pixels; a multiple of the stride.
        overlap: the share of the side that neighbours share at least, below 1.
        stride: of the network.

    Raises:
        InputError: so large an overlap leaves no step of the stride.
    """
    step = int(side * (1 - overlap)) // stride * stride
    if step < 1:
        raise InputError(
            f"tiles of {side} pixels that overlap by {overlap:g} cannot move by the network's {stride}: choose a "
            "smaller overlap"
        )
    return Grid(side, step)


def tiled(segment: Segment, image: Array, down: Grid, across: Grid, batch_size: int = 8) -> Iterator[Array]:
    """Mask logits of an image, some rows ``(M, r, W)`` float32 after another, from its top to its bottom.

    Beyond the right and the lower border the image goes on as it ends there. A tile counts nothing within a quarter of
    the overlap of an edge that a neighbour covers, and from there linearly more: where that quarter covers half the
    receptive field, each row equals that of the whole image at once, but near the image's own borders.

    Args:
        segment: mask logits of tiles.
        image: ``(H, W, C)``.
        down: where tiles lie from the top to the bottom.
        across: where they lie from the left to the right.
        batch_size: tiles that go through the network at a time.
    """
    height, width = image.shape[:2]
    rows, columns = down.count(height), across.count(width)
    wide = across.step * (columns - 1) + across.side
    beyond = ((0, down.step * (rows - 1) + down.side - height), (0, wide - width), (0, 0))
    whole = np.pad(image, beyond, mode="edge")
    spans = [slice(place * across.step, place * across.step + across.side) for place in range(columns)]
    sums: Array | None = None
    weights = np.zeros((down.side, wide), np.float32)
    for row in range(rows):
        band = whole[row * down.step : row * down.step + down.side]
        vertical = _counts(down, first=row == 0, last=row == rows - 1)
        for start in range(0, columns, batch_size):
            places = range(start, min(start + batch_size, columns))
            logits = segment(np.stack([band[:, spans[place]] for place in places]))
            if sums is None:
                sums = np.zeros((logits.shape[1], down.side, wide), np.float32)
            for place, each in zip(places, logits, strict=True):
                weight = vertical[:, None] * _counts(across, first=place == 0, last=place == columns - 1)
                sums[:, :, spans[place]] += each * weight
                weights[:, spans[place]] += weight
        assert sums is not None
        done = down.side if row == rows - 1 else down.step
        end = min(done, height - row * down.step)
        yield sums[:, :end, :width] / weights[:end, :width]
        sums, weights = _moved(sums, done), _moved(weights, done)


def _counts(tiles: Grid, *, first: bool, last: bool) -> Array:
    """What the pixels of a tile count along a side: ``(side,)`` float32; an edge of the image itself counts whole."""
    nothing = tiles.overlap // 4
    rising = max(1, tiles.overlap - 2 * nothing)
    ramp = ((np.arange(tiles.side, dtype=np.float32) - nothing + 0.5) / rising).clip(0, 1)
    whole = np.ones_like(ramp)
    counts: Array = (whole if first else ramp) * (whole if last else ramp[::-1])
    return counts


def _moved(band: Array, rows: int) -> Array:
    """A band ``(..., h, w)`` without its first rows, and as many of zeros below."""
    moved = np.zeros_like(band)
    moved[..., : band.shape[-2] - rows, :] = band[..., rows:, :]
    return moved
