"""What an audit looks at: the data of a run, other data seen by a run, or files of embeddings and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl

from triune.data.boxes import Box, boxes_of
from triune.data.items import ItemTable, read_table
from triune.data.parquet import read_frame
from triune.data.problems import DataError
from triune.data.sources.named import load_source
from triune.distances.metric import Metric
from triune.errors import InputError
from triune.evaluation.files import read_embeddings, read_labels
from triune.plurals import plural
from triune.run.origin import located
from triune.run.parser import read_config
from triune.run.split import with_split_of
from triune.serving.answers import Unreadable
from triune.serving.loaded import LoadedRun
from triune.serving.networks import BATCH, Progress
from triune.serving.pictures import pictures_of

Array: TypeAlias = np.ndarray[Any, Any]
Column: TypeAlias = Literal["identity", "label"]


@dataclass(frozen=True)
class AuditItems:
    """N items to look for mistakes among.

    Args:
        name: what they are, for people.
        embeddings: ``(N, D)``.
        names: what each is called: its path, or ``row K``.
        labels: of each, ``None`` where it is not known.
        splits: likewise.
        metric: the distance between embeddings.
        column: what the labels are: ``identity`` or ``label``.
        has_images: whether the names are paths of images.
        left_out: images that could not be read.
        trained: whether the network was trained on some of these labels.
        other_column: the column of other labels, ``identity`` or ``label``, that was not chosen; ``None`` of none.
        boxes: the part of each image that is looked at; whole images where empty.
    """

    name: str
    embeddings: Array
    names: Sequence[str]
    labels: Sequence[str | None]
    splits: Sequence[str | None]
    metric: Metric = "cosine"
    column: str = "label"
    has_images: bool = False
    left_out: Sequence[str] = ()
    trained: bool = False
    other_column: str | None = None
    boxes: Sequence[Box | None] = ()


def items_of_run(
    run: LoadedRun,
    data: str | None = None,
    *,
    column: Column = "identity",
    skip: bool = False,
    batch_size: int = BATCH,
    progress: Progress | None = None,
) -> AuditItems:
    """Every item of a run's data, training images too, or of other data, embedded by the run.

    Args:
        run: embeds the images.
        data: a table, a folder of images by class, or the name of a data set; the run's own data where not given.
        column: which labels are looked at.
        skip: whether images that cannot be read are left out, and not an error.
        batch_size: how many go through the network at a time.
        progress: called with the numbers of images that are done and of all.

    Raises:
        InputError: the data or an image cannot be read, no item has such a label, or the run has no data of its own.
    """
    table = _own_table(run) if data is None else load_source(data, split="given")
    if table.problems:
        raise DataError(table.problems)
    frame = table.frame
    if frame[column].null_count() == len(frame):
        raise InputError(f"{table.source} has no column {column} that says what the images show")
    images = list(pictures_of(table))
    rows: list[Array] = []
    kept: list[bool] = []
    left_out: list[str] = []
    for answer in run.embed_each(images, skip=skip, batch_size=batch_size, progress=progress):
        if isinstance(answer, Unreadable):
            left_out.append(str(answer))
        elif answer.embedding is not None:
            rows.append(answer.embedding)
        kept.append(not isinstance(answer, Unreadable))
    if not rows:
        raise InputError(f"none of {plural(len(images), 'image')} could be read; the first is {left_out[0]}")
    frame = frame.filter(pl.Series(kept))
    splits = _splits(frame)
    return AuditItems(
        name=f"{table.source} by {run.name}",
        embeddings=np.stack(rows),
        names=frame["image"].to_list(),
        labels=frame[column].to_list(),
        splits=splits,
        metric=run.metric,
        column=column,
        has_images=True,
        left_out=left_out,
        trained=data is None and "train" in splits,
        other_column=_other_column(frame, column),
        boxes=boxes_of(frame),
    )


def items_of_files(
    embeddings: Path,
    labels: Path | None = None,
    images: Path | None = None,
    *,
    column: Column = "identity",
    metric: Metric = "cosine",
) -> AuditItems:
    """Items of a file of embeddings from any model.

    Args:
        embeddings: N rows (.npy), or what ``triune embed`` writes (.parquet), which says what images and labels are.
        labels: their N labels (.npy, or one a line).
        images: a table of N rows with a column ``image``, and maybe ``label``, ``identity`` and ``split``.
        column: which labels of the table or of the Parquet file are looked at, where ``labels`` is not given.
        metric: the distance between embeddings.

    Raises:
        InputError: a file cannot be read, counts differ, or there are no labels.
    """
    rows = read_embeddings(embeddings)
    count = len(rows)
    known = _said_beside(embeddings) if images is None else _said_by(images, count, embeddings)
    if labels is not None:
        words: list[str | None] = [str(label) for label in read_labels(labels, count, embeddings).tolist()]
    elif known is None:
        raise InputError(
            f"{embeddings} comes without labels: give --labels, one for each row, or --images, a table with a column "
            f"identity or label"
        )
    else:
        words = known[column].to_list()
        if known[column].null_count() == count:
            raise InputError(
                f"{images or embeddings} has no column {column} that says anything: add it, or give --labels"
            )
    has_images = known is not None and known["image"].null_count() == 0
    names = known["image"].to_list() if known is not None and has_images else [f"row {row}" for row in range(count)]
    return AuditItems(
        name=str(embeddings),
        embeddings=rows,
        names=names,
        labels=words,
        splits=[None] * count if known is None else _splits(known),
        metric=metric,
        column="label" if labels is not None else column,
        has_images=has_images,
        other_column=None if known is None or labels is not None else _other_column(known, column),
    )


def _other_column(frame: pl.DataFrame, column: Column) -> str | None:
    """The column of labels that is not looked at, where it says anything else."""
    other = "label" if column == "identity" else "identity"
    same = frame[other].eq_missing(frame[column]).all()
    return None if same or frame[other].null_count() == len(frame) else other


def _own_table(run: LoadedRun) -> ItemTable:
    folder = run.folder
    if folder is None or not (folder / "config.yaml").is_file():
        raise InputError(f"{run.name} has no data of its own: name a table or a folder of images with --data")
    config = located(folder, read_config(folder / "config.yaml"), ("data", "root"))
    items = load_source(config.data, root=config.root, split=config.split, seed=config.seed, pairs=config.judges_pairs)
    return with_split_of(folder, items)


def _splits(frame: pl.DataFrame) -> list[str | None]:
    """The split of each item; ``None`` where there is only one."""
    splits: list[str | None] = frame["split"].to_list()
    return splits if frame["split"].drop_nulls().n_unique() > 1 else [None] * len(splits)


def _said_by(images: Path, count: int, embeddings: Path) -> pl.DataFrame:
    """The columns of a table that has a row for each embedding."""
    table = read_table(images)
    if table.problems:
        raise DataError(table.problems)
    if len(table.frame) != count:
        raise InputError(f"{images} has {len(table.frame)} rows but {embeddings} has {count}: one for each")
    return table.frame


def _said_beside(embeddings: Path) -> pl.DataFrame | None:
    """What a Parquet file says beside its embeddings: ``image``, ``label``, ``identity`` and ``split``, else null.

    ``None`` where it says nothing.
    """
    if embeddings.suffix != ".parquet":
        return None
    frame = read_frame(embeddings)
    columns = ("image", "label", "identity", "split")
    if not set(columns) & set(frame.columns):
        return None
    nothing = pl.lit(None, pl.String)
    told = frame.select(
        pl.col(name).cast(pl.String) if name in frame.columns else nothing.alias(name) for name in columns
    )
    # As in tables: without identities the label is the identity.
    return told if "identity" in frame.columns else told.with_columns(pl.col("label").alias("identity"))
