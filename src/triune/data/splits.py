"""Splits of a table: identities or images shared out over train, validation and test."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import polars as pl

from triune.data.checks import rows_by_name
from triune.data.items import ItemTable, SplitKind
from triune.data.problems import DataError, Problem

HOLDOUT: Final = 0.15
"""Share of the images of a training identity that measure the class head where no test class is trained."""


def assign_splits(
    table: ItemTable,
    kind: SplitKind = "open-set",
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    holdout: float = HOLDOUT,
    pairs: bool = True,
) -> ItemTable:
    """Share the items out among train, val and test; whatever split the table had is replaced.

    Open-set: by identity, so that no identity of val or test occurs in train, evenly over the classes where
    classes hold several identities. Where the test classes are then never trained on, ``holdout`` is that
    share of each training identity's images, set aside to measure the class head on. Closed-set: by image,
    every identity in all three as far as its images go, at least two of them in train. Items without an
    identity are shared out by image. The same table, arguments and seed give the same splits on every
    machine.

    Args:
        table: the items.
        kind: which of the two.
        fractions: of train, val and test; they sum to 1.
        seed: of the draw.
        holdout: share of the images of a training identity; at least two stay in train; 0 for none.
        pairs: whether val and test must hold matching pairs; not needed where no embedding is judged.

    Raises:
        DataError: too few identities (open-set) or images (closed-set) for the three splits.
        ValueError: the fractions are no fractions.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            f"fractions are {fractions}: three positive shares (train, val, test) that sum to 1 are needed"
        )
    if not 0 <= holdout < 1:
        raise ValueError(f"holdout is {holdout}: a share from 0 to below 1 is needed")
    generator = np.random.default_rng(seed)
    frame = table.frame
    splits = np.full(len(frame), "train", dtype=object)
    labels = frame["label"].to_list()
    members = rows_by_name(frame["identity"].to_list())
    nameless = rows_by_name(
        [label or "" if identity is None else None for label, identity in zip(labels, frame["identity"].to_list())]
    )
    if kind == "open-set":
        classes = {name: commonest(labels[i] for i in places) for name, places in members.items()}
        shares = _share_identities(table, members, classes, fractions, generator) if members else {}
        if pairs and members:
            _require_pairs(table, members, shares)
        for name, split in shares.items():
            splits[members[name]] = split
        _share_images(splits, nameless, fractions, generator)
        trained = {labels[i] for i in np.flatnonzero(splits == "train")} - {None}
        tested = {labels[i] for i in np.flatnonzero(splits == "test")} - {None}
        if holdout and tested and not tested & trained:
            for places in members.values():
                if splits[places[0]] == "train":
                    count = min(round(holdout * len(places)), len(places) - 2)
                    splits[generator.permutation(places)[: max(count, 0)]] = "holdout"
    else:
        _share_images(splits, members, fractions, generator)
        _share_images(splits, nameless, fractions, generator)
        if pairs and members:
            _require_pairs_of_images(table, members, splits)
    divided = frame.with_columns(pl.Series("split", splits.tolist(), pl.String))
    return replace(table, frame=divided, split_kind=kind)


def complete_splits(table: ItemTable, seed: int = 0, share: float = 0.2, pairs: bool = True) -> ItemTable:
    """Give a table with splits of its own the val or test split it lacks, by identity; noting what was done.

    Without val, a ``share`` of the training identities becomes val. Without test, half of the val identities
    become test, since a threshold cannot be judged on the images it was set on.

    Args:
        table: the items, of which some are in train.
        seed: of the draw.
        share: the part of the training identities that becomes val.
        pairs: whether the new splits are for judging pairs, so that identities with two images are needed.

    Raises:
        DataError: there is no train split, or too few identities to take from.
    """
    frame = table.frame
    here = set(frame["split"].drop_nulls().to_list())
    if "train" not in here:
        problem = f"no row has the split train (there are: {', '.join(sorted(here))})"
        raise DataError([Problem(table.source, None, "split", problem, "mark the rows to train on with train")])
    generator = np.random.default_rng(seed)
    notes = list(table.notes)
    names, labels = frame["identity"].to_list(), frame["label"].to_list()
    splits = np.array(frame["split"].to_list(), dtype=object)
    for lacking, giver, part in (("val", "train", share), ("test", "val", 0.5)):
        if (splits == lacking).any():
            continue
        members = rows_by_name([n if s == giver else None for n, s in zip(names, splits)])
        count = max(2, round(part * len(members)))
        if len(members) - count < 2:
            problem = f"the split {lacking} is missing, and {giver} has {len(members)} identities, too few to share"
            remedy = f"mark the rows of at least two identities as {lacking}"
            raise DataError([Problem(table.source, None, "split", problem, remedy)])
        classes = {name: commonest(labels[i] for i in places) for name, places in members.items()}
        chosen = stratified(list(members), classes, count, generator)
        if pairs:
            _require_pairs(table, members, dict.fromkeys(chosen, lacking), (lacking,))
        for name in chosen:
            splits[members[name]] = lacking
        notes.append(f"{table.source} has no {lacking} split: {count} identities of {giver} were taken for it")
    divided = frame.with_columns(pl.Series("split", splits.tolist(), pl.String))
    return replace(table, frame=divided, notes=tuple(notes))


