"""The network of a run that Triune trained, in use."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triune.checksums import digest
from triune.data.boxes import Box
from triune.data.decode import Array, Source, upright_size
from triune.data.laid_back import in_box
from triune.data.normalising import network_input
from triune.data.preprocessing import Preprocessing
from triune.errors import InputError
from triune.model.network import MultiTaskModel, looks_of, predicted_masks
from triune.model.own_size import mask_of_image
from triune.model.tiles import grid, ids_in_size, tiled
from triune.run.card import ModelCard
from triune.run.familiar import Familiar, read_familiar, unfamiliar
from triune.run.folder import load_model
from triune.run.places import folder_of, model_file
from triune.run.thresholds import StoredThresholds, read_thresholds
from triune.serving.networks import Card, Heads, Read, Said, Tiles

MOST_SCALED = 1 << 26
"""Pixels of an image as the network sees it by tiles: what 8,192 x 8,192 are."""

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

        The image is scaled so that a tile is as large as training images were (of those that were no squares, as the
        longer side); its proportions stay. In memory: the image, one row of tiles, and where the scale is not 1 the
        logits.

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
        box = box if self.trained.boxes else None
        whole = upright_size(source)
        size = whole if box is None else box.size
        if max(size) <= tiles.side:
            return None
        trained = max(self.trained.size)
        height, width = (max(1, round(length * trained / tiles.side)) for length in size)
        if height * width > MOST_SCALED:
            least = -(-trained * math.isqrt(size[0] * size[1]) // math.isqrt(MOST_SCALED))
            raise InputError(
                f"tiles of {tiles.side} pixels would enlarge an image of {size[1]} x {size[0]} to {width} x {height}: "
                f"choose a tile of {least} or more"
            )
        seen = self.preprocessing.scaled((height, width))
        pixels, _ = seen.image(source, self.trained.channels, box, self.trained.image_bits)
        stride = self.model.stride
        # Small inputs are taken several at a time: a tile must be some strides wide to move by less than its side.
        side = max(-(-trained // stride), LEAST_STRIDES) * stride
        places = grid(side, tiles.overlap, stride)
        with torch.inference_mode():
            rows = tiled(self._segment, network_input(pixels, seen), places)
            if seen.size == size:
                ids = torch.cat([predicted_masks(each[None])[0].to(torch.uint8) for each in rows]).numpy()
            else:
                ids = ids_in_size(torch.cat(list(rows), dim=1), size).numpy()
        return ids if box is None else in_box(ids, whole, box)

    def _segment(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.model.answer(images.to(self.device), classes=False).mask_logits
        assert logits is not None
        return logits

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
