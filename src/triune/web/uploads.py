"""The body of a request, read into memory under limits: multipart files or base64 in JSON. Nothing goes to a disk."""

import asyncio
import base64
import binascii
import json
import unicodedata
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from triune.web.limits import Limits
from triune.web.refusals import Refused, full

JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data"
MOST_FIELDS: Final = 32
MOST_NAME: Final = 200
"""Characters of a name."""

JOINERS: Final = "\u200c\u200d"
"""Characters that show nothing but that names in some languages need."""

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Upload:
    """An image that came with a request.

    Args:
        name: what answers call it; before they are told apart, what the request calls it.
        content: of the image file.
    """

    name: str
    content: bytes


@dataclass(frozen=True)
class Asked:
    """What a request asks for.

    Args:
        images: by the field that they came in.
        fields: the other fields; texts of a form, values of any kind of JSON.
        is_json: whether it came as JSON.
    """

    images: dict[str, list[Upload]] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    is_json: bool = True


class Held:
    """Bytes of bodies that are in memory, of all requests together.

    Args:
        most: how many there may be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._now = 0

    @property
    def now(self) -> int:
        """How many there are."""
        return self._now

    def take(self, count: int) -> None:
        """So many more have come.

        Raises:
            Refused: there is no room for them.
        """
        if self._now + count > self._most:
            raise full("the service holds as many requests as its memory takes")
        self._now += count

    def free(self, count: int) -> None:
        """So many are gone."""
        self._now -= count


class _Holding:
    """The bytes of one request."""

    def __init__(self, held: Held, limits: Limits) -> None:
        self.held, self.limits, self.count = held, limits, 0

    def take(self, count: int) -> None:
        if self.count + count > self.limits.bytes:
            raise _too_large(self.limits)
        self.held.take(count)
        self.count += count


@contextmanager
def held_in(held: Held, limits: Limits) -> Iterator[_Holding]:
    """Count the bytes of one request as long as the block lasts.

    Args:
        held: of all requests.
        limits: of one.
    """
    holding = _Holding(held, limits)
    try:
        yield holding
    finally:
        held.free(holding.count)


async def asked_of(request: Request, keys: Sequence[str], limits: Limits, holding: _Holding) -> Asked:
    """Read a request's body.

    Args:
        request: whose.
        keys: the fields that hold images.
        limits: that it must keep.
        holding: counts its bytes.

    Raises:
        Refused: it is too large or too slow, is neither a form nor JSON, or holds no such fields.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (JSON, MULTIPART):
        raise Refused(415, f"the content type is {kind or 'not given'}: send {MULTIPART} or {JSON}")
    _check_length(request, limits)
    try:
        async with asyncio.timeout(limits.body_seconds):
            if kind == MULTIPART:
                return await _of_form(request, keys, limits, holding)
            body = b"".join([chunk async for chunk in _counted(request, holding)])
    except TimeoutError as error:
        raise Refused(
            408,
            f"the body has not come within {limits.body_seconds:g} s: send it faster",
            headers={"Connection": "close"},
        ) from error
    except ClientDisconnect as error:
        raise Refused(400, "the client went away") from error
    return await asyncio.to_thread(_of_json, body, keys, limits)


def options_of(asked: Asked, kind: type[M]) -> M:
    """The fields that hold no image, as their type.

    Raises:
        Refused: a field is not known, or has another value than it takes.
    """
    try:
        return kind.model_validate(asked.fields, strict=asked.is_json)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(map(str, problem["loc"])) or "the body"
        if problem["type"] == "extra_forbidden":
            others = f"those beside the images are {', '.join(kind.model_fields)}"
            known = others if kind.model_fields else "there are none beside the images"
            raise Refused(422, f"there is no field {name!r}: {known}") from error
        if problem["type"] == "missing":
            raise Refused(422, f"the field {name!r} is missing") from error
        raise Refused(422, f"{name}: {problem['msg']}") from error


def clean_name(text: str, what: str) -> str:
    """A name as it is stored: composed, on one line, without characters that show nothing.

    Args:
        text: as it came.
        what: it is the name of, such as "identity".

    Raises:
        Refused: it is empty, too long, or holds characters that no name has.
    """
    name = unicodedata.normalize("NFC", text).strip()
    if not name:
        raise Refused(422, f"{what} is empty: name it")
    if len(name) > MOST_NAME:
        raise Refused(422, f"{what} has {len(name)} characters: {MOST_NAME} are the most")
    if not all(each.isprintable() or each in JOINERS for each in name):
        raise Refused(422, f"{what} holds characters that show nothing: leave them away")
    return name


