"""How alike two pictures are, pixel by pixel: the same picture stored again is told from another of the same thing."""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageEnhance

from triune.data.boxes import Box
from triune.data.decode import Source, decode_image

Array: TypeAlias = np.ndarray[Any, Any]

SIDE = 16
"""Pixels of the side at which pictures are compared: coarse enough not to see how they were compressed."""

WIDTH = SIDE * SIDE * 3
"""Numbers of a signature."""

QUANTILE = 0.95
"""Of all copies of a kind, so many are to be recognised."""

THREADS = 8


def signature(source: Source, box: Box | None = None) -> Array:
    """A picture as :data:`WIDTH` float32 numbers of mean 0 and length 1; zeros where it is one grey alone.

    Args:
        source: the file, or an image.
        box: the part that is looked at; all of it where not given.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    pixels = decode_image(source, 3, (4 * SIDE, 4 * SIDE), box=box).pixels
    small = pixels.reshape(SIDE, 4, SIDE, 4, 3).astype(np.float32).mean(axis=(1, 3)).reshape(-1)
    small -= small.mean()
    size = float(np.linalg.norm(small))
    return small / size if size > 1 else np.zeros_like(small)


def signatures(sources: Sequence[Source], boxes: Sequence[Box | None] = ()) -> Array:
    """The signatures ``(N, WIDTH)`` of pictures, NaN where one cannot be read; several are decoded at a time.

    Args:
        sources: N files or images.
        boxes: the part of each that is looked at; all of them where not given.
    """

    def one(source: Source, box: Box | None) -> Array:
        try:
            return signature(source, box)
        except (OSError, ValueError):
            return np.full(WIDTH, np.nan, dtype=np.float32)

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(one, sources, boxes or [None] * len(sources)))
    return np.stack(found) if found else np.empty((0, WIDTH), dtype=np.float32)


def differences(first: Array, second: Array) -> Array:
    """1 − correlation of pairs of signatures ``(P, WIDTH)``: 0 of the same picture, 1 of unrelated ones; NaN stays."""
    products: Array = 1 - (first * second).sum(axis=1, dtype=np.float64)
    return products


def copy_limit(sources: Sequence[Source], boxes: Sequence[Box | None] = ()) -> float:
    """The difference within which copies of these pictures lie: what was compressed again, scaled or made brighter.

    Each picture is copied in four ways (JPEG of quality 40; half the size; three quarters of it and JPEG of quality 80;
    a tenth brighter). The limit is the 95 % quantile of the differences of those copies that differ most. Copies that
    were cropped or turned differ more than neighbouring views of one thing do, and are not recognised.

    Args:
        sources: a sample of the pictures; a hundred are enough. Those that cannot be read are passed over.
        boxes: the part of each that is looked at; all of them where not given.

    Returns:
        0 where none can be read.
    """
    sizes: list[list[float]] = [[] for _ in ALTERED]
    for source, box in zip(sources, boxes or [None] * len(sources), strict=True):
        try:
            picture = Image.fromarray(decode_image(source, 3, box=box).pixels)
        except (OSError, ValueError):
            continue
        own = signature(picture)
        for found, altered in zip(sizes, ALTERED, strict=True):
            found.append(1 - float(own @ signature(altered(picture))))
    return max((float(np.quantile(found, QUANTILE)) for found in sizes if found), default=0.0)


def _scaled(picture: Image.Image, share: float) -> Image.Image:
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _compressed(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


ALTERED: tuple[Callable[[Image.Image], Image.Image], ...] = (
    lambda picture: _compressed(picture, 40),
    lambda picture: _scaled(picture, 1 / 2),
    lambda picture: _compressed(_scaled(picture, 3 / 4), 80),
    lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
)
"""The ways in which pictures are copied to learn how much copies differ."""
