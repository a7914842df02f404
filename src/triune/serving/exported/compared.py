"""Two networks of one run held against each other on the same images: their answers, and what they verify."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import polars as pl
from PIL import Image

from triune.data.boxes import boxes_of
from triune.data.decode import IGNORE, read_mask
from triune.data.reading import AS_IT_IS, Reading
from triune.evaluation.measures import mask_result
from triune.run.card import ModelCard
from triune.run.judged_items import read_judged_items
from triune.serving.networks import EVERYTHING, Card, Network, Said
from triune.serving.pictures import Picture
from triune.verification.all_pairs import verify_embeddings

Array: TypeAlias = np.ndarray[Any, Any]
Kind: TypeAlias = Literal["validation images", "test images", "generated images"]

AT_ONCE: Final = 16
"""Images that go through both networks at a time."""

GENERATED: Final = 8
"""Images that are made where a run's own are not there."""

JUDGED: Final = "embeddings.parquet"


@dataclass(frozen=True, eq=False)
class Shown:
    """Images that two networks are shown.

    Args:
        kind: what they are.
        images: N.
        identities: ``(N,)`` strings; ``None`` where they are not known.
        labels: their N classes; empty where none is known.
        masks: the N files of their masks; likewise.
        reading: how masks are read.
    """

    kind: Kind
    images: list[Picture]
    identities: Array | None = None
    labels: tuple[str | None, ...] = ()
    masks: tuple[str | None, ...] = ()
    reading: Reading = AS_IT_IS


@dataclass(frozen=True)
class Rates:
    """What was verified by two networks: TPR@FPR of each.

    Args:
        fpr: the false-positive rate that both keep on these images.
        before: the true-positive rate of the first one.
        after: that of the other.
    """

    fpr: float
    before: float
    after: float


@dataclass(frozen=True)
class Difference:
    """How far two networks' answers lie apart.

    Args:
        shown: how many images.
        kind: what they were.
        embedding: the largest difference of a number of an embedding; ``None`` without an embedding head.
        probability: of a class's probability; likewise.
        masks: the share of mask pixels whose id differs; likewise.
        rates: TPR@FPR of both on these images; none where no identities are known.
        accuracy: of the classes, by the first network and by the other; ``None`` where none is known.
        iou: intersection over union of the masks, likewise, in the images' own sizes.
    """

    shown: int
    kind: Kind
    embedding: float | None
    probability: float | None
    masks: float | None
    rates: tuple[Rates, ...] = ()
    accuracy: tuple[float, float] | None = None
    iou: tuple[float, float] | None = None


def images_to_show(folder: Path | None, split: Literal["val", "test"], most: int | None, card: ModelCard) -> Shown:
    """The held-out images of a run, evenly over its table, where they still lie where they did; else generated ones.

    Args:
        folder: the run's.
        split: which of them.
        most: how many, at most; all where ``None``.
        card: of the run.
    """
    made = Shown("generated images", generated(card.size))
    path = None if folder is None else folder / JUDGED
    if path is None or not path.is_file():
        return made
    items = read_judged_items(path).filter(pl.col("split") == split)
    there = items.filter(pl.Series([Path(each).is_file() for each in items["image"]], dtype=pl.Boolean))
    if there.is_empty():
        return made
    count = len(there) if most is None else min(most, len(there))
    chosen = there[np.unique(np.linspace(0, len(there) - 1, count).astype(int)).tolist()]
    images = [Picture(image, image, box=box) for image, box in zip(chosen["image"], boxes_of(chosen), strict=True)]
    known = chosen["identity"].null_count() == 0
    return Shown(
        "validation images" if split == "val" else "test images",
        images,
        chosen["identity"].to_numpy().astype(str) if known else None,
        tuple(chosen["label"]),
        tuple(chosen["mask"]),
        card.reading,
    )


