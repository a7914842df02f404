"""``split.csv``: each item of a run, what it is for and what was known of it, also when the data have changed since."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars
from polars import col

from triune.checksums import is_kept
from triune.data.boxes import BOX_COLUMNS, with_box_columns
from triune.data.items import SPLITS, ItemTable
from triune.errors import InputError
from triune.run.columns import read_csv, write_csv
from triune.run.origin import folder_of, read_origin

COLUMNS: Final = {
    "image": polars.String,
    "identity": polars.String,
    "split": polars.String,
    "label": polars.String,
    "mask": polars.String,
    "image_bytes": polars.Int64,
    "mask_bytes": polars.Int64,
    **dict.fromkeys(BOX_COLUMNS, polars.Int64),
}
"""The image's absolute path; who it shows, empty where that is not known; train, val, test or holdout; the class; the
mask's absolute path; how large the two files are; the box that is looked at, empty for the whole image. Version 0.1.0
wrote the first three."""

NAME: Final = "split.csv"

KEY: Final = ["image", "occurrence"]
"""What tells an item: its image, and the how-many-th row of that image it is, for an image may be listed twice."""


def write_split(run: Path, table: ItemTable) -> None:
    """Write the items of a table, each with its split, into a run folder."""
    write_csv(run / NAME, with_sizes(table.frame), COLUMNS)


def with_sizes(frame: polars.DataFrame) -> polars.DataFrame:
    """Items with the sizes of their files in bytes, null where there is no such file, and with columns for boxes."""
    sizes = [
        polars.Series(f"{name}_bytes", [_size(path) for path in frame[name].to_list()], polars.Int64)
        for name in ("image", "mask")
    ]
    return with_box_columns(frame.with_columns(sizes))


def read_split(run: Path) -> polars.DataFrame | None:
    """The items that a run was begun with; ``None`` of a run of version 0.1.0 that stored none.

    Raises:
        InputError: the file is damaged, or gone though the run was begun with one.
    """
    path = run / NAME
    if not is_kept(path):
        return None
    stored = read_csv(path, COLUMNS, required=3)
    if not len(stored):
        raise InputError(f"{path} is damaged: it lists no image; copy the whole run again")
    sound = stored.select(
        image=col("image").str.starts_with(os.sep).fill_null(False),
        mask=col("mask").str.starts_with(os.sep).fill_null(True),
        split=col("split").is_in(list(SPLITS)).fill_null(False),
    )
    for name in sound.columns:
        if not sound[name].all():
            row = int((~sound[name]).arg_true()[0])
            cell = stored[name][row]
            shown = "empty" if cell is None else f"{cell!r} is {'no split' if name == 'split' else 'no absolute path'}"
            raise InputError(f"{path} row {row + 2}, column {name}: {shown}; the file is damaged, copy it again")
    return stored


def with_split_of(run: Path, table: ItemTable) -> ItemTable:
    """The items of ``table`` that the run knows, each in the split that it had when the run was trained.

    Items that the run does not know are left out; identities and classes are the table's. Images are told by their
    paths; where none is found, by their paths below the folder of the data, since data may have been moved.
    A run of an earlier version stored no split: the table is given back as it is.

    Args:
        run: a run folder.
        table: the run's data, read again.

    Raises:
        InputError: the file is damaged, or an image of the run is no longer among the data.
    """
    stored = read_split(run)
    if stored is None:
        return table
    known, here = told_alike(run, stored, table)
    lost = known.join(here, on=KEY, how="anti")
    if len(lost):
        raise InputError(
            f"{table.source} lacks {len(lost)} of the {len(stored)} images that {run} was trained and judged on (the "
            f"first is {lost['image'][0]}): bring them back, or name other data with --data"
        )
    found = here.select(*KEY).join(
        known.select(*KEY, col("split").alias("_split")), on=KEY, how="left", maintain_order="left"
    )["_split"]
    frame = table.frame.with_columns(found.alias("split")).filter(col("split").is_not_null())
    return replace(table, frame=frame)


def told_alike(run: Path, stored: polars.DataFrame, table: ItemTable) -> tuple[polars.DataFrame, polars.DataFrame]:
    """The items of a run and those of a table with :data:`KEY`: a file has the same path in both, wherever it lies.

    Args:
        run: the run folder.
        stored: its items.
        table: the data as they are now.

    Returns:
        Both, row by row as they are given; ``image`` and ``mask`` are relative paths where the data were moved.
    """
    frame = table.frame
    if not set(stored["image"]) & set(frame["image"]):
        origin = read_origin(run)
        before, now = (None if origin is None else origin.folder), folder_of(table)
        if before is None or now is None:
            before, now = _common_folder(stored), _common_folder(frame)
        stored, frame = _below(before, stored), _below(now, frame)
    return _numbered(stored), _numbered(frame)


def _numbered(frame: polars.DataFrame) -> polars.DataFrame:
    """With the number of each row among those of the same image: an image may be listed twice."""
    return frame.with_columns(polars.int_range(polars.len()).over("image").alias("occurrence"))


def _common_folder(frame: polars.DataFrame) -> str:
    paths: list[str] = frame["image"].to_list()
    return os.path.commonpath([os.path.dirname(path) for path in paths])


def _below(folder: str, frame: polars.DataFrame) -> polars.DataFrame:
    columns = [
        polars.Series(
            name, [None if p is None else os.path.relpath(p, folder) for p in frame[name].to_list()], polars.String
        )
        for name in ("image", "mask")
        if name in frame.columns
    ]
    return frame.with_columns(columns)


def _size(path: str | None) -> int | None:
    try:
        return None if path is None else os.stat(path).st_size
    except OSError:
        return None
