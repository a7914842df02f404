"""Images are embedded and written batch by batch; what is there already and has not changed is passed over."""

import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from PIL import Image

from triune.data.decode import decode_image
from triune.errors import InputError
from triune.plurals import plural
from triune.serving.answers import ImagePrediction, Unreadable
from triune.serving.gallery.card import OWN, STAMP, card_of
from triune.serving.gallery.listing import Listing, Naming, listed
from triune.serving.gallery.places import create_store, require_free
from triune.serving.gallery.store import Batch, Store
from triune.serving.networks import BATCH, Progress
from triune.serving.pictures import Given, Picture

if TYPE_CHECKING:
    from triune.serving.loaded import LoadedRun


ROWS = 256
"""Rows that are written together."""

SIDE = 160
"""The longer side of a thumbnail, in pixels."""

THREADS = 4
"""That make thumbnails."""


@dataclass(frozen=True)
class Added:
    """What became of images that were put into a gallery.

    Args:
        added: how many are new.
        updated: how many took the place of their former row.
        unchanged: how many were there already, of the same file and with the same cells.
        left_out: those that could not be read, each with the reason.
    """

    added: int
    updated: int
    unchanged: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Filling:
    """How a gallery is filled.

    Args:
        skip: whether an image that cannot be read is left out, and not an error.
        batch_size: images that go through the network at a time.
        thumbnails: whether a small picture of each is kept.
        progress: called with the numbers of images that are done and of all.
    """

    skip: bool = False
    batch_size: int = BATCH
    thumbnails: bool = True
    progress: Progress | None = None


PLAINLY = Filling()
"""Every image must be readable."""


def fill_new(name: str, run: "LoadedRun", images: Given, naming: Naming, how: Filling) -> tuple[Store, Added]:
    """A new store of images, and what became of them.

    Args:
        name: where it is made.
        run: embeds the images.
        images: any images.
        naming: what is said of all of them.
        how: as asked for.

    Raises:
        InputError: something is there already, or an image cannot be read; what was written before it stays.
    """
    listing = listed(images, naming)
    require_free(name)
    store: Store | None = None
    added, left_out = 0, list[str]()
    with going_on(name, lambda: added):
        for batch, unread in embedded(run, listing, how):
            left_out += unread
            if not len(batch.frame):
                continue
            if store is None:
                store = create_store(name, card_of(run), all_columns(listing))
            put(store, batch)
            added += len(batch.frame)
    if store is None:
        raise InputError(f"none of {plural(len(listing.pictures), 'image')} could be read; the first is {left_out[0]}")
    store.tidy()
    return store, Added(added, 0, 0, tuple(left_out))


def fill_more(
    store: Store, before: pl.DataFrame, run: "LoadedRun", images: Given, naming: Naming, how: Filling
) -> Added:
    """Add images to a store; those that are there are updated where their file or their cells have changed.

    Args:
        store: takes them.
        before: the rows that are there.
        run: embeds the images.
        images: any images.
        naming: what is said of all of them.
        how: as asked for.

    Raises:
        InputError: an image cannot be read; what was written before it stays.
    """
    listing = fitted(listed(images, naming), store.columns(), store.name)
    fresh = changed(listing, before)
    done, left_out = list[str](), list[str]()
    with going_on(store.name, lambda: len(done)):
        for batch, unread in embedded(run, fresh, how) if fresh.pictures else ():
            left_out += unread
            if len(batch.frame):
                put(store, batch)
                done += batch.frame["image"].to_list()
    if done:
        store.tidy()
    there = set(before["image"].to_list())
    updated = sum(image in there for image in done)
    return Added(len(done) - updated, updated, len(listing.pictures) - len(fresh.pictures), tuple(left_out))


def all_columns(listing: Listing) -> dict[str, pl.DataType]:
    """The types of a gallery's columns, of which what is listed is the first content."""
    own: dict[str, pl.DataType] = dict.fromkeys(OWN, pl.String())
    return own | {name: listing.frame.schema[name] for name in listing.known} | dict.fromkeys(STAMP, pl.Int64())


