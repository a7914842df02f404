"""Queries and gallery among the items of one set, as tables mark them: which rows ask, and which answer."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from triune.arrays import as_tensor
from triune.labels import Labels, plain_labels

Array: TypeAlias = np.ndarray[Any, Any]


class Search(NamedTuple):
    """Queries and the gallery that they are searched in.

    Args:
        queries: ``(Q,)`` int64 the rows that are queries, ascending.
        gallery: ``(M,)`` int64 the rows of the gallery, ascending.
        groups: ``(Q,)`` codes: of a query's ranking, matching items of its own group are left out.
        gallery_groups: ``(M,)`` the same of the gallery.
    """

    queries: Array
    gallery: Array
    groups: Array
    gallery_groups: Array


def search_by_roles(
    count: int, is_query: Labels | None = None, is_gallery: Labels | None = None, groups: Labels | None = None
) -> Search:
    """Which rows ask and which answer; a row that does both is left out of its own ranking.

    An item is of its own identity and of its own group, so that leaving out matching items of a query's group leaves
    out the query itself. Where there are no groups, every item is a group of its own.

    Args:
        count: N, how many items there are.
        is_query: ``(N,)`` yes or no; where not given, every row that is not of the gallery, or all of them.
        is_gallery: ``(N,)`` yes or no; where not given, every row that is no query, or all of them.
        groups: ``(N,)`` where each item comes from (camera, photo session).

    Raises:
        ValueError: counts differ, an entry is no yes or no, or there is no query or nothing in the gallery.
    """
    asks, answers = _flags(is_query, count, "is_query"), _flags(is_gallery, count, "is_gallery")
    if asks is None:
        asks = _rest(answers, count)
    if answers is None:
        answers = _rest(asks, count)
    codes = np.arange(count, dtype=np.int64)
    if groups is not None:
        plain = plain_labels(groups, "groups")
        if len(plain) != count:
            raise ValueError(f"groups has {len(plain)} entries but embeddings has {count} rows")
        codes = np.unique(plain, return_inverse=True)[1].astype(np.int64)
    queries, gallery = np.flatnonzero(asks), np.flatnonzero(answers)
    for name, rows in (("is_query", queries), ("is_gallery", gallery)):
        if not len(rows):
            raise ValueError(
                f"{name} says yes of no row: there is nothing to search {'for' if rows is queries else 'in'}"
            )
    return Search(queries, gallery, codes[queries], codes[gallery])


def rows_of(x: Tensor, rows: Array) -> Tensor:
    """Some rows of ``(N, D)``, on the device where these are."""
    return x[torch.from_numpy(rows).to(x.device)]


def _flags(flags: Labels | None, count: int, name: str) -> Array | None:
    """Yes or no as ``(N,)`` booleans."""
    if flags is None:
        return None
    given = as_tensor(flags, name).detach().cpu().numpy()
    if given.shape != (count,):
        raise ValueError(f"{name} is of shape {given.shape} but embeddings has {count} rows: one yes or no for each")
    if given.dtype != bool and not np.isin(given, (0, 1)).all():
        raise ValueError(f"{name} holds something else than yes and no: give booleans, or 1 and 0")
    return given.astype(bool)


def _rest(flags: Array | None, count: int) -> Array:
    """The rows of which it is not said; all of them where nothing else is left."""
    if flags is None or flags.all():
        return np.ones(count, dtype=bool)
    rest: Array = ~flags
    return rest
