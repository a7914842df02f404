"""How a request with images is answered: its body read under limits, its answer made in time; how routes say so."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from triune.web.answers import Answer, Options, Problem
from triune.web.refusals import Refused
from triune.web.served import Served
from triune.web.uploads import JSON, MULTIPART, Asked, asked_of, held_in

LOG = logging.getLogger("triune.web")

REASONS = {
    400: "the client went away",
    401: "the token is missing or wrong",
    403: "a page of another site, or a foreign name",
    404: "what is served has no such answer",
    408: "the body came too slowly",
    409: "it contradicts what is stored",
    413: "too many bytes, pixels or images",
    415: "neither a form nor JSON",
    422: "no image, or a value that a field does not take",
    500: "the service failed",
    503: "too many images wait: the header Retry-After says when to come again",
}

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVR42mNkEIAAJgGKGACOGAQAwSeVywAAAABJRU5ErkJggg=="
"""A small picture, for examples."""


async def answered(
    request: Request, served: Served, keys: Sequence[str], work: Callable[[Asked], Awaitable[Answer]]
) -> Response:
    """Read a request, and answer it in time; the answer is written by a thread, as large ones take long.

    Args:
        request: whose body is read.
        served: whose limits it must keep.
        keys: the fields that hold images.
        work: makes the answer.

    Raises:
        Refused: it cannot be answered.
    """
    with held_in(served.held, served.limits) as holding:
        asked = await asked_of(request, keys, served.limits, holding)
        try:
            async with asyncio.timeout(served.limits.seconds):
                answer = await work(asked)
                content = await asyncio.to_thread(answer.model_dump_json)
        except TimeoutError as error:
            raise Refused(
                503,
                f"no answer was found within {served.limits.seconds:g} s: send fewer images",
                headers={"Retry-After": "5"},
            ) from error
    return Response(content, media_type=JSON, headers={"Cache-Control": "no-store"})


def add_route(
    app: FastAPI,
    named: str,
    handler: Callable[..., Any],
    answer: type[Answer] | None,
    refusals: Sequence[int],
    body: dict[str, Any] | None = None,
) -> None:
    """Add a route.

    Args:
        app: answers it.
        named: its method and path.
        handler: answers it; its docstring is what the OpenAPI document says of it.
        answer: what it answers; a picture where not given.
        refusals: the statuses of what it answers instead.
        body: that it takes, from :func:`body_of`.
    """
    method, _, path = named.partition(" ")
    responses: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": REASONS[status]} for status in refusals
    }
    if answer is None:
        responses[200] = {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
    app.add_api_route(
        path,
        handler,
        methods=[method],
        response_model=answer,
        response_class=Response if answer is None else JSONResponse,
        responses=responses,
        openapi_extra=body,
        name=handler.__name__,
    )


def body_of(
    keys: Sequence[str],
    several: bool,
    options: type[Options],
    example: Mapping[str, Any],
    needed: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The body that a route takes, for the OpenAPI document: a form with files, or JSON with base64.

    Args:
        keys: the fields that hold images.
        several: whether each holds several.
        options: the other fields.
        example: of these.
        needed: those of the images that must be there; all where not given.
    """
    others = options.model_json_schema()
    known = others.get("properties", {})
    wanted = [*(keys if needed is None else needed), *others.get("required", [])]

    def schema(image: dict[str, Any]) -> dict[str, Any]:
        one = {"type": "array", "items": image, "minItems": 1} if several else image
        return {
            "type": "object",
            "properties": dict.fromkeys(keys, one) | known,
            "required": wanted,
            "additionalProperties": False,
        }

    text = {"type": "string", "format": "byte", "description": "an image file in base64"}
    file = {"type": "string", "format": "binary", "contentMediaType": "image/*", "description": "an image file"}
    shown = dict.fromkeys(keys if needed is None else keys[:1], [PICTURE] if several else PICTURE) | dict(example)
    content = {JSON: {"schema": schema(text), "example": shown}, MULTIPART: {"schema": schema(file)}}
    return {"requestBody": {"required": True, "content": content}}
