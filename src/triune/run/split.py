"""``split.csv``: what each item of a run was for, so that the run still knows it when the data have changed."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars

from triune.data.items import ItemTable
from triune.errors import InputError
from triune.run.columns import read_csv, write_csv

COLUMNS: Final = {"image": polars.String, "identity": polars.String, "split": polars.String}
"""The image's absolute path; who it shows, empty where that is not known; train, val, test or holdout."""

NAME: Final = "split.csv"


def write_split(run: Path, table: ItemTable) -> None:
    """Write the split of a table into a run folder."""
    write_csv(run / NAME, table.frame, COLUMNS)


def with_split_of(run: Path, table: ItemTable) -> ItemTable:
    """The items of ``table`` that the run knows, each in the split that it had when the run was trained.

    Items that the run does not know are left out; identities and classes are the table's. Images are told by their
    paths; where none is found, by their paths below the folder that all have in common, since data may have been moved.
    A run of an earlier version stored no split: the table is given back as it is.

    Args:
        run: a run folder.
        table: the run's data, read again.

    Raises:
        InputError: the file is damaged, or an image of the run is no longer among the data.
    """
    path = run / NAME
    if not path.is_file():
        return table
    stored, frame = read_csv(path, COLUMNS, required=3), table.frame
    if stored["split"].null_count():
        row = int(stored["split"].is_null().arg_true()[0]) + 2
        raise InputError(f"{path} row {row}, column split: empty; the file is damaged")
    if not set(stored["image"]) & set(frame["image"]):
        stored, frame = _below_common_folder(stored), _below_common_folder(frame)
    keys = ["image", "occurrence"]
    known, here = _numbered(stored), _numbered(frame)
    lost = known.join(here, on=keys, how="anti")
    if len(lost):
        raise InputError(
            f"{table.source} lacks {len(lost)} of the {len(stored)} images that {run} was trained and judged on (the "
            f"first is {lost['image'][0]}): bring them back, or name other data with --data"
        )
    found = here.select(*keys).join(
        known.select(*keys, polars.col("split").alias("_split")), on=keys, how="left",
        maintain_order="left",
    )["_split"]  # fmt: skip
    frame = table.frame.with_columns(found.alias("split")).filter(polars.col("split").is_not_null())
    return replace(table, frame=frame)


def _numbered(frame: polars.DataFrame) -> polars.DataFrame:
    """With the number of each row among those of the same image: an image may be listed twice."""
    return frame.with_columns(polars.int_range(polars.len()).over("image").alias("occurrence"))


def _below_common_folder(frame: polars.DataFrame) -> polars.DataFrame:
    paths = frame["image"].to_list()
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    return frame.with_columns(polars.Series("image", [os.path.relpath(path, common) for path in paths]))
