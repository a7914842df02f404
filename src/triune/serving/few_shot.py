"""New classes from a few images each: a run names what it was never trained on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from triune.data.boxes import Box
from triune.data.items import read_table
from triune.data.problems import DataError, Problem
from triune.data.sources.common import folders_in, images_in
from triune.data.sources.folder import image_folder
from triune.distances.metric import Metric
from triune.errors import InputError
from triune.files import on_one_line
from triune.plurals import plural
from triune.recognition.heads import Head
from triune.recognition.new_classes import NewClasses, learn_classes
from triune.serving.answers import ImagePrediction, Unreadable, readable
from triune.serving.networks import BATCH, Progress
from triune.serving.pictures import Given, Picture, pictures, pictures_of

Array: TypeAlias = np.ndarray[Any, Any]
Support: TypeAlias = str | Path | Mapping[str, Given]


class Embedder(Protocol):
    """What is needed of a run in use."""

    @property
    def name(self) -> str:
        """What it was loaded from."""

    @property
    def metric(self) -> Metric:
        """The distance between embeddings."""

    def embed_each(
        self,
        images: Sequence[Picture],
        *,
        skip: bool = False,
        batch_size: int = BATCH,
        progress: Progress | None = None,
    ) -> Iterator[ImagePrediction | Unreadable]:
        """Embeddings one at a time.

        Args:
            images: from :func:`triune.serving.pictures.pictures`.
            skip: whether an image that cannot be read is told in its place, and not an error.
            batch_size: how many go through the network at a time.
            progress: called after each batch with the numbers of images that are done and of all.
        """


@dataclass(frozen=True, eq=False)
class NewClassAnswer:
    """Which of the new classes an image is of.

    Args:
        name: the image's path, or ``image K`` of one in memory.
        label: the class; ``None`` where it is unknown.
        probabilities: by class, the most likely first, given that it is one of them.
        closeness: the score with the most alike example: cosine similarity, or minus the distance.
        threshold: below it the image is unknown.
        example: the name of the most alike example.
        box: the part of the image that was looked at; all of it where ``None``.
        example_box: that of the example.
    """

    name: str
    label: str | None
    probabilities: dict[str, float]
    closeness: float
    threshold: float
    example: str
    box: Box | None = None
    example_box: Box | None = None

    @property
    def likeliest(self) -> str:
        """The most likely class, of an unknown image too."""
        return next(iter(self.probabilities))

    @property
    def probability(self) -> float:
        """Its probability."""
        return next(iter(self.probabilities.values()))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "likeliest": self.likeliest,
            "probability": self.probability,
            "probabilities": self.probabilities,
            "closeness": self.closeness,
            "threshold": self.threshold,
            "example": self.example,
        }

    def __repr__(self) -> str:
        if self.label is None:
            return f"<{self.name}: unknown; most like {self.likeliest}, closeness {self.closeness:.3f}>"
        return f"<{self.name}: {self.label} ({self.probability:.3f}), closeness {self.closeness:.3f}>"


@dataclass(frozen=True, eq=False)
class FewShot:
    """A run that knows new classes. Made by :func:`few_shot`.

    Args:
        run: embeds images.
        learned: the classes.
        examples: the names of the images that they were learned from.
        labels: their classes.
        left_out: examples that could not be read.
        strangers: how many images of none of the classes the threshold was told by.
        boxes: the part of each example that was looked at; all of them whole where empty.
    """

    run: Embedder
    learned: NewClasses
    examples: tuple[str, ...]
    labels: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    strangers: int = 0
    boxes: tuple[Box | None, ...] = ()

    def box_of(self, example: int) -> Box | None:
        """The part of an example that was looked at."""
        return self.boxes[example] if self.boxes else None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.learned.classes

    def __repr__(self) -> str:
        return f"<{len(self.classes)} classes from {len(self.examples)} images by {self.run.name}; {self.learned.head}>"

    def classify(
        self, images: Given, *, skip: bool = False, batch_size: int = BATCH, progress: Progress | None = None
    ) -> list[NewClassAnswer | Unreadable]:
        """Which of the classes each image is of, in order.

        Args:
            images: any images.
            skip: whether an image that cannot be read is told in its place, and not an error.
            batch_size: how many go through the network at a time.
            progress: called after each batch with the numbers of images that are done and of all.

        Raises:
            InputError: an image cannot be read; it is named.
        """
        asked = pictures(images)
        found = self.run.embed_each(asked, skip=skip, batch_size=batch_size, progress=progress)
        return [
            each if isinstance(each, Unreadable) else self._answer(each, one.box)
            for one, each in zip(asked, found, strict=True)
        ]

    def _answer(self, image: ImagePrediction, box: Box | None) -> NewClassAnswer:
        assert image.embedding is not None
        said = self.learned.name(image.embedding[None])
        shares = said.probabilities[0]
        order = np.argsort(-shares, kind="stable")
        return NewClassAnswer(
            name=image.name,
            label=self.classes[order[0]] if said.known[0] else None,
            probabilities={self.classes[k]: float(shares[k]) for k in order},
            closeness=float(said.closeness[0]),
            threshold=self.learned.threshold,
            example=self.examples[int(said.example[0])],
            box=box,
            example_box=self.box_of(int(said.example[0])),
        )


def few_shot(
    run: Embedder,
    support: Support,
    *,
    head: Head | None = None,
    fpir: float | None = 0.1,
    strangers: Given | None = None,
    skip: bool = False,
    batch_size: int = BATCH,
    progress: Progress | None = None,
) -> FewShot:
    """Learn new classes from a few images of each; the network stays as it is.

    Args:
        run: embeds images.
        support: a folder with a folder for each class, a table with a column ``label``, or a dictionary of images by
            class.
        head: ``"prototype"``, ``"nearest"``, ``"ridge"`` or ``"logistic"``; the one of the first three that names most
            examples rightly when they are left out in turn, where not given.
        fpir: the share of images of other classes that may be named; where it is None, nothing is unknown.
        strangers: images of none of the classes, by which the threshold of "unknown" is then told.
        skip: whether images that cannot be read are left out, and not an error.
        batch_size: how many go through the network at a time.
        progress: called after each batch with the numbers of images that are done and of all.

    Raises:
        InputError: an image cannot be read, there are fewer than two classes, or a setting makes no sense.
    """
    examples = embedded_support(run, support, skip, batch_size, progress)
    rows, labels, left_out = examples.rows, examples.labels, examples.left_out
    others = None
    if strangers is not None:
        found = list(readable(run.embed_each(pictures(strangers), skip=skip, batch_size=batch_size), left_out))
        others = _stacked(found) if found else None
    try:
        learned = learn_classes(rows, labels, head=head, fpir=fpir, strangers=others, metric=run.metric)
    except ValueError as error:
        shown = support if isinstance(support, str | Path) else "the support"
        raise InputError(f"{shown}: {error}") from error
    known = 0 if others is None else len(others)
    names = tuple(each.name for each in examples.images)
    boxes = tuple(each.box for each in examples.images)
    return FewShot(run, learned, names, tuple(labels), tuple(left_out), known, boxes)


class Examples(NamedTuple):
    """Embedded images of known classes.

    Args:
        rows: ``(N, D)``.
        images: N of them.
        labels: their classes.
        left_out: images that could not be read.
    """

    rows: Array
    images: list[Picture]
    labels: list[str]
    left_out: list[str]


def embedded_support(
    run: Embedder, support: Support, skip: bool, batch_size: int = BATCH, progress: Progress | None = None
) -> Examples:
    """Embeddings of labelled images.

    Args:
        run: embeds images.
        support: as for :func:`few_shot`.
        skip: whether images that cannot be read are left out, and not an error.
        batch_size: how many go through the network at a time.
        progress: called after each batch with the numbers of images that are done and of all.

    Raises:
        InputError: as for :func:`few_shot`.
    """
    images, labels = _labelled(support)
    answers = list(run.embed_each(images, skip=skip, batch_size=batch_size, progress=progress))
    left_out: list[str] = []
    sound = list(readable(answers, left_out))
    if not sound:
        raise InputError(f"none of {plural(len(images), 'example')} could be read; the first is {left_out[0]}")
    kept = [
        (image, label)
        for image, label, each in zip(images, labels, answers, strict=True)
        if isinstance(each, ImagePrediction)
    ]
    return Examples(_stacked(sound), [image for image, _ in kept], [label for _, label in kept], left_out)


def _labelled(support: Support) -> tuple[list[Picture], list[str]]:
    """The images and the class of each."""
    if isinstance(support, Mapping):
        given = [(str(label), pictures(images)) for label, images in support.items()]
        if not given:
            raise InputError("the support is empty: give images of at least two classes")
        return [each for _, images in given for each in images], [label for label, images in given for _ in images]
    place = Path(support)
    if not place.exists():
        raise InputError(f"{support} does not exist: name a folder with a folder for each class, or a table")
    if place.is_dir() and images_in(place) and not folders_in(place):
        raise InputError(
            f"{support} holds images, and no folder for each class: if it is the folder of one class, give the folder "
            f"above, {place.absolute().parent}"
        )
    table = image_folder(place) if place.is_dir() else read_table(place)
    if table.problems:
        raise DataError(table.problems)
    labels = table.frame["label"]
    if labels.null_count() == len(labels):
        raise InputError(f"{support} has no column label that says which class each image is of")
    if labels.null_count():
        rows = table.frame["row"].filter(labels.is_null()).to_list()
        raise DataError(
            [Problem(table.source, row, "label", "empty", "name the class or drop the row") for row in rows]
        )
    if place.is_dir() and labels.n_unique() == 1:
        raise InputError(
            f"{support} holds one class, {on_one_line(labels[0])}, and at least two are told apart: if it is the "
            "folder of one class itself, give the folder above"
        )
    return list(pictures_of(table)), labels.to_list()


def _stacked(sound: Sequence[ImagePrediction]) -> Array:
    return np.stack([each.embedding for each in sound if each.embedding is not None])