def fitted(listing: Listing, there: Mapping[str, pl.DataType], source: str) -> Listing:
    """A listing whose columns have the types of a store's; columns of its own stay as they are.

    Args:
        listing: the images and what is known of them.
        there: the types of the store's columns.
        source: what messages call the store.

    Raises:
        InputError: a cell cannot be read as the type of its column, or would be another one then.
    """
    frame = listing.frame
    for name in listing.known:
        own, kind = frame[name], there.get(name, frame.schema[name])
        values = own.cast(kind, strict=False)
        wrong = values.is_null() & own.is_not_null()
        if pl.String not in (own.dtype, kind):  # text is read and written in many forms; numbers and times are not
            wrong |= values.cast(own.dtype, strict=False).ne_missing(own)
        if wrong.any():
            row = int(wrong.arg_true()[0])
            raise InputError(
                f"column {name} of {source} holds {kind}, and {own[row]!r} of {frame['image'][row]} is none: "
                "correct the table"
            )
        frame = frame.with_columns(values)
    return Listing(frame, listing.pictures)


def embedded(run: "LoadedRun", listing: Listing, how: Filling) -> Iterator[tuple[Batch, list[str]]]:
    """Batches of rows, and which images of each could not be read.

    Args:
        run: embeds the images.
        listing: the images and what is known of them.
        how: as asked for.

    Raises:
        InputError: an image cannot be read, and is not to be skipped.
    """
    answers = run.embed_each(listing.pictures, skip=how.skip, batch_size=how.batch_size, progress=how.progress)
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(listing.pictures), ROWS):
            part = listing.pictures[start : start + ROWS]
            # They are made while the network embeds the same images.
            small = [pool.submit(thumbnail, each) for each in part] if how.thumbnails else []
            said = list(itertools.islice(answers, len(part)))
            sound = [place for place, each in enumerate(said) if isinstance(each, ImagePrediction)]
            rows: list[Any] = [each.embedding for each in said if isinstance(each, ImagePrediction)]
            pictures = [small[place].result() if small else None for place in sound]
            frame = listing.frame[start : start + ROWS][sound]
            left_out = [str(each) for each in said if isinstance(each, Unreadable)]
            yield Batch(frame, np.stack(rows) if rows else np.empty((0, 0), np.float32), pictures), left_out


def put(store: Store, batch: Batch) -> None:
    """Write a batch; the store is given the columns that it lacks first.

    Args:
        store: takes it.
        batch: its rows.
    """
    there = store.columns()
    new = {name: kind for name, kind in batch.frame.schema.items() if name not in there}
    if new:
        store.widen(new)
    store.put(batch)


def changed(listing: Listing, before: pl.DataFrame) -> Listing:
    """What of a listing is not there yet, or is there of another file or with other cells.

    Args:
        listing: of columns as the rows have them.
        before: the rows that are there.
    """
    columns = [*listing.known, *STAMP]
    # No column of a table begins with a line below.
    own = [pl.col(name).alias(f"__before_{name}") for name in columns if name in before.columns]
    there = before.select("image", pl.lit(True).alias("__there"), *own)
    joined = listing.frame.join(there, on="image", how="left", maintain_order="left")
    same = joined["__there"].fill_null(False)
    for name in columns:
        if name in before.columns:
            same &= joined[name].eq_missing(joined[f"__before_{name}"])
        else:
            same &= joined[name].is_null()
    places = (~same).arg_true().to_list()
    return Listing(listing.frame[places], tuple(listing.pictures[place] for place in places))


@contextmanager
def going_on(name: str, written: Callable[[], int]) -> Iterator[None]:
    """Where images cannot all be embedded, say what was written before, and how it goes on.

    Args:
        name: of the gallery.
        written: how many images are in it by now.
    """
    try:
        yield
    except InputError as error:
        count = written()
        if not count:
            raise
        raise InputError(
            f"{error}; the {count} images before it are in {name}: leave it out with --skip, and go on with --add"
        ) from error


def thumbnail(picture: Picture) -> bytes | None:
    """A small JPEG of an image, or ``None`` where it cannot be read."""
    try:
        pixels = decode_image(picture.source, 3, box=picture.box).pixels
    except (OSError, ValueError):
        return None
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=84)
    return buffer.getvalue()


def types_of(words: Sequence[str]) -> Mapping[str, str]:
    """The types that ``--types price=float seats=int`` asks for.

    Raises:
        InputError: it is written otherwise.
    """
    types: dict[str, str] = {}
    for word in words:
        name, equals, kind = word.rpartition("=")
        if not equals or not name:
            raise InputError(f"--types {word}: write NAME=TYPE, such as price=float")
        types[name.strip()] = kind.strip()
    return types
