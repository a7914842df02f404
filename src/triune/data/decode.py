"""From image and mask files to arrays of bytes: any format, colour mode, bit depth and orientation."""

import io
import os
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from triune.data.boxes import Box, outside
from triune.data.reading import AS_IT_IS, IGNORE as IGNORE, Array as Array, Reading, depth_in_use
from triune.files import regular_file

MOST_PIXELS = 1 << 27
"""No image or mask has more (134 million): decoded, one of these takes half a gigabyte."""

NO_PICTURES = frozenset({"BUFR", "EPS", "FLI", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"})
"""Formats that Pillow knows but that hold films, programs for a printer, or data that it cannot decode by itself."""

LOSSY = frozenset({"JPEG", "MPO"})
"""Formats whose compression changes values."""

Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"]
"""The filters by which images are resized, as Pillow calls them; all but the first one smooth what is made smaller."""

FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
    "lanczos": Image.Resampling.LANCZOS,
}

Resized: TypeAlias = tuple[int, int] | Callable[[tuple[int, int]], tuple[int, int]]
"""Height and width that an image is resized to, or what makes them of its own (of its box's)."""

Source: TypeAlias = str | Path | bytes | Image.Image
"""What is decoded: a file, the content of one, or an image in memory."""

_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112
_FLOATS = "its pixels are floating-point numbers: save it with 8 or 16 bits a channel"


@cache
def image_formats() -> tuple[str, ...]:
    """The formats of still pictures that Pillow reads, in the order in which it tries them."""
    Image.init()
    return tuple(name for name in Image.ID if name not in NO_PICTURES)


@cache
def image_suffixes() -> frozenset[str]:
    """The suffixes of their files, in small letters: ``.jpg``, ``.jfif``, ``.avif``, …"""
    formats = set(image_formats())
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


def read_image(path: str | Path, channels: int, size: tuple[int, int] | None = None, bits: int | None = None) -> Array:
    """Decode an image, upright, to ``(H, W, channels)`` uint8.

    Transparent pixels are laid on white. Of values with more than 8 bits the upper 8 of those in use are kept.

    Args:
        path: the file.
        channels: 1 for grey, 3 for RGB.
        size: resize to this height and width, smoothly. A large JPEG is then decoded at a reduced scale,
            which takes a fraction of the time.
        bits: how many bits deep values use; as many as the largest one of this image needs where not given.

    Raises:
        OSError, ValueError: the file is missing, cut short, too large or no image.
    """
    return decode_image(path, channels, size, bits).pixels


class Decoded(NamedTuple):
    """A decoded image.

    Args:
        pixels: ``(h, w, C)`` uint8, of the size that was asked for.
        size: height and width that the whole image had, upright.
    """

    pixels: Array
    size: tuple[int, int]


def decode_image(
    source: Source,
    channels: int,
    size: Resized | None = None,
    bits: int | None = None,
    *,
    box: Box | None = None,
    interpolation: Interpolation = "bicubic",
) -> Decoded:
    """As :func:`read_image`, of a file or of an image in memory, with the size that it had.

    Args:
        source: the file, its content (which is decoded to the same pixels), or an image.
        channels: 1 for grey, 3 for RGB.
        size: resize to this height and width.
        bits: how many bits deep values use.
        box: the part of the upright image that is looked at; all of it where not given.
        interpolation: the filter that it is resized by.

    Raises:
        OSError, ValueError: as :func:`read_image`; or the box is not within the image.
    """
    with nullcontext(source) if isinstance(source, Image.Image) else _opened(source) as file:
        own = _upright_size(file)
        _check_box(box, own)
        if callable(size):
            size = size(own if box is None else box.size)
        # With a box the scale must be 1: at another one its edges would lie between pixels.
        if size is not None and box is None and file.format == "JPEG" and not isinstance(source, Image.Image):
            side = 2 * max(size)
            file.draft(None, (side, side))
        upright = _upright(file)
        if box is not None:
            upright = upright.crop(box)
        image = _to_bytes(upright, "L" if channels == 1 else "RGB", bits)
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), FILTERS[interpolation])
    array = np.asarray(image)
    return Decoded(array[:, :, None] if channels == 1 else array, own)


