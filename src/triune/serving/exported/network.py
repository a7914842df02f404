"""An exported file in use, by ONNX Runtime: the answers of the run that it was made of, without torch."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from triune.data.boxes import Box
from triune.data.decode import Source
from triune.data.interpolating import ids_in_size, of_resized
from triune.data.laid_back import laid_back
from triune.data.preprocessing import Preprocessing
from triune.errors import InputError
from triune.run.familiar import Familiar, unfamiliar
from triune.run.thresholds import StoredThresholds
from triune.serving.by_tiles import Segmenter, mask_by_tiles
from triune.serving.exported.card import EMBEDDING, INPUT, LOOKS, MASK_LOGITS, PROBABILITIES, ExportCard, parse_figures
from triune.serving.exported.file import EXTRA, read_exported
from triune.serving.libraries import library
from triune.serving.networks import Card, Heads, Read, Said, Tiles

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from triune.evaluation.results import Results

Array: TypeAlias = np.ndarray[Any, Any]

PROVIDERS: Final = ("CUDAExecutionProvider", "CPUExecutionProvider")
"""What computes, of that which this ONNX Runtime has, the first one that was asked for."""


@dataclass(frozen=True, eq=False)
class ExportedNetwork:
    """The network of an exported file.

    Args:
        path: the file.
        exported: what it says of itself.
        familiar: what its run knows the look of; ``None`` where it does not say.
        session: computes its answers.
        figures: what its run was found to be, as JSON; ``None`` where it does not say.
    """

    path: Path
    exported: ExportCard
    familiar: Familiar | None
    session: "InferenceSession"
    figures: str | None = None

    @property
    def card(self) -> Card:
        """What is known of it beforehand."""
        precision = "" if self.exported.precision == "float32" else f", {self.exported.precision}"
        on_gpu = self.session.get_providers()[0] == PROVIDERS[0]
        return Card(
            name=str(self.path),
            backbone=self.exported.card.model.backbone,
            metric=self.exported.card.metric,
            dim=self.exported.dim,
            classes=self.exported.classes,
            masks=self.exported.masks,
            device=f"{'cuda' if on_gpu else 'cpu'} by ONNX Runtime{precision}",
        )

    @property
    def fingerprint(self) -> str:
        """That of the run's weights; of an int8 file one of its own."""
        return self.exported.fingerprint

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How its run was trained to see images."""
        return self.exported.card.preprocessing

    @property
    def thresholds(self) -> StoredThresholds:
        """Those of its run.

        Raises:
            InputError: the run had none when it was exported.
        """
        if self.exported.thresholds is None:
            raise InputError(f"{self.path} holds no threshold: its run had no thresholds.json when it was exported")
        return self.exported.thresholds

    @cached_property
    def results(self) -> "Results | None":
        """What its run was found to be, in a few kB; ``None`` of a file that does not say, as older ones.

        Raises:
            InputError: what it says is damaged.
        """
        return None if self.figures is None else parse_figures(self.figures, str(self.path))

    def read(self, source: Source, box: Box | None = None) -> Read:
        """An image as the network was trained to see it, ``(h, w, C)`` uint8: the file does what comes after that.

        Args:
            source: a path, the content of an image file, or an image.
            box: the part of it that is looked at; all of it where not given, and by a network that was trained before
                boxes were.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        trained = self.exported.card
        box = box if trained.boxes else None
        pixels, size = self.preprocessing.image(source, trained.channels, box, trained.image_bits)
        return Read(pixels, size, box)

    def say(self, images: list[Read], heads: Heads) -> list[Said]:
        """What it says of each image."""
        asked = self._outputs(heads)
        if not asked:
            return [Said() for _ in images]
        found = self.run(np.stack([each.pixels for each in images]), asked)
        said = [self._one(found, place, each) for place, each in enumerate(images)]
        if LOOKS[0] not in found or self.familiar is None:
            return said
        far = unfamiliar(self.familiar, [found[name] for name in LOOKS])
        return [each._replace(unfamiliar=bool(is_far)) for each, is_far in zip(said, far, strict=True)]

    def run(self, images: Array, outputs: list[str]) -> dict[str, Array]:
        """Some answers of the graph; what leads to no other is not computed.

        Args:
            images: ``(B, H, W, C)`` uint8, as :meth:`read` gives them.
            outputs: their names.
        """
        options = library("onnxruntime", EXTRA).RunOptions()
        options.only_execute_path_to_fetches = True
        return dict(zip(outputs, self.session.run(outputs, {INPUT: images}, options), strict=True))

    def tiled_mask(self, source: Source, tiles: Tiles, box: Box | None = None) -> Array | None:
        """The mask ``(H, W)`` uint8 of an image by tiles; ``None`` of an image that is no larger than one.

        The graph takes one size, so a tile has that size: the one of the training images, as they were.

        Args:
            source: a path, the content of an image file, or an image.
            tiles: how it is cut.
            box: the part of it that is looked at, and cut; all of it where not given.

        Raises:
            InputError: the network has no mask head, or such tiles cannot be.
            OSError, ValueError: the image cannot be read.
        """
        if not self.exported.masks:
            raise InputError(f"{self.path} has no mask head")
        by = Segmenter(self.exported.card, self.exported.card.size, self.exported.stride, self.segment)
        return mask_by_tiles(by, source, tiles, box)

    def segment(self, images: Array) -> Array:
        """Mask logits ``(B, M, H, W)`` float32 of prepared images ``(B, H, W, C)`` uint8."""
        return self.run(images, [MASK_LOGITS])[MASK_LOGITS]

    def _outputs(self, heads: Heads) -> list[str]:
        wanted = {
            EMBEDDING: heads.embedding and self.exported.dim > 0,
            PROBABILITIES: heads.classes and bool(self.exported.classes),
            MASK_LOGITS: heads.masks and self.exported.masks,
        } | dict.fromkeys(LOOKS, heads.familiar and self.familiar is not None)
        return [name for name, is_wanted in wanted.items() if is_wanted]

    def _one(self, found: dict[str, Array], place: int, read: Read) -> Said:
        shares = mask = embedding = None
        if PROBABILITIES in found:
            shares = found[PROBABILITIES][place].astype(np.float64)
        if MASK_LOGITS in found:
            part = read.size if read.box is None else read.box.size
            logits = of_resized(found[MASK_LOGITS][place], self.preprocessing.placed(part))
            mask = laid_back(ids_in_size(logits, part), self.preprocessing, read.size, read.box)
        if EMBEDDING in found:
            embedding = found[EMBEDDING][place]
        return Said(shares, mask, embedding)


