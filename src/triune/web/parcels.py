"""Pictures as what is uploaded: files as they lie on disk, anything else as PNG, in parcels that a service takes."""

import io
import mimetypes
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

import numpy as np
from PIL import Image

from triune.data.decode import existing, upright_image
from triune.errors import InputError
from triune.files import regular_file
from triune.serving.answers import Unreadable
from triune.serving.pictures import Picture
from triune.web.sending import Upload

AT_ONCE: Final = 32
"""Pictures in a request, at most: as many as go through a network at a time."""

A_PART: Final = 1024
"""Bytes that a form needs around each picture, at most."""

PNG_MODES: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
"""Kinds of pixels that Pillow writes into a PNG as they are."""

JOINERS: Final = "\u200c\u200d"
"""Characters that show nothing but that names in some languages need."""

MOST_NAME: Final = 180
"""Characters of a name that is sent: the service takes 200, of which some tell pictures of one name apart."""

DEEPEST: Final = (1 << 16) - 1
"""The largest value that a PNG holds."""


@dataclass(frozen=True)
class Limits:
    """What a service takes in one request.

    Args:
        images: pictures.
        bytes: of all of it.
        image_bytes: of one picture.
    """

    images: int = AT_ONCE
    bytes: int = 1 << 25
    image_bytes: int = 1 << 25


def limits_of(about: dict[str, Any]) -> Limits:
    """What a service says that it takes; what it leaves out is as in :class:`Limits`."""
    told = about.get("limits") or {}
    usual = Limits()
    most = int(told.get("bytes", usual.bytes))
    images = min(AT_ONCE, int(told.get("images", usual.images)))
    return Limits(max(1, images), most, min(most, int(told.get("image_bytes", most))))


@dataclass(frozen=True)
class Parcel:
    """What goes in one request, or one picture that cannot be sent.

    Args:
        places: of its pictures in the list that they come from.
        names: that they are sent under, each once.
        contents: their files.
        unreadable: why the one picture at ``places`` cannot be sent; ``None`` of a real parcel.
    """

    places: tuple[int, ...]
    names: tuple[str, ...] = ()
    contents: tuple[bytes, ...] = ()
    unreadable: Unreadable | None = None

    def uploads(self, field: str) -> list[Upload]:
        """As files of a form, all under one field."""
        return [upload(field, name, content) for name, content in zip(self.names, self.contents, strict=True)]

    def without(self, place: int) -> "Parcel":
        """The same without the picture at a place of this parcel."""
        kept = [k for k in range(len(self.places)) if k != place]
        return Parcel(
            tuple(self.places[k] for k in kept),
            tuple(self.names[k] for k in kept),
            tuple(self.contents[k] for k in kept),
        )


def parcels(images: Sequence[Picture], limits: Limits, *, skip: bool = False) -> Iterator[Parcel]:
    """Cut pictures into parcels, in order; in memory: the files of one of them.

    Args:
        images: from :func:`triune.serving.pictures.pictures`.
        limits: what a parcel may hold.
        skip: whether a picture that cannot be sent comes as a parcel of its own that says why, and is not an error.

    Raises:
        InputError: a picture cannot be sent; it is named.
    """
    places: list[int] = []
    contents: list[bytes] = []
    held = 0

    def full() -> Parcel:
        return Parcel(tuple(places), distinct_names([images[k] for k in places]), tuple(contents))

    for place, picture in enumerate(images):
        try:
            content = packed(picture, limits)
        except (OSError, ValueError) as error:
            if not skip:
                raise InputError(f"{picture.name} cannot be read as an image: {error}") from error
            if places:
                yield full()
                places, contents, held = [], [], 0
            yield Parcel((place,), unreadable=Unreadable(picture.name, str(error)))
            continue
        if places and (len(places) == limits.images or held + len(content) + A_PART > limits.bytes):
            yield full()
            places, contents, held = [], [], 0
        places.append(place)
        contents.append(content)
        held += len(content) + A_PART
    if places:
        yield full()


def packed(picture: Picture, limits: Limits) -> bytes:
    """The file of a picture: its own, or a PNG where it has none, or where a part of it is looked at.

    Args:
        picture: from :func:`triune.serving.pictures.pictures`.
        limits: what the service takes.

    Raises:
        OSError, ValueError: it cannot be read, or is larger than the service takes.
    """
    source = picture.source
    most = max(1, limits.image_bytes - A_PART)
    if isinstance(source, bytes) and picture.box is None:
        content = source
    elif isinstance(source, str) and picture.box is None:
        path = existing(source)
        regular_file(path)
        if os.path.getsize(path) > most:
            raise ValueError(_too_large(os.path.getsize(path), most))
        with open(path, "rb") as file:
            content = file.read(most + 1)
    else:
        content = as_png(upright_image(source, picture.box))
    if len(content) > most:
        raise ValueError(_too_large(len(content), most))
    return content


def as_png(image: Image.Image) -> bytes:
    """A PNG that is decoded to the same pixels.

    Raises:
        ValueError: none can be, since values have more than 16 bits or the colours are of a kind that Pillow does not
            convert.
    """
    if image.mode not in PNG_MODES:
        if image.mode.startswith("I"):
            values = np.asarray(image)
            if values.min(initial=0) < 0 or values.max(initial=0) > DEEPEST:
                raise ValueError(f"its values run from {values.min()} to {values.max()}: 0 to {DEEPEST} can be sent")
            image = Image.fromarray(values.astype(np.uint16))
        else:
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    written = io.BytesIO()
    image.save(written, "PNG", compress_level=1)
    return written.getvalue()


def _too_large(size: int, most: int) -> str:
    return f"its file has {size:,} bytes, and the service takes {most:,}: make it smaller"


def distinct_names(images: Sequence[Picture]) -> tuple[str, ...]:
    """What pictures are called in a request: the last part of their paths, each made to occur once.

    Where a picture lies on this machine is not told. Characters that a form or the service would write otherwise are
    left away, so that what the service says of a name is said of this one.
    """
    found: list[str] = []
    for place, picture in enumerate(images):
        name = plain_name(PurePath(picture.name).name) or f"image {place}"
        if name in found:
            stem = PurePath(name)
            counts = (f"{stem.stem}-{k}{stem.suffix}" for k in range(2, len(images) + 2))
            name = next(each for each in counts if each not in found)
        found.append(name)
    return tuple(found)


def plain_name(name: str) -> str:
    """The name of a file as a form and the service leave it: composed, printable, without quotes and backslashes."""
    composed = unicodedata.normalize("NFC", name.encode(errors="replace").decode())
    kept = "".join("_" if each in '"\\' else each for each in composed if each.isprintable() or each in JOINERS).strip()
    return kept[-MOST_NAME:].strip() if kept.strip(".") else ""


def upload(field: str, name: str, content: bytes) -> Upload:
    """A picture as a file of a form.

    Args:
        field: of the form.
        name: that it is sent under.
        content: its file.
    """
    kind = mimetypes.guess_type(name)[0] or ""
    return field, (name, content, kind if kind.startswith("image/") else "application/octet-stream")
