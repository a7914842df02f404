"""What changed in a run's data since it was begun: named, and for a training that goes on all the same, fitted in."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars
from polars import col

from triune.data.boxes import BOX_COLUMNS
from triune.data.items import ItemTable
from triune.errors import InputError
from triune.run.origin import Origin
from triune.run.split import KEY, read_split, told_alike, with_sizes

COMPARED: Final = {
    "identity": "the identity",
    "label": "the label",
    "mask": "the mask",
    "image_bytes": "the size of the image",
    "mask_bytes": "the size of the mask",
    **{name: f"the box's {name}" for name in BOX_COLUMNS},
}
"""What is compared of an item, and how it is called."""


def resumed_items(
    run: Path, table: ItemTable, origin: Origin | None, *, with_changes: bool, own_split: bool = True
) -> ItemTable:
    """The items that a training goes on with: those that it was begun with, in the stored order and splits.

    Where the data changed and that is allowed, rows that are new, or show somebody else now, go where the other images
    of their identity are; rows of identities that the run does not know are left out, and the print says so: their
    splits and codes were dealt out when the run was begun. No identity that is tested comes into training.

    Args:
        run: the run folder.
        table: its data, read again, whatever split they were given.
        origin: what the run stored of its data.
        with_changes: whether to go on with data that changed.
        own_split: whether the run took the splits that its table brought, so that they are compared, too.

    Raises:
        InputError: the data changed, and that is not allowed; the message says what changed. Or their classes did,
            which the class head cannot follow.
    """
    stored = read_split(run)
    if stored is None:  # a run of version 0.1.0
        return table
    sized = replace(table, frame=with_sizes(table.frame))
    before, now = told_alike(run, stored, sized)
    said = differences(before, now)
    if not said and own_split and {"train", "val", "test"} <= set(table.frame["split"]):
        said = _changed(before.join(now, on=KEY, suffix="_now", maintain_order="left"), "split", "the split")
    if said and not with_changes:
        raise InputError(
            f"the data of {run} have changed since it was begun: {'; '.join(said)}. Bring them back as they were, or "
            "go on all the same with --resume_with_changes"
        )
    for change in said:
        print(f"{run}: {change}", file=sys.stderr, flush=True)
    places = now.with_row_index("place").select(*KEY, "place")
    kept = before.join(places, on=KEY, how="inner", maintain_order="left")
    found = kept["place"].to_list()
    frame = _at(table.frame, found).with_columns(kept["split"])
    moved = frame["identity"].ne_missing(kept["identity"])
    fresh = _at(table.frame, sorted(set(range(len(now))) - set(found)))
    if moved.any() or len(fresh):
        others = polars.concat(
            [frame.filter(moved), fresh.with_columns(polars.lit(None, polars.String).alias("split"))]
        )
        frame = _fitted_in(frame.filter(~moved), others, stored, run)
    if origin is None:
        return replace(table, frame=frame)
    _check_classes(run, table.source, frame, origin.classes)
    return replace(table, frame=frame, split_kind=origin.split_kind)


def _at(frame: polars.DataFrame, places: list[int]) -> polars.DataFrame:
    return frame.select(polars.all().gather(places))


def differences(before: polars.DataFrame, now: polars.DataFrame) -> list[str]:
    """What changed between two states of items that have the same paths; empty if nothing did.

    Args:
        before: columns :data:`~triune.run.split.KEY` and those of :data:`COMPARED`; one that is null throughout is
            not compared, since runs of version 0.1.0 did not store it; and ``split``.
        now: the same and ``row``.
    """
    said = []
    added, gone = now.join(before, on=KEY, how="anti"), before.join(now, on=KEY, how="anti")
    if len(added):
        said.append(f"{_rows(len(added))} added (the first is row {added['row'][0]}, {added['image'][0]})")
    if len(gone):
        said.append(f"{_rows(len(gone))} removed (the first is {gone['image'][0]})")
    both = before.join(now, on=KEY, how="inner", suffix="_now", maintain_order="left")
    old = before["image_bytes"].is_null().all()
    for name, words in COMPARED.items():
        if name == "identity" or not old:
            said += _changed(both, name, words)
    return said


def _changed(both: polars.DataFrame, name: str, words: str) -> list[str]:
    """What is said of a column where it differs from ``NAME_now``; nothing if it does not."""
    changed = both.filter(col(name).ne_missing(col(f"{name}_now")))
    if not len(changed):
        return []
    first = changed.row(0, named=True)
    return [
        f"{words} of {_rows(len(changed))} changed (the first is {first['image']}: {_cell(first[name])} before, "
        f"{_cell(first[f'{name}_now'])} now)"
    ]


def _check_classes(run: Path, source: str, frame: polars.DataFrame, classes: list[str]) -> None:
    """Refuse a training item of a class that the class head has no output for."""
    training = frame.filter(col("split") == "train")["label"].drop_nulls().unique().sort().to_list()
    new = [name for name in training if name not in classes]
    if new and classes:
        gone = [name for name in classes if name not in training]
        lost = f", and {gone[0]!r} is gone" if gone else ""
        raise InputError(
            f"{source} has the class {new[0]!r}, which {run} was not begun with{lost}: its network has no output for "
            "it. Name the classes as before, or train a new run"
        )


def _fitted_in(
    kept: polars.DataFrame, others: polars.DataFrame, stored: polars.DataFrame, run: Path
) -> polars.DataFrame:
    """The items that are as they were, and of the others those whose identity has a split.

    An image that nothing was to be learnt from stays one: if its new identity is trained on, it is left out.

    Args:
        kept: the items that are as they were.
        others: those that show somebody else now, with the split that they had; and new ones, whose split is null.
        stored: the splits of the run.
        run: its folder, for messages.
    """
    splits: dict[str | None, str] = {}
    # Where the images of an identity are in several splits, as in a closed-set split, train comes first.
    for name, split in stored.select("identity", "split").sort("split", descending=True).iter_rows():
        if name is not None:
            splits.setdefault(name, split)
            if split == "train":
                splits[name] = split
    found = [
        _new_split(had, splits.get(name) if name is not None else had or "train")
        for name, had in others.select("identity", "split").iter_rows()
    ]
    joined = others.with_columns(polars.Series("split", found, polars.String))
    known = joined.filter(col("split").is_not_null())
    if len(known) < len(joined):
        first = joined.filter(col("split").is_null())["image"][0]
        print(
            f"{run}: {_rows(len(joined) - len(known))} left out, of identities that the run does not know, or held out "
            f"before and of identities that it trains on now (the first is {first})", file=sys.stderr, flush=True,
        )  # fmt: skip
    return polars.concat([kept, known])


def _new_split(had: str | None, split: str | None) -> str | None:
    """The split of an image whose identity is of ``split``; ``None`` where it was held out and would be learnt from."""
    learnt = ("train", "holdout")
    return None if had is not None and had not in learnt and split in learnt else split


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _cell(value: object) -> str:
    return "nothing" if value is None else str(value)