def generated(size: tuple[int, int]) -> list[Picture]:
    """Smooth patterns in colour, always the same ones, about as large as a network sees images.

    Args:
        size: height and width that it sees.
    """
    found = []
    draws = np.random.default_rng(0)
    for number in range(GENERATED):
        coarse = draws.integers(0, 256, (3 + number % 3, 4, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((size[1] + 3 * number, size[0] + number), Image.Resampling.BICUBIC)
        found.append(Picture(f"image {number}", image))
    return found


def differences(before: Network, after: Network, shown: Shown, fprs: Sequence[float]) -> Difference:
    """Show images to two networks, and compare what they say.

    Args:
        before: the one.
        after: the other; it may have fewer heads, and those that both have are compared.
        shown: the images.
        fprs: the false-positive rates at which they verify, where identities are known.
    """
    rows: tuple[list[Array], list[Array]] = ([], [])
    most = {"embedding": 0.0, "probability": 0.0}
    pixels = differing = 0
    tallies = _Tally(before.card, shown), _Tally(after.card, shown)
    for place, (ours, theirs) in enumerate(zip(_said(before, shown.images), _said(after, shown.images), strict=True)):
        for tally, either in zip(tallies, (ours, theirs), strict=True):
            tally.add(place, either)
        if ours.embedding is not None and theirs.embedding is not None:
            most["embedding"] = max(most["embedding"], float(np.abs(ours.embedding - theirs.embedding).max()))
            for side, said in zip(rows, (ours.embedding, theirs.embedding), strict=True):
                side.append(said)
        if ours.shares is not None and theirs.shares is not None:
            most["probability"] = max(most["probability"], float(np.abs(ours.shares - theirs.shares).max()))
        if ours.mask is not None and theirs.mask is not None:
            pixels, differing = pixels + ours.mask.size, differing + int((ours.mask != theirs.mask).sum())
    has_classes, has_masks = (both(before.card, after.card) for both in (_with_classes, _with_masks))
    return Difference(
        len(shown.images),
        shown.kind,
        most["embedding"] if rows[0] else None,
        most["probability"] if has_classes else None,
        differing / pixels if has_masks and pixels else None,
        _rates(rows, shown, before.card.metric, fprs) if rows[0] else (),
        _both(tallies[0].accuracy, tallies[1].accuracy),
        _both(tallies[0].iou, tallies[1].iou),
    )


def _both(one: float | None, other: float | None) -> tuple[float, float] | None:
    return None if one is None or other is None else (one, other)


class _Tally:
    """What of a network's answers is right, counted image by image."""

    def __init__(self, card: Card, shown: Shown) -> None:
        self.card, self.shown = card, shown
        self.known = self.right = self.masked = 0
        self.counts = np.zeros((256, 256), np.int64)

    def add(self, place: int, said: Said) -> None:
        label = self.shown.labels[place] if self.shown.labels else None
        if said.shares is not None and label in self.card.classes:
            self.known += 1
            self.right += self.card.classes[int(said.shares.argmax())] == label
        mask = self.shown.masks[place] if self.shown.masks else None
        if said.mask is not None and mask is not None and Path(mask).is_file():
            truth = read_mask(mask, None, self.shown.reading)
            both = (truth != IGNORE) & (said.mask != IGNORE)
            pairs = truth[both].astype(np.int64) * 256 + said.mask[both]
            self.counts += np.bincount(pairs, minlength=256 * 256).reshape(256, 256)
            self.masked += 1

    @property
    def accuracy(self) -> float | None:
        return self.right / self.known if self.known else None

    @property
    def iou(self) -> float | None:
        ids = 1 + int(np.flatnonzero(self.counts.any(0) | self.counts.any(1)).max(initial=0))
        return mask_result(self.counts[:ids, :ids], self.masked, "test").iou if self.masked and ids > 1 else None


def _with_classes(one: Any, other: Any) -> bool:
    return bool(one.classes and other.classes)


def _with_masks(one: Any, other: Any) -> bool:
    return bool(one.masks and other.masks)


def _said(network: Network, images: Sequence[Picture]) -> Iterator[Said]:
    for start in range(0, len(images), AT_ONCE):
        part = images[start : start + AT_ONCE]
        yield from network.say([network.read(each.source, each.box) for each in part], EVERYTHING)


def _rates(
    rows: tuple[list[Array], list[Array]], shown: Shown, metric: Any, fprs: Sequence[float]
) -> tuple[Rates, ...]:
    if shown.identities is None:
        return ()
    counts = np.unique(shown.identities, return_counts=True)[1]
    if len(counts) < 2 or counts.max() < 2:  # no pair of one kind
        return ()
    one, other = (verify_embeddings(np.stack(side), shown.identities, metric=metric) for side in rows)
    return tuple(Rates(fpr, one.tpr_at_fpr(fpr), other.tpr_at_fpr(fpr)) for fpr in fprs)
