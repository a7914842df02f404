"""Images that a service put into a gallery under an identity: together, told apart by a key, and undone by it.

An enrolment is a batch of rows with its key in a column of its own. The store writes a batch whole or not at all, so
that a process that is killed leaves all images of an enrolment or none. Of an image the gallery keeps what it keeps of
every row: the embedding, a small picture, the words. The file itself is kept nowhere.
"""

import datetime
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import filelock
import numpy as np
import polars as pl

from triune.errors import InputError
from triune.serving.answers import ImagePrediction
from triune.serving.gallery.filling import put
from triune.serving.gallery.store import Batch, Store

KEY: Final = "enrolment"
TIME: Final = "enrolled"

LOCK: Final = "enrolling.lock"
PATIENCE: Final = 30.0
"""Seconds to wait for another process that enrols."""

COLUMNS: Final[dict[str, pl.DataType]] = {KEY: pl.String(), TIME: pl.Datetime("us")}


@dataclass(frozen=True)
class Enrolment:
    """Images that were enrolled together.

    Args:
        key: tells it from others.
        identity: what they show.
        images: what the gallery calls them.
        time: when that was, UTC.
    """

    key: str
    identity: str
    images: tuple[str, ...]
    time: datetime.datetime


@dataclass(frozen=True)
class Entrant:
    """An image that is to be enrolled.

    Args:
        answer: its name and its embedding.
        thumbnail: a small JPEG.
    """

    answer: ImagePrediction
    thumbnail: bytes | None


def enrol(store: Store, entrants: Sequence[Entrant], key: str, identity: str, label: str | None = None) -> Enrolment:
    """Put images into a gallery under an identity: all of them or none.

    Done once more with the same key, it writes the same rows again.

    Args:
        store: takes them.
        entrants: at least one.
        key: tells the enrolment from others.
        identity: what they show.
        label: their class.

    Raises:
        InputError: the gallery has columns of these names that hold something else.
        OSError: it cannot be written.
    """
    there = store.columns()
    for name, kind in COLUMNS.items():
        if there.get(name, kind) != kind:
            raise InputError(f"{store.name} has a column {name} of its own, which enrolment needs: rename it")
    time = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    images = called(key, [each.answer.name for each in entrants])
    count = len(images)
    content = {
        "image": images,
        "label": [label] * count,
        "identity": [identity] * count,
        KEY: [key] * count,
        TIME: [time] * count,
    }
    frame = pl.DataFrame(content, schema={"image": pl.String, "label": pl.String, "identity": pl.String, **COLUMNS})
    rows = [each.answer.embedding for each in entrants if each.answer.embedding is not None]
    put(store, Batch(frame, np.stack(rows), [each.thumbnail for each in entrants]))
    return Enrolment(key, identity, images, time)


def called(key: str, names: Sequence[str]) -> tuple[str, ...]:
    """What a gallery calls the images of an enrolment.

    Args:
        key: of the enrolment.
        names: of the images, as they came.
    """
    return tuple(f"enrolled/{key}/{place}-{name}" for place, name in enumerate(names))


@contextmanager
def one_at_a_time(store: Store) -> Iterator[None]:
    """Be the only one who enrols or undoes: nobody else's comes between looking a key up and writing under it.

    Of processes that share a gallery in a folder; one that is in a database or in object storage has no such lock.

    Args:
        store: the gallery.

    Raises:
        OSError: another process has been enrolling for too long, or the folder cannot be written.
    """
    if store.folder is None:
        yield
        return
    lock = filelock.FileLock(store.folder / LOCK, thread_local=False)
    try:
        held = lock.acquire(timeout=PATIENCE)
    except filelock.Timeout as error:
        raise TimeoutError(f"another process has been enrolling into {store.name} for {PATIENCE:.0f} s") from error
    with held:
        yield


def enrolments(frame: pl.DataFrame) -> list[Enrolment]:
    """The enrolments that a gallery holds, the newest first.

    Args:
        frame: its rows.
    """
    if frame.schema.get(KEY) != COLUMNS[KEY] or frame.schema.get(TIME) != COLUMNS[TIME]:
        return []
    known = frame.filter(pl.col(KEY).is_not_null()).group_by(KEY, maintain_order=True)
    grouped = known.agg("image", pl.col("identity").first(), pl.col(TIME).max()).sort(TIME, descending=True)
    return [
        Enrolment(key, identity, tuple(images), time)
        for key, images, identity, time in grouped.select(KEY, "image", "identity", TIME).iter_rows()
    ]


def enrolment_of(frame: pl.DataFrame, key: str) -> Enrolment | None:
    """The enrolment of a key; ``None`` where there is none.

    Args:
        frame: the gallery's rows.
        key: of the enrolment.
    """
    if KEY not in frame.columns or frame.schema[KEY] != COLUMNS[KEY]:
        return None
    return next(iter(enrolments(frame.filter(pl.col(KEY) == key))), None)
