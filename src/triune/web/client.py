"""A run and a gallery that another machine serves, used as if they were here."""

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import numpy as np

from triune.distances.metric import Metric
from triune.errors import InputError
from triune.plurals import plural
from triune.ranges import is_whole
from triune.serving.answers import ImagePrediction, Unreadable, readable
from triune.serving.compared import pair_of, pairs_of
from triune.serving.gallery.hits import Hits
from triune.serving.gallery.identified import Identification
from triune.serving.pictures import Given, Picture, pictures
from triune.serving.verdicts import Verdict
from triune.web.exchange import Exchange, Question, Told, reason_of
from triune.web.sending import Refusal, sender
from triune.web.wire import (
    Enrolment,
    embeddings_of,
    enrolment_of,
    found_of,
    identifications_of,
    liked_of,
    predictions_of,
    verdict_of,
)

if TYPE_CHECKING:
    from triune.serving.networks import Progress

Array: TypeAlias = np.ndarray[Any, Any]
T = TypeVar("T")

TIMEOUT: Final = 60.0
RETRIES: Final = 3
PAIRS_AT_ONCE: Final = 8
"""Pairs that are under way together: the service gathers them into batches."""


class Client:
    """A service that ``triune serve`` runs, with the methods of a loaded run and of a gallery, and their answers.

    >>> with triune.Client("http://127.0.0.1:8000") as client:
    ...     client.verify("a.jpg", "b.jpg").same
    True

    Images are files, folders, patterns, tables, PIL images, arrays, tensors, or a list of any of these, as for
    :func:`triune.load`. Files are sent as they are, with all that they hold, and with the last part of their names;
    long lists go in several requests. A request that may be sent twice is sent again where the service is busy or
    cannot be reached; so may an enrolment, for it has a key by which the service knows it. A client may be used by
    several threads at once, and needs neither torch nor timm.

    Args:
        url: the service's address.
        token: that it asks for; none where it asks for none.
        timeout: seconds to wait for an answer.
        retries: how often a request is sent again.

    Raises:
        InputError: one of these cannot be. Each method raises it with the service's own line where the service refuses
            something, and where it cannot be reached.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = TIMEOUT, retries: int = RETRIES) -> None:
        self._exchange = Exchange(sender(url, token, timeout, retries))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; it cannot be used any more."""
        self._exchange.sender.connections.close()

    def __repr__(self) -> str:
        return f"<service at {self._exchange.sender.url}>"

    # --- what it is ---------------------------------------------------------------------------------------------------

    def about(self) -> Told:
        """What the service has: network, classes, figures, gallery, what it can and what it takes."""
        return self._exchange.sender.json("GET", "about")

    def ready(self) -> bool:
        """Whether the service answers, and has its network in memory."""
        try:
            told = self._exchange.sender.json("GET", "ready")
        except Refusal as refusal:
            if refusal.status in (0, 502, 503, 504):
                return False
            raise
        return told.get("status") == "ready"

    def pairs(self) -> Told:
        """How far apart matching and other validation pairs lie, and the threshold of each false-positive rate."""
        return self._exchange.sender.json("GET", "pairs")

    @property
    def name(self) -> str:
        """What the service calls its network."""
        return self._exchange.said(lambda told: str(told["name"]))

    @property
    def metric(self) -> Metric:
        """The distance between embeddings."""
        found: Metric = self._exchange.said(lambda told: told["metric"])
        return found

    @property
    def dim(self) -> int:
        """The length of an embedding; 0 where there is none."""
        return self._exchange.said(lambda told: int(told["dim"]))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; empty without a class head."""
        return self._exchange.said(lambda told: tuple(map(str, told["classes"] or ())))

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the weights: embeddings of two networks may be compared only where it is the same."""
        return self._exchange.said(lambda told: str(told["fingerprint"]))

    # --- a loaded run -------------------------------------------------------------------------------------------------

    def embed(self, images: Given, *, progress: "Progress | None" = None) -> Array:
        """Embeddings ``(N, D)`` float32, of unit length, in the order of the images.

        Args:
            images: any images.
            progress: called after each request with the numbers of images that are done and of all.

        Raises:
            InputError: an image cannot be read; it is named. Or the network has no embedding.
        """
        rows = self._exchange.each(Question("embed", embeddings_of), pictures(images), progress=progress)
        return np.stack([row for row in rows if not isinstance(row, Unreadable)])

    def predict(
        self, images: Given, *, skip: bool = False, progress: "Progress | None" = None
    ) -> list[ImagePrediction | Unreadable]:
        """Class, probabilities, mask in the image's own size, and embedding of each image, in order.

        Args:
            images: any images.
            skip: whether an image that cannot be read is told in its place, and not an error.
            progress: called after each request with the numbers of images that are done and of all.

        Raises:
            InputError: an image cannot be read; it is named.
        """
        return self._predictions(images, skip, progress, masks=True, embeddings=True)

    def classify(
        self, images: Given, *, skip: bool = False, progress: "Progress | None" = None
    ) -> list[ImagePrediction | Unreadable]:
        """Class and probabilities of each image, without mask and embedding.

        Args:
            images: any images.
            skip: whether an image that cannot be read is told in its place, and not an error.
            progress: called after each request with the numbers of images that are done and of all.

        Raises:
            InputError: the network has no class head, or an image cannot be read; it is named.
        """
        if not self.classes:
            raise InputError(f"{self.name} has no class head")
        return self._predictions(images, skip, progress, masks=False, embeddings=False)

    def segment(
        self, images: Given, *, skip: bool = False, progress: "Progress | None" = None
    ) -> list[ImagePrediction | Unreadable]:
        """The mask of each image in the image's own size, without class and embedding.

        Args:
            images: any images.
            skip: whether an image that cannot be read is told in its place, and not an error.
            progress: called after each request with the numbers of images that are done and of all.

        Raises:
            InputError: the network has no mask head, or an image cannot be read; it is named.
        """
        if not self._exchange.said(lambda told: bool(told["masks"])):
            raise InputError(f"{self.name} has no mask head")
        found = self._predictions(images, skip, progress, masks=True, embeddings=False)
        return [each if isinstance(each, Unreadable) else replace(each, probabilities=None) for each in found]

    def verify(self, first: Given, second: Given, *, fpr: float | None = None) -> Verdict:
        """Whether two images show the same thing, by the run's own threshold.

        Args:
            first: an image.
            second: another.
            fpr: a false-positive rate; the run's own where not given.

        Raises:
            InputError: an image cannot be read, there is not one on each side, or the run has no such threshold.
        """
        return self._verdict(pair_of(first, second), fpr)

    def verify_pairs(
        self,
        pairs: str | Path | Sequence[tuple[Given, Given]],
        *,
        fpr: float | None = None,
        skip: bool = False,
        progress: "Progress | None" = None,
    ) -> list[Verdict | Unreadable]:
        """The verdict on each of many pairs, in order; some are under way together.

        Args:
            pairs: two images each; or a CSV or Parquet table with the columns ``first`` and ``second``.
            fpr: as in :meth:`verify`.
            skip: whether a pair with an image that cannot be read is told in its place, and not an error.
            progress: called with the numbers of pairs that are done and of all.

        Raises:
            InputError: as in :meth:`verify`.
        """
        both = pairs_of(pairs)
        found: list[Verdict | Unreadable] = []
        one = partial(self._verdict_or_why if skip else self._verdict, fpr=fpr)
        with ThreadPoolExecutor(PAIRS_AT_ONCE) as pool:
            # A few at a time, so that an error is told without all the others being sent.
            for start in range(0, len(both), 8 * PAIRS_AT_ONCE):
                found += pool.map(one, both[start : start + 8 * PAIRS_AT_ONCE])
                if progress is not None:
                    progress(len(found), len(both))
        return found

    # --- a gallery ----------------------------------------------------------------------------------------------------

    def search(
        self,
        queries: Given | None = None,
        k: int = 10,
        *,
        where: str | None = None,
        like: Given | None = None,
        unlike: Given | None = None,
        diversity: float = 0.0,
        left_out: list[str] | None = None,
    ) -> list[Hits]:
        """The k most alike rows of the gallery for each query, the best first; or those most like several images.

        Args:
            queries: any images.
            k: how many; all rows where there are fewer.
            where: a condition that rows must meet, such as ``label = 'cup' and price < 20``.
            like: instead of queries: images that are liked; one answer.
            unlike: images that are disliked.
            diversity: from 0 to 1: how much hits should differ from each other rather than be like the query.
            left_out: gets the queries that cannot be read, each with the reason. Without it, such a query is an error.

        Raises:
            InputError: an image cannot be read, the condition is none, or the service has no gallery.
        """
        if unlike is not None and like is None:
            raise InputError("unlike needs like: give at least one item that is liked")
        if (queries is None) == (like is None):
            raise InputError("give images to look for, or like (and unlike): one of the two")
        form = {"k": str(k), "diversity": str(diversity)} | _given(where=where)
        if queries is not None:
            images = pictures(queries)
            answers = self._exchange.each(Question("search", found_of, form), images, skip=left_out is not None)
            return _read(answers, left_out)
        assert like is not None
        liked, disliked = pictures(like), [] if unlike is None else pictures(unlike)
        images = [*liked, *disliked]
        files = self._exchange.files(["like"] * len(liked) + ["unlike"] * len(disliked), images)
        return list(self._exchange.one(Question("search", liked_of, form), images, files))

    def identify(
        self, queries: Given, fpir: float = 0.01, *, where: str | None = None, left_out: list[str] | None = None
    ) -> list[Identification]:
        """Who is on each image, of those whose ``identity`` is enrolled in the gallery; or nobody of them.

        Args:
            queries: any images.
            fpir: the false-positive identification rate: the share of images of strangers that are named all the same.
            where: a condition that the enrolled rows meet.
            left_out: as for :meth:`search`.

        Raises:
            InputError: nobody is enrolled, or there are no strangers; or as :meth:`search`.
        """
        question = Question("identify", identifications_of, {"fpir": str(fpir)} | _given(where=where))
        return _read(self._exchange.each(question, pictures(queries), skip=left_out is not None), left_out)

    def enrol(self, images: Given, identity: str, *, label: str | None = None) -> Enrolment:
        """Add images of one identity to the gallery, all of them or none.

        Args:
            images: any images, no more than the service takes in one request.
            identity: what they show.
            label: their class.

        Returns:
            What :meth:`undo` takes.

        Raises:
            InputError: an image cannot be read, or they are too many.
        """
        given = pictures(images)
        # The service adds nothing for a key that it has: so the request may be sent again.
        form = {"identity": identity, "key": str(uuid.uuid4())} | _given(label=label)
        question = Question("enrol", lambda told, _: [enrolment_of(told)], form)
        return self._exchange.one(question, given, self._exchange.files(["images"] * len(given), given))[0]

    def undo(self, enrolment: Enrolment | str) -> int:
        """Remove the images of an enrolment, and say how many.

        It is sent once where it may have arrived: a second time there would be nothing to remove.

        Raises:
            InputError: there is no such enrolment, or no more.
        """
        key = enrolment if isinstance(enrolment, str) else enrolment.id
        if not key or not all(each.isalnum() or each in "-_" for each in key):
            raise InputError(f"{key!r} is no enrolment")
        told = self._exchange.sender.json("DELETE", f"enrol/{key}", repeatable=False)
        return self._exchange.understood(lambda told: int(told["removed"]), told)

    def enrolments(self) -> list[Told]:
        """Those that can be undone, the newest first: ``enrolment``, ``identity``, ``images`` (how many), ``time``."""
        told = self._exchange.sender.json("GET", "enrol")
        return self._exchange.understood(lambda told: list(told["enrolments"]), told)

    def thumbnail(self, row: int) -> bytes:
        """A small JPEG of a row of the gallery, such as ``hit.row``."""
        if not is_whole(row):
            raise InputError(f"{row!r} is no row: a whole number is needed, such as hit.row")
        return self._exchange.sender.image(f"thumbnail/{int(row)}")

    # --- how ----------------------------------------------------------------------------------------------------------

    def _predictions(
        self, images: Given, skip: bool, progress: "Progress | None", *, masks: bool, embeddings: bool
    ) -> list[ImagePrediction | Unreadable]:
        form = {"masks": str(masks).lower(), "embeddings": str(embeddings).lower()}
        question = Question("predict", predictions_of, form)
        return self._exchange.each(question, pictures(images), skip=skip, progress=progress)

    def _verdict(self, pair: tuple[Picture, Picture], fpr: float | None) -> Verdict:
        form = {} if fpr is None else {"fpr": str(fpr)}
        question = Question("verify", lambda told, names: [verdict_of(told, *names)], form)
        return self._exchange.one(question, pair, self._exchange.files(("first", "second"), pair))[0]

    def _verdict_or_why(self, pair: tuple[Picture, Picture], fpr: float | None) -> Verdict | Unreadable:
        """As the engine tells of a pair, one image of which cannot be read."""
        try:
            return self._verdict(pair, fpr)
        except Refusal as refusal:
            if refusal.image is None:
                raise
            bad = pair[refusal.image]
            return Unreadable(bad.name, reason_of(refusal, bad))


def _read(answers: Sequence[T | Unreadable], left_out: list[str] | None) -> list[T]:
    """The answers that there are, as a gallery gives them."""
    unread: list[str] = []
    found = list(readable(answers, unread))
    if left_out is not None:
        left_out += unread
    if not found:
        raise InputError(f"none of {plural(len(unread), 'image')} could be read; the first is {unread[0]}")
    return found


def _given(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}
