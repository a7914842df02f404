"""Rows in LanceDB: a folder, or a place in object storage by its URL.

A batch becomes visible with the one small file that lists what belongs to a version, so that a process killed in the
middle of an add leaves the version before. Two processes may write at once: on a disk a lock lets one commit at a
time, and Lance itself refuses to commit onto a version that is not the latest.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import filelock
import numpy as np
import polars as pl

from triune.errors import InputError
from triune.files import on_one_line, parse_record
from triune.serving.gallery.card import GalleryCard
from triune.serving.gallery.store import Array, Batch, Search, Snapshot, Version
from triune.serving.libraries import library

TABLE: Final = "items"
CARD: Final = b"triune.gallery"
ROW_ID: Final = "_rowid"
LOCK: Final = "writing.lock"
REMEMBERED: Final = 1 << 22
"""Bytes that LanceDB may keep of what it has read, twice: of indices, of which there are none, and of all else."""

PATIENCE: Final = 120.0
"""Seconds to wait for another process that commits."""

_DAMAGED: Final = re.compile(
    r"corrupt|magic|footer|failed to fill|size is too small|sufficient data|[Rr]ange was invalid|Invalid range|"
    r"invalid seek|Not found:"
)
"""What Lance says of files that are cut short, changed or gone."""

AT_ONCE: Final = 1000
"""So many images are named in one condition."""


class LanceStore:
    """A table of LanceDB.

    Args:
        name: the folder or URL.
        table: LanceDB's own.
        card: what the gallery says of itself.
    """

    def __init__(self, name: str, table: Any, card: GalleryCard) -> None:
        self.name = name
        self.card = card
        self._table = table
        # Where the process goes meanwhile does not matter.
        self._place = name if is_url(name) else os.path.abspath(name)

    @classmethod
    def create(cls, name: str, card: GalleryCard, columns: Mapping[str, pl.DataType]) -> "LanceStore":
        """A new table without rows.

        Args:
            name: a folder that is new or empty, or a URL.
            card: what the gallery says of itself.
            columns: the types of the columns but for embeddings and thumbnails.

        Raises:
            InputError: something is there already.
        """
        pa = library("pyarrow", "gallery")
        if not is_url(name):
            require_empty(name)
        fields = [*_fields(pa, columns), pa.field("embedding", pa.list_(pa.float32(), card.dim))]
        fields.append(pa.field("thumbnail", pa.binary()))
        schema = pa.schema(fields, metadata={CARD: card.model_dump_json()})
        with _said(name):
            database = _connected(name)
            with _writing(name):
                try:
                    table = database.create_table(TABLE, schema=schema)
                except ValueError as error:
                    raise InputError(f"{name} is there already: go on with it, or name another place") from error
        return cls(name, table, card)

    @classmethod
    def open(cls, name: str) -> "LanceStore":
        """A table that is there.

        Raises:
            InputError: there is none.
        """
        if not is_url(name) and not os.path.isdir(os.path.join(name, f"{TABLE}.lance")):
            there = "is no gallery" if os.path.exists(name) else "does not exist"
            raise InputError(f"{name} {there}: `triune index` makes one")
        with _said(name):
            try:
                table = _connected(name).open_table(TABLE)
            except ValueError as error:
                raise InputError(f"{name} is no gallery ({_short(error)}): `triune index` makes one") from error
        text = (table.schema.metadata or {}).get(CARD)
        if text is None:
            raise InputError(f"{name} is a table of LanceDB, but no gallery: `triune index` makes one")
        return cls(name, table, parse_record(text.decode(), GalleryCard, name))

    @property
    def version(self) -> int:
        """The number of the latest version."""
        with _said(self.name):
            self._table.checkout_latest()
            return int(self._table.version)

    @property
    def folder(self) -> Path | None:
        """The folder, where it is one."""
        return None if is_url(self.name) else Path(self._place)

    def columns(self) -> dict[str, pl.DataType]:
        """The types of the columns but for embeddings and thumbnails."""
        with _said(self.name):
            self._table.checkout_latest()
            return dict(pl.Schema(_plain_part(self._table.schema)))

    def read(self) -> Snapshot:
        """Everything but embeddings and thumbnails, at the latest version."""
        with _said(self.name):
            table = self._at(None)
            count, plain = table.count_rows(), _plain_part(table.schema)
            frame, ids = pl.DataFrame(schema=pl.Schema(plain)), np.empty(0, np.uint64)
            if count:
                query = table.search().select(plain.names).with_row_id(True).limit(count)
                frame = pl.DataFrame(pl.from_arrow(query.to_arrow()))
                ids, frame = frame[ROW_ID].to_numpy(), frame.drop(ROW_ID)
        return Snapshot(int(table.version), frame.with_row_index("row").cast({"row": pl.Int64}), ids)

    def embeddings(self, snapshot: Snapshot) -> Array:
        """``(N, D)`` float32, in the order of a snapshot's rows, whatever others have written since."""
        count = len(snapshot.frame)
        x = np.empty((count, self.card.dim), np.float32)
        if not count:
            return x
        with _said(self.name):
            start, ids = 0, np.empty(count, np.uint64)
            query = self._at(snapshot.version).search().select(["embedding"]).with_row_id(True).limit(count)
            for part in query.to_batches():
                rows = part.column("embedding").flatten().to_numpy().reshape(-1, self.card.dim)
                x[start : start + len(rows)] = rows
                ids[start : start + len(rows)] = part.column(ROW_ID).to_numpy()
                start += len(rows)
        # Both scans go in one order as a rule; nothing but their ids promises it.
        known = np.asarray(snapshot.ids, np.uint64)
        if not np.array_equal(ids, known):
            places = np.empty(count, np.int64)
            places[np.argsort(known)] = np.argsort(ids)
            x = x[places]
        return x

    def search(self, snapshot: Snapshot, approximate: bool) -> Search | None:
        """Rows are searched in memory."""
        return None

    def _holds_any(self, images: Sequence[str]) -> bool:
        if self._table.count_rows() == 0:
            return False
        return any(self._table.count_rows(condition) for condition, _ in _conditions(images))

    def _cells(self, images: Sequence[str], columns: Any) -> pl.DataFrame:
        """``image`` and some columns of the rows that there are of images, as they are now.

        Args:
            images: those asked for.
            columns: a schema of Arrow.
        """
        pa = library("pyarrow", "gallery")
        fields = pa.schema([pa.field("image", pa.string()), *columns])
        parts = [fields.empty_table()]
        for condition, count in _conditions(images) if len(columns) else ():
            parts.append(self._table.search().where(condition).select(fields.names).limit(count).to_arrow())
        return pl.DataFrame(pl.from_arrow(pa.concat_tables(part.select(fields.names).cast(fields) for part in parts)))

    def _at(self, version: int | None) -> Any:
        """A handle of its own on one version, the latest where none is given, that stays there."""
        table = _connected(self._place).open_table(TABLE)
        table.checkout(table.version if version is None else version)
        return table

    def thumbnails(self, images: Sequence[str]) -> dict[str, bytes]:
        """The thumbnails of some images, as far as there are any."""
        found: dict[str, bytes] = {}
        with _said(self.name):
            for condition, count in _conditions(images):
                query = self._table.search().where(condition).select(["image", "thumbnail"]).limit(count)
                for row in query.to_arrow().to_pylist():
                    if row["thumbnail"] is not None:
                        found[row["image"]] = row["thumbnail"]
        return found

    def put(self, batch: Batch) -> None:
        """Add rows; those whose image is there already take its place, in the columns that the batch has."""
        pa = library("pyarrow", "gallery")
        with _said(self.name), _writing(self._place):
            self._table.checkout_latest()
            schema = self._table.schema
            flat = pa.array(np.ascontiguousarray(batch.embeddings, dtype=np.float32).ravel())
            own = {
                "embedding": pa.FixedSizeListArray.from_arrays(flat, self.card.dim),
                "thumbnail": pa.array(list(batch.thumbnails), pa.binary()),
            }
            images = batch.frame["image"].to_list()
            held = self._holds_any(images)
            lacking = [each for each in schema if each.name not in own and each.name not in batch.frame.columns]
            frame = batch.frame.join(
                self._cells(images if held else [], pa.schema(lacking)), on="image", how="left", maintain_order="left"
            )
            arrays = [
                own[field.name] if field.name in own else frame[field.name].to_arrow().cast(field.type)
                for field in schema
            ]
            rows = pa.Table.from_arrays(arrays, schema=schema)
            if not held:
                self._table.add(rows)  # which keeps their order, as merging does not
            else:
                merge = self._table.merge_insert("image").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(rows)

    def widen(self, columns: Mapping[str, pl.DataType]) -> None:
        """Add columns, empty in the rows that are there; those that another process has added meanwhile are there."""
        pa = library("pyarrow", "gallery")
        with _said(self.name), _writing(self._place):
            self._table.checkout_latest()
            lacking = {name: kind for name, kind in columns.items() if name not in self._table.schema.names}
            if lacking:
                self._table.add_columns(_fields(pa, lacking))

    def remove(self, images: Sequence[str]) -> None:
        """Remove the rows of images."""
        with _said(self.name), _writing(self._place):
            self._table.checkout_latest()
            for condition, _ in _conditions(images):
                self._table.delete(condition)

    def versions(self) -> list[Version]:
        """The versions that can be gone back to, the latest last; Lance keeps them for a week at least."""
        with _said(self.name):
            self._table.checkout_latest()
            return [
                Version(each["version"], each["timestamp"], int(each["metadata"]["total_rows"]))
                for each in self._table.list_versions()
            ]

    def restore(self, version: int) -> None:
        """Make a new version that is as a former one was.

        Raises:
            InputError: there is none of that number.
        """
        known = self.versions()
        if version not in {each.number for each in known}:
            raise InputError(
                f"{self.name} has no version {version}: it has {known[0].number} to {known[-1].number}, not all of them"
            )
        with _said(self.name), _writing(self._place):
            self._table.checkout(version)
            self._table.restore()
            self._table.checkout_latest()

    def tidy(self) -> None:
        """Put many small files together."""
        with _said(self.name), _writing(self._place):
            self._table.checkout_latest()
            self._table.optimize()


