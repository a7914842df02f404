"""Routes of the run itself: verify, predict, embed; what it is, and how it is."""

import base64
import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response
from PIL import Image

from triune._version import __version__
from triune.errors import InputError
from triune.serving.answers import ImagePrediction
from triune.serving.networks import COMPARED, EMBEDDING, Heads
from triune.web.answers import (
    Ability,
    AboutAnswer,
    AboutGallery,
    AboutLimits,
    Answer,
    EmbedAnswer,
    EmbedOptions,
    PairsAnswer,
    PredictAnswer,
    PredictionAnswer,
    PredictOptions,
    Sample,
    SamplesAnswer,
    StatusAnswer,
    VerdictAnswer,
    VerifyOptions,
)
from triune.web.asking import add_route, answered, body_of
from triune.web.facts import expected, figures_of, number, pairs_of
from triune.web.library import Library
from triune.web.refusals import Refused
from triune.web.served import Served, last_part
from triune.web.uploads import Asked, Upload, options_of

JSON: Final = "application/json"


def model_routes(app: FastAPI, served: Served) -> None:
    """Add the routes.

    Args:
        app: answers them.
        served: gives the answers.
    """

    async def verify(request: Request) -> Response:
        """Whether two images show the same thing, by the run's own threshold or that of another rate."""
        return await answered(request, served, ("first", "second"), lambda asked: _verify(served, asked))

    async def predict(request: Request) -> Response:
        """Class, probabilities and mask of each image, as far as the network has such heads."""
        return await answered(request, served, ("images",), lambda asked: _predict(served, asked))

    async def embed(request: Request) -> Response:
        """The embedding of each image, of unit length."""
        return await answered(request, served, ("images",), lambda asked: _embed(served, asked))

    async def about() -> AboutAnswer:
        """What is served: the model, its figures, its gallery, its limits."""
        return await _about(served)

    async def pairs() -> PairsAnswer:
        """How far apart validation pairs lie, and the thresholds that they give."""
        try:
            return pairs_of(served.results, served.thresholds, served.name)
        except InputError as error:
            raise Refused(404, str(error)) from error

    async def samples() -> SamplesAnswer:
        """Images to try, with --demo; else none."""
        listed = enumerate(served.content.samples)
        return SamplesAnswer(
            images=[Sample(url=f"/samples/{k}", label=each.label, identity=each.identity) for k, each in listed]
        )

    async def sample(place: int) -> Response:
        """One of them."""
        if not 0 <= place < len(served.content.samples):
            raise Refused(404, f"there is no sample {place}: GET /samples lists them")
        return FileResponse(served.content.samples[place].path)

    async def health() -> StatusAnswer:
        """Whether the process answers."""
        return StatusAnswer(status="alive")

    async def ready() -> StatusAnswer:
        """Whether it can be asked."""
        if not served.batches.alive:
            raise Refused(503, "the network's thread has ended: start the service again")
        return StatusAnswer(status="ready")

    refusals = (400, 401, 403, 404, 408, 413, 415, 422, 500, 503)
    pair, images = ("first", "second"), ("images",)
    add_route(app, "POST /verify", verify, VerdictAnswer, refusals, body_of(pair, False, VerifyOptions, {"fpr": 0.01}))
    add_route(app, "POST /predict", predict, PredictAnswer, refusals, body_of(images, True, PredictOptions, {}))
    add_route(app, "POST /embed", embed, EmbedAnswer, refusals, body_of(images, True, EmbedOptions, {}))
    add_route(app, "GET /about", about, AboutAnswer, (401, 403, 500, 503))
    add_route(app, "GET /pairs", pairs, PairsAnswer, (401, 403, 404))
    add_route(app, "GET /samples", samples, SamplesAnswer, (401, 403))
    add_route(app, "GET /samples/{place}", sample, None, (401, 403, 404, 422))
    add_route(app, "GET /health", health, StatusAnswer, (403,))
    add_route(app, "GET /ready", ready, StatusAnswer, (403, 503))


