"""Identities set aside to fit the threshold on: neither trained on, nor used to choose a checkpoint or a margin."""

from dataclasses import replace

import numpy as np
import polars as pl

from triune.data.checks import rows_by_name
from triune.data.items import ItemTable
from triune.data.problems import DataError, Problem
from triune.data.splits import commonest, stratified
from triune.errors import InputError
from triune.verification.all_pairs import why_not_verifiable
from triune.verification.promise import identities_needed, too_few


def with_calibration(table: ItemTable, share: float, seed: int = 0) -> ItemTable:
    """Take a share of the training identities, evenly over the classes, for the split calibration.

    Images of theirs that were held out go along.

    Args:
        table: the items, with splits.
        share: of the training identities; 0 takes none.
        seed: of the draw.

    Raises:
        DataError: fewer than two identities would be left on either side; the table has such a split already; or it is
            split by image, so that no identity is new to the network.
    """
    frame = table.frame
    if not share:
        return table

    def refused(column: str, problem: str, remedy: str) -> DataError:
        return DataError([Problem(table.source, None, column, problem, remedy)])

    if (frame["split"] == "calibration").any():
        problem = "the table has a split calibration of its own, so no share is set aside"
        raise refused("split", problem, "leave --calibration away")
    if table.split_kind == "closed-set":
        problem = "every identity is trained on (closed-set), so none is left to calibrate on"
        raise refused("split", problem, "leave --split closed-set or --calibration away")
    names, labels, splits = (frame[name].to_list() for name in ("identity", "label", "split"))
    members = rows_by_name([name if split == "train" else None for name, split in zip(names, splits)])
    count = max(2, round(share * len(members)))
    if len(members) - count < 2:
        problem = f"{len(members)} training identities are too few to set {count} aside for calibration"
        raise refused(table.identity_column, problem, "add identities, or take a smaller --calibration")
    classes = {name: commonest(labels[row] for row in rows) for name, rows in members.items()}
    chosen = set(stratified(list(members), classes, count, np.random.default_rng(seed)))
    moved = [
        "calibration" if name in chosen and split in ("train", "holdout") else split
        for name, split in zip(names, splits)
    ]
    note = f"{count} of {len(members)} training identities were set aside to fit the threshold on (calibration)"
    return replace(table, frame=frame.with_columns(pl.Series("split", moved, pl.String)), notes=(*table.notes, note))


def check_promise(table: ItemTable, fpr: float, confidence: float) -> None:
    """Raise where the calibration identities cannot promise a threshold, before anything is trained.

    Args:
        table: the items, with splits.
        fpr: the budget.
        confidence: how sure the promise is to be.

    Raises:
        InputError: there are no calibration identities, too few of them, or one that something was chosen by.
    """
    identities = table.part("calibration")["identity"].drop_nulls()
    count = identities.n_unique()
    if not count:
        raise InputError(
            f"--fpr_confidence {confidence:g} needs {identities_needed(fpr, confidence)} identities by which nothing "
            f"was chosen: mark rows of {table.source} with the split calibration, or set --calibration to the share of "
            "training identities to set aside"
        )
    for split in ("train", "holdout", "val"):
        shared = set(table.part(split)["identity"].drop_nulls()) & set(identities)
        if shared:
            raise InputError(
                f"{table.source}: the identity {min(shared)} is in {split} and in calibration ({len(shared)} such): a "
                "promise needs identities by which nothing was chosen, so give each to one split"
            )
    if count < identities_needed(fpr, confidence):
        raise InputError(
            f"{too_few(count, fpr, confidence)}: add calibration identities, raise --target_fpr, or leave "
            "--fpr_confidence away"
        )
    reason = why_not_verifiable(identities.to_numpy())
    if reason is not None:
        raise InputError(f"{table.source}, split calibration: {reason}")
