"""A run in use: embeddings, classes and masks of new images, and verdicts on pairs of them."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from triune.distances.metric import Metric
from triune.errors import InputError
from triune.serving.answers import ImagePrediction, Unreadable
from triune.serving.compared import distinct_images, pair_of, pairs_of, verdicts_of
from triune.serving.networks import BATCH, COMPARED, EMBEDDING, EVERYTHING, Heads, Network, Progress, Read, Said, Tiles
from triune.serving.pictures import Given, Picture, pictures
from triune.serving.verdicts import Verdict, replaced_rate, threshold_at

if TYPE_CHECKING:
    from triune.serving.exported.card import Part
    from triune.serving.exported.export import Export
    from triune.serving.few_shot import FewShot, Support

Array: TypeAlias = np.ndarray[Any, Any]

PUBLIC = "timm:"
"""What a source that names a public backbone begins with."""

DECODERS = 8
"""Threads that decode the next batch meanwhile, at most."""


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
        network: what answers.
        folder: the run folder, its ``model.safetensors``, or the exported file; ``None`` for a public backbone.
        weights: the local file of a public backbone's weights, where one was given.
    """

    network: Network
    folder: Path | None
    weights: Path | None = None

    @property
    def name(self) -> str:
        """What it was loaded from."""
        return self.network.card.name

    @property
    def metric(self) -> Metric:
        """The distance between embeddings."""
        return self.network.card.metric

    @property
    def dim(self) -> int:
        """The length of an embedding; 0 where there is none."""
        return self.network.card.dim

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes; empty without a class head."""
        return self.network.card.classes

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the weights: embeddings of two runs may be compared only where it is the same."""
        return self.network.fingerprint

    def __repr__(self) -> str:
        card = self.network.card
        heads = [f"{len(card.classes)} classes"] if card.classes else []
        heads += ["masks"] if card.masks else []
        heads += [f"embeddings of {card.dim}"] if card.dim else []
        return f"<{card.name}: {card.backbone} on {card.device}; {', '.join(heads)}>"

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
        if not self.dim:
            raise InputError(f"{self.name} has no embedding head")
        yield from self._answers(images, EMBEDDING, skip, batch_size, progress)

    def predict(
        self,
        images: Given,
        *,
        tiles: Tiles | int | None = None,
        skip: bool = False,
        batch_size: int = BATCH,
        progress: Progress | None = None,
    ) -> list[ImagePrediction | Unreadable]:
        """Class, probabilities, mask in the image's own size, and embedding of each image, in order.

        Args:
            images: any images.
            tiles: masks of images that are larger than a tile are made of overlapping tiles; of the whole image,
                prepared as in training, where not given. A number is the side of a tile in pixels. Class and embedding
                are of the whole image.
            skip: whether an image that cannot be read is told in its place, and not an error.
            batch_size: how many go through the network at a time.
            progress: called after each batch with the numbers of images that are done and of all.

        Raises:
            InputError: an image cannot be read; it is named.
        """
        given = pictures(images)
        return list(self.predict_each(given, tiles=tiles, skip=skip, batch_size=batch_size, progress=progress))

    def predict_each(
        self,
        images: Sequence[Picture],
        *,
        heads: Heads = EVERYTHING,
        tiles: Tiles | int | None = None,
        skip: bool = False,
        batch_size: int = BATCH,
        progress: Progress | None = None,
    ) -> Iterator[ImagePrediction | Unreadable]:
        """The same one at a time, in memory for a batch.

        Args:
            images: from :func:`triune.serving.pictures.pictures`.
            heads: which answers are wanted; what is not asked for costs nothing.
            tiles: as in :meth:`predict`.
            skip: whether an image that cannot be read is told in its place, and not an error.
            batch_size: how many go through the network at a time.
            progress: called after each batch with the numbers of images that are done and of all.

        Raises:
            InputError: as :meth:`predict`.
        """
        cut = Tiles(tiles) if isinstance(tiles, int) else tiles
        answers = self._answers(images, heads, skip, batch_size, progress)
        for picture, answer in zip(images, answers, strict=True):
            if cut is None or not heads.masks or isinstance(answer, Unreadable):
                yield answer
                continue
            mask = self.network.tiled_mask(picture.source, cut, picture.box)
            yield answer if mask is None else replace(answer, mask=mask)

    def classify(
        self, images: Given, *, skip: bool = False, batch_size: int = BATCH, progress: Progress | None = None
    ) -> list[ImagePrediction | Unreadable]:
        """Class and probabilities of each image, without mask and embedding.

        Args:
            images: any images.
            skip: whether an image that cannot be read is told in its place, and not an error.
            batch_size: how many go through the network at a time.
            progress: called after each batch with the numbers of images that are done and of all.

        Raises:
            InputError: the network has no class head, or an image cannot be read; it is named.
        """
        if not self.classes:
            raise InputError(f"{self.name} has no class head")
        wanted = Heads(masks=False, embedding=False)
        return list(self._answers(pictures(images), wanted, skip, batch_size, progress))

    def segment(
        self, images: Given, *, skip: bool = False, batch_size: int = BATCH, progress: Progress | None = None
    ) -> list[ImagePrediction | Unreadable]:
        """The mask of each image in the image's own size, without class and embedding.

        Args:
            images: any images.
            skip: whether an image that cannot be read is told in its place, and not an error.
            batch_size: how many go through the network at a time.
            progress: called after each batch with the numbers of images that are done and of all.

        Raises:
            InputError: the network has no mask head, or an image cannot be read; it is named.
        """
        if not self.network.card.masks:
            raise InputError(f"{self.name} has no mask head")
        wanted = Heads(classes=False, embedding=False)
        return list(self._answers(pictures(images), wanted, skip, batch_size, progress))

    def few_shot(self, support: "Support", **settings: Any) -> "FewShot":
        """New classes from a few images of each; what it gives back names images by ``classify(images)``.

        >>> run.few_shot("flowers/").classify("garden.jpg")
        [<garden.jpg: tulip (0.981), closeness 0.874>]

        Args:
            support: a folder with a folder for each class, a table with a column ``label``, or a dictionary of images
                by class.
            **settings: of :func:`triune.serving.few_shot.few_shot`: ``head``, ``fpir``, ``strangers``, ``skip``.

        Raises:
            InputError: an image cannot be read, or there are fewer than two classes.
        """
        from triune.serving.few_shot import few_shot

        return few_shot(self, support, **settings)

    def export(
        self,
        path: str | Path,
        *,
        part: "Part" = "all",
        licence: str | None = None,
        check: int = 1000,
        int8: bool = False,
    ) -> "Export":
        """Write the run as one ONNX file, with its preprocessing and its thresholds in it, checked against the run.

        >>> run.export("model.onnx")
        <model.onnx: all, float32, 15.6 MB>
        >>> triune.load("model.onnx").verify("a.jpg", "b.jpg").same
        True

        Args:
            path: a new file that ends in ``.onnx``; or in ``.pt2``, for ``torch.export.load``.
            part: ``"all"`` heads, or the ``"embedding"`` alone, in a smaller file.
            licence: of the model; it is written into the file as it is said.
            check: validation and test images that the file is checked on, at most so many of each.
            int8: give weights and activations 8 bits, calibrated on the validation images; the answer says what that
                costs and what it saves.

        Raises:
            InputError: the file is there already, this is no run that was trained here, torch makes no ONNX graph of
                its network, or the graph does not answer as the network does.
        """
        from triune.serving.exported.export import ExportOptions, export_run
        from triune.serving.trained import TrainedNetwork

        if not isinstance(self.network, TrainedNetwork):
            raise InputError(f"{self.name} is no run that was trained here: name a run folder to export")
        if str(path).lower().endswith(".pt2"):
            from triune.serving.exported.program import export_program

            return export_program(self.network, Path(path), ExportOptions(part, licence, check, int8))
        return export_run(self.network, Path(path), ExportOptions(part, licence, check, int8))

    def verify(self, first: Given, second: Given, *, fpr: float | None = None) -> Verdict:
        """Whether two images show the same thing, by the run's own threshold.

        Args:
            first: an image.
            second: another.
            fpr: a false-positive rate; the run's own where not given. Where no threshold is stored for it, that of the
                largest rate below decides.

        Raises:
            InputError: an image cannot be read, there is not one on each side, or the run has no such threshold.
        """
        (found,) = self.compare_each([pair_of(first, second)], fpr=fpr)
        assert isinstance(found, Verdict)
        return found

    def verify_pairs(
        self,
        pairs: str | Path | Sequence[tuple[Given, Given]],
        *,
        fpr: float | None = None,
        skip: bool = False,
        progress: Progress | None = None,
    ) -> list[Verdict | Unreadable]:
        """The verdict on each of many pairs, in order; an image that occurs in several is embedded once.

        Args:
            pairs: two images each; or a CSV or Parquet table with the columns ``first`` and ``second``.
            fpr: as in :meth:`verify`.
            skip: whether a pair with an image that cannot be read is told in its place, and not an error.
            progress: called with the numbers of images that are embedded and of all.

        Raises:
            InputError: as in :meth:`verify`.
        """
        return list(self.compare_each(pairs_of(pairs), fpr=fpr, skip=skip, progress=progress))

    def compare_each(
        self,
        pairs: Sequence[tuple[Picture, Picture]],
        *,
        fpr: float | None = None,
        skip: bool = False,
        progress: Progress | None = None,
    ) -> Iterator[Verdict | Unreadable]:
        """The same one verdict at a time; in memory: one embedding of each image.

        Args:
            pairs: from :func:`triune.serving.pictures.pictures`.
            fpr: as in :meth:`verify`.
            skip: whether a pair with an image that cannot be read is told in its place, and not an error.
            progress: called with the numbers of images that are embedded and of all.

        Raises:
            InputError: as in :meth:`verify`.
        """
        threshold = threshold_at(self.network.thresholds, fpr, f"thresholds.json of {self.name}")
        distinct = distinct_images(pairs)
        if not self.dim:
            raise InputError(f"{self.name} has no embedding head")
        answers = list(self._answers(distinct.images, COMPARED, skip, BATCH, progress))
        instead = replaced_rate(fpr, threshold)
        for each in verdicts_of(pairs, distinct, answers, self.metric, threshold):
            yield each if isinstance(each, Unreadable) else each._replace(asked_fpr=instead)

    def read(self, picture: Picture) -> Read | Unreadable:
        """An image as the network takes it, or why it cannot be read; several threads may do so at once."""
        try:
            return self.network.read(picture.source, picture.box)
        except (OSError, ValueError) as error:
            # What is wrong with a box is said of its column: the table's row is the other half.
            where = f"{picture.row}, " if picture.box is not None and picture.row else ""
            return Unreadable(picture.name, f"{where}{error}")

    def answer(self, images: Sequence[Picture], read: Sequence[Read], heads: Heads) -> list[ImagePrediction]:
        """What the network says of images that were read, as one batch.

        Args:
            images: what was read, in the same order.
            read: from :meth:`read`.
            heads: which answers are wanted.

        Raises:
            InputError: an answer is not finite, since the training diverged.
        """
        said = self.network.say(list(read), heads) if read else []
        return [self._answer(*each) for each in zip(images, read, said, strict=True)]

    def _rows(self, images: Sequence[Picture], batch_size: int = BATCH, progress: Progress | None = None) -> Array:
        """The embeddings of images, all of which must be readable."""
        answers = self.embed_each(images, batch_size=batch_size, progress=progress)
        rows = (each.embedding for each in answers if isinstance(each, ImagePrediction))
        return np.stack([row for row in rows if row is not None])

    def _answers(
        self,
        images: Sequence[Picture],
        heads: Heads,
        skip: bool,
        batch_size: int,
        progress: Progress | None,
    ) -> Iterator[ImagePrediction | Unreadable]:
        """What is said of each image, in order; the next batch is decoded while the network has one."""
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: at least 1 is needed")
        batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
        done = 0
        with ThreadPoolExecutor(min(DECODERS, batch_size, 2 * (os.cpu_count() or 1))) as pool:
            waiting = [pool.submit(self.read, each) for each in batches[0]]
            for place, batch in enumerate(batches):
                read, waiting = [each.result() for each in waiting], []
                if place + 1 < len(batches):
                    waiting = [pool.submit(self.read, each) for each in batches[place + 1]]
                if not skip:
                    for each in read:
                        if isinstance(each, Unreadable):
                            raise InputError(f"{each.name} cannot be read as an image: {each.reason}")
                sound = [each for each in read if isinstance(each, Read)]
                said = iter(self.network.say(sound, heads) if sound else [])
                for one, each in zip(batch, read, strict=True):
                    yield each if isinstance(each, Unreadable) else self._answer(one, each, next(said))
                done += len(batch)
                if progress is not None:
                    progress(done, len(images))

    def _answer(self, picture: Picture, read: Read, said: Said) -> ImagePrediction:
        probabilities = None
        if said.shares is not None:
            order = np.argsort(-self._finite(said.shares, "class", picture), kind="stable")
            probabilities = {self.classes[k]: float(said.shares[k]) for k in order}
        embedding = None if said.embedding is None else self._finite(said.embedding, "embedding", picture)
        return ImagePrediction(picture.name, read.size, probabilities, said.mask, embedding, said.unfamiliar)

    def _finite(self, answer: Array, what: str, picture: Picture) -> Array:
        if not np.isfinite(answer).all():
            raise InputError(
                f"the network of {self.name} gives no finite {what} of {picture.name}: its training diverged"
            )
        return answer


