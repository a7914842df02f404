"""Rows in a Qdrant server, which searches them: ``qdrant://host:port/name`` is a collection there.

A point's id is made of its image's path, so that the same image added twice, by whomever, is one point; a batch is one
request, which Qdrant applies whole. The server finds candidates by its own index (exactly, where nothing else is asked
for), and they are scored again here as pairs are. Paths and columns are read into memory when the gallery is opened;
conditions are decided on them, and the server is told which points may be found. Qdrant keeps no versions: the time of
the last change stands for one. ``qdrants://`` is the same over TLS; where an API key is needed, it is read from the
environment (``QDRANT_API_KEY``).
"""

import base64
import datetime
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import polars as pl

from triune.distances.metric import Metric
from triune.errors import InputError
from triune.files import on_one_line, parse_record
from triune.serving.gallery.card import GalleryCard
from triune.serving.gallery.exact import Candidates, nearest_of
from triune.serving.gallery.store import Array, Batch, Search, Snapshot, Version
from triune.serving.libraries import library

SCHEMES: Final = {"qdrant": "http", "qdrants": "https"}
AT_ONCE: Final = 1000
"""Points that are read or named in one request."""

WIDEST: Final = 256
"""Rows of one request to add: with thumbnails and 2,048 dimensions these are about 12 of the 32 MB a server takes."""