def upright_image(source: Source, box: Box | None = None) -> Image.Image:
    """An image as it is seen upright, or a part of it, with the values that it holds: what can be sent in its place.

    Args:
        source: the file, its content, or an image.
        box: the part of the upright image; all of it where not given.

    Raises:
        OSError, ValueError: as :func:`read_image`; or the box is not within the image.
    """
    with nullcontext(source) if isinstance(source, Image.Image) else _opened(source) as file:
        _check_box(box, _upright_size(file))
        upright = _upright(file)
        if upright.mode == "F":
            raise ValueError(_FLOATS)
        return upright.copy() if box is None else upright.crop(box)


def read_mask(
    path: str | Path, size: tuple[int, int] | None = None, reading: Reading = AS_IT_IS, box: Box | None = None
) -> Array:
    """Decode a mask, upright, to ``(H, W)`` uint8 ids; 255 means: ignore this pixel.

    Palette images give their palette indices, one-bit images 0 and 1, colour images their grey value where
    the three channels agree.

    Args:
        path: the file.
        size: resize to this height and width, each pixel taking the id of the nearest one.
        reading: says which pixel values stand for which ids.
        box: the part of the upright mask that is looked at; all of it where not given.

    Raises:
        OSError, ValueError: the file is missing, cut short, too large, or its pixels are no ids of 0 to 255; or the
            box is not within the mask.
    """
    pixels, lossy = mask_pixels(path)
    _check_box(box, pixels.shape[:2])
    ids = reading.ids(pixels if box is None else np.ascontiguousarray(pixels[box.place]), lossy)
    return ids if size is None else nearest(ids, size)


def nearest(ids: Array, size: tuple[int, int]) -> Array:
    """Mask ids ``(h, w)`` at another height and width: each pixel takes the id of the nearest one."""
    if ids.shape == size:
        return ids
    return np.asarray(Image.fromarray(ids).resize((size[1], size[0]), Image.Resampling.NEAREST))


def mask_pixels(path: str | Path) -> tuple[Array, bool]:
    """The whole numbers ``(H, W)`` that a mask file holds, upright, and whether its compression changes them.

    Raises:
        OSError, ValueError: the file is missing, cut short or too large, or its pixels are no whole numbers.
    """
    with _opened(path) as file:
        upright = _upright(file)
        upright.load()
        lossy = file.format in LOSSY
    if upright.mode in _DEEP:
        return np.asarray(upright).astype(np.int64), lossy
    if upright.mode == "1":
        return np.asarray(upright).astype(np.uint8), lossy
    if upright.mode in ("P", "L"):
        return np.asarray(upright), lossy
    if upright.mode not in ("LA", "RGB", "RGBA"):
        raise ValueError(f"its pixels are of the kind {upright.mode!r}, but mask ids are whole numbers of 8 bits")
    planes = np.asarray(upright)
    colours = planes[:, :, :1] if upright.mode == "LA" else planes[:, :, :3]
    if (colours != colours[:, :, :1]).any():
        if lossy:
            raise ValueError("it is a colour picture, but each pixel of a mask is one id: save it as a grey PNG")
        raise ValueError("it is a colour picture, but each pixel of a mask is one id: save it as a grey image")
    grey = colours[:, :, 0]
    if upright.mode != "RGB" and (grey == grey[:1, :1]).all() and (planes[:, :, -1] != planes[:1, :1, -1]).any():
        raise ValueError("its shape lies in the alpha channel, under one colour: save that channel as a grey image")
    return np.ascontiguousarray(grey), lossy


class Probed(NamedTuple):
    """What an image is, found by reading all of it.

    Args:
        size: height and width as it is seen upright.
        deep: the smallest and the largest value of an image with more than 8 bits a channel; else ``None``.
        upper: the largest upper byte of a colour image with 16 bits a channel, of which Pillow keeps no more; else
            ``None``.
    """

    size: tuple[int, int]
    deep: tuple[int, int] | None = None
    upper: int | None = None


