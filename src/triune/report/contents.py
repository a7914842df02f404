"""What the page is made of: everything that it reads from a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars

from triune.data.boxes import Box, boxes_of
from triune.evaluation.results import Results
from triune.report.shown_items import ShownItems, choose_items
from triune.run.history import read_history
from triune.run.judged_items import read_judged_items


class PredictedMask(NamedTuple):
    """An image with its true and its predicted mask.

    Args:
        identity: whom or what it shows.
        image: path of the image.
        true: path of its mask in the table.
        predicted: path of the mask that the network made.
        box: the part of the image that was looked at; ``None`` for all of it.
    """

    identity: str
    image: str
    true: str
    predicted: Path
    box: Box | None = None


@dataclass(frozen=True)
class Contents:
    """What was found in a folder; what is not there is ``None`` or empty.

    Args:
        folder: where it was read.
        results: what was judged.
        items: some of the judged items, for pictures.
        masks: predicted masks, in the order of the table.
        history: the figures of every step of training.
        settings: the text of ``config.yaml``.
        has_model: whether the folder holds a model.
    """

    folder: Path
    results: Results
    items: ShownItems | None
    masks: list[PredictedMask]
    history: polars.DataFrame | None
    settings: str | None
    has_model: bool


def read_contents(folder: Path) -> Contents:
    """Read a folder that ``triune train`` or ``triune evaluate`` wrote.

    Raises:
        InputError: it has no ``metrics.json``, or one of its files is damaged.
    """
    results = Results.read(folder / "metrics.json")
    items, history, settings = (folder / name for name in ("embeddings.parquet", "history.csv", "config.yaml"))
    table = read_judged_items(items) if items.is_file() else None
    metric = results.metric
    return Contents(
        folder=folder,
        results=results,
        # Scores of a list come without embeddings.
        items=None if table is None or metric == "score" or metric == "distance" else choose_items(table, metric),
        masks=[] if table is None else _predicted_masks(table, folder / "masks"),
        history=read_history(history) if history.is_file() else None,
        settings=settings.read_text(encoding="utf-8", errors="replace") if settings.is_file() else None,
        has_model=(folder / "model.safetensors").is_file(),
    )


def _predicted_masks(table: polars.DataFrame, folder: Path) -> list[PredictedMask]:
    """The items of a table that have a mask of their own, and one in a folder of predicted masks: ``ROW.png``."""
    predicted = {int(file.stem): file for file in folder.glob("*.png") if file.stem.isdigit()}
    rows = table.filter(polars.col("row").is_in(list(predicted)) & polars.col("mask").is_not_null())
    cells = zip(rows.select("row", "identity", "image", "mask").iter_rows(named=True), boxes_of(rows), strict=True)
    return [
        PredictedMask(str(row["identity"]), row["image"], row["mask"], predicted[row["row"]], box) for row, box in cells
    ]