KINDS: Final[dict[str, pl.DataType]] = {
    "text": pl.String(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "bool": pl.Boolean(),
    "date": pl.Date(),
    "time": pl.Datetime("us"),
}

_STAND_IN: list[Any] = []
"""qdrant-client's own stand-in for a server, which tests put here; what it holds ends with the process."""


class QdrantStore:
    """A collection of a Qdrant server.

    Args:
        name: ``qdrant://host:port/name``.
        client: the server's.
        card: what the gallery says of itself.
    """

    def __init__(self, name: str, client: Any, card: GalleryCard) -> None:
        self.name = name
        self.card = card
        self._client = client
        self._collection = _parts(name)[1]

    @classmethod
    def create(cls, name: str, card: GalleryCard, columns: Mapping[str, pl.DataType]) -> "QdrantStore":
        """A new collection without points.

        Args:
            name: ``qdrant://host:port/name``.
            card: what the gallery says of itself.
            columns: the types of the columns but for embeddings and thumbnails.

        Raises:
            InputError: there is such a collection, or no such server.
        """
        models = library("qdrant_client", "qdrant").models
        with _said(name):
            client, collection = _connected(name)
            if client.collection_exists(collection):
                raise InputError(f"{name} is there already: go on with it (--add), or name another place")
            # Rows are of unit length as they come; by their cosine Qdrant would scale them again and change last bits.
            vectors = models.VectorParams(size=card.dim, distance=models.Distance.DOT)
            client.create_collection(collection, vectors_config=vectors, metadata=_metadata(card, columns))
        return cls(name, client, card)

    @classmethod
    def open(cls, name: str) -> "QdrantStore":
        """A collection that is there.

        Raises:
            InputError: there is no such collection or server, or it is no gallery.
        """
        with _said(name):
            client, collection = _connected(name)
            if not client.collection_exists(collection):
                raise InputError(f"{name} does not exist: `triune index` makes a gallery")
            said = client.get_collection(collection).config.metadata or {}
        if "triune" not in said:
            raise InputError(f"{name} is a collection of Qdrant, but no gallery: `triune index` makes one")
        return cls(name, client, parse_record(said["triune"], GalleryCard, name))

    @property
    def version(self) -> int:
        """The time of the last change, in nanoseconds since 1970."""
        return int(self._metadata()["version"])

    @property
    def folder(self) -> Path | None:
        """There is none."""
        return None

    def columns(self) -> dict[str, pl.DataType]:
        """The types of the columns but for embeddings and thumbnails."""
        return {name: KINDS[kind] for name, kind in self._metadata()["columns"].items()}

    def read(self) -> Snapshot:
        """Everything but embeddings and thumbnails, in the order of the points' ids."""
        said = self._metadata()
        columns = {name: KINDS[kind] for name, kind in said["columns"].items()}
        rows = [
            [_read(point.payload.get(name), columns[name]) for name in columns] for point in self._all(list(columns))
        ]
        frame = pl.DataFrame(rows, schema=columns, orient="row")
        return Snapshot(int(said["version"]), frame.with_row_index("row").cast({"row": pl.Int64}))

    def embeddings(self, snapshot: Snapshot) -> Array:
        """``(N, D)`` float32, in the order of a snapshot's rows.

        Raises:
            InputError: rows of the snapshot have been removed since.
        """
        rows = {point.payload["image"]: point.vector for point in self._all(["image"], vectors=True)}
        images = snapshot.frame["image"].to_list()
        if not rows.keys() >= set(images):
            raise InputError(f"{self.name} has changed since it was opened: open it again")
        return np.array([rows[image] for image in images], np.float32).reshape(-1, self.card.dim)

    def search(self, snapshot: Snapshot, approximate: bool) -> Search:
        """The server's own search, by its index where approximate search is asked for."""
        return ServerSearch(self, snapshot, approximate)

    def found(self, queries: Array, count: int, images: Sequence[str] | None, approximate: bool) -> list[list[Any]]:
        """Of each query the points of the largest products, with their vectors and images.

        Args:
            queries: ``(Q, D)``.
            count: how many points.
            images: those that may be found; all where not given.
            approximate: whether the server may use its index.
        """
        models = library("qdrant_client", "qdrant").models
        condition = None
        if images is not None:
            condition = models.Filter(must=[models.HasIdCondition(has_id=[_point(image) for image in images])])
        answers = []
        with _said(self.name):
            for query in queries:
                answer = self._client.query_points(
                    self._collection,
                    query=query.tolist(),
                    limit=count,
                    query_filter=condition,
                    # Local mode is exact by itself, and complains of being told so.
                    search_params=None if self.is_local else models.SearchParams(exact=not approximate),
                    with_payload=["image"],
                    with_vectors=True,
                )
                answers.append(answer.points)
        return answers

    @property
    def is_local(self) -> bool:
        """Whether it is no server, but qdrant-client's own stand-in."""
        return _parts(self.name)[0] == ""

    def thumbnails(self, images: Sequence[str]) -> dict[str, bytes]:
        """The thumbnails of some images, as far as there are any."""
        found = {}
        with _said(self.name):
            for start in range(0, len(images), AT_ONCE):
                ids = [_point(image) for image in images[start : start + AT_ONCE]]
                for point in self._client.retrieve(self._collection, ids, with_payload=["image", "thumbnail"]):
                    if point.payload.get("thumbnail") is not None:
                        found[point.payload["image"]] = base64.b64decode(point.payload["thumbnail"])
        return found

    def put(self, batch: Batch) -> None:
        """Add rows; those whose image is there already take its place, in the columns that the batch has."""
        models = library("qdrant_client", "qdrant").models
        lacking = [name for name in self.columns() if name not in batch.frame.columns]
        payloads = [{name: _plain(cell) for name, cell in row.items()} for row in batch.frame.to_dicts()]
        for payload, small in zip(payloads, batch.thumbnails):
            payload["thumbnail"] = None if small is None else base64.b64encode(small).decode()
        with _said(self.name):
            for start in range(0, len(payloads), WIDEST):
                part = payloads[start : start + WIDEST]
                ids = [_point(each["image"]) for each in part]
                if lacking:  # as they are just before: a point takes the place of all that was there
                    there = self._client.retrieve(self._collection, ids, with_payload=lacking)
                    kept = {str(point.id): point.payload for point in there}
                    part = [
                        dict.fromkeys(lacking) | kept.get(point, {}) | each
                        for point, each in zip(ids, part, strict=True)
                    ]
                points = models.Batch(
                    ids=ids,
                    vectors=batch.embeddings[start : start + WIDEST].tolist(),
                    payloads=part,
                )
                self._client.upsert(self._collection, points=points, wait=True)
        self._touch(self.columns())

    def widen(self, columns: Mapping[str, pl.DataType]) -> None:
        """Add columns, empty in the rows that are there."""
        self._touch(self.columns() | dict(columns))

    def remove(self, images: Sequence[str]) -> None:
        """Remove the rows of images."""
        models = library("qdrant_client", "qdrant").models
        with _said(self.name):
            for start in range(0, len(images), AT_ONCE):
                ids = models.PointIdsList(points=[_point(image) for image in images[start : start + AT_ONCE]])
                self._client.delete(self._collection, points_selector=ids, wait=True)
        self._touch(self.columns())

    def versions(self) -> list[Version]:
        """There are none to go back to.

        Raises:
            InputError: always.
        """
        raise InputError(f"{self.name}: Qdrant keeps no versions; take snapshots of the collection with its own tools")

    def restore(self, version: int) -> None:
        """As :meth:`versions`."""
        self.versions()

    def tidy(self) -> None:
        """The server does that by itself."""

    def _metadata(self) -> dict[str, Any]:
        with _said(self.name):
            said: dict[str, Any] = self._client.get_collection(self._collection).config.metadata
        return said

    def _touch(self, columns: Mapping[str, pl.DataType]) -> None:
        with _said(self.name):
            self._client.update_collection(self._collection, metadata=_metadata(self.card, columns))

    def _all(self, names: Sequence[str], *, vectors: bool = False) -> Iterator[Any]:
        """Every point, in the order of the ids."""
        after = None
        while True:
            with _said(self.name):
                points, after = self._client.scroll(
                    self._collection, limit=AT_ONCE, offset=after, with_payload=list(names), with_vectors=vectors
                )
            yield from points
            if after is None:
                return


@dataclass(frozen=True, eq=False)
class ServerSearch:
    """Search by the server, whose candidates are scored again here.

    Args:
        store: the collection.
        snapshot: the rows, for their numbers.
        approximate: whether the server may use its index.
    """

    store: QdrantStore
    snapshot: Snapshot
    approximate: bool

    def nearest(self, queries: Array, k: int, among: Array | None = None) -> tuple[Array, Array]:
        """Scores ``(Q, k)``, the best first, and rows ``(Q, k)`` of the most alike, ties to the lower row.

        Args:
            queries: ``(Q, D)`` float32, of unit length.
            k: how many; all rows where there are fewer.
            among: the rows that may be found, ``(M,)`` int64; all where not given.

        Raises:
            InputError: the server holds rows that were added since it was opened.
        """
        images = self.snapshot.frame["image"]
        some = None if among is None else images[among].to_list()
        numbers = dict(zip(images.to_list(), range(len(images))))
        n = len(images) if among is None else len(among)

        def find(asked: Array, count: int) -> Candidates:
            answers = self.store.found(asked, count, some, self.approximate)
            points = [point for answer in answers for point in answer]
            if not all(point.payload["image"] in numbers for point in points):
                raise InputError(f"{self.store.name} has changed since it was opened: open it again")
            rows = np.full((len(asked), count), -1, np.int64)
            products = np.full((len(asked), count), -np.inf, np.float32)
            places = np.zeros((len(asked), count), np.int64)
            first = 0
            for query, answer in enumerate(answers):
                here = slice(0, len(answer))
                rows[query, here] = [numbers[point.payload["image"]] for point in answer]
                products[query, here] = [point.score for point in answer]
                places[query, here] = range(first, first + len(answer))
                first += len(answer)
            x = np.array([point.vector for point in points], np.float32).reshape(-1, self.store.card.dim)
            return Candidates(products, rows, x if len(x) else np.zeros((1, asked.shape[1]), np.float32), places)

        metric: Metric = self.store.card.metric
        return nearest_of(find, n, queries, k, metric)


def _point(image: str) -> str:
    """The id of an image's point."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, image))


def _metadata(card: GalleryCard, columns: Mapping[str, pl.DataType]) -> dict[str, Any]:
    kinds = {kind: word for word, kind in KINDS.items()}
    return {
        "triune": card.model_dump_json(),
        "version": time.time_ns(),
        "columns": {name: kinds[kind] for name, kind in columns.items()},
    }


def _plain(cell: Any) -> Any:
    return cell.isoformat() if isinstance(cell, datetime.date) else cell


def _read(cell: Any, kind: pl.DataType) -> Any:
    if cell is None:
        return None
    if kind == pl.Date:
        return datetime.date.fromisoformat(cell)
    if kind == pl.Datetime:
        return datetime.datetime.fromisoformat(cell)
    return float(cell) if kind == pl.Float64 else cell


def _parts(name: str) -> tuple[str, str]:
    """The server's address, and the collection.

    Raises:
        InputError: the name is written otherwise.
    """
    parts = urlsplit(name)
    collection = parts.path.strip("/")
    if parts.scheme not in SCHEMES or not collection or "/" in collection:
        raise InputError(f"{name}: write qdrant://host:port/name, such as qdrant://localhost:6333/items")
    return parts.netloc, collection


def _connected(name: str) -> tuple[Any, str]:
    """The client of a server, and the name of the collection.

    Raises:
        InputError: no server is named.
    """
    address, collection = _parts(name)
    client = library("qdrant_client", "qdrant").QdrantClient
    if not address:
        if not _STAND_IN:
            raise InputError(f"{name} names no server: write qdrant://host:port/name")
        return _STAND_IN[0], collection
    port = "" if ":" in address else ":6333"
    url = f"{SCHEMES[urlsplit(name).scheme]}://{address}{port}"
    return client(url=url, api_key=os.environ.get("QDRANT_API_KEY"), check_compatibility=False, timeout=60), collection


@contextmanager
def _said(name: str) -> Iterator[None]:
    """What the server cannot do, or that there is none, is told in one line."""
    library("qdrant_client", "qdrant")
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

    try:
        yield
    except ResponseHandlingException as error:
        raise OSError(f"{name}: the server does not answer ({on_one_line(str(error))[:200]})") from error
    except (ApiException, UnexpectedResponse, QdrantException) as error:
        raise OSError(f"{name}: the server refuses: {on_one_line(str(error))[:300]}") from error
