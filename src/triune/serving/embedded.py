"""Embeddings of many images as one file, made in parts: a killed command goes on, several processes share the work."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import filelock
import numpy as np
import polars
from numpy.lib.format import open_memmap

from triune.data.decode import existing
from triune.errors import InputError
from triune.files import Record, folder_made, on_one_line, read_record, write_record, written_whole
from triune.parallel.group import done_by_first, is_first, rank_and_size, read_by_all, sharing
from triune.plurals import plural
from triune.run.columns import Schema, read_parquet, write_parquet
from triune.serving.answers import ImagePrediction, Unreadable
from triune.serving.loaded import LoadedRun
from triune.serving.networks import BATCH, Progress
from triune.serving.pictures import Given, Picture, PictureRoles, check_names, pictures

Array: TypeAlias = np.ndarray[Any, Any]

PART: Final = 1024
"""Images of a part: what a killed command embeds again, at most, in each process."""

COLUMNS: Final = {
    "image": polars.String,
    "label": polars.String,
    "identity": polars.String,
    "embedding": polars.List(polars.Float32),
}
"""Of a Parquet file of embeddings; label and identity as far as the images came from a table that says them."""

ROLE_COLUMNS: Final = {"is_query": polars.Boolean, "is_gallery": polars.Boolean, "camera": polars.String}
"""Further columns, as far as a table says anything in them: retrieval in ``triune evaluate`` follows them."""

_REASON: Final = {"reason": polars.String}
_IN_PARTS: Final[Schema] = {**COLUMNS, **ROLE_COLUMNS, **_REASON}
"""Of a part: also why an image could not be read, whose embedding then is null."""


class Plan(Record):
    """What a folder of parts is of: only the same command goes on with it.

    Args:
        fingerprint: of the network.
        images: SHA-256 of the images' names, places, sizes and times of change, in order.
        count: how many there are.
        part: images of a part.
    """

    fingerprint: str
    images: str
    count: int
    part: int


@dataclass(frozen=True)
class Embedded:
    """What was written.

    Args:
        path: the file.
        count: its rows.
        left_out: the images that could not be read, with the reason.
        known: how many images an earlier command had embedded already.
    """

    path: Path
    count: int
    left_out: tuple[str, ...]
    known: int


def write_embeddings(
    run: LoadedRun,
    given: Given,
    output: Path,
    *,
    skip: bool = False,
    batch_size: int = BATCH,
    progress: Progress | None = None,
) -> Embedded:
    """Write embeddings as Parquet, or as ``.npy`` with their names beside it.

    A Parquet file has the columns of :data:`COLUMNS`, and those of :data:`ROLE_COLUMNS` that a table says anything in.

    Parts of :data:`PART` images are written whole into ``OUTPUT.parts``; where that folder is there from an earlier
    command of the same network and images, it goes on with the parts that are missing. In several processes each
    makes its share of the parts. The first one joins them, and the folder goes. In memory: one batch, and one part's
    embeddings.

    Args:
        run: embeds the images.
        given: any images.
        output: the new file.
        skip: whether an image that cannot be read is left out, and not an error.
        batch_size: how many go through the network at a time.
        progress: called with the numbers of images that are done and of all.

    Raises:
        InputError: an image cannot be read, the file is there already or has another suffix, parts of another command
            lie there, or another command writes them.
    """
    if output.suffix not in (".parquet", ".npy"):
        raise InputError(f"{output} is neither .parquet nor .npy: name such a file with --output")
    for path in (output, *([_names_of(output)] if output.suffix == ".npy" else [])):
        if path.exists():
            raise InputError(f"{path} is there already: name a new file with --output")
    images = pictures(given)
    check_names(images)
    if not run.dim:
        raise InputError(f"{run.name} has no embedding head")
    parts = [images[start : start + PART] for start in range(0, len(images), PART)]
    plan = Plan(fingerprint=run.fingerprint, images=_digest(images), count=len(images), part=PART)
    with _folder_of_parts(output, plan) as folder:
        named = {folder / f"{number:06d}.parquet": part for number, part in enumerate(parts)}
        known = read_by_all(lambda: _make_parts(run, named, skip, batch_size, progress), sharing())
        count, left_out = done_by_first(lambda: _joined(named, output, run.dim)) or (0, ())
    return Embedded(output, count, left_out, known)


@contextmanager
def _folder_of_parts(output: Path, plan: Plan) -> Iterator[Path]:
    """The folder of parts, for this command alone. It goes at the end, and without a part in it however it ends."""
    folder = output.with_name(f"{output.name}.parts")
    lock = filelock.FileLock(output.with_name(f".{output.name}.lock"))

    def begin() -> None:
        try:
            lock.acquire(timeout=1)
        except filelock.Timeout as error:
            raise InputError(f"another command is writing {output}: wait for it, or name another file") from error
        stored = folder / "plan.json"
        if folder.exists():
            if not stored.is_file():
                raise InputError(f"{folder} is in the way, and was not left by this command: remove it")
            if read_record(stored, Plan) != plan:
                raise InputError(
                    f"{folder} holds parts of other images or of another network: remove it, or name another --output"
                )
        else:
            with folder_made(folder):
                write_record(stored, plan)

    with folder_made(output.absolute().parent):
        try:
            done_by_first(begin)
            yield folder
            if is_first():
                shutil.rmtree(folder)
        finally:
            if is_first() and lock.is_locked:
                if (folder / "plan.json").exists() and not any(folder.glob("*.parquet")):
                    shutil.rmtree(folder, ignore_errors=True)
                lock.release()
                Path(lock.lock_file).unlink(missing_ok=True)


def _make_parts(
    run: LoadedRun,
    parts: dict[Path, list[Picture]],
    skip: bool,
    batch_size: int,
    progress: Progress | None,
) -> int:
    """Write this process's share of the parts that are missing; the number of images whose parts were there."""
    there = {file for file in parts if file.exists()}
    known = done = sum(len(parts[file]) for file in there)
    count = sum(map(len, parts.values()))
    rank, processes = rank_and_size(sharing())
    for file in list(parts)[rank::processes]:
        if file not in there:
            told = None if progress is None else partial(_told, progress, done, count)
            _write_part(file, parts[file], run.embed_each(parts[file], skip=skip, batch_size=batch_size, progress=told))
            done += len(parts[file])
    return known


