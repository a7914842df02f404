"""Accuracy and the confusion matrix of the class head."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from triune.evaluation.results import ClassResult, Results, Unavailable
from triune.report.models import SPLITS
from triune.report.sections.section import Section

MATRIX_CLASSES: Final = 24
"""With more classes, the most frequent confusions are listed in place of the matrix."""

LISTED: Final = 12


class Cell(NamedTuple):
    """A cell of the confusion matrix.

    Args:
        images: how many.
        share: of those of the true class.
        right: whether it lies on the diagonal.
    """

    images: int
    share: float
    right: bool


class Confused(NamedTuple):
    """A class taken for another."""

    true: str
    predicted: str
    times: int


@dataclass(frozen=True)
class ClassesSection(Section):
    """What the section shows.

    Args:
        found: the figures, or why there are none.
        split: what the images are of, in words.
        matrix: one row a class; empty where there are too many.
        confused: the most frequent confusions, where there are too many classes for the matrix.
    """

    key = "classes"
    title = "Classes"

    found: ClassResult | Unavailable
    split: str
    matrix: list[tuple[str, list[Cell]]]
    confused: list[Confused]


def classes_section(results: Results) -> ClassesSection | None:
    """The section, or ``None`` where classes were not judged."""
    found = results.classification
    if found is None:
        return None
    if isinstance(found, Unavailable):
        return ClassesSection(found, "", [], [])
    many = len(found.classes) > MATRIX_CLASSES
    return ClassesSection(
        found, SPLITS[found.split], [] if many else _matrix(found), _most_confused(found) if many else []
    )


def _matrix(found: ClassResult) -> list[tuple[str, list[Cell]]]:
    return [
        (name, [Cell(images, images / max(1, sum(row)), i == j) for j, images in enumerate(row)])
        for i, (name, row) in enumerate(zip(found.classes, found.confusion, strict=True))
    ]


def _most_confused(found: ClassResult) -> list[Confused]:
    wrong = np.array(found.confusion)
    np.fill_diagonal(wrong, 0)
    most = np.argsort(-wrong, axis=None, kind="stable")[:LISTED]
    places = zip(*np.unravel_index(most, wrong.shape), strict=True)
    return [Confused(found.classes[i], found.classes[j], int(wrong[i, j])) for i, j in places if wrong[i, j]]
