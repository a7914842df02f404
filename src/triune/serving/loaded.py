"""A run in use: embeddings, classes and masks of new images, and verdicts on pairs of them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from triune.data.dataset import as_input
from triune.data.decode import decode_image
from triune.errors import InputError
from triune.model.network import MultiTaskModel, masks_in_size
from triune.pairs.scores import paired_scores
from triune.run.folder import ModelCard, load_model
from triune.serving.answers import ImagePrediction, Unreadable
from triune.serving.pictures import Given, Picture, pictures
from triune.serving.verdicts import Verdict, stored_threshold, verdict

Array: TypeAlias = np.ndarray[Any, Any]
Progress: TypeAlias = Callable[[int, int], None]

BATCH = 64
"""Images that go through the network at a time."""

DECODERS = 8
"""Threads that decode the next batch meanwhile, at most."""


class _Read(NamedTuple):
    """An image as the network takes it, ``(C, h, w)``, and the size that it had."""

    pixels: Tensor
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """A run in use. Made by :func:`load`.

    >>> run = triune.load("runs/items-1")
    >>> run.embed(["a.jpg", "b.jpg"]).shape
    (2, 128)
    >>> run.verify("a.jpg", "b.jpg").same
    True

    Images are files, folders, patterns, tables, PIL images, arrays, tensors, or a list of any of these: see
    :func:`triune.serving.pictures.pictures`.

    Args:
        folder: the run folder, or its ``model.safetensors``.
        model: the network, in evaluation mode.
        card: how it was trained, and how it reads images.
        device: where it is.
    """

    folder: Path
    model: MultiTaskModel
    card: ModelCard
    device: torch.device

    def __repr__(self) -> str:
        heads = [f"{len(self.card.classes)} classes"] if self.model.class_head is not None else []
        heads += ["masks"] if self.model.mask_head is not None else []
        heads += [f"embeddings of {self.model.embedding_dim}"] if self.model.embedding_head is not None else []
        return f"<{self.folder}: {self.card.model.backbone} on {self.device}; {', '.join(heads)}>"

    def embed(self, images: Given, *, batch_size: int = BATCH, progress: Progress | None = None) -> Array:
        """Embeddings ``(N, D)`` float32, of unit length, in the order of the images.

        Args:
            images: any images.
            batch_size: how many go through the network at a time.
            progress: called after each batch with the numbers of images that are done and of all.

        Raises:
            InputError: an image cannot be read; it is named. Or the network has no embedding.
        """
        return self._rows(pictures(images), batch_size, progress)

    def embed_each(
        self,
        images: Sequence[Picture],
        *,
        skip: bool = False,
        batch_size: int = BATCH,
        progress: Progress | None = None,
    ) -> Iterator[ImagePrediction | Unreadable]:
        """The same one at a time, in memory for a batch.

        Args:
            images: from :func:`triune.serving.pictures.pictures`.
            skip: whether an image that cannot be read is told in its place, and not an error.
            batch_size: how many go through the network at a time.
            progress: called after each batch with the numbers of images that are done and of all.

        Raises:
            InputError: as :meth:`embed`.
        """
        if self.model.embedding_head is None:
            raise InputError(f"{self.folder} has no embedding head")
        yield from self._answers(images, self._embedded, skip, batch_size, progress)

    def predict(
        self, images: Given, *, skip: bool = False, batch_size: int = BATCH, progress: Progress | None = None
    ) -> list[ImagePrediction | Unreadable]:
        """Class, probabilities, mask in the image's own size, and embedding of each image, in order.

        Args:
            images: any images.
            skip: whether an image that cannot be read is told in its place, and not an error.
            batch_size: how many go through the network at a time.
            progress: called after each batch with the numbers of images that are done and of all.

        Raises:
            InputError: an image cannot be read; it is named.
        """
        return list(self.predict_each(pictures(images), skip=skip, batch_size=batch_size, progress=progress))

    def predict_each(
        self,
        images: Sequence[Picture],
        *,
        skip: bool = False,
        batch_size: int = BATCH,
        progress: Progress | None = None,
    ) -> Iterator[ImagePrediction | Unreadable]:
        """The same one at a time, in memory for a batch.

        Args:
            images: from :func:`triune.serving.pictures.pictures`.
            skip: whether an image that cannot be read is told in its place, and not an error.
            batch_size: how many go through the network at a time.
            progress: called after each batch with the numbers of images that are done and of all.

        Raises:
            InputError: as :meth:`predict`.
        """
        yield from self._answers(images, self._predicted, skip, batch_size, progress)

    def verify(self, first: Given, second: Given, *, fpr: float | None = None) -> Verdict:
        """Whether two images show the same thing, by the run's own threshold.

        Args:
            first: an image.
            second: another.
            fpr: one of the false-positive rates that the run stored a threshold for; its own where not given.

        Raises:
            InputError: an image cannot be read, there is not one on each side, or the run has no such threshold.
        """
        both = [*pictures(first), *pictures(second)]
        if len(both) != 2:
            raise InputError(f"one image is compared with one other, but {len(both)} were given")
        threshold = stored_threshold(self.folder, fpr)
        rows = self._rows(both)
        score = float(paired_scores(rows[:1], rows[1:], self.card.metric))
        return verdict(score, threshold, self.card.metric)

    def _rows(self, images: Sequence[Picture], batch_size: int = BATCH, progress: Progress | None = None) -> Array:
        """The embeddings of images, all of which must be readable."""
        answers = self.embed_each(images, batch_size=batch_size, progress=progress)
        rows = (each.embedding for each in answers if isinstance(each, ImagePrediction))
        return np.stack([row for row in rows if row is not None])

    def _answers(
        self,
        images: Sequence[Picture],
        said_of: Callable[[list[Picture], list[_Read]], list[ImagePrediction]],
        skip: bool,
        batch_size: int,
        progress: Progress | None,
    ) -> Iterator[ImagePrediction | Unreadable]:
        """What is said of each image, in order; the next batch is decoded while the network has one."""
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: at least 1 is needed")
        batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
        done = 0
        with ThreadPoolExecutor(min(DECODERS, batch_size, torch.get_num_threads() * 2)) as pool:
            waiting = [pool.submit(self._read, each) for each in batches[0]]
            for place, batch in enumerate(batches):
                read, waiting = [each.result() for each in waiting], []
                if place + 1 < len(batches):
                    waiting = [pool.submit(self._read, each) for each in batches[place + 1]]
                if not skip:
                    for each in read:
                        if isinstance(each, Unreadable):
                            raise InputError(f"{each.name} cannot be read as an image: {each.reason}")
                sound = [(one, each) for one, each in zip(batch, read, strict=True) if isinstance(each, _Read)]
                answers = iter(said_of([one for one, _ in sound], [each for _, each in sound]) if sound else [])
                for each in read:
                    yield each if isinstance(each, Unreadable) else next(answers)
                done += len(batch)
                if progress is not None:
                    progress(done, len(images))

    def _read(self, picture: Picture) -> _Read | Unreadable:
        side = (self.card.size, self.card.size)
        try:
            pixels, size = decode_image(picture.source, self.card.channels, side, self.card.image_bits)
        except (OSError, ValueError) as error:
            return Unreadable(picture.name, str(error))
        return _Read(as_input(pixels), size)

    def _embedded(self, images: list[Picture], read: list[_Read]) -> list[ImagePrediction]:
        with torch.inference_mode():
            rows = self.model.embed(torch.stack([each.pixels for each in read]).to(self.device)).float().cpu().numpy()
        return [
            ImagePrediction(picture.name, each.size, embedding=self._finite(row, "embedding", picture))
            for picture, each, row in zip(images, read, rows, strict=True)
        ]

    def _predicted(self, images: list[Picture], read: list[_Read]) -> list[ImagePrediction]:
        with torch.inference_mode():
            output = self.model(torch.stack([each.pixels for each in read]).to(self.device))
            return [self._one(output, k, *both) for k, both in enumerate(zip(images, read, strict=True))]

    def _one(self, output: Any, place: int, picture: Picture, read: _Read) -> ImagePrediction:
        probabilities = mask = embedding = None
        if output.class_logits is not None:
            shares = output.class_logits[place].double().softmax(0).cpu().numpy()
            order = np.argsort(-self._finite(shares, "class", picture), kind="stable")
            probabilities = {self.card.classes[k]: float(shares[k]) for k in order}
        if output.mask_logits is not None:
            mask = masks_in_size(output.mask_logits[place : place + 1], read.size)[0].cpu().numpy()
        if output.embedding is not None:
            embedding = self._finite(output.embedding[place].float().cpu().numpy(), "embedding", picture)
        return ImagePrediction(picture.name, read.size, probabilities, mask, embedding)

    def _finite(self, answer: Array, what: str, picture: Picture) -> Array:
        if not np.isfinite(answer).all():
            raise InputError(
                f"the network of {self.folder} gives no finite {what} of {picture.name}: its training diverged"
            )
        return answer


def load(source: str | Path, *, device: torch.device | str | None = None) -> LoadedRun:
    """A run, ready to be used on new images.

    Args:
        source: a run folder, or a ``model.safetensors``.
        device: where the network goes; a GPU where there is one, else the processor, where not given.

    Raises:
        InputError: there is no such run, or its network cannot be read.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model, card = load_model(Path(source), place)
    return LoadedRun(Path(source), model, card, place)
