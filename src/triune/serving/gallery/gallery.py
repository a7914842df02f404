"""Embedded images that outlive the process, and the most alike of them to new images."""

import fnmatch
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl

from triune.distances.embeddings import Metric, check_finite
from triune.errors import InputError
from triune.ranges import is_number
from triune.serving.gallery import exact
from triune.serving.gallery.card import STAMP, GalleryCard, card_of
from triune.serving.gallery.filling import (
    BATCH,
    PLAINLY,
    Added,
    Filling,
    Progress,
    all_columns,
    changed,
    embedded,
    fitted,
    going_on,
    put,
)
from triune.serving.gallery.filters import matching
from triune.serving.gallery.hits import Hits, hits_of
from triune.serving.gallery.identified import Identification, enrolled_in, identified, rule_for, strangers_there
from triune.serving.gallery.listing import AS_GIVEN, FolderMeaning, Naming, listed
from triune.serving.gallery.places import create_store, open_store, require_free
from triune.serving.gallery.store import Snapshot, Store
from triune.serving.gallery.strangers import strangers_of
from triune.serving.gallery.taste import diverse, freed, in_words, items_of, pool_size, ranked_by_taste
from triune.serving.pictures import Given, pictures

if TYPE_CHECKING:
    from triune.serving.loaded import LoadedRun

Array: TypeAlias = np.ndarray[Any, Any]


