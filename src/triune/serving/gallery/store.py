"""Where a gallery's rows lie: what every store can do, and which one a name stands for."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import polars as pl

from triune.serving.gallery.card import GalleryCard

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A gallery as it was at one version.

    Args:
        version: its number.
        frame: ``row``, ``image``, ``label``, ``identity``, the table's own columns, and those of the stamp.
        ids: what the store calls the rows, ``(N,)``, where it has numbers for them.
    """

    version: int
    frame: pl.DataFrame
    ids: Array | None = None


@dataclass(frozen=True)
class Version:
    """A state that a gallery was in.

    Args:
        number: of the version.
        time: when it was written.
        count: its rows.
    """

    number: int
    time: datetime.datetime
    count: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows that are written together: all of them or none.

    Args:
        frame: columns that the store has; images are told apart by ``image``.
        embeddings: ``(B, D)`` float32.
        thumbnails: a small JPEG each, where there is one.
    """

    frame: pl.DataFrame
    embeddings: Array
    thumbnails: Sequence[bytes | None]


class Search(Protocol):
    """Finds the most alike rows."""

    def nearest(self, queries: Array, k: int, among: Array | None = None) -> tuple[Array, Array]:
        """Scores ``(Q, k)``, the best first, and rows ``(Q, k)`` of the most alike, ties to the lower row.

        Args:
            queries: ``(Q, D)`` float32, of unit length.
            k: how many; all rows where there are fewer.
            among: the rows that may be found, ``(M,)`` int64; all where not given.
        """


class Store(Protocol):
    """Rows that outlive the process: written in whole batches, read at one version."""

    name: str
    card: GalleryCard

    @property
    def version(self) -> int:
        """The number of the latest version."""

    @property
    def folder(self) -> Path | None:
        """Where files of its own may lie beside it; ``None`` where it is not on this machine's disk."""

    def columns(self) -> dict[str, pl.DataType]:
        """The types of the columns but for embeddings and thumbnails, in their order."""

    def read(self) -> Snapshot:
        """Everything but embeddings and thumbnails, at the latest version."""

    def embeddings(self, snapshot: Snapshot) -> Array:
        """``(N, D)`` float32, in the order of a snapshot's rows."""

    def search(self, snapshot: Snapshot, approximate: bool) -> Search | None:
        """What searches a snapshot where the rows lie; ``None`` where they are to be searched in memory."""

    def thumbnails(self, images: Sequence[str]) -> dict[str, bytes]:
        """The thumbnails of some images, as far as there are any."""

    def put(self, batch: Batch) -> None:
        """Add rows; those whose image is there already take its place.

        Cells of columns that the batch lacks stay as they are at that moment, whoever wrote them; in new rows they are
        empty.
        """

    def widen(self, columns: Mapping[str, pl.DataType]) -> None:
        """Add columns, empty in the rows that are there."""

    def remove(self, images: Sequence[str]) -> None:
        """Remove the rows of images."""

    def versions(self) -> list[Version]:
        """The versions that can be gone back to, the latest last.

        Raises:
            InputError: the store keeps none.
        """

    def restore(self, version: int) -> None:
        """Make a new version that is as a former one was.

        Raises:
            InputError: there is none of that number.
        """

    def tidy(self) -> None:
        """Put many small pieces together."""
