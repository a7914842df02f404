"""Rows of a gallery that are nearly the same: pairs within a distance, and the groups that they make."""

from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from triune.distances.metric import Metric
from triune.errors import InputError
from triune.kernels.scores_cpu import scores_of_pairs
from triune.pairs.rows import UNIT_ROUNDOFF
from triune.ranges import is_number
from triune.serving.gallery.exact import nearest
from triune.serving.gallery.hits import Hits, cells_of, hits_of
from triune.serving.networks import Progress

Array: TypeAlias = np.ndarray[Any, Any]

BLOCK: Final = 1 << 23
"""Products at a time: 32 MiB."""

MOST: Final = 10_000_000
"""Pairs; more are no near-duplicates, but a distance that is too large."""

FURTHEST: Final = 5.0
"""More than any distance between rows of unit length: of squared Euclidean distances the largest is 4."""


class Pairs(NamedTuple):
    """Pairs of rows.

    Args:
        first: ``(P,)`` int64, the lower row of each.
        second: the higher.
        scores: ``(P,)`` float32: the cosine similarity, or minus the distance.
    """

    first: Array
    second: Array
    scores: Array


def near_duplicates(x: Array, metric: Metric, distance: float, progress: Progress | None = None) -> Pairs:
    """All pairs of rows at most so far apart, the closest first. Time: N²·D, in blocks of 32 MiB.

    Args:
        x: ``(N, D)`` float32, of unit length.
        metric: the distance.
        distance: the largest that counts.
        progress: called with the numbers of rows that are done and of all.

    Raises:
        InputError: the distance is negative or no number, or more than :data:`MOST` pairs lie within it.
    """
    if not (is_number(distance) and 0 <= distance < float("inf")):
        raise InputError(f"the distance is {distance}: a number of at least 0 is needed")
    reach = min(distance, FURTHEST)
    product = {"cosine": 1 - reach, "squared_euclidean": 1 - reach / 2, "euclidean": 1 - reach**2 / 2}[metric]
    slack = 2 * (x.shape[1] + 8) * UNIT_ROUNDOFF
    found: list[Pairs] = []
    count, height = 0, max(1, BLOCK // max(1, len(x)))
    for start in range(0, len(x), height):
        block = x[start : start + height] @ x[start:].T
        rows, columns = np.nonzero(block >= product - slack)
        later = columns > rows
        first, second = rows[later] + start, columns[later] + start
        squares = -scores_of_pairs(x, x, first, second, False)  # of differences: products lose a small distance
        apart = {"cosine": squares / 2, "squared_euclidean": squares}.get(metric, np.sqrt(squares))
        near = apart <= reach
        scores = 1 - apart if metric == "cosine" else -apart
        found.append(Pairs(first[near], second[near], scores[near]))
        count += int(near.sum())
        if count > MOST:
            raise InputError(f"more than {MOST:,} pairs lie within a distance of {distance}: ask for a smaller one")
        if progress is not None:
            progress(min(start + height, len(x)), len(x))
    if not found:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    pairs = Pairs(*(np.concatenate(parts) for parts in zip(*found)))
    order = np.lexsort((pairs.second, pairs.first, -pairs.scores))
    return Pairs(*(each[order] for each in pairs))


def groups(pairs: Pairs, count: int) -> list[list[int]]:
    """Rows that pairs connect, each group in the order of its rows, that of the lowest row first.

    Args:
        pairs: from :func:`near_duplicates`.
        count: of all rows.
    """
    from triune.recognition.near_duplicates import groups as joined  # torch, which searches do without

    labels = joined(count, pairs.first, pairs.second)
    members: dict[int, list[int]] = {}
    for row in np.unique(np.concatenate([pairs.first, pairs.second])).tolist():
        members.setdefault(int(labels[row]), []).append(row)
    return list(members.values())


def duplicate_groups(
    frame: pl.DataFrame,
    x: Array,
    metric: Metric,
    distance: float,
    among: Array | None = None,
    progress: Progress | None = None,
) -> list[Hits]:
    """The groups of near-duplicates of a gallery: the lowest row of each as the query, the others as its hits.

    Args:
        frame: the gallery's rows.
        x: ``(N, D)`` their embeddings.
        metric: the distance.
        distance: the largest that counts.
        among: the rows that are looked at, ``(M,)`` int64, ascending; all where not given.
        progress: called with the numbers of rows that are done and of all.

    Raises:
        InputError: as :func:`near_duplicates`.
    """
    pairs = near_duplicates(x if among is None else x[among], metric, distance, progress)
    if among is not None:
        pairs = Pairs(among[pairs.first], among[pairs.second], pairs.scores)
    found = []
    for first, *others in groups(pairs, len(frame)):
        scores, places = nearest(x[others], x[first : first + 1], len(others), metric)
        rows = np.array(others)[places[0]]
        found.append(hits_of(frame["image"][first], rows, scores[0], cells_of(frame, rows), metric))
    return found