def file_name(given: str | None, place: int) -> str:
    """What answers call an image: the last part of its file name, or ``image K`` where it has none.

    Args:
        given: as it came.
        place: among the images of the request.
    """
    last = (given or "").replace("\\", "/").rpartition("/")[2]
    shown = "".join(each for each in unicodedata.normalize("NFC", last) if each.isprintable() or each in JOINERS)
    shown = shown.strip()[-MOST_NAME:]
    return shown if shown.strip(".") else f"image {place}"


def _check_length(request: Request, limits: Limits) -> None:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and len(length) < 20 and int(length) > limits.bytes:
        raise _too_large(limits)


def _too_large(limits: Limits) -> Refused:
    return Refused(
        413,
        f"the body has more than {limits.bytes:,} bytes: send fewer or smaller images",
        headers={"Connection": "close"},
    )


async def _counted(request: Request, holding: _Holding) -> AsyncGenerator[bytes, None]:
    async for chunk in request.stream():
        holding.take(len(chunk))
        yield chunk


class _InMemory(MultiPartParser):
    """Starlette's parser, whose files stay in memory whatever their size: the body is counted."""

    spool_max_size = 0
    ended = False

    def on_end(self) -> None:
        """The boundary that ends a form has come; of one that was cut off it never does."""
        self.ended = True
        super().on_end()


async def _of_form(request: Request, keys: Sequence[str], limits: Limits, holding: _Holding) -> Asked:
    parser = _InMemory(
        request.headers,
        _counted(request, holding),
        max_files=limits.images,
        max_fields=MOST_FIELDS,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise _too_many(limits) from error
        raise Refused(422, f"the form cannot be read: {error.message}") from error
    if not parser.ended:
        raise Refused(422, "the form is cut off before its last boundary: send all of it")
    images: dict[str, list[Upload]] = {}
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in keys:
            if isinstance(value, str):
                raise Refused(422, f"{name} is text: send an image file")
            content = value.file.read()
            value.file.close()
            images.setdefault(name, []).append(Upload(value.filename or "", content))
        elif not isinstance(value, str):
            raise Refused(422, f"there is no field {name!r} for files: images go into {' or '.join(keys)}")
        elif name in fields:
            raise Refused(422, f"the field {name!r} is given twice")
        else:
            fields[name] = value
    return _checked(Asked(images, fields, is_json=False), keys, limits)


def _of_json(body: bytes, keys: Sequence[str], limits: Limits) -> Asked:
    try:
        content = json.loads(body, object_pairs_hook=_fields_of)
    except (ValueError, RecursionError) as error:
        raise Refused(422, f"the body is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise Refused(422, 'the body is no JSON object: send {"FIELD": VALUE, …}')
    images: dict[str, list[Upload]] = {}
    place = 0
    for name in keys:
        if content.get(name) is None:
            content.pop(name, None)
            continue
        given = content.pop(name)
        several = given if isinstance(given, list) else [given]
        if place + len(several) > limits.images:
            raise _too_many(limits)
        images[name] = []
        for each in several:
            images[name].append(Upload("", _decoded(each, place)))
            place += 1
    return _checked(Asked(images, content), keys, limits)


def _fields_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, each of whose fields is given once: which of two was meant nobody knows."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise Refused(422, f"the field {name!r} is given twice")
        fields[name] = value
    return fields


def _decoded(text: Any, place: int) -> bytes:
    if not isinstance(text, str):
        raise Refused(422, f"image {place} is no text: send the image file in base64", place)
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(422, f"image {place} is no base64: {error}", place) from error


def _checked(asked: Asked, keys: Sequence[str], limits: Limits) -> Asked:
    """The same with the names that answers call images, which are told apart."""
    taken: set[str] = set()
    place = 0
    images: dict[str, list[Upload]] = {}
    for key in keys:
        for each in asked.images.get(key, []):
            own = name = file_name(each.name, place)
            if len(each.content) > limits.image_bytes:
                raise Refused(413, f"{own} has {len(each.content):,} bytes: {limits.image_bytes:,} are the most", place)
            number = 2
            while name in taken:
                name, number = f"{own} ({number})", number + 1
            taken.add(name)
            images.setdefault(key, []).append(Upload(name, each.content))
            place += 1
    return Asked(images, asked.fields, asked.is_json)


def _too_many(limits: Limits) -> Refused:
    return Refused(413, f"the request has more than {limits.images} images: send them in several requests")
