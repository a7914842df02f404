"""What a run in use asks of its network, whoever trained it: how it reads an image, and what it says of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from triune.data.boxes import Box
from triune.data.decode import Source
from triune.distances.metric import Metric
from triune.run.thresholds import StoredThresholds

if TYPE_CHECKING:
    from triune.evaluation.results import Results

Array: TypeAlias = np.ndarray[Any, Any]
Progress: TypeAlias = Callable[[int, int], None]
"""Called with the numbers of images that are done and of all."""

BATCH = 64
"""Images that go through the network at a time."""


class Read(NamedTuple):
    """An image as a network takes it.

    Args:
        pixels: ``(C, h, w)`` float32, normalised; ``(h, w, C)`` uint8 where the network does that itself.
        size: height and width of the image itself, upright.
        box: the part of it that was looked at; all of it where ``None``.
    """

    pixels: Array
    size: tuple[int, int]
    box: Box | None = None


class Said(NamedTuple):
    """What a network says of one image; what it was not asked for, or has no head for, is ``None``.

    Args:
        shares: ``(C,)`` float64 probabilities of the classes.
        mask: ``(H, W)`` uint8 mask ids, as large as the image; 255 where the network did not see it.
        embedding: ``(D,)`` float32, of unit length.
        unfamiliar: whether the image looks like nothing that the network was validated on; ``None`` where that is not
            known.
    """

    shares: Array | None = None
    mask: Array | None = None
    embedding: Array | None = None
    unfamiliar: bool | None = None


@dataclass(frozen=True)
class Heads:
    """Which answers are wanted.

    Args:
        classes: the probabilities of the classes.
        masks: the mask.
        embedding: the embedding.
        familiar: whether the image looks like those that the network was validated on.
    """

    classes: bool = True
    masks: bool = True
    embedding: bool = True
    familiar: bool = True


EVERYTHING = Heads()
EMBEDDING = Heads(classes=False, masks=False, familiar=False)
COMPARED = Heads(classes=False, masks=False)


@dataclass(frozen=True)
class Card:
    """What is known of a network before it sees an image.

    Args:
        name: what it was loaded from: a run folder, or ``timm:NAME``.
        backbone: its name at timm.
        metric: the distance between its embeddings.
        dim: length D of the embedding; 0 for none.
        classes: names of its classes; empty for no class head.
        masks: whether it says masks.
        device: where it computes.
        matched: of weights from a local file, what matched and what did not; empty otherwise.
    """

    name: str
    backbone: str
    metric: Metric
    dim: int
    classes: tuple[str, ...] = ()
    masks: bool = False
    device: str = field(default="cpu", compare=False)
    matched: str = field(default="", compare=False)


@dataclass(frozen=True)
class Tiles:
    """How a large image is cut for its mask.

    Args:
        side: pixels of the image that one tile covers. The network sees a tile at the size of its training images, so
            that is the side at which things look as large as there.
        overlap: the share of its side that a tile shares with its neighbour.
    """

    side: int
    overlap: float = 0.25


class Network(Protocol):
    """A network as a run in use needs it: that of a run, of an exported file, or a public backbone."""

    @property
    def card(self) -> Card:
        """What is known of it beforehand."""

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of its weights: embeddings of two networks with one fingerprint may be compared."""

    @property
    def thresholds(self) -> StoredThresholds:
        """Those that were fitted for it.

        Raises:
            InputError: there are none.
        """

    @property
    def results(self) -> "Results | None":
        """What it was found to be when it was judged; ``None`` where it was not, or does not say.

        Raises:
            InputError: it is damaged.
        """

    def read(self, source: Source, box: Box | None = None) -> Read:
        """An image as the network takes it.

        Args:
            source: a path, the content of an image file, or an image.
            box: the part of it that is looked at; all of it where not given.

        Raises:
            OSError, ValueError: it cannot be read.
        """

    def say(self, images: list[Read], heads: Heads) -> list[Said]:
        """What it says of each image."""

    def tiled_mask(self, source: Source, tiles: Tiles, box: Box | None = None) -> Array | None:
        """The mask ``(H, W)`` uint8 of an image by tiles; ``None`` of an image that is no larger than one.

        Args:
            source: a path, the content of an image file, or an image.
            tiles: how it is cut.
            box: the part of it that is looked at; all of it where not given.

        Raises:
            InputError: the network has no mask head, or such tiles cannot be.
            OSError, ValueError: the image cannot be read.
        """