def load_exported(path: Path, device: Any = None) -> ExportedNetwork:
    """The network of a file that `triune export` wrote.

    Args:
        path: the file.
        device: ``"cuda"``, where this ONNX Runtime has it, or ``"cpu"``; the former where it is there if not given.

    Raises:
        InputError: it is not there, damaged or another one, or ONNX Runtime is not installed or cannot read it.
    """
    content, card, familiar, figures = read_exported(path)
    session = session_of(content, str(path), device)
    names = {each.name for each in session.get_outputs()}
    expected = {EMBEDDING: card.dim > 0, PROBABILITIES: bool(card.classes), MASK_LOGITS: card.masks}
    lacking = [name for name, is_there in (expected | dict.fromkeys(LOOKS, familiar is not None)).items()
               if is_there and name not in names]  # fmt: skip
    if lacking or [each.name for each in session.get_inputs()] != [INPUT]:
        raise InputError(f"{path} does not give what its model card says ({', '.join(lacking) or INPUT}): export again")
    return ExportedNetwork(path, card, familiar, session, figures)


def session_of(content: bytes, source: str, device: Any = None) -> "InferenceSession":
    """What computes an ONNX model's answers.

    Args:
        content: the model.
        source: what messages call it.
        device: as in :func:`load_exported`.

    Raises:
        InputError: ONNX Runtime is not installed, cannot read it, or has no such device.
    """
    onnxruntime = library("onnxruntime", EXTRA)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of what it does to the graph, which nobody can act on
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal():  # as torch takes it: several processes on one machine are not to fight for it
        options.intra_op_num_threads = int(threads)
    there = [name for name in PROVIDERS if name in onnxruntime.get_available_providers()]
    if device is not None:
        wanted = PROVIDERS["cuda" not in str(device)]
        if wanted not in there:
            raise InputError(f"this ONNX Runtime has no {wanted}: install onnxruntime-gpu, or leave the device at cpu")
        there = [wanted]
    try:
        return onnxruntime.InferenceSession(content, options, providers=there)
    except Exception as error:  # its own kinds, one for each way in which a model can be wrong
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{source} cannot be computed by ONNX Runtime: {reason}") from error
