"""Embedded images that outlive the process, and the most alike of them to new images."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl

from triune.distances.metric import Metric
from triune.errors import InputError
from triune.ranges import is_whole
from triune.serving.gallery.approximate import LEAST, MOST_EXACT, ApproximateSearch, approximate_search
from triune.serving.gallery.card import STAMP, GalleryCard
from triune.serving.gallery.duplicates import duplicate_groups
from triune.serving.gallery.exact import ExactSearch
from triune.serving.gallery.filling import PLAINLY, Added, Filling, fill_more, fill_new
from triune.serving.gallery.filters import Excluded, allowed, matching, named_or_matching
from triune.serving.gallery.hits import Hits, cells_of, hits_of
from triune.serving.gallery.identified import Identification, enrolled_in, identified, rule_for, strangers_there
from triune.serving.gallery.listing import AS_GIVEN, FolderMeaning, Naming
from triune.serving.gallery.places import open_store
from triune.serving.gallery.queries import check_asked, check_fpir, queries_of
from triune.serving.gallery.store import Search, Snapshot, Store, Version
from triune.serving.gallery.strangers import strangers_of
from triune.serving.gallery.taste import diverse, freed, in_words, items_of, pool_size, ranked_by_taste
from triune.serving.networks import BATCH, Progress
from triune.serving.pictures import Given

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
        approximate: whether it is searched approximately; beyond a million rows where not given.
    """

    def __init__(self, store: Store, run: "LoadedRun | None" = None, approximate: bool | None = None) -> None:
        self._store = store
        self._run = run
        self._approximate = approximate
        self._snapshot: Snapshot | None = None
        # Of the snapshot, where making it again would take long.
        self._x: Array | None = None
        self._search: Search | None = None
        self._made: dict[Any, Any] = {}

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
        store, added = fill_new(str(path), run, images, naming, how)
        return cls(store, run), added

    @classmethod
    def open(cls, path: str | Path, run: "LoadedRun | None" = None, *, approximate: bool | None = None) -> "Gallery":
        """A gallery that is there.

        Args:
            path: the folder, or the URL.
            run: embeds queries; loaded from where the gallery says that it lay where not given.
            approximate: whether it is searched approximately; beyond a million rows where not given.

        Raises:
            InputError: there is no gallery, or another network made it.
        """
        gallery = cls(open_store(str(path)), approximate=approximate)
        gallery._run = None if run is None else gallery._checked(run)
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
        if self._x is None:
            self._x = self._store.embeddings(self._read)
        return self._x

    @property
    def recall(self) -> float | None:
        """The share of the ten nearest neighbours that approximate search finds, as measured on a sample of the rows.

        ``None`` where the search is exact, or where a server does it.
        """
        search = self._searcher() if self._wants_approximate else None
        return search.about.recall if isinstance(search, ApproximateSearch) else None

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
        self._forget()
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
        exclude: Excluded | None = None,
        exclude_self: bool = False,
        like: Given | Array | None = None,
        unlike: Given | Array | None = None,
        diversity: float = 0.0,
        left_out: list[str] | None = None,
        progress: Progress | None = None,
    ) -> list[Hits]:
        """The k most alike rows of each query, the best first; of equal scores the lower row.

        With ``like``, the rows that are most like several items and least like others: one answer, whose scores are
        those of :func:`triune.retrieval.feedback.taste_scores`. None of these items is found.

        Args:
            queries: any images, or their embeddings ``(N, D)`` of floats.
            k: how many; all rows where there are fewer.
            where: a condition that rows must meet.
            exclude: paths or numbers of rows that are not to be found.
            exclude_self: whether a query that is in the gallery is not found for itself.
            like: instead of queries: images or embeddings that are liked; those in the gallery need not be read.
            unlike: the same that are disliked.
            diversity: from 0 to 1: how much hits should differ from each other rather than be like the query.
            left_out: gets the queries that cannot be read, each with the reason. Without it, such a query is an error.
            progress: called with the numbers of queries that are embedded and of all.

        Raises:
            InputError: an image cannot be read, the condition is none, or the gallery is of another network.
        """
        if not self.count:
            raise InputError(f"{self.name} holds no images: add some (`triune index … --add`)")
        check_asked(k, diversity, given=queries is not None, liked=like is not None, disliked=unlike is not None)
        if like is not None:
            return self._by_taste(like, unlike, k, self._candidates(where, exclude), diversity)
        assert queries is not None
        names, vectors = self._queries(queries, left_out, progress)
        return self._found(names, vectors, k, self._candidates(where, exclude), exclude_self, diversity)

    def identify(
        self,
        queries: Given | Array,
        fpir: float = 0.01,
        *,
        where: str | None = None,
        left_out: list[str] | None = None,
        progress: Progress | None = None,
    ) -> list[Identification]:
        """Who is on each image, of those whose ``identity`` is enrolled; or nobody of them.

        An identity scores as the most alike of its images does. It is named from the score on that a share of
        strangers of at most ``fpir`` reaches: validation identities of the run, and each enrolled identity as a
        stranger to the others, held against this gallery (:mod:`triune.recognition.strangers`).

        Args:
            queries: any images, or their embeddings ``(N, D)`` of floats.
            fpir: the false-positive identification rate: the share of images of strangers that are named all the same.
            where: a condition that the enrolled rows meet.
            left_out: as for :meth:`search`.
            progress: as for :meth:`search`.

        Raises:
            InputError: nobody is enrolled, or there are no strangers; or as :meth:`search`.
        """
        check_fpir(fpir)
        rows = self.rows(where)
        if ("enrolled", where) not in self._made:
            run, enrolled = self.run(), enrolled_in(rows, self.embeddings, self.metric, self.name)
            strangers = strangers_of(getattr(run, "folder", None), run.name, self.dim)
            self._made["enrolled", where] = enrolled, strangers_there(enrolled, strangers)
        enrolled, there = self._made["enrolled", where]
        rule = rule_for(enrolled, there, fpir, self.name)
        return identified(*self._queries(queries, left_out, progress), enrolled, rule)

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
        try:
            return fill_more(self._store, self._read.frame, run, images, naming, how)
        finally:
            self.refresh()

    def remove(self, images: Iterable[str | Path] = (), *, where: str | None = None) -> int:
        """Remove rows, and say how many.

        Args:
            images: their paths, folders that they lie below, or patterns.
            where: a condition that they meet.

        Raises:
            InputError: no row is of one of these, or the condition is none.
        """
        self.refresh()
        chosen = named_or_matching(self.rows(), [str(each) for each in images], where, self.name)
        if chosen:
            self._store.remove(sorted(chosen))
            self._forget()
        return len(chosen)

    def near_duplicates(
        self, distance: float, *, where: str | None = None, progress: Progress | None = None
    ) -> list[Hits]:
        """Groups of rows that are nearly the same: connected by pairs at most so far apart.

        Args:
            distance: the largest between two rows that counts.
            where: a condition that both meet.
            progress: called with the numbers of rows that are done and of all.

        Returns:
            A group each: its lowest row as the query, and as hits the others, by their score with it.

        Raises:
            InputError: the distance is negative, or connects too much; or the condition is none.
        """
        rows = self._candidates(where, None)
        return duplicate_groups(self._read.frame, self.embeddings, self.metric, distance, rows, progress)

    def versions(self) -> list[Version]:
        """The versions that :meth:`restore` can go back to, the latest last.

        Raises:
            InputError: the place keeps none.
        """
        return self._store.versions()

    def restore(self, version: int) -> None:
        """Make a new version that is as a former one was; those in between stay.

        Raises:
            InputError: there is none of that number, or the place keeps none.
        """
        if isinstance(version, bool) or not is_whole(version):
            raise InputError(f"version is {version!r}: the number of a version is needed")
        self._store.restore(int(version))
        self._forget()

    def thumbnails(self, images: Sequence[str]) -> dict[str, bytes]:
        """Small JPEGs of some rows, as far as there are any, by their paths."""
        return self._store.thumbnails(images)

    @property
    def _read(self) -> Snapshot:
        if self._snapshot is None:
            self._snapshot = self._store.read()
        return self._snapshot

    def _forget(self) -> None:
        self._snapshot = self._x = self._search = None
        self._made = {}

    @property
    def _wants_approximate(self) -> bool:
        return self.count > MOST_EXACT if self._approximate is None else self._approximate

    def _searcher(self) -> Search:
        """What searches the version that was read."""
        if self._search is not None:
            return self._search
        self._search = self._store.search(self._read, self._wants_approximate)
        if self._search is None:
            x, folder = self.embeddings, self._store.folder
            if self._wants_approximate and self.count >= LEAST:
                self._search = approximate_search(x, self.metric, self.fingerprint, self.version, folder)
            else:
                self._search = ExactSearch(x, self.metric)
        return self._search

    def _checked(self, run: "LoadedRun") -> "LoadedRun":
        if run.fingerprint != self.card.fingerprint:
            raise InputError(
                f"{self.name} was made by another network ({self.card.source}): embeddings of two networks cannot be "
                "compared; index the images with this one into a new gallery"
            )
        return run

    def _queries(
        self, queries: Given | Array, left_out: list[str] | None = None, progress: Progress | None = None
    ) -> tuple[list[str], Array]:
        return queries_of(queries, self.run, self.dim, self.name, left_out, progress)

    def _candidates(self, where: str | None, exclude: Excluded | None) -> Array | None:
        """The rows that may be found; ``None`` where all may."""
        if where is exclude is None:
            return None
        return allowed(self._read.frame.drop(STAMP), where, exclude, self.name)

    def _found(
        self,
        names: list[str],
        vectors: Array,
        k: int,
        candidates: Array | None,
        exclude_self: bool,
        diversity: float,
    ) -> list[Hits]:
        fetched = (pool_size(k) if diversity else k) + exclude_self
        scores, rows = self._searcher().nearest(vectors, fetched, candidates)
        cells = cells_of(self._read.frame, rows)
        found = []
        for name, vector, of_scores, of_rows in zip(names, vectors, scores, rows):
            own = {name, os.path.abspath(name)} if exclude_self else ()
            kept = np.array([row >= 0 and cells[row]["image"] not in own for row in of_rows.tolist()], bool)
            of_scores, of_rows = of_scores[kept], of_rows[kept]
            if diversity:
                x = self.embeddings[of_rows]
                chosen = diverse(x @ vector, x, k, diversity)
                of_scores, of_rows = of_scores[chosen], of_rows[chosen]
            found.append(hits_of(name, of_rows[:k], of_scores[:k], cells, self.metric))
        return found

    def _by_taste(
        self, like: Given | Array, unlike: Given | Array | None, k: int, candidates: Array | None, diversity: float
    ) -> list[Hits]:
        frame = self._read.frame
        liked = items_of(like, frame, self.embeddings, self._queries)
        disliked = None if unlike is None else items_of(unlike, frame, self.embeddings, self._queries)
        rows = np.arange(self.count) if candidates is None else candidates
        for shown in (liked, disliked):
            rows = rows if shown is None else np.setdiff1d(rows, shown.rows)
        if "freed" not in self._made:
            self._made["freed"] = freed(self.embeddings)
        unwanted = None if disliked is None else disliked.vectors
        scores, rows = ranked_by_taste(self._made["freed"], liked.vectors, unwanted, rows, k, diversity)
        return [hits_of(in_words(liked, disliked), rows, scores, cells_of(frame, rows), "cosine")]
