"""Routes of the gallery: search, identify, enrol and undo, small pictures."""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import numpy as np
from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import Response

from triune.serving.answers import ImagePrediction
from triune.serving.gallery.enrolments import Enrolment, Entrant
from triune.serving.gallery.filling import thumbnail
from triune.serving.gallery.hits import Hits
from triune.serving.networks import EMBEDDING
from triune.serving.pictures import Picture
from triune.web.answers import (
    Answer,
    EnrolAnswer,
    EnrolmentAnswer,
    EnrolmentsAnswer,
    EnrolOptions,
    HitAnswer,
    HitsAnswer,
    IdentificationAnswer,
    IdentifyAnswer,
    IdentifyOptions,
    RuleAnswer,
    SearchAnswer,
    SearchOptions,
    UndoneAnswer,
)
from triune.web.asking import add_route, answered, body_of
from triune.web.facts import number
from triune.web.library import Library, digest_of
from triune.web.refusals import Refused
from triune.web.routes import images_of
from triune.web.served import Served
from triune.web.uploads import Asked, clean_name, options_of

Array: TypeAlias = np.ndarray[Any, Any]

SEARCHED = ("images", "like", "unlike")

Key = Annotated[str, Path(max_length=64)]
Row = Annotated[int, Path(ge=0, lt=2**53)]
Digest = Annotated[str | None, Query(max_length=64, description="of the row's image, as /search gives it")]


def gallery_routes(app: FastAPI, served: Served) -> None:
    """Add the routes.

    Args:
        app: answers them.
        served: gives the answers.
    """

    async def search(request: Request) -> Response:
        """What the gallery holds that is most like each image; or most like some and least like others."""
        return await answered(request, served, SEARCHED, lambda asked: _search(served, asked))

    async def identify(request: Request) -> Response:
        """Who is on each image, of those enrolled in the gallery; or nobody of them."""
        return await answered(request, served, ("images",), lambda asked: _identify(served, asked))

    async def enrol(request: Request) -> Response:
        """Put images into the gallery under an identity: all of them or none. Nothing else that is sent is kept."""
        return await answered(request, served, ("images",), lambda asked: _enrol(served, asked))

    async def enrolments() -> EnrolmentsAnswer:
        """What was enrolled, the newest first."""
        found = await served.in_gallery(Library.enrolments)
        return EnrolmentsAnswer(enrolments=[_enrolment(each) for each in found])

    async def undo(enrolment: Key) -> UndoneAnswer:
        """Remove what was enrolled together."""
        removed, count = await served.in_gallery(lambda library: library.undo(enrolment))
        return UndoneAnswer(enrolment=enrolment, removed=removed, count=count)

    async def picture(row: Row, of: Digest = None, version: Annotated[int | None, Query()] = None) -> Response:
        """The small picture of a row, as a JPEG."""
        content = await served.in_gallery(lambda library: library.thumbnail(row, of))
        kept = "private, max-age=3600" if of is not None else "no-store"
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": kept})

    refusals = (400, 401, 403, 404, 408, 413, 415, 422, 500, 503)
    images = ("images",)
    searched = body_of(SEARCHED, True, SearchOptions, {"k": 3}, needed=())
    add_route(app, "POST /search", search, SearchAnswer, refusals, searched)
    add_route(app, "POST /identify", identify, IdentifyAnswer, refusals, body_of(images, True, IdentifyOptions, {}))
    named = body_of(images, True, EnrolOptions, {"identity": "Ada"})
    add_route(app, "POST /enrol", enrol, EnrolAnswer, (*refusals, 409), named)
    add_route(app, "GET /enrol", enrolments, EnrolmentsAnswer, (401, 403, 404, 500, 503))
    add_route(app, "DELETE /enrol/{enrolment}", undo, UndoneAnswer, (401, 403, 404, 422, 500, 503))
    add_route(app, "GET /thumbnail/{row}", picture, None, (401, 403, 404, 422, 500, 503))


