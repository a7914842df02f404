"""The network of a run that Triune trained, in use."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triune.checksums import digest
from triune.data.boxes import Box
from triune.data.decode import Array, Source
from triune.data.normalising import network_input, normalise
from triune.data.preprocessing import Preprocessing
from triune.errors import InputError
from triune.evaluation.results import Results
from triune.model.network import MultiTaskModel, looks_of
from triune.model.own_size import mask_of_image
from triune.run.card import ModelCard
from triune.run.familiar import Familiar, read_familiar, unfamiliar
from triune.run.folder import load_model
from triune.run.places import folder_of, model_file
from triune.run.thresholds import StoredThresholds, read_thresholds
from triune.serving.by_tiles import Segmenter, mask_by_tiles
from triune.serving.networks import Card, Heads, Read, Said, Tiles

LEAST_STRIDES = 8
"""How many strides of the network a tile is wide, at least."""


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """The network of a run.

    Args:
        source: the run folder, or its ``model.safetensors``.
        model: the network, in evaluation mode.
        trained: how it was trained, and how it reads images.
        device: where it is.
    """

    source: Path
    model: MultiTaskModel
    trained: ModelCard
    device: torch.device

    @property
    def card(self) -> Card:
        """What is known of it beforehand."""
        return Card(
            name=str(self.source),
            backbone=self.trained.model.backbone,
            metric=self.trained.metric,
            dim=self.model.embedding_dim,
            classes=tuple(self.trained.classes) if self.model.class_head is not None else (),
            masks=self.model.mask_head is not None,
            device=str(self.device),
        )

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of ``model.safetensors``."""
        return digest(model_file(self.source))

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How it was trained to see images."""
        return self.trained.preprocessing

    @property
    def thresholds(self) -> StoredThresholds:
        """Those of the run.

        Raises:
            InputError: they are missing or damaged.
        """
        return read_thresholds(folder_of(self.source) / "thresholds.json")

    @property
    def results(self) -> Results | None:
        """What ``metrics.json`` of the run holds; ``None`` where there is none.

        Raises:
            InputError: it is damaged.
        """
        path = folder_of(self.source) / "metrics.json"
        return Results.read(path) if path.is_file() else None

    def read(self, source: Source, box: Box | None = None) -> Read:
        """An image as the network was trained to see it: upright, in its size and shape, at its bit depth.

        Args:
            source: a path, the content of an image file, or an image.
            box: the part of it that is looked at; all of it where not given, and by a network that was trained before
                boxes were.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        box = box if self.trained.boxes else None
        pixels, size = self.preprocessing.image(source, self.trained.channels, box, self.trained.image_bits)
        return Read(network_input(pixels, self.preprocessing).numpy(), size, box)

    def say(self, images: list[Read], heads: Heads) -> list[Said]:
        """What it says of each image."""
        batch = torch.from_numpy(np.stack([each.pixels for each in images])).to(self.device)
        with torch.inference_mode():
            maps = self.model.maps(batch)
            found = self.model.answer(batch, classes=heads.classes, masks=heads.masks, maps=maps)
            said = [self._one(found, place, each, heads) for place, each in enumerate(images)]
            if not heads.familiar or self._familiar is None:
                return said
            looks = [each.cpu().numpy() for each in looks_of(maps)]
        far = unfamiliar(self._familiar, looks)
        return [each._replace(unfamiliar=bool(is_far)) for each, is_far in zip(said, far, strict=True)]

    @cached_property
    def _familiar(self) -> Familiar | None:
        return read_familiar(folder_of(self.source))

    def tiled_mask(self, source: Source, tiles: Tiles, box: Box | None = None) -> Array | None:
        """The mask ``(H, W)`` uint8 of an image by tiles; ``None`` of an image that is no larger than one.

        Args:
            source: a path, the content of an image file, or an image.
            tiles: how it is cut.
            box: the part of it that is looked at, and cut; all of it where not given.

        Raises:
            InputError: the network has no mask head, or such tiles cannot be.
            OSError, ValueError: the image cannot be read.
        """
        if self.model.mask_head is None:
            raise InputError(f"{self.source} has no mask head")
        # Small inputs are taken several at a time: a tile must be some strides wide to move by less than its side.
        stride = self.model.stride
        side = max(-(-max(self.trained.size) // stride), LEAST_STRIDES) * stride
        return mask_by_tiles(Segmenter(self.trained, (side, side), stride, self.segment), source, tiles, box)

    def segment(self, images: Array) -> Array:
        """Mask logits ``(B, M, h, w)`` float32 of prepared images ``(B, h, w, C)`` uint8, of any size."""
        planes = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            seen = normalise(planes, self.preprocessing.mean, self.preprocessing.std)
            logits = self.model.answer(seen, classes=False).mask_logits
        assert logits is not None
        found: Array = logits.float().cpu().numpy()
        return found

    def _one(self, found: Any, place: int, read: Read, heads: Heads) -> Said:
        shares = mask = embedding = None
        if heads.classes and found.class_logits is not None:
            shares = found.class_logits[place].double().softmax(0).cpu().numpy()
        if heads.masks and found.mask_logits is not None:
            mask = mask_of_image(found.mask_logits[place : place + 1], self.preprocessing, read.size, read.box)
        if heads.embedding and found.embedding is not None:
            embedding = found.embedding[place].float().cpu().numpy()
        return Said(shares, mask, embedding)


def load_trained(source: Path, device: torch.device) -> TrainedNetwork:
    """The network of a run folder, or of a ``model.safetensors``.

    Raises:
        InputError: there is no such run, or its network cannot be read.
    """
    model, card = load_model(source, device)
    return TrainedNetwork(source, model, card, device)