def _connected(place: str) -> Any:
    """A connection that remembers little: by default each version that was read stays in memory, up to a gigabyte."""
    lancedb = _lancedb()
    return lancedb.connect(place, session=lancedb.Session(REMEMBERED, REMEMBERED))


def _lancedb() -> Any:
    # It tells of a place that it is about to make as of a fault.
    os.environ.setdefault("LANCE_LOG", "error")
    return library("lancedb", "gallery")


def require_empty(name: str) -> None:
    """Refuse a folder in which something is.

    Raises:
        InputError: it is a file, or holds some.
    """
    if os.path.exists(name) and (not os.path.isdir(name) or set(os.listdir(name)) - {LOCK}):
        raise InputError(f"{name} is there already: go on with it (--add), or name another place")


def is_url(name: str) -> bool:
    """Whether a name is a URL, and no folder."""
    return "://" in name


def _fields(pa: Any, columns: Mapping[str, pl.DataType]) -> list[Any]:
    """Columns as fields of Arrow; text in its common form, which every version of Lance reads."""
    empty = pl.DataFrame(schema=pl.Schema(dict(columns))).to_arrow().schema
    wide = (pa.large_string(), pa.string_view())
    return [pa.field(each.name, pa.string() if each.type in wide else each.type) for each in empty]


