"""What a network says of one image: its class, its mask and its embedding; or why the image could not be read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from triune.data.decode import IGNORE

Array: TypeAlias = np.ndarray[Any, Any]
T = TypeVar("T")

TOP = 3


@dataclass(frozen=True, eq=False)
class ImagePrediction:
    """What a network says of one image; a head that it does not have gives ``None``.

    Args:
        name: the image's path, or ``image K`` of one in memory.
        size: height and width of the image, upright.
        probabilities: by class, the most likely first.
        mask: ``(H, W)`` uint8 mask ids, as large as the image; 255 where the network did not see it, since the image
            was cropped.
        embedding: ``(D,)`` float32, of unit length.
        unfamiliar: whether the image looks like nothing that the network was validated on, so that what is said of it
            says little; ``None`` where that is not known.
    """

    name: str
    size: tuple[int, int]
    probabilities: dict[str, float] | None = None
    mask: Array | None = None
    embedding: Array | None = None
    unfamiliar: bool | None = None

    @property
    def label(self) -> str | None:
        """The most likely class."""
        return None if self.probabilities is None else next(iter(self.probabilities))

    @property
    def probability(self) -> float | None:
        """Its probability."""
        return None if self.probabilities is None else next(iter(self.probabilities.values()))

    @property
    def mask_share(self) -> float | None:
        """Of the pixels that the network saw, the share whose mask id is not 0."""
        if self.mask is None:
            return None
        seen = int((self.mask != IGNORE).sum())
        return float(((self.mask > 0) & (self.mask != IGNORE)).sum() / seen) if seen else 0.0

    def top(self, count: int = TOP) -> dict[str, float]:
        """The most likely classes with their probabilities."""
        return dict(list((self.probabilities or {}).items())[:count])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the mask as the share that it covers."""
        return {
            "name": self.name,
            "size": list(self.size),
            "label": self.label,
            "probability": self.probability,
            "top": self.top(),
            "mask_share": self.mask_share,
            "unfamiliar": self.unfamiliar,
            "embedding": None if self.embedding is None else self.embedding.tolist(),
        }

    def __repr__(self) -> str:
        parts = [f"{self.name}, {self.size[1]} x {self.size[0]}"]
        if self.label is not None:
            parts.append(f"{self.label} ({self.probability:.3f})")
        if self.mask is not None:
            parts.append(f"mask on {self.mask_share:.1%}")
        if self.embedding is not None:
            parts.append(f"embedding of {len(self.embedding)}")
        if self.unfamiliar:
            parts.append("unlike all that the network was validated on")
        return f"<{'; '.join(parts)}>"


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read.

    Args:
        name: its path, or ``image K`` of one in memory.
        reason: why.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def readable(answers: Iterable[T | Unreadable], left_out: list[str]) -> Iterator[T]:
    """What was said of the images that could be read.

    Args:
        answers: of images or of pairs of them.
        left_out: gets what could not be read, each with the reason.
    """
    for each in answers:
        if isinstance(each, Unreadable):
            left_out.append(str(each))
        else:
            yield each
