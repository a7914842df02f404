"""Images of many requests go through the network together: threads that have it, and a queue that is bounded."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeAlias

from triune.errors import InputError
from triune.serving.answers import ImagePrediction
from triune.serving.loaded import LoadedRun
from triune.serving.networks import Heads, Read
from triune.serving.pictures import Picture

LOG = logging.getLogger("triune.web")

Told: TypeAlias = Callable[[int, float], None]
"""Called after each batch with its images and its seconds."""


class QueueFull(Exception):
    """More images wait than may."""


@dataclass(frozen=True, eq=False)
class Job:
    """Images of one request.

    Args:
        images: what they are called.
        read: the same as the network takes them.
        heads: which answers are wanted.
        answers: gets them.
    """

    images: Sequence[Picture]
    read: Sequence[Read]
    heads: Heads
    answers: "Future[list[ImagePrediction]]" = field(default_factory=Future)


class Batches:
    """A run's network on threads of its own, which answer jobs in batches, begun in the order in which they came.

    A job that comes alone is begun at once. While the network is busy, others gather; and where others are being
    decoded at the moment, a batch waits for them, a few milliseconds at most.

    Args:
        run: answers.
        batch: images that go through the network at a time; a job with more is a batch of its own.
        waiting: images that may wait, those that are being decoded included.
        gather: seconds that a batch waits for images that are being decoded.
        told: called after each batch with its images and its seconds.
        at_once: batches that are computed at the same time.
    """

    def __init__(
        self, run: LoadedRun, batch: int, waiting: int, gather: float, *, told: Told | None = None, at_once: int = 1
    ) -> None:
        self._run = run
        self._batch, self._most, self._gather = batch, waiting, gather
        self._told = told
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._decoding = 0
        self._threads = [threading.Thread(target=self._work, name="network", daemon=True) for _ in range(at_once)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Images that were taken on and are not answered yet."""
        return self._waiting

    @property
    def alive(self) -> bool:
        """Whether the network's threads are there."""
        return all(thread.is_alive() for thread in self._threads)

    def take_on(self, count: int) -> None:
        """Reserve places for images that are about to be decoded; :meth:`submit` or :meth:`give_up` follows.

        Raises:
            QueueFull: there are not so many places.
        """
        with self._lock:
            if self._waiting and self._waiting + count > self._most:
                raise QueueFull
            self._waiting += count
            self._decoding += count

    def submit(self, images: Sequence[Picture], read: Sequence[Read], heads: Heads) -> "Future[list[ImagePrediction]]":
        """Hand over images that were taken on and decoded; their places are free once they are answered.

        Args:
            images: what they are called.
            read: the same as the network takes them.
            heads: which answers are wanted.
        """
        job = Job(images, read, heads)
        job.answers.add_done_callback(lambda _: self._leave(len(images), 0))
        self._leave(0, len(images))
        self._jobs.put(job)
        return job.answers

    def give_up(self, count: int) -> None:
        """Free the places of images that were taken on and could not be decoded."""
        self._leave(count, count)

    def close(self) -> None:
        """Answer what waits, and end the threads."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _leave(self, waiting: int, decoding: int) -> None:
        with self._lock:
            self._waiting -= waiting
            self._decoding -= decoding

    def _work(self) -> None:
        job: Job | None = None
        ended = False
        while not ended:
            job = job or self._jobs.get()
            if job is None:
                return
            gathered, job, ended = self._gathered(job)
            wanted = [each for each in gathered if each.answers.set_running_or_notify_cancel()]
            # Those with the same answers in one batch, the order kept among them.
            for heads, group in groupby(sorted(wanted, key=lambda each: repr(each.heads)), lambda each: each.heads):
                self._answer(list(group), heads)

    def _gathered(self, first: Job) -> tuple[list[Job], Job | None, bool]:
        """Jobs that fit one batch, the one that does not fit any more, and whether the end was asked for."""
        jobs, count = [first], len(first.images)
        until = time.monotonic() + self._gather
        while count < self._batch:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                left = until - time.monotonic()
                if self._decoding <= 0 or left <= 0:
                    break
                try:
                    job = self._jobs.get(timeout=left)
                except queue.Empty:
                    break
            if job is None:
                return jobs, None, True
            if count + len(job.images) > self._batch:
                return jobs, job, False
            jobs.append(job)
            count += len(job.images)
        return jobs, None, False

    def _answer(self, jobs: Sequence[Job], heads: Heads) -> None:
        begun = time.perf_counter()
        images = [each for job in jobs for each in job.images]
        try:
            answers = self._run.answer(images, [each for job in jobs for each in job.read], heads)
        except Exception as error:
            if len(jobs) > 1:  # one that cannot be answered is nobody else's trouble
                for job in jobs:
                    self._answer([job], heads)
                return
            if not isinstance(error, InputError):
                LOG.exception("the network failed on %d images", len(images))
            jobs[0].answers.set_exception(error)
            return
        if self._told is not None:
            self._told(len(images), time.perf_counter() - begun)
        start = 0
        for job in jobs:
            job.answers.set_result(answers[start : start + len(job.images)])
            start += len(job.images)
