"""The rows of a gallery by likes and dislikes, and answers that do not repeat each other."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import polars as pl

from triune.errors import InputError
from triune.ranges import is_whole
from triune.serving.gallery.listing import gallery_name
from triune.serving.pictures import Given, pictures

if TYPE_CHECKING:
    from triune.retrieval.feedback import Background

Array: TypeAlias = np.ndarray[Any, Any]

POOL: Final = 100
"""Among so many of the best, or ten times as many as are asked for, those are chosen that differ."""

BLOCK: Final = 1 << 16
"""Rows that the background is taken away from at a time."""


@dataclass(frozen=True, eq=False)
class FreedRows:
    """A gallery's embeddings without what they have in common.

    Args:
        known: what that is.
        rows: ``(N, D)`` float32 of unit length.
    """

    known: "Background"
    rows: Array


def freed(embeddings: Array) -> FreedRows:
    """Take away from a gallery's embeddings what they have in common; as much memory as they take themselves.

    Args:
        embeddings: ``(N, D)`` float32, at least one row.
    """
    from triune.retrieval.feedback import background  # torch, which plain searches do without

    known = background(embeddings)
    rows = np.empty(embeddings.shape, np.float32)
    for start in range(0, len(rows), BLOCK):
        rows[start : start + BLOCK] = known.without(embeddings[start : start + BLOCK]).numpy()
    return FreedRows(known, rows)


@dataclass(frozen=True, eq=False)
class Shown:
    """Items that somebody likes, or dislikes.

    Args:
        names: what they are called.
        vectors: ``(L, D)`` their embeddings.
        rows: those of the gallery's rows that they are.
    """

    names: tuple[str, ...]
    vectors: Array
    rows: Array


def items_of(
    given: Given | Array, frame: pl.DataFrame, embeddings: Array, embedded: Callable[[Any], tuple[list[str], Array]]
) -> Shown:
    """What was given as liked or disliked; images that the gallery holds are taken from there.

    Args:
        given: any images, numbers of rows, or an array ``(L, D)`` of embeddings.
        frame: the gallery's rows.
        embeddings: ``(N, D)`` of them.
        embedded: names and embeddings of images, or of embeddings.

    Raises:
        InputError: an image cannot be read, or there is no such row.
    """
    if isinstance(given, np.ndarray) and given.ndim == 2 and given.dtype.kind == "f":
        names, vectors = embedded(given)
        return Shown(tuple(names), vectors, np.zeros(0, np.int64))
    there = dict(zip(frame["image"].to_list(), range(len(frame)), strict=True))
    names, rows, others = list[str](), list[int](), list[Any]()
    parts: Sequence[Any] = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    for part in parts:
        if is_whole(part):
            if not 0 <= part < len(frame):
                raise InputError(f"there is no row {part}: the gallery has {len(frame)}")
            names, rows = [*names, frame["image"][int(part)]], [*rows, int(part)]
            continue
        if isinstance(part, str | Path) and os.path.abspath(part) in there:
            names, rows = [*names, str(part)], [*rows, there[os.path.abspath(part)]]
            continue
        for each in pictures(part):
            row = there.get(gallery_name(each))
            names.append(each.name)
            rows += [] if row is None else [row]
            others += [each.source] if row is None else []
    vectors = embeddings[rows]
    if others:
        vectors = np.concatenate([vectors, embedded(others)[1]])
    if not len(vectors):
        raise InputError("no images were given")
    return Shown(tuple(names), vectors, np.array(rows, np.int64))


def in_words(liked: Shown, disliked: Shown | None) -> str:
    """What an answer says that was looked for."""
    unlike = "" if disliked is None else f"; unlike {_few(disliked.names)}"
    return f"like {_few(liked.names)}{unlike}"


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(Path(name).name or name for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def ranked_by_taste(
    gallery: FreedRows, liked: Array, disliked: Array | None, candidates: Array, k: int, diversity: float
) -> tuple[Array, Array]:
    """The rows that are most like what is liked and least like what is disliked.

    Args:
        gallery: of N rows.
        liked: ``(L, D)`` embeddings.
        disliked: ``(U, D)``.
        candidates: ``(C,)`` int64 rows that may be found, ascending.
        k: how many.
        diversity: from 0 to 1; :func:`~triune.retrieval.diversity.maximal_marginal_relevance` says of what.

    Returns:
        Scores ``(k,)`` of :func:`~triune.retrieval.feedback.taste_scores`, and rows ``(k,)``, in the order in which
        they were chosen; of equal scores the lower row.
    """
    every = len(candidates) == len(gallery.rows)
    rows = gallery.rows if every else gallery.rows[candidates]
    from triune.retrieval.feedback import taste_scores

    unwanted = None if disliked is None else gallery.known.without(disliked, "disliked")
    scores = taste_scores(rows, gallery.known.without(liked, "liked"), unwanted).numpy()
    best = np.argsort(-scores, kind="stable")[: pool_size(k) if diversity else k]
    rows, scores = candidates[best], scores[best]
    chosen = diverse(scores, gallery.rows[rows], k, diversity)
    return scores[chosen], rows[chosen]


def pool_size(k: int) -> int:
    """Among how many of the best k that differ are chosen."""
    return max(POOL, 10 * k)


def diverse(scores: Array, rows: Array, k: int, diversity: float) -> Array:
    """Which of the best rows are shown, in which order.

    Args:
        scores: ``(C,)`` cosine similarities with the query, the best first.
        rows: ``(C, D)``.
        k: how many.
        diversity: from 0 to 1.

    Returns:
        ``(k,)`` places among the C.
    """
    if diversity == 0:
        return np.arange(min(k, len(scores)))
    from triune.retrieval.diversity import maximal_marginal_relevance

    return maximal_marginal_relevance(scores, rows, k, diversity)