class Gallery:
    """Embedded images, on disk or in a server. Made by :meth:`create` and :meth:`open`.

    >>> gallery = triune.Gallery.create("gallery", triune.load("runs/items-1"), "photos/")
    >>> gallery.search("new.jpg", k=3)
    [<new.jpg: 3 hits: <photos/a.jpg; cup, score 0.9713>, …>]

    Its rows are read into memory when it is opened, and searched there exactly. What this object adds or removes is
    searched at once; :meth:`refresh` takes up what others have written meanwhile.

    Args:
        store: where its rows lie.
        run: embeds queries; loaded from where the gallery says that it lay where not given.
    """

    def __init__(self, store: Store, run: "LoadedRun | None" = None) -> None:
        self._store = store
        self._run = run
        self._snapshot: Snapshot | None = None
        self._made: dict[Any, Any] = {}  # of the snapshot, where making it again would take long

    @classmethod
    def create(
        cls,
        path: str | Path,
        run: "LoadedRun",
        images: Given,
        *,
        label: str | None = None,
        identity: str | None = None,
        folder_is: FolderMeaning | None = None,
        types: Mapping[str, str] | None = None,
        skip: bool = False,
        batch_size: int = BATCH,
        progress: Progress | None = None,
    ) -> "Gallery":
        """A new gallery of images.

        Args:
            path: a new folder, a URL of object storage, or ``qdrant://host:port/name``.
            run: embeds the images.
            images: any images; of a table all columns come along.
            label: the class of all of them.
            identity: what all of them show.
            folder_is: what the folder says that an image lies in: its ``label`` or its ``identity``.
            types: types of columns, by name: ``text``, ``int``, ``float`` or ``bool``; cells of a CSV are text else.
            skip: whether an image that cannot be read is left out, and not an error.
            batch_size: images that go through the network at a time.
            progress: called with the numbers of images that are done and of all.

        Raises:
            InputError: something is there already, or an image cannot be read; it is named, and what was written
                before it stays: :meth:`add` goes on.
        """
        naming = Naming(label, identity, folder_is, types)
        return cls.filled(path, run, images, naming, Filling(skip, batch_size, True, progress))[0]

    @classmethod
    def filled(
        cls, path: str | Path, run: "LoadedRun", images: Given, naming: Naming = AS_GIVEN, how: Filling = PLAINLY
    ) -> tuple["Gallery", Added]:
        """As :meth:`create`, with what became of the images.

        Args:
            path: as there.
            run: as there.
            images: as there.
            naming: what is said of all images.
            how: what happens to images that cannot be read, and how far it is.
        """
        listing = listed(images, naming)
        require_free(str(path))
        gallery: Gallery | None = None
        added, left_out = 0, list[str]()
        with going_on(str(path), lambda: added):
            for batch, unread in embedded(run, listing, how):
                left_out += unread
                if not len(batch.frame):
                    continue
                if gallery is None:
                    gallery = cls(create_store(str(path), card_of(run), all_columns(listing)), run)
                put(gallery._store, batch, listing.frame.clear())
                added += len(batch.frame)
        if gallery is None:
            raise InputError(f"none of the {len(listing.pictures)} images could be read; the first is {left_out[0]}")
        gallery._store.tidy()
        return gallery, Added(added, 0, 0, tuple(left_out))

    @classmethod
    def open(cls, path: str | Path, run: "LoadedRun | None" = None) -> "Gallery":
        """A gallery that is there.

        Args:
            path: the folder, or the URL.
            run: embeds queries; loaded from where the gallery says that it lay where not given.

        Raises:
            InputError: there is no gallery, or another network made it.
        """
        gallery = cls(open_store(str(path)))
        if run is not None:
            gallery._run = gallery._checked(run)
        return gallery

    def __repr__(self) -> str:
        return f"<{self.name}: {self.count:,} images, embeddings of {self.dim}, {self.metric}, version {self.version}>"

    def __len__(self) -> int:
        return self.count

    @property
    def name(self) -> str:
        """The folder, or the URL."""
        return self._store.name

    @property
    def card(self) -> GalleryCard:
        """What made it."""
        return self._store.card

    @property
    def metric(self) -> Metric:
        """The distance."""
        return self.card.metric

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.card.dim

    @property
    def fingerprint(self) -> str:
        """Of the weights of the network that made it."""
        return self.card.fingerprint

    @property
    def count(self) -> int:
        """How many images it holds."""
        return len(self._read.frame)

    @property
    def version(self) -> int:
        """The number of the version that is searched."""
        return self._read.version

    @property
    def embeddings(self) -> Array:
        """``(N, D)`` float32, of unit length, in the order of :meth:`rows`."""
        return self._read.embeddings

    def rows(self, where: str | None = None) -> pl.DataFrame:
        """``row``, ``image``, ``label``, ``identity`` and the table's own columns.

        Args:
            where: a condition such as ``label = 'cup' and price < 20``; all rows where not given.

        Raises:
            InputError: it is no condition on these columns.
        """
        frame = self._read.frame.drop(STAMP)
        return frame if where is None else frame[matching(frame, where, self.name)]

    def refresh(self) -> bool:
        """Take up what others have written since it was read; whether there was anything."""
        if self._snapshot is None or self._store.version == self._snapshot.version:
            return False
        self._snapshot = None
        return True

    def run(self) -> "LoadedRun":
        """The run that made it, from where it lay then.

        Raises:
            InputError: it is not there any more, or is another one now.
        """
        if self._run is None:
            from triune.serving.loaded import load

            try:
                run = load(self.card.source, weights=self.card.weights)
            except InputError as error:
                raise InputError(
                    f"{self.name} was made by {self.card.source}, which cannot be loaded ({error}): "
                    "name the same run where it lies now (--run)"
                ) from error
            self._run = self._checked(run)
        return self._run

    def search(
        self,
        queries: Given | Array | None = None,
        k: int = 10,
        *,
        where: str | None = None,
        exclude: Iterable[str | int] | None = None,
        exclude_self: bool = False,
        like: Given | Array | None = None,
        unlike: Given | Array | None = None,
        diversity: float = 0.0,
    ) -> list[Hits]:
        """The k most alike rows of each query, the best first; of equal scores the lower row.

        With ``like``, the rows that are most like several items and least like others: one answer, whose scores are
        cosine similarities with a query combined of all of them (:mod:`triune.retrieval.feedback`). None of these
        items is found.

        Args:
            queries: any images, or their embeddings ``(N, D)`` of floats.
            k: how many; all rows where there are fewer.
            where: a condition that rows must meet.
            exclude: paths or numbers of rows that are not to be found.
            exclude_self: whether a query that is in the gallery is not found for itself.
            like: instead of queries: images or embeddings that are liked; those in the gallery need not be read.
            unlike: the same that are disliked.
            diversity: from 0 to 1: how much hits should differ from each other rather than be like the query.

        Raises:
            InputError: an image cannot be read, the condition is none, or the gallery is of another network.
        """
        if k < 1:
            raise InputError(f"k is {k}: at least 1 is needed")
        if not (is_number(diversity) and 0 <= diversity <= 1):
            raise InputError(f"diversity is {diversity}: a number from 0 to 1 is needed")
        if (queries is None) == (like is None):
            raise InputError("give images to look for, or like (and unlike): one of the two")
        if like is not None:
            return self._by_taste(like, unlike, k, self._candidates(where, exclude), diversity)
        if unlike is not None:
            raise InputError("unlike needs like: give at least one item that is liked")
        assert queries is not None
        names, vectors = self._queries(queries)
        return self._found(names, vectors, k, self._candidates(where, exclude), exclude_self, diversity)

    def identify(self, queries: Given | Array, fpir: float = 0.01, *, where: str | None = None) -> list[Identification]:
        """Who is on each image, of those whose ``identity`` is enrolled; or nobody of them.

        An identity scores as the most alike of its images does. It is named from the score on that a share of
        strangers of at most ``fpir`` reaches: validation identities of the run, and each enrolled identity as a
        stranger to the others, held against this gallery (:mod:`triune.recognition.strangers`).

        Args:
            queries: any images, or their embeddings ``(N, D)`` of floats.
            fpir: the false-positive identification rate: the share of images of strangers that are named all the same.
            where: a condition that the enrolled rows meet.

        Raises:
            InputError: nobody is enrolled, or there are no strangers; or as :meth:`search`.
        """
        if not (is_number(fpir) and 0 < fpir < 1):
            raise InputError(f"fpir is {fpir}: a rate between 0 and 1, such as 0.01, is needed")
        enrolled = enrolled_in(self.rows(where), self.embeddings, self.metric, self.name)
        if ("strangers", where) not in self._made:
            run = self.run()
            known = strangers_of(getattr(run, "folder", None), run.name, self.dim)
            self._made["strangers", where] = strangers_there(enrolled, known)
        rule = rule_for(enrolled, self._made["strangers", where], fpir, self.name)
        return identified(*self._queries(queries), enrolled, rule)

    def add(
        self,
        images: Given,
        run: "LoadedRun | None" = None,
        *,
        label: str | None = None,
        identity: str | None = None,
        folder_is: FolderMeaning | None = None,
        types: Mapping[str, str] | None = None,
        skip: bool = False,
        batch_size: int = BATCH,
        progress: Progress | None = None,
    ) -> Added:
        """Add images; one that is there already by its path is updated where its file or its cells have changed.

        Args:
            images: any images; of a table all columns come along.
            run: embeds them; the gallery's own where not given.
            label: as for :meth:`create`, and so are the others.
            identity: what all of them show.
            folder_is: what the folder says that an image lies in.
            types: types of columns.
            skip: whether an image that cannot be read is left out.
            batch_size: images that go through the network at a time.
            progress: called with the numbers of images that are done and of all.

        Raises:
            InputError: an image cannot be read, or another network made the gallery.
        """
        naming = Naming(label, identity, folder_is, types)
        return self.fill(images, run, naming, Filling(skip, batch_size, True, progress))

    def fill(
        self,
        images: Given,
        run: "LoadedRun | None" = None,
        naming: Naming = AS_GIVEN,
        how: Filling = PLAINLY,
    ) -> Added:
        """As :meth:`add`.

        Args:
            images: as there.
            run: as there.
            naming: what is said of all images.
            how: what happens to images that cannot be read, and how far it is.
        """
        run = self._checked(run) if run is not None else self.run()
        self.refresh()
        before = self._read.frame
        listing = fitted(listed(images, naming), self._store)
        fresh = changed(listing, before)
        done, left_out = list[str](), list[str]()
        try:
            with going_on(self.name, lambda: len(done)):
                for batch, unread in embedded(run, fresh, how) if fresh.pictures else ():
                    left_out += unread
                    if len(batch.frame):
                        put(self._store, batch, before)
                        done += batch.frame["image"].to_list()
        finally:
            if done or self._store.version != self.version:
                self._snapshot = None
        if done:
            self._store.tidy()
        there = set(before["image"].to_list())
        updated = sum(image in there for image in done)
        return Added(len(done) - updated, updated, len(listing.pictures) - len(fresh.pictures), tuple(left_out))

    def remove(self, images: Iterable[str | Path] = (), *, where: str | None = None) -> int:
        """Remove rows, and say how many.

        Args:
            images: their paths, folders that they lie below, or patterns.
            where: a condition that they meet.

        Raises:
            InputError: no row is of one of these, or the condition is none.
        """
        self.refresh()
        frame = self.rows()
        chosen = set(frame["image"][matching(frame, where, self.name)].to_list()) if where is not None else set()
        for each in images:
            found = self._below(frame["image"].to_list(), str(each))
            if not found:
                raise InputError(f"{self.name} holds no image {each}: nothing was removed")
            chosen |= found
        if chosen:
            self._store.remove(sorted(chosen))
            self._snapshot = None
        return len(chosen)

    def thumbnails(self, images: Sequence[str]) -> dict[str, bytes]:
        """Small JPEGs of some rows, as far as there are any, by their paths."""
        return self._store.thumbnails(images)

    @property
    def _read(self) -> Snapshot:
        if self._snapshot is None:
            self._snapshot, self._made = self._store.read(), {}
        return self._snapshot

    def _checked(self, run: "LoadedRun") -> "LoadedRun":
        if run.fingerprint != self.card.fingerprint:
            raise InputError(
                f"{self.name} was made by another network ({self.card.source}): embeddings of two networks cannot be "
                "compared; index the images with this one into a new gallery"
            )
        return run

    def _queries(self, queries: Given | Array) -> tuple[list[str], Array]:
        """Names and unit embeddings of what is searched for."""
        if isinstance(queries, np.ndarray) and queries.ndim == 2 and queries.dtype.kind == "f":
            if queries.shape[1] != self.dim:
                raise InputError(f"queries have {queries.shape[1]} dimensions but {self.name} has {self.dim}")
            check_finite(queries, "queries")
            return [f"query {place}" for place in range(len(queries))], unit_rows(queries)
        found = pictures(queries)
        vectors = self.run().embed([each.source for each in found])
        return [each.name for each in found], unit_rows(vectors)

    def _candidates(self, where: str | None, exclude: Iterable[str | int] | None) -> Array | None:
        """The rows that may be found; ``None`` where all may."""
        frame = self._read.frame.drop(STAMP)
        rows = None if where is None else matching(frame, where, self.name)
        if exclude is None:
            return rows
        left_out = set(exclude)
        named = {os.path.abspath(each) for each in left_out if isinstance(each, str)} | left_out
        out = frame.filter(pl.col("image").is_in([each for each in named if isinstance(each, str)]))["row"]
        rows = frame["row"].to_numpy() if rows is None else rows
        numbers = [each for each in left_out if not isinstance(each, str)]
        kept: Array = rows[~np.isin(rows, np.concatenate([out.to_numpy(), np.array(numbers, np.int64)]))]
        return kept

    def _found(
        self,
        names: list[str],
        vectors: Array,
        k: int,
        candidates: Array | None,
        exclude_self: bool,
        diversity: float,
    ) -> list[Hits]:
        x = self.embeddings
        fetched = (pool_size(k) if diversity else k) + exclude_self
        scores, rows = self._nearest(x if candidates is None else x[candidates], vectors, fetched)
        if candidates is not None:
            rows = candidates[rows]
        images, found = self._read.frame["image"], []
        for name, vector, of_scores, of_rows in zip(names, vectors, scores, rows):
            if exclude_self:
                other = ~images[of_rows].is_in([name, os.path.abspath(name)]).to_numpy()
                of_scores, of_rows = of_scores[other], of_rows[other]
            chosen = diverse(x[of_rows] @ vector, x[of_rows], k, diversity)
            found.append(hits_of(name, self._read.frame[of_rows[chosen]], of_scores[chosen], self.metric))
        return found

    def _by_taste(
        self, like: Given | Array, unlike: Given | Array | None, k: int, candidates: Array | None, diversity: float
    ) -> list[Hits]:
        liked = items_of(like, self._read.frame, self.embeddings, self._queries)
        disliked = None if unlike is None else items_of(unlike, self._read.frame, self.embeddings, self._queries)
        rows = np.arange(self.count) if candidates is None else candidates
        for shown in (liked, disliked):
            rows = rows if shown is None else np.setdiff1d(rows, shown.rows)
        if "freed" not in self._made:
            self._made["freed"] = freed(self.embeddings)
        unwanted = None if disliked is None else disliked.vectors
        scores, rows = ranked_by_taste(self._made["freed"], liked.vectors, unwanted, rows, k, diversity)
        return [hits_of(in_words(liked, disliked), self._read.frame[rows], scores, "cosine")]

    def _nearest(self, x: Array, vectors: Array, k: int) -> tuple[Array, Array]:
        return exact.nearest(x, vectors, k, self.metric)

    @staticmethod
    def _below(images: list[str], given: str) -> set[str]:
        """Those of a gallery's images that are a path, lie below it, or match it as a pattern."""
        path = os.path.abspath(given)
        below = path.rstrip(os.sep) + os.sep
        exact_ones = {each for each in images if each in (path, given) or each.startswith(below)}
        return exact_ones or {each for each in images if fnmatch.fnmatchcase(each, path)}


def unit_rows(x: Array) -> Array:
    """Embeddings at unit length, float32 and C-contiguous."""
    import torch

    from triune.distances.embeddings import unit

    return np.ascontiguousarray(unit(torch.from_numpy(np.array(x))).float().numpy())