def _plain_part(schema: Any) -> Any:
    """A schema without embeddings and thumbnails."""
    pa = library("pyarrow", "gallery")
    return pa.schema([each for each in schema if each.name not in ("embedding", "thumbnail")])


def _conditions(images: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Conditions that name images, and how many each names."""
    for start in range(0, len(images), AT_ONCE):
        part = images[start : start + AT_ONCE]
        quoted = ", ".join("'" + image.replace("'", "''") + "'" for image in part)
        yield f"image IN ({quoted})", len(part)


@contextmanager
def _writing(name: str) -> Iterator[None]:
    """Be the only one that commits to a folder."""
    if is_url(name):
        yield
        return
    lock = filelock.FileLock(Path(name) / LOCK, thread_local=False)
    try:
        held = lock.acquire(timeout=PATIENCE)
    except filelock.Timeout as error:
        raise InputError(f"another process has been writing into {name} for {PATIENCE:.0f} s: wait for it") from error
    with held:
        yield


@contextmanager
def _said(name: str) -> Iterator[None]:
    """What Lance cannot do is told in one line that names the gallery.

    Raises:
        InputError: a file of it is damaged or gone.
        OSError: anything else, such as a full disk.
    """
    try:
        yield
    except (InputError, OSError):
        raise
    except (ValueError, RuntimeError) as error:
        if _DAMAGED.search(str(error)):
            raise InputError(
                f"{name} is damaged ({_short(error)}): put a copy of it in its place, or index the images anew"
            ) from error
        raise OSError(f"{name} cannot be read or written: {_short(error)}") from error


def _short(error: BaseException) -> str:
    """What Lance says, without the places in its source."""
    return re.sub(r",? /(root|rustc|home|build)/\S+:\d+:\d+", "", on_one_line(str(error)))[:300]
