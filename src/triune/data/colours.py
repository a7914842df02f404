"""Whether a picture has colours: scans, characters and X-rays have none, and a left and a right that mean something."""

from typing import Final

import numpy as np

from triune.data.decode import read_image

SIDE: Final = 64
"""Pixels of the side that a picture is looked at."""

TINT: Final = 2.0
"""Of 255: the mean difference between its channels up to which a picture is grey, as JPEG may make it."""


def without_colours(path: str, bits: int | None = None) -> bool:
    """Whether the channels of a picture are the same but for what compression does.

    Args:
        path: of the file, or of a place in an archive, as a table names it.
        bits: of 16-bit images: how many are in use.

    Raises:
        OSError: it cannot be read.
        ValueError: likewise.
    """
    pixels = read_image(path, 3, (SIDE, SIDE), bits).astype(np.float32)
    return bool((pixels.max(axis=2) - pixels.min(axis=2)).mean() <= TINT)
