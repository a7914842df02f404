"""What people give as images: files, folders, patterns, tables, PIL images, arrays, tensors, or a mixture of them."""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, Union

import numpy as np
import polars as pl
from PIL import Image

from triune.data.boxes import Box, boxes_of
from triune.data.decode import existing
from triune.data.items import ItemTable, read_table
from triune.data.problems import DataError
from triune.data.sources.folder import walk
from triune.errors import InputError
from triune.files import on_one_line
from triune.tensors import is_tensor

if TYPE_CHECKING:
    from torch import Tensor

Array: TypeAlias = np.ndarray[Any, Any]
Given: TypeAlias = Union[str, Path, bytes, Image.Image, Array, "Tensor", Sequence[Any]]

TABLES = (".csv", ".tsv", ".parquet")
IN_WORDS = (
    "a path, a folder, a pattern, a table, the bytes of an image file, a PIL image, an array (H, W, C), a tensor "
    "(B, C, H, W), or a list of them"
)


class PictureRoles(NamedTuple):
    """What a table says of an image in retrieval; ``None`` where it says nothing.

    Args:
        is_query: whether it is searched for.
        is_gallery: whether it is searched in.
        camera: what took it.
    """

    is_query: bool | None = None
    is_gallery: bool | None = None
    camera: str | None = None


class Picture(NamedTuple):
    """One image, not yet decoded.

    Args:
        name: its path; ``image K`` of one in memory, by its place among all that were given, from 0.
        source: the path, the content of an image file, or the image.
        label: its class, where it comes from a table that says it.
        identity: likewise.
        box: the part of it that is looked at, where it comes from a table that says it; all of it where not.
        row: of a table that it comes from, for messages: ``items.csv row 3``; empty where it comes from none.
        roles: who asks and who answers, where it comes from a table that says it.
    """

    name: str
    source: str | bytes | Image.Image
    label: str | None = None
    identity: str | None = None
    box: Box | None = None
    row: str = ""
    roles: PictureRoles = PictureRoles()


def pictures(given: Given) -> list[Picture]:
    """The images that were given, in order; nothing is decoded.

    Args:
        given: a file; a folder (all images below it, sorted); a pattern such as ``photos/*.jpg`` where no file is
            called so; a table with a column ``image``; the bytes of an image file, read as that file is; a PIL image;
            an array ``(H, W)``, ``(H, W, C)`` or ``(B, H, W, C)``; a tensor ``(C, H, W)`` or ``(B, C, H, W)``; or a
            list of any of these. Numbers are uint8, or floats in [0, 1].

    Raises:
        InputError: there is nothing of that name, or what was given is no image.
    """
    found: list[Picture] = []
    for source in _sources(given):
        if isinstance(source, Picture):
            found.append(source)
        else:
            found.append(Picture(source if isinstance(source, str) else f"image {len(found)}", source))
    if not found:
        raise InputError("no images were given")
    return found


def check_names(images: Sequence[Picture]) -> None:
    """Refuse files whose names no table can hold, since they are not UTF-8.

    Raises:
        InputError: it names the first.
    """
    for each in images:
        try:
            each.name.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"the name of {on_one_line(each.name)} is not UTF-8: rename it") from error


def _sources(given: Given) -> Iterator[Picture | str | bytes | Image.Image]:
    if isinstance(given, Picture):
        yield given
    elif isinstance(given, str | Path):
        yield from _below(str(given))
    elif isinstance(given, bytes | Image.Image):
        yield given
    elif is_tensor(given):
        yield from _planes(given)
    elif isinstance(given, np.ndarray):
        yield from _arrays(given)
    elif isinstance(given, Sequence):
        parts: Sequence[Any] = given
        for each in parts:
            yield from _sources(each)
    else:
        raise InputError(f"{type(given).__name__} is no image: give {IN_WORDS}")


def require_path(path: str, what: str = "an image") -> None:
    """Refuse an empty path, as a variable of the shell that is not set leaves it: it would be the working directory.

    Args:
        path: as it was given.
        what: it should be the path of.

    Raises:
        InputError: it is empty.
    """
    if not path.strip():
        raise InputError(f"the path of {what} is empty ({path!r}): name it, or write . for the working directory")


def _below(path: str) -> Iterator[Picture | str]:
    """A file, the images of a folder or a table, or what a pattern matches."""
    require_path(path)
    place = Path(existing(path))
    if place.is_dir():
        images = [str(image) for image in walk(place)]
        if not images:
            raise InputError(f"{path} is a folder that holds no images")
        yield from images
    elif place.suffix.lower() in TABLES and place.exists():
        table = read_table(place)
        if table.problems:
            raise DataError(table.problems)
        yield from pictures_of(table)
    elif place.exists():
        yield str(place)
    else:
        matched = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []
        if not matched:
            raise InputError(f"{path} does not exist" + (", and matches no file" if glob.has_magic(path) else ""))
        for each in matched:
            yield from _below(each)


def pictures_of(table: ItemTable) -> Iterator[Picture]:
    """The images of a table with what it says of them, in order."""
    frame = table.frame
    lacking = () if "camera" in frame.columns else (pl.lit(None).alias("camera"),)
    named = frame.with_columns(lacking).with_columns(pl.col("camera").cast(pl.String))
    cells = named.select("image", "label", "identity", "row", "is_query", "is_gallery", "camera").iter_rows()
    for (image, label, identity, row, *roles), box in zip(cells, boxes_of(frame), strict=True):
        yield Picture(image, image, label, identity, box, f"{table.source} row {row}", PictureRoles(*roles))


def _planes(images: "Tensor") -> Iterator[Image.Image]:
    """Images ``(C, H, W)`` or ``(B, C, H, W)``."""
    if images.ndim not in (3, 4):
        raise InputError(f"a tensor of shape {tuple(images.shape)} is no image: (B, C, H, W) or (C, H, W) is needed")
    batch = images.detach().cpu()
    batch = batch[None] if batch.ndim == 3 else batch
    wide = batch.float() if batch.is_floating_point() else batch
    yield from _arrays(wide.permute(0, 2, 3, 1).numpy())


def _arrays(images: Array) -> Iterator[Image.Image]:
    """Images ``(H, W)``, ``(H, W, C)`` or ``(B, H, W, C)``."""
    if images.ndim == 4:
        for each in images:
            yield _image(each)
    else:
        yield _image(images)


def _image(pixels: Array) -> Image.Image:
    shape = f"an array of shape {pixels.shape} and type {pixels.dtype}"
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)) or 0 in pixels.shape:
        raise InputError(f"{shape} is no image: (H, W), or (H, W, C) with 1, 3 or 4 channels, is needed")
    if pixels.dtype.kind == "f":
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise InputError(f"{shape} holds numbers outside of [0, 1]: divide by the largest, or give uint8")
        pixels = (pixels * 255).round().astype(np.uint8)
    elif pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    elif pixels.dtype != np.uint8:
        raise InputError(f"{shape} is no image: uint8, or floats in [0, 1], are needed")
    return Image.fromarray(
        np.ascontiguousarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    )
