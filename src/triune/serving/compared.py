"""The verdict on each pair of images, of which each is embedded once."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from triune.data.pair_lists import read_open_pairs
from triune.distances.metric import Metric
from triune.errors import InputError
from triune.pairs.rows import row_scores
from triune.serving.answers import ImagePrediction, Unreadable
from triune.serving.pictures import Given, Picture, pictures
from triune.serving.verdicts import Verdict, verdict
from triune.verification.decision import Threshold

Pair: TypeAlias = tuple[Picture, Picture]
Array: TypeAlias = np.ndarray[Any, Any]

PAIRS_AT_ONCE = 4096
"""Pairs that are scored at a time."""


class Distinct(NamedTuple):
    """P pairs as places in a list of images that holds each once.

    Args:
        images: N images. Files of one path, and one box, are one image; images in memory are each their own.
        first: ``(P,)`` places in them.
        second: ``(P,)``.
    """

    images: list[Picture]
    first: Array
    second: Array


def pair_of(first: Given, second: Given) -> Pair:
    """Two images that are compared.

    Raises:
        InputError: there is not one on each side.
    """
    both = [*pictures(first), *pictures(second)]
    if len(both) != 2:
        raise InputError(f"one image is compared with one other, but {len(both)} were given")
    return both[0], both[1]


def pairs_of(pairs: str | Path | Sequence[tuple[Given, Given]]) -> list[Pair]:
    """Many pairs of images, in order.

    Args:
        pairs: two images each; or a CSV or Parquet table with the columns ``first`` and ``second``.

    Raises:
        InputError: there are none, or one is not of two images.
    """
    found: list[Pair] = []
    for pair in read_open_pairs(pairs) if isinstance(pairs, str | Path) else pairs:
        given = pictures(list(pair))
        if len(given) != 2:
            raise InputError(f"pair {len(found)} is of {len(given)} images: one is compared with one other")
        found.append((given[0], given[1]))
    if not found:
        raise InputError("no pairs were given")
    return found


def distinct_images(pairs: Sequence[tuple[Picture, Picture]]) -> Distinct:
    """Each image of some pairs once, in the order in which they are first named."""
    places: dict[Any, int] = {}
    images: list[Picture] = []
    for one in (each for pair in pairs for each in pair):
        if places.setdefault(_key(one), len(images)) == len(images):
            images.append(one)
    sides = (np.array([places[_key(one)] for one in side]) for side in zip(*pairs, strict=True))
    return Distinct(images, *sides)


def _key(one: Picture) -> tuple[Any, ...]:
    return one.source if isinstance(one.source, str) else id(one.source), one.box


def verdicts_of(
    pairs: Sequence[tuple[Picture, Picture]],
    distinct: Distinct,
    answers: Sequence[ImagePrediction | Unreadable],
    metric: Metric,
    threshold: Threshold,
) -> Iterator[Verdict | Unreadable]:
    """The verdict on each pair, in order; of a pair with an image that could not be read, why.

    Args:
        pairs: the P pairs.
        distinct: their N images.
        answers: N embeddings, or why there is none.
        metric: the distance.
        threshold: decides.
    """
    sound = {k: each.embedding for k, each in enumerate(answers) if isinstance(each, ImagePrediction)}
    width = len(next(iter(sound.values()))) if sound else 1  # type: ignore[arg-type]
    rows = np.zeros((len(answers), width), np.float32)
    for place, embedding in sound.items():
        rows[place] = embedding
    far = [isinstance(each, ImagePrediction) and bool(each.unfamiliar) for each in answers]
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        scores = row_scores(rows[distinct.first[part]], rows[distinct.second[part]], metric).tolist()
        for pair, i, j, score in zip(pairs[part], distinct.first[part], distinct.second[part], scores, strict=True):
            unread = next((each for each in (answers[i], answers[j]) if isinstance(each, Unreadable)), None)
            if unread is not None:
                yield unread
                continue
            unlike = tuple(each.name for each, place in zip(pair, (i, j), strict=True) if far[place])
            one, other = pair
            yield verdict(score, threshold, metric)._replace(
                first=one.name, second=other.name, unfamiliar=unlike, boxes=(one.box, other.box)
            )
