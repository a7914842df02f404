"""What is served: a run, its thresholds and figures, and a gallery; and how requests reach them without waiting."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from triune.errors import InputError
from triune.evaluation.results import Results
from triune.files import on_one_line
from triune.run.thresholds import StoredThresholds
from triune.serving.answers import ImagePrediction, Unreadable
from triune.serving.compared import Distinct, verdicts_of
from triune.serving.gallery.gallery import Gallery
from triune.serving.loaded import LoadedRun
from triune.serving.networks import Heads, Read
from triune.serving.pictures import Picture
from triune.serving.verdicts import Verdict, replaced_rate, threshold_at
from triune.web.batches import Batches, QueueFull, Told
from triune.web.decoding import read_upload
from triune.web.facts import thresholds_of
from triune.web.library import Library
from triune.web.limits import Limits
from triune.web.refusals import Refused, full
from triune.web.uploads import Held, Upload

LOG = logging.getLogger("triune.web")

T = TypeVar("T")

MOST_THREADS = 8


@dataclass(frozen=True)
class Try:
    """An image to try.

    Args:
        path: of the file.
        label: its class, where known.
        identity: what it shows, where known.
    """

    path: str
    label: str | None = None
    identity: str | None = None


@dataclass(frozen=True, eq=False)
class Content:
    """What is served.

    Args:
        run: answers.
        gallery: is searched; none where not given.
        samples: images to try.
        demo: whether it is the demonstration.
    """

    run: LoadedRun
    gallery: Gallery | None = None
    samples: Sequence[Try] = ()
    demo: bool = False


def batches_at_once(device: str, workers: int = 1) -> int:
    """How many batches a process computes at a time.

    A batch takes every processor, unless ``OMP_NUM_THREADS`` gives it fewer: then there is room for another.

    Args:
        device: where the network is.
        workers: processes that share the machine's processors.
    """
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if device != "cpu" or not threads.isdecimal() or int(threads) == 0:
        return 1
    return max(1, (os.cpu_count() or 1) // (int(threads) * workers))


class Served:
    """A run and a gallery behind threads: decoding in several, the network on its own, the gallery on another.

    Args:
        content: what is served.
        limits: of requests.
        told: called after each batch with its images and its seconds.
        workers: processes that share the machine's processors.
    """

    def __init__(self, content: Content, limits: Limits, told: Told | None = None, workers: int = 1) -> None:
        self.run, self.content = content.run, content
        self.library = None if content.gallery is None else Library(content.gallery)
        self._asking = 0
        self.name = last_part(self.run.name)
        self.limits = limits
        self.held = Held(limits.memory)
        self.results: Results | None = self.run.network.results
        self.thresholds: StoredThresholds | str = thresholds_of(self.run)
        threads = limits.threads or min(MOST_THREADS, os.cpu_count() or 1)
        self.batches = Batches(
            self.run,
            limits.batch,
            limits.waiting,
            limits.gather_ms / 1000,
            told=told,
            at_once=limits.at_once or batches_at_once(self.run.network.card.device, workers),
        )
        self._decoders = ThreadPoolExecutor(threads, "decode")
        self._librarian = ThreadPoolExecutor(1, "gallery")

    def close(self) -> None:
        """Answer what waits, and end the threads."""
        self._decoders.shutdown(cancel_futures=True)
        self.batches.close()
        self._librarian.shutdown()

    async def answers(self, uploads: Sequence[Upload], heads: Heads) -> tuple[list[Picture], list[ImagePrediction]]:
        """What the network says of each image.

        Args:
            uploads: the images.
            heads: which answers are wanted.

        Raises:
            Refused: one cannot be read, or too many wait.
        """
        try:
            self.batches.take_on(len(uploads))
        except QueueFull as error:
            raise full(f"{self.batches.waiting} images wait already, and {self.limits.waiting} are the most") from error
        loop = asyncio.get_running_loop()
        reading = [
            loop.run_in_executor(self._decoders, read_upload, self.run, each, place, self.limits)
            for place, each in enumerate(uploads)
        ]
        found = await _all_ended(reading, partial(self.batches.give_up, len(uploads)))
        images, read = [each[0] for each in found], [each[1] for each in found]
        try:
            return images, await asyncio.wrap_future(self.batches.submit(images, read, heads))
        except InputError as error:
            raise Refused(500, str(error)) from error

    async def in_gallery(self, work: Callable[[Library], T]) -> T:
        """What is asked of the gallery, on its own thread, one thing at a time.

        Raises:
            Refused: there is no gallery, it cannot do it, its disk fails, or too many wait for it.
        """
        library = self.require_gallery()
        if self._asking >= self.limits.waiting:
            raise full(f"{self._asking} requests wait for the gallery already")
        self._asking += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._librarian, work, library)
        except InputError as error:
            raise Refused(422, without_place(str(error), library.gallery.name)) from error
        except OSError as error:
            LOG.error("the gallery cannot be read or written: %s", on_one_line(str(error)))
            reason = os.strerror(error.errno) if error.errno else "the log says why"
            raise Refused(
                503, f"the gallery cannot be read or written now: {reason}", headers={"Retry-After": "5"}
            ) from error
        finally:
            self._asking -= 1

    def require_gallery(self) -> Library:
        """The gallery.

        Raises:
            Refused: there is none.
        """
        if self.library is None:
            raise Refused(404, "no gallery is served: start the service with --gallery GALLERY")
        return self.library

    async def decoded(self, uploads: Sequence[Upload], work: Callable[[Upload], T]) -> list[T]:
        """What is made of each image, by the threads that decode.

        Args:
            uploads: the images.
            work: makes it.
        """
        loop = asyncio.get_running_loop()
        return list(await asyncio.gather(*(loop.run_in_executor(self._decoders, work, each) for each in uploads)))

    def verdict(self, pair: Sequence[Picture], answers: Sequence[ImagePrediction], fpr: float | None) -> Verdict:
        """The verdict on a pair, as :meth:`LoadedRun.verify` gives it.

        Args:
            pair: two images.
            answers: their embeddings.
            fpr: the rate that is asked for.

        Raises:
            Refused: the run has no such threshold.
        """
        if isinstance(self.thresholds, str):
            raise Refused(404, self.thresholds.replace(self.run.name, self.name))
        try:
            threshold = threshold_at(self.thresholds, fpr, self.name)
        except InputError as error:
            raise Refused(422 if fpr is not None else 404, str(error)) from error
        first, second = pair
        distinct = Distinct([first, second], np.array([0]), np.array([1]))
        (found,) = verdicts_of([(first, second)], distinct, answers, self.run.metric, threshold)
        assert not isinstance(found, Unreadable)
        return found._replace(asked_fpr=replaced_rate(fpr, threshold))


def last_part(place: str) -> str:
    """What a run or a gallery is called by those who need not know where it lies."""
    return place.rstrip("/").rpartition("/")[2] or place


def without_place(text: str, place: str) -> str:
    """A message about a gallery that does not say where it lies, which is nobody else's business.

    Args:
        text: the message; libraries write a whole path, some of them without its first slash.
        place: as the gallery was named.
    """
    whole = os.path.abspath(place)
    for each in (whole, whole.lstrip("/"), place):  # in this order: a part of it is found in the whole
        text = text.replace(each, last_part(place))
    return text


async def _all_ended(
    reading: "Sequence[asyncio.Future[tuple[Picture, Read]]]", give_up: Callable[[], Any]
) -> list[tuple[Picture, Read]]:
    """What each gives; the first fault of any once all have ended, so that their places are free again then."""
    try:
        found = await asyncio.gather(*reading, return_exceptions=True)
    except asyncio.CancelledError:
        give_up()
        raise
    for each in found:
        if isinstance(each, BaseException):
            give_up()
            raise each
    return [each for each in found if not isinstance(each, BaseException)]
