"""From image and mask files to arrays of bytes: any format, colour mode, bit depth and orientation."""

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageOps

Array: TypeAlias = "np.ndarray[Any, Any]"

IGNORE = 255
"""The id of mask pixels that are neither learnt from nor judged."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2"})

_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112


def read_image(path: str | Path, channels: int, size: tuple[int, int] | None = None) -> Array:
    """Decode an image, upright, to ``(H, W, channels)`` uint8.

    Transparent pixels are laid on white; 16-bit values keep their upper 8 bits.

    Args:
        path: the file.
        channels: 1 for grey, 3 for RGB.
        size: resize to this height and width, smoothly. A large JPEG is then decoded at a reduced scale,
            which takes a fraction of the time.

    Raises:
        OSError, ValueError: the file is missing, cut short or no image.
    """
    with Image.open(path) as file:
        if size is not None and file.format == "JPEG":
            side = 2 * max(size)
            file.draft(None, (side, side))
        upright = _upright(file)
        image = _to_bytes(upright, "L" if channels == 1 else "RGB")
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    array = np.asarray(image)
    return array[:, :, None] if channels == 1 else array


def read_mask(path: str | Path, size: tuple[int, int] | None = None) -> Array:
    """Decode a mask, upright, to ``(H, W)`` uint8 ids; 255 means: ignore this pixel.

    Palette images give their palette indices, one-bit images 0 and 1, colour images their grey value where
    the three channels agree.

    Args:
        path: the file.
        size: resize to this height and width, each pixel taking the id of the nearest one.

    Raises:
        OSError, ValueError: the file is missing, cut short, or its pixels are no ids of 0 to 255.
    """
    with Image.open(path) as file:
        upright = _upright(file)
        upright.load()
    if upright.mode in _DEEP:
        ids = np.asarray(upright).astype(np.int64)
        if ids.size and (ids.min() < 0 or ids.max() > IGNORE):
            raise ValueError(f"its pixels go up to {ids.max()}, but mask ids lie between 0 and 254 (255: ignore)")
        image = Image.fromarray(ids.astype(np.uint8))
    elif upright.mode == "1":
        image = Image.fromarray(np.asarray(upright).astype(np.uint8))
    elif upright.mode == "P":
        image = Image.fromarray(np.asarray(upright))
    elif upright.mode == "L":
        image = upright
    elif upright.mode == "LA":
        image = upright.getchannel(0)
    elif upright.mode in ("RGB", "RGBA"):
        colours = np.asarray(upright)[:, :, :3]
        if (colours != colours[:, :, :1]).any():
            raise ValueError("it is a colour picture, but each pixel of a mask is one id: save it as a grey image")
        image = Image.fromarray(np.ascontiguousarray(colours[:, :, 0]))
    else:
        raise ValueError(f"its pixels are of the kind {upright.mode!r}, but mask ids are whole numbers of 8 bits")
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.NEAREST)
    return np.asarray(image)


def probe_image(path: str | Path) -> tuple[int, int]:
    """Height and width of an image as it is seen upright, after reading all of it so that damage is found.

    A JPEG is decoded at an eighth of its scale: every byte is still read, at a fraction of the cost.

    Raises:
        OSError, ValueError: the file is missing, cut short or no image.
    """
    with Image.open(path) as file:
        width, height = file.size
        turned = file.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        if file.format == "JPEG":
            file.draft("L", (max(1, width // 8), max(1, height // 8)))
        file.load()
        if file.mode == "F":
            raise ValueError("its pixels are floating-point numbers: save it with 8 or 16 bits a channel")
    return (width, height) if turned else (height, width)


def _upright(file: Image.Image) -> Image.Image:
    if file.getexif().get(_ORIENTATION, 1) == 1:
        return file
    return ImageOps.exif_transpose(file)


def _to_bytes(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers: save it with 8 or 16 bits a channel")
    if image.mode in _DEEP:
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    return image.convert(mode)
