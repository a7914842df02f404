"""How the pixels of a data set become bytes and mask ids: chosen once from all its files, and kept with the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]

IGNORE = 255
"""The id of mask pixels that are neither learnt from nor judged."""

DEPTHS = (8, 10, 12, 14, 16, 24, 32)
"""Bits that sensors and programs use of the 16 or 32 of a file."""

MOST_LISTED = 24
"""So many values a message lists."""


@dataclass(frozen=True)
class Reading:
    """How pixels are read.

    Args:
        bits: how many bits the values of images with more than 8 bits a channel use: the upper 8 of these are kept.
            Where not given, as many as each image's own largest value needs.
        mask_values: the pixel values in mask files that stand for the ids 0, 1, 2, …; where not given, pixels are ids.
    """

    bits: int | None = None
    mask_values: tuple[int, ...] | None = None

    def ids(self, pixels: Array, lossy: bool = False) -> Array:
        """Pixels of a mask file as ids, uint8 of the same shape.

        A value that is not listed is ignored where it is 255, and an error otherwise; but in a file whose compression
        changes values, and between the two where only two are listed (the smooth edge of a shape), it is taken for
        the nearest one.

        Args:
            pixels: whole numbers.
            lossy: whether the file's compression changes values.

        Raises:
            ValueError: a pixel stands for no id.
        """
        if self.mask_values is None:
            if pixels.dtype == np.uint8:
                return pixels
            if pixels.size and (pixels.min() < 0 or pixels.max() > IGNORE):
                raise ValueError(
                    f"its pixels go up to {pixels.max()}, but mask ids lie between 0 and 254 (255: ignore); "
                    "say which values stand for the ids 0, 1, … with --images.mask_values"
                )
            return pixels.astype(np.uint8)
        values, places = np.unique(pixels, return_inverse=True)
        ids: Array = self._known(values.astype(np.int64), lossy)[places].reshape(pixels.shape)
        return ids

    def _known(self, values: Array, lossy: bool) -> Array:
        """The ids of distinct values."""
        assert self.mask_values is not None
        listed = np.array(self.mask_values, dtype=np.int64)
        distance = np.abs(values[:, None] - listed[None, :])
        nearest = distance.argmin(axis=1)
        found = distance[np.arange(len(values)), nearest] == 0
        if not lossy:
            between = (values > listed.min()) & (values < listed.max()) & (len(listed) == 2)
            ignored = ~found & (values == IGNORE)
            wrong = ~found & ~between & ~ignored
            if wrong.any():
                raise ValueError(
                    f"it holds {values[wrong.argmax()]}, which is none of the mask values {shown(self.mask_values)}"
                )
            nearest[ignored] = IGNORE
        ids: Array = nearest.astype(np.uint8)
        return ids


AS_IT_IS = Reading()
"""Pixels of masks are ids, and each deep image has its own depth."""


def depth_in_use(largest: int) -> int:
    """How many bits values up to this one use: 8, 10, 12, 14, 16, 24 or 32."""
    return next((bits for bits in DEPTHS if largest < 1 << bits), DEPTHS[-1])


class ChosenValues(NamedTuple):
    """What the values in the masks of a data set mean.

    Args:
        values: which of them stand for the ids 0, 1, …; ``None`` where they are ids.
        note: what was decided, for people; empty where nothing was.
        problem: why nothing can be decided, and empty where it can.
        remedy: what to do then.
    """

    values: tuple[int, ...] | None = None
    note: str = ""
    problem: str = ""
    remedy: str = ""


def choose_mask_values(counts: Mapping[int, int], lossy: bool) -> ChosenValues:
    """Tell what the values in masks stand for, where nobody has said it.

    Two values (255 means: ignore) are background and foreground, whatever they are. More are ids, unless most ids up
    to the largest never occur, or many values occur of which two make up nearly all.

    >>> choose_mask_values({0: 900, 200: 100}, lossy=False).values
    (0, 200)

    Args:
        counts: how many pixels of all masks have a value.
        lossy: whether there is a file whose compression changes values.
    """
    ids = sorted(value for value in counts if value != IGNORE)
    if len(ids) <= 1:
        return _nothing_to_learn(ids, IGNORE in counts)
    if len(ids) == 2:
        if ids == [0, 1]:
            return ChosenValues()
        return ChosenValues(tuple(ids), f"{ids[0]} in the masks is background and {ids[1]} foreground")
    common = sorted(sorted(counts, key=lambda value: -counts[value])[:2])
    covered = sum(counts[value] for value in common) / sum(counts.values())
    if lossy or (len(ids) > 16 and covered > 0.8):
        return ChosenValues(
            problem=f"the masks hold {len(counts)} values, of which {common[0]} and {common[1]} make up "
            f"{covered:.1%}: compression or smoothing has changed the others",
            remedy=f"save the masks as PNG without smoothing, or take each pixel for the nearer one with "
            f"--images.mask_values {shown(common)} (or, if all are ids, give --model.mask_channels)",
        )
    if ids[-1] > IGNORE or 2 * len(ids) < ids[-1] + 1:
        return ChosenValues(
            problem=f"the masks hold {len(ids)} values up to {ids[-1]}: {shown(ids)}",
            remedy=f"say which stand for the ids 0, 1, … with --images.mask_values {shown(ids)}"
            + ("" if ids[-1] > IGNORE else f", or that they are ids with --model.mask_channels {ids[-1] + 1}"),
        )
    return ChosenValues()


def _nothing_to_learn(ids: list[int], ignores: bool) -> ChosenValues:
    """The masks hold one value at most, and perhaps 255."""
    value = ids[0] if ids else IGNORE
    if ids and ignores:
        return ChosenValues(
            problem=f"the masks hold nothing but {value} and 255, and 255 means ignore, "
            "so no foreground is left to learn",
            remedy=f"write the foreground as 1, or say --images.mask_values [{value},255]",
        )
    meaning = "the background" if value == 0 else "ignore" if value == IGNORE else "one id"
    return ChosenValues(
        problem=f"every pixel of every mask is {value} ({meaning}), so there is nothing to tell apart",
        remedy="correct the masks, or train without them (--beta 0)",
    )


def shown(values: Sequence[int]) -> str:
    """Values as the command line takes them: ``[0,200]``."""
    more = ",…" if len(values) > MOST_LISTED else ""
    return f"[{','.join(map(str, values[:MOST_LISTED]))}{more}]"
