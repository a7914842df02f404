"""A large image by overlapping tiles whose answers are blended, in memory for one row of tiles."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from triune.errors import InputError

Segment: TypeAlias = Callable[[Tensor], Tensor]
"""Mask logits ``(B, M, h, w)`` of images ``(B, C, h, w)``."""


class Grid(NamedTuple):
    """Where tiles lie.

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
        raise InputError(f"tiles of {side} pixels that overlap by {overlap:g} cannot move by the network's {stride}")
    return Grid(side, step)


def tiled(segment: Segment, image: Tensor, tiles: Grid, batch_size: int = 8) -> Iterator[Tensor]:
    """Mask logits of an image, some rows ``(M, r, W)`` after another, from its top to its bottom.

    Beyond the right and the lower border the image goes on as it ends there. A tile counts nothing within a quarter of
    the overlap of an edge that a neighbour covers, and from there linearly more: where that quarter covers half the
    receptive field, each row equals that of the whole image at once, but near the image's own borders.

    Args:
        segment: mask logits of tiles.
        image: ``(C, H, W)``, normalised.
        tiles: where they lie.
        batch_size: tiles that go through the network at a time.
    """
    height, width = image.shape[-2:]
    rows, columns = tiles.count(height), tiles.count(width)
    below = tiles.step * (rows - 1) + tiles.side - height
    right = tiles.step * (columns - 1) + tiles.side - width
    whole = pad(image[None], (0, right, 0, below), mode="replicate")[0]
    ramp = _ramp(tiles)
    sums: Tensor | None = None
    weights = torch.zeros(tiles.side, whole.shape[2])
    for row in range(rows):
        top = row * tiles.step
        vertical = _edges(ramp, first=row == 0, last=row == rows - 1)
        for start in range(0, columns, batch_size):
            places = range(start, min(start + batch_size, columns))
            cut = [whole[:, top : top + tiles.side, p * tiles.step : p * tiles.step + tiles.side] for p in places]
            logits = segment(torch.stack(cut)).float().cpu()
            if sums is None:
                sums = torch.zeros(logits.shape[1], tiles.side, whole.shape[2])
            for place, each in zip(places, logits, strict=True):
                weight = vertical[:, None] * _edges(ramp, first=place == 0, last=place == columns - 1)
                span = slice(place * tiles.step, place * tiles.step + tiles.side)
                sums[:, :, span] += each * weight
                weights[:, span] += weight
        assert sums is not None
        done = tiles.side if row == rows - 1 else tiles.step
        end = min(done, height - top)
        yield sums[:, :end, :width] / weights[:end, :width]
        sums = torch.cat([sums[:, done:], torch.zeros_like(sums[:, :done])], dim=1)
        weights = torch.cat([weights[done:], torch.zeros_like(weights[:done])])


def ids_in_size(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask ids ``(h, w)`` uint8 of another size, of logits ``(M, H, W)``, one channel at a time."""
    best = interpolate(logits[None, :1], size=size, mode="bilinear", align_corners=False)[0, 0]
    if len(logits) == 1:
        return (best > 0).to(torch.uint8)
    ids = torch.zeros(size, dtype=torch.uint8)
    for channel in range(1, len(logits)):
        other = interpolate(logits[None, channel : channel + 1], size=size, mode="bilinear", align_corners=False)[0, 0]
        ids[other > best] = channel
        best = torch.maximum(best, other)
    return ids


def _ramp(tiles: Grid) -> Tensor:
    """What the pixels from an edge count that a neighbour covers: ``(side,)``, for the left edge."""
    nothing = tiles.overlap // 4
    rising = max(1, tiles.overlap - 2 * nothing)
    places = torch.arange(tiles.side, dtype=torch.float32)
    return ((places - nothing + 0.5) / rising).clamp(0, 1)


def _edges(ramp: Tensor, *, first: bool, last: bool) -> Tensor:
    """The same for both edges; an edge of the image itself counts whole."""
    whole = torch.ones_like(ramp)
    return (whole if first else ramp) * (whole if last else ramp.flip(0))