def _told(progress: Progress, before: int, count: int, done: int, _: int) -> None:
    progress(before + done, count)


def _write_part(file: Path, images: Sequence[Picture], answers: Iterable[ImagePrediction | Unreadable]) -> None:
    embeddings: list[Any] = []
    reasons: list[str | None] = []
    for answer in answers:
        sound = isinstance(answer, ImagePrediction)
        embeddings.append(answer.embedding if isinstance(answer, ImagePrediction) else None)
        reasons.append(None if sound else answer.reason)  # type: ignore[union-attr]
    columns = {
        "image": [each.name for each in images],
        "label": [each.label for each in images],
        "identity": [each.identity for each in images],
        "embedding": [None if row is None else row.tolist() for row in embeddings],
        **{name: [getattr(each.roles, name) for each in images] for name in ROLE_COLUMNS},
        "reason": reasons,
    }
    write_parquet(file, polars.DataFrame(columns, schema=polars.Schema(_IN_PARTS)), _IN_PARTS)


def _joined(parts: dict[Path, list[Picture]], output: Path, dim: int) -> tuple[int, tuple[str, ...]]:
    """Write the parts as one file; the number of rows, and what could not be read."""
    files = list(parts)
    left_out: list[str] = []
    count = 0
    for file, images in parts.items():
        part = _part(file)
        if part["image"].to_list() != [each.name for each in images]:
            raise InputError(f"{file} does not hold the images that it should: remove {file.parent} and embed anew")
        lost = part.filter(polars.col("reason").is_not_null())
        left_out += [f"{name}: {reason}" for name, reason in lost.select("image", "reason").iter_rows()]
        count += len(part) - len(lost)
    if not count:
        for file in files:  # nothing to go on with
            file.unlink()
        raise InputError(f"none of {plural(len(left_out), 'image')} could be read; the first is {left_out[0]}")
    if output.suffix == ".parquet":
        told = [*COLUMNS, *(name for name in ROLE_COLUMNS if _says(parts, name))]
        sound = [
            polars.scan_parquet(file, glob=False).filter(polars.col("reason").is_null()).select(told) for file in files
        ]
        with written_whole(output) as temporary:
            polars.concat(sound).sink_parquet(temporary, maintain_order=True)
        return count, tuple(left_out)
    with written_whole(output) as temporary, written_whole(_names_of(output)) as names:
        array = open_memmap(temporary, mode="w+", dtype=np.float32, shape=(count, dim))
        with names.open("w", encoding="utf-8") as listed:
            start = 0
            for file in files:
                read = _part(file).filter(polars.col("reason").is_null())
                array[start : start + len(read)] = read["embedding"].list.to_array(dim).to_numpy()
                start += len(read)
                listed.writelines(f"{on_one_line(name)}\n" for name in read["image"])
        array.flush()
        del array
    return count, tuple(left_out)


def _says(parts: dict[Path, list[Picture]], name: str) -> bool:
    """Whether a table says anything of an image in a column of roles."""
    return any(getattr(image.roles, name) is not None for images in parts.values() for image in images)


def _part(file: Path) -> polars.DataFrame:
    return read_parquet(file, {**COLUMNS, **_REASON}, later=ROLE_COLUMNS)


def _names_of(output: Path) -> Path:
    return output.with_suffix(".txt")


def _digest(images: Sequence[Picture]) -> str:
    """SHA-256 of what tells images from others: names, what a table says, and the file's place, size and time."""
    hashed = hashlib.sha256()
    for each in images:
        if isinstance(each.source, str):
            place = existing(each.source)
            state = os.stat(place) if os.path.exists(place) else None
            content = [os.path.abspath(place), *((state.st_size, state.st_mtime_ns) if state else ())]
        elif isinstance(each.source, bytes):
            content = [hashlib.sha256(each.source).hexdigest()]
        else:
            content = [*each.source.size, hashlib.sha256(each.source.tobytes()).hexdigest()]
        more: list[Any] = [] if each.box is None else [each.box]
        more += [] if each.roles == PictureRoles() else [each.roles]
        hashed.update(json.dumps([each.name, each.label, each.identity, content, *more]).encode())
    return hashed.hexdigest()
