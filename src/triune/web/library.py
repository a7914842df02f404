"""What the service asks of a gallery: it runs on the gallery's own thread, one thing at a time."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from triune.data.likeness import copy_limit, differences, signatures
from triune.errors import InputError
from triune.serving.gallery.enrolments import (
    Enrolment,
    Entrant,
    called,
    enrol,
    enrolment_of,
    enrolments,
    one_at_a_time,
)
from triune.serving.gallery.gallery import Gallery
from triune.serving.gallery.hits import Hits
from triune.serving.gallery.identified import Identification
from triune.serving.gallery.places import open_store
from triune.serving.gallery.taste import Shown, in_words
from triune.web.refusals import Refused

Array: TypeAlias = np.ndarray[Any, Any]

SAMPLE: Final = 60
"""Thumbnails that tell how much copies of the gallery's pictures differ."""

TIDY_AFTER: Final = 50
"""Enrolments, each of which is a small file, are put together after so many."""

MOST_SIGNATURES: Final = 10_000


class Library:
    """A gallery as the service uses it.

    Before each answer it takes up what others have written: another worker, or a command. Not for several threads.

    Args:
        gallery: is searched, and enrolled into.
    """

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        self._store = open_store(gallery.name)
        self._written = 0
        self._limit: float | None = None
        self._signatures: dict[str, Array] = {}
        self._names: tuple[int, dict[str, str]] = (-1, {})

    def fresh(self) -> Gallery:
        """The gallery as it is now.

        Raises:
            OSError: it cannot be read any more: it was sound when the service began, so no request is to blame.
        """
        try:
            changed = self.gallery.refresh()
        except InputError as error:
            raise OSError(str(error)) from error
        if changed:
            self._signatures.clear()
        return self.gallery

    def search(self, names: Sequence[str], vectors: Array, **how: Any) -> list[Hits]:
        """What is most like each of some images.

        Args:
            names: what they are called.
            vectors: their embeddings.
            **how: as :meth:`Gallery.search` takes it.
        """
        found = self.fresh().search(vectors, **how)
        return [Hits(name, each.hits) for name, each in zip(names, found, strict=True)]

    def search_by_taste(
        self, names: tuple[Sequence[str], Sequence[str]], like: Array, unlike: Array | None, **how: Any
    ) -> list[Hits]:
        """What is most like some images and least like others: one answer.

        Args:
            names: what those that are liked are called, and what the others are.
            like: embeddings of those that are liked.
            unlike: of those that are not.
            **how: as :meth:`Gallery.search` takes it.
        """
        none = np.zeros(0, np.int64)
        liked = Shown(tuple(names[0]), like, none)
        disliked = None if unlike is None else Shown(tuple(names[1]), unlike, none)
        found = self.fresh().search(like=like, unlike=unlike, **how)
        return [Hits(in_words(liked, disliked), each.hits) for each in found]

    def identify(self, vectors: Array, fpir: float, where: str | None) -> list[Identification]:
        """Who is on each of some images.

        Args:
            vectors: their embeddings.
            fpir: the share of strangers' images that are named all the same.
            where: a condition that the enrolled rows meet.
        """
        return self.fresh().identify(vectors, fpir, where=where)

    def enrol(
        self, entrants: Sequence[Entrant], key: str, identity: str, label: str | None, names: Sequence[str] = ()
    ) -> tuple[Enrolment, int]:
        """Enrol images, and say how many rows there are then; what is enrolled under that key already stays as it is.

        Args:
            entrants: the images.
            key: tells the enrolment from others.
            identity: what they show.
            label: their class.
            names: what the images are called, where that is to be compared with what is enrolled under that key.

        Raises:
            Refused: another identity, or images of other names, are enrolled under that key; or it was undone since
                it was looked up, and there are no images.
        """
        with one_at_a_time(self._store):
            known = self.known(key)
            if known is not None and known.identity != identity:
                raise Refused(409, f"{key} is an enrolment of {known.identity!r} already: send another key")
            if known is not None and names and known.images != called(key, names):
                raise Refused(409, f"{key} is an enrolment of other images already: send another key")
            if known is None and not entrants:  # it was there when the request came, so that nothing was embedded
                raise Refused(503, f"{key} was undone at this moment: send it again", headers={"Retry-After": "1"})
            made = known or enrol(self._store, entrants, key, identity, label)
        if known is None:
            self._written += 1
            if self._written % TIDY_AFTER == 0:
                self._store.tidy()
        return made, self.fresh().count

    def enrolments(self) -> list[Enrolment]:
        """Those that there are, the newest first."""
        return enrolments(self.fresh().rows())

    def known(self, key: str) -> Enrolment | None:
        """That of a key, where there is one."""
        return enrolment_of(self.fresh().rows(), key)

    def undo(self, key: str) -> tuple[int, int]:
        """Remove an enrolment, and say how many rows went and are left.

        Raises:
            Refused: there is none of that key.
        """
        with one_at_a_time(self._store):
            known = self.known(key)
            if known is None:
                raise Refused(404, f"there is no enrolment {key}: GET /enrol lists them")
            self._store.remove(known.images)
        return len(known.images), self.fresh().count

    def thumbnail(self, row: int, digest: str | None) -> bytes:
        """The small picture of a row.

        Args:
            row: its number, in the version that whoever asks has seen.
            digest: of the name of its image: rows of another version are told apart by it.

        Raises:
            Refused: there is no such row any more, or no picture of it.
        """
        gallery = self.fresh()
        images = gallery.rows()["image"]
        name = images[row] if 0 <= row < len(images) else None
        if digest is not None and (name is None or digest_of(name) != digest):
            if self._names[0] != gallery.version:
                self._names = (gallery.version, {digest_of(each): each for each in images.to_list()})
            name = self._names[1].get(digest)
        if name is None:
            raise Refused(404, f"there is no row {row}: the gallery has {len(images)}")
        found = gallery.thumbnails([name]).get(name)
        if found is None:
            raise Refused(404, f"the gallery keeps no picture of row {row}")
        return found

    def duplicates(self, hits: Hits) -> dict[int, int]:
        """Which hits are copies of an earlier one: by row, that one's row.

        Copies are the same picture compressed, scaled or brightened; how much those of this gallery differ is measured
        on a sample of its own.
        """
        if self._limit is None:
            images = self.gallery.rows()["image"].to_list()
            sample = images[:: max(1, len(images) // SAMPLE)][:SAMPLE]
            self._limit = copy_limit(list(self.gallery.thumbnails(sample).values()))
        rows = np.array([hit.row for hit in hits.hits])
        looks = self._looks([hit.image for hit in hits.hits])
        found: dict[int, int] = {}
        for place in range(1, len(rows)):
            apart = differences(looks[:place], looks[place : place + 1])  # NaN, of no picture, is within no limit
            earlier = [int(row) for row in rows[:place][apart <= self._limit] if int(row) not in found]
            if earlier:
                found[int(rows[place])] = earlier[0]
        return found

    def _looks(self, images: Sequence[str]) -> Array:
        """``(N, WIDTH)`` signatures of pictures; NaN of those that there is none of."""
        lacking = [each for each in images if each not in self._signatures]
        if len(self._signatures) + len(lacking) > MOST_SIGNATURES:
            self._signatures.clear()
            lacking = list(images)
        small = self.gallery.thumbnails(lacking) if lacking else {}
        looks = signatures([small.get(each, b"") for each in lacking])
        self._signatures.update(zip(lacking, looks, strict=True))
        return np.stack([self._signatures[each] for each in images]) if images else looks


def digest_of(image: str) -> str:
    """A short word that tells an image's name from others."""
    return hashlib.blake2b(image.encode(errors="surrogatepass"), digest_size=8).hexdigest()
