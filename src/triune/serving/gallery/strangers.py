"""People who are not enrolled, as a run knows them: the validation identities that it was not trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl

from triune.run.judged_items import read_judged_items
from triune.run.places import folder_of
from triune.run.split import read_split
from triune.serving.exported.card import SUFFIX

Array: TypeAlias = np.ndarray[Any, Any]

MOST: Final = 4096
"""Images of strangers that are held against a gallery, of every identity as nearly equally many as there are."""

JUDGED: Final = "embeddings.parquet"


@dataclass(frozen=True, eq=False)
class Strangers:
    """Images of people who are not enrolled.

    Args:
        embeddings: ``(P, D)`` float32.
        identities: ``(P,)`` strings.
        lacking: why there are none, where there are none.
        untouched: whether nothing of the network was chosen by them: so of calibration identities, not of validation
            ones, which chose the checkpoint.
    """

    embeddings: Array
    identities: Array
    lacking: str | None = None
    untouched: bool = False


def strangers_of(run: Path | None, name: str, dim: int) -> Strangers:
    """The strangers of a run: its calibration identities where it has any, else those of its validation split.

    Args:
        run: its folder, the ``model.safetensors`` in it, or an exported file; ``None`` of a public backbone.
        name: what messages call it.
        dim: length of an embedding.

    Raises:
        InputError: its files are damaged.
    """
    if run is None:
        return _none(dim, f"{name} was not trained here, and has no validation identities")
    if run.suffix.lower() == SUFFIX:
        return _none(dim, f"{run.name} is an exported file, which holds nobody's embeddings (its run does: --run RUN)")
    folder = folder_of(run)
    if not (folder / JUDGED).is_file():
        return _none(dim, f"{folder / JUDGED} is not there")
    items = read_judged_items(folder / JUDGED).filter(pl.col("identity").is_not_null())
    split = "calibration" if (items["split"] == "calibration").any() else "val"
    items = items.filter(pl.col("split") == split)
    if items.is_empty():
        return _none(dim, f"{name} has no validation identities")
    stored = read_split(folder)
    if stored is not None:
        trained = stored.filter(pl.col("split") == "train")["identity"].drop_nulls().unique().to_list()
        items = items.filter(~pl.col("identity").is_in(trained))
    if items.is_empty():
        return _none(dim, f"{name} was trained on all its validation identities")
    chosen = evenly(items["identity"].to_numpy().astype(str), MOST)
    rows = np.array(items["embedding"].to_list(), dtype=np.float32).reshape(len(items), -1)[chosen]
    return Strangers(rows, items["identity"].to_numpy().astype(str)[chosen], untouched=split == "calibration")


def evenly(identities: Array, most: int) -> Array:
    """Rows, at most so many, ascending: one of each identity, then another of each, and so on; within one at random.

    Args:
        identities: ``(P,)``.
        most: how many rows.
    """
    if len(identities) <= most:
        return np.arange(len(identities))
    mixed = np.random.default_rng(0).permutation(len(identities))
    codes = np.unique(identities, return_inverse=True)[1][mixed]
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order])
    turn = np.empty(len(codes), dtype=np.int64)  # the how-many-th of its identity each row is
    turn[order] = np.arange(len(codes)) - starts
    return np.sort(mixed[np.argsort(turn, kind="stable")[:most]])


def _none(dim: int, why: str) -> Strangers:
    return Strangers(np.zeros((0, dim), np.float32), np.zeros(0, dtype="U1"), why)
