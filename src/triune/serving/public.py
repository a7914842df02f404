"""A public backbone of timm as it was published, with its own preprocessing: search works before any training."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import nn

from triune.data.boxes import Box
from triune.data.decode import Source
from triune.data.normalising import network_input
from triune.data.preprocessing import Preprocessing
from triune.distances.embeddings import unit
from triune.errors import InputError
from triune.model.hub import hub_asked_once
from triune.model.images import own_preprocessing
from triune.model.weights import Fit, load_weights
from triune.run.thresholds import StoredThresholds
from triune.serving.networks import Card, Heads, Read, Said, Tiles

_SEED = 771_204_653
"""Of weights by chance, before those of a file take their place."""


@dataclass(frozen=True, eq=False)
class PublicBackbone:
    """A backbone of timm without its classifier: the pooled features are the embedding, compared by the cosine.

    Args:
        backbone: its name at timm.
        model: the network, in evaluation mode; ``(B, C, H, W)`` to ``(B, D)``.
        dim: length D of the embedding.
        preprocessing: timm's own for it: size, crop, interpolation, mean and standard deviation.
        device: where it is.
        matched: how the weights of a local file fitted, where one was given.
    """

    backbone: str
    model: nn.Module
    dim: int
    preprocessing: Preprocessing
    device: torch.device
    matched: Fit | None = None

    @property
    def card(self) -> Card:
        """What is known of it beforehand."""
        matched = "" if self.matched is None else self.matched.line()
        name = f"timm:{self.backbone}"
        return Card(name, self.backbone, "cosine", self.dim, device=str(self.device), matched=matched)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of its name and weights."""
        hashed = hashlib.sha256(self.backbone.encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            hashed.update(name.encode())
            hashed.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return hashed.hexdigest()

    @property
    def thresholds(self) -> StoredThresholds:
        """It has none.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"timm:{self.backbone} was never trained here, so it has no threshold: `triune train` fits one"
        )

    @property
    def results(self) -> None:
        """It was not judged."""
        return None

    def read(self, source: Source, box: Box | None = None) -> Read:
        """An image as the backbone was judged on.

        Args:
            source: a path, the content of an image file, or an image.
            box: the part of it that is looked at; all of it where not given.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        pixels, size = self.preprocessing.image(source, 3, box)
        return Read(network_input(pixels, self.preprocessing).numpy(), size, box)

    def say(self, images: list[Read], heads: Heads) -> list[Said]:
        """The embedding of each image."""
        batch = torch.from_numpy(np.stack([each.pixels for each in images])).to(self.device)
        with torch.inference_mode():
            rows = unit(self.model(batch).float()).cpu().numpy()
        return [Said(embedding=row) for row in rows]

    def tiled_mask(self, source: Source, tiles: Tiles, box: Box | None = None) -> None:
        """It has no mask head, with tiles or without.

        Args:
            source: a path, the content of an image file, or an image.
            tiles: how it would be cut.
            box: the part of it that would be looked at.
        """
        raise InputError(f"timm:{self.backbone} has no mask head")


def load_public(name: str, weights: Path | None, device: torch.device) -> PublicBackbone:
    """A backbone by its name at timm.

    Args:
        name: such as ``resnet50.a1_in1k``, with the published weights that the tag names.
        weights: a local file of its weights in place of the published ones, of whatever origin, or a run folder: see
            :func:`~triune.model.weights.load_weights`.
        device: where it goes.

    Raises:
        InputError: timm has no such model, or its weights cannot be had, or not all of them.
    """
    if not timm.is_model(name):
        raise InputError(f"timm has no model {name!r}: timm.list_models('*{name.split('_')[0]}*') lists those like it")
    matched = None
    if weights is None:
        model = _published(name)
    else:
        model, matched = _from_file(name, weights)
    model = model.to(device).eval()
    preprocessing = own_preprocessing(name)
    with torch.inference_mode():
        dim = model(torch.zeros(1, 3, *preprocessing.size, device=device)).shape[-1]
    return PublicBackbone(name, model, dim, preprocessing, device, matched)


def _published(name: str) -> nn.Module:
    try:
        with hub_asked_once():
            return _model(name, pretrained=True)
    except Exception as error:  # the hub raises many kinds; each means that the weights are not there
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"the published weights of {name} cannot be fetched ({reason}): give a local file of them (--weights FILE)"
        ) from error


def _from_file(name: str, weights: Path) -> tuple[nn.Module, Fit]:
    """A backbone with the weights of a file, all of which must be there: nothing is trained that could mend the rest.

    A tensor whose values are all alike before (the scale of a normalisation, a bias of zeros) may be missing.
    """
    # Made from a seed, so that what a file lacks does not differ from one command to the next.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = _model(name, pretrained=False)
    by_chance = {key for key, each in model.state_dict().items() if (each != each.flatten()[:1]).any()}
    matched = load_weights(model, weights, name)
    lacking = [key for key in (*matched.missing, *matched.misshapen) if key in by_chance]
    if lacking:
        raise InputError(
            f"{weights} does not hold all weights of {name}, so its embeddings would be random numbers "
            f"({matched.line()}): name the backbone that it was made with, or train with --model.weights"
        )
    return model, matched


def _model(name: str, **options: Any) -> nn.Module:
    made: nn.Module = timm.create_model(name, num_classes=0, **options)
    return made