def load(source: str | Path, *, weights: str | Path | None = None, device: Any = None) -> LoadedRun:
    """A run, an exported file or a public backbone, ready to be used on new images.

    Args:
        source: a run folder, a ``model.safetensors``, an exported ``.onnx``, or ``timm:NAME``: a public backbone as it
            was published, with its own preprocessing, whose pooled features are the embedding.
        weights: of ``timm:NAME``: a local file of its weights, in place of the published ones.
        device: where the network goes; a GPU where there is one, else the processor, where not given.

    Raises:
        InputError: there is no such run or backbone, or its weights cannot be had.
    """
    from triune.serving.exported.card import SUFFIX

    if str(source).lower().endswith(SUFFIX) and weights is None:
        from triune.serving.exported.network import load_exported

        return LoadedRun(load_exported(Path(source), device), Path(source))
    import torch

    from triune.model.without_compiler import without_compiler

    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if str(source).startswith(PUBLIC):
        with without_compiler():
            from triune.serving.public import load_public

        name, local = str(source).removeprefix(PUBLIC), None if weights is None else Path(weights)
        return LoadedRun(load_public(name, local, place), None, local)
    if weights is not None:
        raise InputError(f"weights are for timm:NAME: {source} has its own")
    with without_compiler():
        from triune.serving.trained import load_trained

    return LoadedRun(load_trained(Path(source), place), Path(source))
