"""``data.json``: where a run's data lie, told in two ways, and which code each class and each identity has."""

import os
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from triune.checksums import is_kept
from triune.data.items import ItemTable
from triune.data.preprocessing import as_pair
from triune.data.sources.named import SOURCES
from triune.errors import InputError
from triune.files import Record, read_record, write_record
from triune.run.preprocessing import StoredPreprocessing, earlier_preprocessing
from triune.run.settings import TrainConfig

NAME: Final = "data.json"

SETTINGS: Final = ("data", "root", "model.weights")
"""The settings that are paths of what a run reads."""


class Place(Record):
    """A path, from the root of the file system and from the run folder: one of them holds when a run was moved."""

    absolute: str
    relative: str


class Origin(Record):
    """The content of ``data.json``.

    Args:
        run: a name that no other run has: checkpoints of this run carry it.
        paths: by the name of the setting.
        folder: what the items' paths are told below where the data lie elsewhere; ``None`` where that is not known.
        split_kind: how the splits came about.
        notes: what was said of the data when they were read.
        image_bits: how deep images are read; see :class:`~triune.data.reading.Reading`.
        mask_values: how masks are.
        classes: the class with the code 0, 1, …: the outputs of the class head.
        identities: the identities trained on, likewise; a loss with proxies has one for each.
        images: how images are prepared; ``None`` of a run that was begun before that could be chosen.
    """

    format: Literal[1] = 1
    run: str
    paths: dict[str, Place]
    folder: str | None
    split_kind: Literal["open-set", "closed-set", "given"]
    notes: list[str] = Field(default_factory=list)
    image_bits: int | None = None
    mask_values: tuple[int, ...] | None = None
    classes: list[str]
    identities: list[str]
    images: StoredPreprocessing | None = None


def origin_of(
    run: Path,
    config: TrainConfig,
    table: ItemTable,
    classes: list[str],
    identities: list[str],
    images: StoredPreprocessing | None = None,
) -> Origin:
    """What ``data.json`` says of a run that begins.

    Args:
        run: the run folder.
        config: the settings.
        table: the items.
        classes: of the class head, in the order of its outputs.
        identities: those trained on, in the order of their codes.
        images: how images are prepared; as the settings ask for where not given.
    """
    from triune.run.chosen import chosen_preprocessing  # timm, which who reads runs does without

    return Origin(
        run=uuid.uuid4().hex,
        paths={name: _place(run, Path(value)) for name, value in _paths(config).items()},
        folder=folder_of(table),
        split_kind=table.split_kind,
        notes=list(table.notes),
        image_bits=table.reading.bits,
        mask_values=table.reading.mask_values,
        classes=classes,
        identities=identities,
        images=images or chosen_preprocessing(config),
    )


def folder_of(table: ItemTable) -> str | None:
    """The folder that a table's paths are relative to, absolute."""
    if table.source in SOURCES:
        return None
    source = Path(table.source).absolute()
    return str(source if source.is_dir() else source.parent) if source.exists() else None


def source_of(table: ItemTable) -> str:
    """What a table was read from, the same from any working folder: an absolute path, or the name of a data set."""
    return table.source if table.source in SOURCES else os.path.abspath(table.source)


def images_of(config: TrainConfig, origin: Origin | None) -> StoredPreprocessing:
    """How the images of a run that goes on are prepared: as when it was begun.

    Args:
        config: its settings.
        origin: what it stored of its data.
    """
    if origin is not None and origin.images is not None:
        return origin.images
    height, _ = as_pair(config.images.size)
    return StoredPreprocessing.model_validate(earlier_preprocessing(height, config.images.channels))


def write_origin(run: Path, origin: Origin) -> None:
    """Write it into a run folder, whole or not at all."""
    write_record(run / NAME, origin)


def read_origin(run: Path) -> Origin | None:
    """What :func:`write_origin` wrote; ``None`` of a run of version 0.1.0, which had no such file.

    Raises:
        InputError: the file is damaged, or gone though the run was begun with one.
    """
    path = run / NAME
    return read_record(path, Origin) if is_kept(path) else None


def with_whole_paths(config: TrainConfig) -> TrainConfig:
    """The settings with absolute paths: they mean the same from any working folder."""
    for name, value in _paths(config).items():
        config = _with(config, name, os.path.abspath(value))
    return config


def located(run: Path, config: TrainConfig, needed: tuple[str, ...] = SETTINGS) -> TrainConfig:
    """The stored settings of a run with paths that exist here: where they were, or where they lie from the run.

    A path that was set to something else since is taken as it is.

    Args:
        run: the run folder.
        config: its settings.
        needed: the settings whose paths will be read.

    Raises:
        InputError: a path exists in neither place; the message names both.
    """
    origin = read_origin(run)
    for name, value in _paths(config).items():
        place = None if origin is None else origin.paths.get(name)
        if place is None or value != place.absolute or Path(value).exists():
            continue
        beside = os.path.normpath(run.absolute() / place.relative)
        if os.path.exists(beside):
            config = _with(config, name, beside)
        elif name in needed:
            places = value if value == beside else f"{value}, nor, told from the run, at {beside}"
            raise InputError(f"--{name} of {run} does not lie at {places}: bring it back, or name another --{name}")
    return config


def _paths(config: TrainConfig) -> dict[str, str]:
    """The settings that are paths, by name; a data set that is called by its name is none."""
    given = {"data": config.data, "root": config.root, "model.weights": config.model.weights}
    return {
        name: str(value)
        for name, value in given.items()
        if value is not None and not (name == "data" and value in SOURCES)
    }


def _with(config: TrainConfig, name: str, value: str) -> TrainConfig:
    if name == "data":
        return replace(config, data=value)
    if name == "root":
        return replace(config, root=Path(value))
    return replace(config, model=replace(config.model, weights=Path(value)))


def _place(run: Path, path: Path) -> Place:
    absolute = os.path.abspath(path)
    return Place(absolute=absolute, relative=os.path.relpath(absolute, run.absolute()))
