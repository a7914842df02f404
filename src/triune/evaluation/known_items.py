"""What is known of a split's items: identities, conditions, and who asks and who answers in retrieval."""

from typing import Any, TypeAlias

import numpy as np
import polars

from triune.data.dataset import ItemDataset
from triune.errors import InputError
from triune.evaluation.judge import KnownItems
from triune.evaluation.search import roles_of

Array: TypeAlias = np.ndarray[Any, Any]

CAMERA = "camera"
"""The column that the rule of re-identification goes by."""


def known_items(
    dataset: ItemDataset, source: str, conditions: tuple[str, ...] = (), exclude: str | None = None
) -> KnownItems:
    """Identities, roles and the columns that are asked for, of the items that have an identity.

    Args:
        dataset: the items of a split.
        source: the table, for messages.
        conditions: columns whose values are compared.
        exclude: the column that says within which groups pairs are left out.

    Raises:
        InputError: there is no such column, or a cell of it is empty.
    """
    known = dataset.identity_codes.numpy() >= 0
    frame = dataset.frame.filter(polars.Series(known))

    def column(name: str, flag: str) -> Array:
        if name not in frame.columns:
            there = ", ".join(frame.columns)
            raise InputError(f"{flag} names the column {name!r}: {source} has the columns {there}")
        empty = frame[name].is_null()
        if empty.any():
            row = frame["row"][int(empty.arg_true()[0])]
            raise InputError(f"{source} row {row}, column {name}: empty; fill it in")
        return frame[name].cast(polars.String).to_numpy().astype(str)

    cameras = frame[CAMERA].cast(polars.String).to_list() if CAMERA in frame.columns else None
    return KnownItems(
        labels=column("identity", ""),
        conditions={name: column(name, "--groups") for name in conditions},
        groups=None if exclude is None else column(exclude, "--exclude"),
        roles=roles_of(frame["is_query"].to_list(), frame["is_gallery"].to_list(), cameras),
    )


def with_identity(rows: Array, dataset: ItemDataset) -> Array:
    """The rows of the items that have an identity."""
    known: Array = rows[dataset.identity_codes.numpy() >= 0]
    return known


def distractors(rows: Array, dataset: ItemDataset) -> Array:
    """The rows of the items that have no identity but are in the gallery: they are nobody's match."""
    nameless = dataset.identity_codes.numpy() < 0
    found: Array = rows[nameless & dataset.frame["is_gallery"].fill_null(False).to_numpy()]
    return found