async def _search(served: Served, asked: Asked) -> Answer:
    options = options_of(asked, SearchOptions)
    served.require_gallery()
    how = options.model_dump()
    images, like, unlike = (asked.images.get(key, []) for key in SEARCHED)
    if bool(images) == bool(like):
        raise Refused(422, "send images to look for, or like (and unlike): one of the two")
    if unlike and not like:
        raise Refused(422, "unlike needs like: send at least one image that is liked")
    sent = [*images, *like, *unlike]
    names = [each.name for each in sent]
    vectors = await _vectors(served, asked, sent)

    def found(library: Library) -> list[HitsAnswer]:
        if images:
            several = library.search(names, vectors, **how)
        else:
            count = len(like)
            unwanted = vectors[count:] if unlike else None
            several = library.search_by_taste((names[:count], names[count:]), vectors[:count], unwanted, **how)
        return [_hits(each, library) for each in several]

    return SearchAnswer(results=await served.in_gallery(found))


async def _identify(served: Served, asked: Asked) -> Answer:
    options = options_of(asked, IdentifyOptions)
    served.require_gallery()
    images = images_of(asked)
    vectors = await _vectors(served, asked, images)
    found = await served.in_gallery(lambda library: library.identify(vectors, options.fpir, options.where))
    named = [
        IdentificationAnswer(**each.to_dict(with_rule=False) | {"query": image.name})
        for each, image in zip(found, images, strict=True)
    ]
    return IdentifyAnswer(identifications=named, rule=RuleAnswer(**_in_words(found[0].rule.to_dict())))


async def _enrol(served: Served, asked: Asked) -> Answer:
    options = options_of(asked, EnrolOptions)
    library = served.require_gallery()
    identity = clean_name(options.identity, "identity")
    label = None if options.label is None else clean_name(options.label, "label")
    images = images_of(asked)
    key = options.key or uuid.uuid4().hex
    if options.key is not None and await served.in_gallery(lambda library: library.known(key)) is not None:
        entrants: list[Entrant] = []  # it is there: nothing needs to be embedded
    else:
        answers = await _answers(served, images)
        small = await served.decoded(images, lambda each: thumbnail(Picture(each.name, each.content)))
        entrants = [Entrant(*each) for each in zip(answers, small, strict=True)]
    names = [each.name for each in images]
    made, count = await served.in_gallery(lambda _: library.enrol(entrants, key, identity, label, names))
    return EnrolAnswer(enrolment=made.key, identity=made.identity, images=list(made.images), count=count)


async def _answers(served: Served, sent: Sequence[Any]) -> list[ImagePrediction]:
    return (await served.answers(sent, EMBEDDING))[1]


async def _vectors(served: Served, asked: Asked, sent: Sequence[Any]) -> Array:
    answers = await _answers(served, sent)
    return np.stack([each.embedding for each in answers if each.embedding is not None])


def _hits(found: Hits, library: Library) -> HitsAnswer:
    copies, version = library.duplicates(found), library.gallery.version
    hits = [
        HitAnswer(
            **hit.to_dict(),
            thumbnail=f"/thumbnail/{hit.row}?version={version}&of={digest_of(hit.image)}",
            duplicate_of=copies.get(hit.row),
        )
        for hit in found.hits
    ]
    return HitsAnswer(query=found.query, hits=hits)


def _enrolment(known: Enrolment) -> EnrolmentAnswer:
    time = known.time.isoformat(timespec="seconds") + "Z"
    return EnrolmentAnswer(enrolment=known.key, identity=known.identity, images=len(known.images), time=time)


def _in_words(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule as JSON holds it: numbers that are not finite are words."""
    strangers = [each | {end: number(each[end]) for end in ("low", "high")} for each in rule["strangers"]]
    ends = {name: number(rule[name]) for name in ("threshold", "threshold_distance")}
    return rule | ends | {"strangers": strangers}