def probe_image(path: str | Path) -> Probed:
    """Look at an image after reading all of it, so that damage is found.

    A JPEG is decoded at an eighth of its scale: every byte is still read, at a fraction of the cost.

    Raises:
        OSError, ValueError: the file is missing, cut short, too large or no image.
    """
    with _opened(path) as file:
        # Before anything is decoded, for then the file forgets how it lies there.
        sixteen = file.mode not in _DEEP and any(";16" in str(tile[3]) for tile in getattr(file, "tile", []))
        size = _upright_size(file)
        if file.format == "JPEG":
            file.draft("L", (max(1, file.size[0] // 8), max(1, file.size[1] // 8)))
        file.load()
        if file.mode == "F":
            raise ValueError(_FLOATS)
        deep = None
        if file.mode in _DEEP:
            pixels = np.asarray(file)
            deep = int(pixels.min()), int(pixels.max())
        upper = int(np.asarray(file).max()) if sixteen else None
    return Probed(size, deep, upper)


def upright_size(source: Source) -> tuple[int, int]:
    """Height and width of an image as it is seen upright; of a file, or the content of one, from its header alone.

    Raises:
        OSError, ValueError: the file is missing, too large or no image.
    """
    with nullcontext(source) if isinstance(source, Image.Image) else _opened(source) as file:
        return _upright_size(file)


@contextmanager
def _opened(path: str | Path | bytes) -> Iterator[Image.Image]:
    """An image file, open; whatever a damaged one makes its decoder raise is a ValueError or OSError."""
    place: str | io.BytesIO
    if isinstance(path, bytes):
        place = io.BytesIO(path)
    else:
        place = existing(path)
        regular_file(place)
    try:
        with warnings.catch_warnings():
            # Pillow has a limit of its own, below this one; a picture between the two is read without a warning.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(place, formats=image_formats())
        with opened as file:
            pixels = file.size[0] * file.size[1]
            if pixels > MOST_PIXELS:
                raise ValueError(_too_large(f"{file.size[0]} x {file.size[1]}"))
            yield file
    except Image.DecompressionBombError as error:
        raise ValueError(_too_large("far more")) from error
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _too_large(size: str) -> str:
    return f"it has {size} pixels, and {MOST_PIXELS / 1e6:.0f} million are the most: make it smaller"


def existing(path: str | Path) -> str:
    """The path of a file, in the form of Unicode (composed or not) in which it is there.

    Some file systems keep names in the composed form, some in the other, and tables are written on one and read on
    another. A path that is there as it is written, or in no form, stays as it is.
    """
    written = str(path)
    if written.isascii() or os.path.exists(written):
        return written
    found = ""
    for part in Path(written).parts:
        forms = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
        found = next((place for form in forms if os.path.exists(place := os.path.join(found, form))), "")
        if not found:
            return written
    return found


def _check_box(box: Box | None, size: tuple[int, ...]) -> None:
    wrong = None if box is None else outside(box, (size[0], size[1]))
    if wrong is not None:
        raise ValueError(f"column {wrong[0]}: {wrong[1]}")


def _upright_size(file: Image.Image) -> tuple[int, int]:
    width, height = file.size
    turned = file.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def _upright(file: Image.Image) -> Image.Image:
    if file.getexif().get(_ORIENTATION, 1) == 1:
        return file
    return ImageOps.exif_transpose(file)


def _to_bytes(image: Image.Image, mode: str, bits: int | None) -> Image.Image:
    if image.mode == "F":
        raise ValueError(_FLOATS)
    if image.mode in _DEEP:
        values = np.asarray(image).astype(np.int64)
        shift = (bits or depth_in_use(int(values.max(initial=0)))) - 8
        image = Image.fromarray((values >> shift).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    return image.convert(mode)
