"""``history.csv``: a row for every training step; a validation's figures stand in the row of the step before it."""

from pathlib import Path
from typing import Final

import polars

from triune.run.columns import read_csv, write_csv

COLUMNS: Final = {
    "epoch": polars.Int64,
    "step": polars.Int64,
    "lr": polars.Float64,
    "train_total": polars.Float64,
    "train_classification": polars.Float64,
    "train_segmentation": polars.Float64,
    "train_triplet": polars.Float64,
    "train_active_share": polars.Float64,
    "train_positive_distance": polars.Float64,
    "train_negative_distance": polars.Float64,
    "train_collapse": polars.Float64,
    "train_grad_norm_classification": polars.Float64,
    "train_grad_norm_segmentation": polars.Float64,
    "train_grad_norm_triplet": polars.Float64,
    "train_grad_cosine_classification_segmentation": polars.Float64,
    "train_grad_cosine_classification_triplet": polars.Float64,
    "train_grad_cosine_segmentation_triplet": polars.Float64,
    "train_weight_classification": polars.Float64,
    "train_weight_segmentation": polars.Float64,
    "train_weight_triplet": polars.Float64,
    "val_tpr": polars.Float64,
    "val_auc": polars.Float64,
    "val_classification": polars.Float64,
    "val_segmentation": polars.Float64,
}
"""``epoch`` counts from 0, ``step`` from 1; ``lr`` is the learning rate; the others are losses, shares and distances,
and every few steps the norm of each task's gradient on the backbone, cosines between them, and the tasks' weights.

An empty cell says that the step, or the run, has no such figure.
"""


def write_history(path: Path, rows: list[dict[str, float]]) -> None:
    """Write the rows, whole or not at all. What is missing or NaN is an empty cell; other entries are passed over."""
    frame = polars.DataFrame(rows, schema_overrides=dict.fromkeys(COLUMNS, polars.Float64), infer_schema_length=None)
    absent = [polars.lit(None, polars.Float64).alias(name) for name in COLUMNS if name not in frame.columns]
    # The figures come from single precision, whose digits are enough.
    short = {name: polars.Float32 if kind == polars.Float64 else kind for name, kind in COLUMNS.items()}
    write_csv(path, frame.with_columns(absent).with_columns(polars.col(list(COLUMNS)).fill_nan(None)), short)


def read_history(path: Path) -> polars.DataFrame:
    """The columns of :data:`COLUMNS`; null where a cell is empty.

    Raises:
        InputError: it is missing, damaged or another file; the message names row and column.
    """
    return read_csv(path, COLUMNS, required=2)