def commonest(labels: Iterable[str | None]) -> str:
    """The most frequent label, of equals the first in the alphabet; a missing one is the empty string."""
    counts = Counter(label or "" for label in labels)
    return min(counts, key=lambda label: (-counts[label], label))


def _share_identities(
    table: ItemTable,
    members: dict[str, list[int]],
    classes: dict[str, str],
    fractions: tuple[float, float, float],
    generator: np.random.Generator,
) -> dict[str, str]:
    """The split of every identity."""
    total = len(members)
    if total < 6:
        there = "is 1 identity" if total == 1 else f"are {total} identities"
        problem = f"there {there}, but an open-set split needs 6: two for each of train, val, test"
        column = table.identity_column
        remedy = f"add identities in the column {column}, give a split column, or split closed-set (by image)"
        raise DataError([Problem(table.source, None, column, problem, remedy)])
    tests = min(max(2, round(fractions[2] * total)), total - 4)
    vals = min(max(2, round(fractions[1] * total)), total - tests - 2)
    shares = dict.fromkeys(members, "train")
    for name in stratified(list(members), classes, tests, generator):
        shares[name] = "test"
    rest = [name for name in members if shares[name] == "train"]
    for name in stratified(rest, classes, vals, generator):
        shares[name] = "val"
    return shares


def stratified(names: list[str], classes: dict[str, str], count: int, generator: np.random.Generator) -> list[str]:
    """``count`` of the names at equal steps through the names, shuffled within classes: even over classes.

    Args:
        names: to choose from.
        classes: the class of each.
        count: how many.
        generator: of the shuffling.
    """
    shuffled = [names[i] for i in generator.permutation(len(names))]
    order = generator.permutation(sorted({classes[name] for name in names})).tolist()
    rank = {label: place for place, label in enumerate(order)}
    line = sorted(shuffled, key=lambda name: rank[classes[name]])
    start = generator.random()
    return [line[int((step + start) * len(line) / count)] for step in range(count)]


def _share_images(
    splits: Any,
    groups: dict[str, list[int]],
    fractions: tuple[float, float, float],
    generator: np.random.Generator,
) -> None:
    """Share each group's images out by the fractions, so that the totals come out; two stay in train.

    A split rather takes two images of every other identity than one of each, since one gives no matching pair.
    """
    owed_val = owed_test = 0.0
    for places in groups.values():
        owed_val += fractions[1] * len(places)
        owed_test += fractions[2] * len(places)
        spare = max(len(places) - 2, 0)
        tests = min(round(owed_test), spare)
        tests = 0 if tests == 1 < spare else tests
        vals = min(round(owed_val), spare - tests)
        vals = 0 if vals == 1 < spare else vals
        owed_val -= vals
        owed_test -= tests
        order = generator.permutation(places)
        splits[order[:tests]] = "test"
        splits[order[tests : tests + vals]] = "val"


def _require_pairs(
    table: ItemTable, members: dict[str, list[int]], shares: dict[str, str], splits: tuple[str, ...] = ("val", "test")
) -> None:
    """Raise where no identity that fell to one of the splits has two images."""
    for split in splits:
        if not any(shares.get(name) == split and len(places) > 1 for name, places in members.items()):
            problem = f"no identity that fell to {split} has two images, so it holds no matching pair"
            remedy = "add images of the identities, or give a split column"
            raise DataError([Problem(table.source, None, table.identity_column, problem, remedy)])


def _require_pairs_of_images(table: ItemTable, members: dict[str, list[int]], splits: Any) -> None:
    """Raise where val or test holds no two images of one identity, or images of one identity only."""
    for split in ("val", "test"):
        counts = [int((splits[places] == split).sum()) for places in members.values()]
        if max(counts) < 2 or sum(count > 0 for count in counts) < 2:
            problem = f"there are too few images of an identity for the split {split} to hold a matching pair"
            remedy = "add images of the identities, or give a split column"
            raise DataError([Problem(table.source, None, table.identity_column, problem, remedy)])
