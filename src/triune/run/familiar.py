"""``familiar.safetensors``: what images a run knows the look of, so that others are told from them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import safetensors
import safetensors.numpy

from triune.checksums import check_file
from triune.errors import InputError
from triune.files import regular_file, written_whole

Array: TypeAlias = np.ndarray[Any, Any]

NAME: Final = "familiar.safetensors"

SHARE: Final = 0.999
"""Of the validation images that count as familiar when they are compared with those of other identities."""

BLOCK: Final = 1 << 22
"""Distances that are held at a time."""


@dataclass(frozen=True, eq=False)
class Look:
    """Validation images as a part of the network sees them.

    Args:
        rows: ``(N, F)`` float32, each feature less its mean, over its standard deviation.
        mean: ``(F,)``.
        scale: ``(F,)`` standard deviations.
        limit: an image whose distance to all rows is larger looks like none of them.
    """

    rows: Array
    mean: Array
    scale: Array
    limit: float

    def is_far(self, features: Array) -> Array:
        """Which of ``(M, F)`` features lie beyond the limit, ``(M,)`` booleans; those that are not finite do."""
        scaled = ((features - self.mean) / self.scale).astype(np.float32)
        far: Array = ~(nearest_distances(scaled, self.rows) <= self.limit)  # so that NaN is far
        return far


Familiar: TypeAlias = tuple[Look, ...]
"""The looks of a run, one for each part of the network: an image is unfamiliar when it is far in any."""


def unfamiliar(familiar: Familiar, looks: Sequence[Array]) -> Array:
    """Which of M images look like nothing that a run was validated on, ``(M,)`` booleans.

    Args:
        familiar: what the run knows.
        looks: ``(M, F)`` features of the images for each part.
    """
    far: Array = np.any([look.is_far(features) for look, features in zip(familiar, looks, strict=True)], axis=0)
    return far


def familiar_of(looks: Sequence[Array], identities: Array) -> Familiar | None:
    """What is familiar, told from validation images alone.

    New images may show new identities. So for each validation image its nearest neighbour of *another* identity is
    looked at; the quantile of :data:`SHARE` of those distances is the limit.

    Args:
        looks: ``(N, F)`` features for each part of the network.
        identities: ``(N,)``.

    Returns:
        ``None`` where there are fewer than two identities.
    """
    if len(np.unique(identities)) < 2:
        return None
    return tuple(_look(features.astype(np.float64), identities) for features in looks)


def _look(features: Array, identities: Array) -> Look:
    mean, scale = features.mean(0), features.std(0)
    # A feature that never changes there says nothing of how much it may; a small part of its size stands for that.
    scale = np.maximum(scale, 1e-3 * np.abs(mean) + 1e-6)
    rows = ((features - mean) / scale).astype(np.float32)
    distances = nearest_distances(rows, rows, identities)
    return Look(rows, mean, scale, float(np.quantile(distances, SHARE, method="higher")))


def nearest_distances(asked: Array, rows: Array, identities: Array | None = None) -> Array:
    """Euclidean distance of each row to the nearest of others, ``(M,)``.

    Args:
        asked: ``(M, F)``.
        rows: ``(N, F)``.
        identities: ``(N,)`` of the rows, which then are those that are asked for, too: pairs of one do not count.
    """
    found = np.empty(len(asked), np.float32)
    squares = np.square(rows, dtype=np.float64).sum(1)
    height = max(1, BLOCK // max(1, len(rows)))
    for start in range(0, len(asked), height):
        part = asked[start : start + height].astype(np.float64)
        square = np.square(part).sum(1)[:, None] + squares - 2 * part @ rows.T.astype(np.float64)
        if identities is not None:
            square[identities[start : start + height, None] == identities] = np.inf
        found[start : start + height] = np.sqrt(np.maximum(square.min(1), 0))
    return found


def write_familiar(folder: Path, familiar: Familiar) -> None:
    """Write what a run knows the look of into its folder, whole or not at all."""
    with written_whole(folder / NAME) as temporary:
        temporary.write_bytes(familiar_bytes(familiar))


def familiar_bytes(familiar: Familiar) -> bytes:
    """What a run knows the look of as safetensors; :func:`familiar_from` reads them."""
    tensors: dict[str, Array] = {}
    for number, look in enumerate(familiar):
        tensors |= {f"{number}.rows": look.rows.astype(np.float16), f"{number}.mean": look.mean}
        tensors |= {f"{number}.scale": look.scale, f"{number}.limit": np.array([look.limit])}
    content: bytes = safetensors.numpy.save(tensors, metadata={"parts": str(len(familiar))})
    return content


def read_familiar(folder: Path) -> Familiar | None:
    """What the run in a folder knows the look of; ``None`` where the folder does not say it, as earlier runs do not.

    Raises:
        InputError: the file is damaged or another one.
    """
    path = folder / NAME
    if not path.exists():
        return None
    check_file(path)
    return familiar_from(regular_file(path).read_bytes(), str(path))


def familiar_from(content: bytes, source: str) -> Familiar:
    """What :func:`familiar_bytes` wrote.

    Args:
        content: safetensors.
        source: what messages call them.

    Raises:
        InputError: they are damaged or something else.
    """
    try:
        tensors = safetensors.numpy.load(content)
        # A safetensors file begins with the length of its header, which is JSON; the library gives its tensors alone.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return tuple(_stored(tensors, number) for number in range(int(header["__metadata__"]["parts"])))
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{source} is damaged or another file: {error}") from error


def _stored(tensors: Mapping[str, Array], number: int) -> Look:
    rows, mean, scale, limit = (tensors[f"{number}.{name}"] for name in ("rows", "mean", "scale", "limit"))
    if rows.ndim != 2 or not mean.shape == scale.shape == rows.shape[1:] or limit.shape != (1,) or not len(rows):
        raise ValueError("its parts do not fit each other")
    if not all(np.isfinite(each).all() for each in (rows, mean, scale, limit)) or (scale <= 0).any():
        raise ValueError("it holds numbers that are none")
    return Look(rows.astype(np.float32), mean, scale, float(limit[0]))