async def _verify(served: Served, asked: Asked) -> Answer:
    options = options_of(asked, VerifyOptions)
    _require_embedding(served)
    pair = [*asked.images.get("first", []), *asked.images.get("second", [])]
    if [len(asked.images.get(key, [])) for key in ("first", "second")] != [1, 1]:
        raise Refused(422, "one image is compared with one other: send one as first and one as second")
    images, answers = await served.answers(pair, COMPARED)
    found = served.verdict(images, answers, options.fpr)
    told = found.to_dict() | {"distance": number(found.distance), "threshold": number(found.threshold)}
    return VerdictAnswer(**told | {"expected": expected(found.expected)})


async def _predict(served: Served, asked: Asked) -> Answer:
    options = options_of(asked, PredictOptions)
    card = served.run.network.card
    if not (card.classes or card.masks or options.embeddings):
        raise Refused(404, f"{served.name} has neither a class head nor a mask head: POST /embed gives embeddings")
    heads = Heads(masks=options.masks, embedding=options.embeddings)
    _, found = await served.answers(images_of(asked), heads)
    return PredictAnswer(predictions=[_prediction(each) for each in found])


async def _embed(served: Served, asked: Asked) -> Answer:
    options_of(asked, EmbedOptions)
    _require_embedding(served)
    _, found = await served.answers(images_of(asked), EMBEDDING)
    rows = [each.embedding.tolist() for each in found if each.embedding is not None]
    run = served.run
    return EmbedAnswer(embeddings=rows, dim=run.dim, metric=run.metric, fingerprint=run.fingerprint)


def images_of(asked: Asked) -> Sequence[Upload]:
    """The images of a request that sends them in the field ``images``.

    Raises:
        Refused: there are none.
    """
    images = asked.images.get("images", [])
    if not images:
        raise Refused(422, "no images were sent: send them in the field images")
    return images


def _require_embedding(served: Served) -> None:
    if not served.run.dim:
        raise Refused(404, f"{served.name} has no embedding head: POST /predict gives classes and masks")


def _prediction(found: ImagePrediction) -> PredictionAnswer:
    mask = None if found.mask is None else base64.b64encode(_png(found.mask)).decode()
    return PredictionAnswer(**found.to_dict() | {"probabilities": found.probabilities, "mask": mask})


def _png(ids: "np.ndarray[Any, Any]") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(ids).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


async def _about(served: Served) -> AboutAnswer:
    run, limits = served.run, served.limits
    card = run.network.card
    can: list[Ability] = ["predict"] if card.classes or card.masks else []
    if run.dim:
        can = ["verify", *can] if getattr(served.thresholds, "unavailable", "") is None else can
        can.append("embed")
    gallery = None
    if served.library is not None:
        gallery = await served.in_gallery(_about_gallery)
        named = gallery.identities or gallery.labels
        can += ["search", "identify", "enrol"] if named else ["search", "enrol"]
    return AboutAnswer(
        name=served.name,
        version=__version__,
        backbone=card.backbone,
        metric=run.metric,
        dim=run.dim,
        classes=list(run.classes),
        masks=card.masks,
        fingerprint=run.fingerprint,
        figures=figures_of(served.results, getattr(served.thresholds, "target_fpr", None)),
        gallery=gallery,
        can=can,
        limits=AboutLimits(
            images=limits.images,
            image_bytes=limits.image_bytes,
            bytes=limits.bytes,
            pixels=limits.pixels,
            seconds=limits.seconds,
        ),
        demo=served.content.demo,
    )


def _about_gallery(library: Library) -> AboutGallery:
    gallery = library.fresh()
    rows = gallery.rows().drop("row")
    return AboutGallery(
        name=last_part(gallery.name),
        count=gallery.count,
        identities=rows["identity"].drop_nulls().n_unique(),
        labels=rows["label"].drop_nulls().n_unique(),
        columns={column.name: str(column.dtype) for column in rows},
        version=gallery.version,
    )
