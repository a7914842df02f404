"""``embeddings.parquet``: each held-out item of a run with what the network said of it."""

from pathlib import Path
from typing import Final

import polars

from triune.data.boxes import BOX_COLUMNS, with_box_columns
from triune.run.columns import read_parquet, write_parquet

COLUMNS: Final = {
    "row": polars.Int64,
    "image": polars.String,
    "mask": polars.String,
    "label": polars.String,
    "identity": polars.String,
    "split": polars.String,
    "predicted_label": polars.String,
    "embedding": polars.List(polars.Float32),
}
"""Those of :class:`~triune.data.items.ItemTable`, then the class that was predicted (null without a class head)."""

BOXES: Final = dict.fromkeys(BOX_COLUMNS, polars.Int64)
"""The part of the image that was looked at, null for all of it; earlier versions wrote no such columns."""


def write_judged_items(path: Path, frame: polars.DataFrame) -> None:
    """Write the columns of :data:`COLUMNS` and :data:`BOXES` (null where there are none), whole or not at all."""
    write_parquet(path, with_box_columns(frame), {**COLUMNS, **BOXES})


def read_judged_items(path: Path) -> polars.DataFrame:
    """The columns of :data:`COLUMNS` and :data:`BOXES`.

    Raises:
        InputError: it is missing, damaged or another file; the message names the column.
    """
    return read_parquet(path, COLUMNS, BOXES)
