"""Two networks of one run held against each other on the same images: their answers, and what they verify."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import polars as pl
from PIL import Image

from triune.data.boxes import boxes_of
from triune.run.judged_items import read_judged_items
from triune.serving.networks import EVERYTHING, Network, Said
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
    """

    kind: Kind
    images: list[Picture]
    identities: Array | None = None
    labels: list[str | None] = field(default_factory=list)
    masks: list[str | None] = field(default_factory=list)


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
    """

    shown: int
    kind: Kind
    embedding: float | None
    probability: float | None
    masks: float | None
    rates: tuple[Rates, ...] = ()


def images_to_show(folder: Path | None, split: Literal["val", "test"], most: int, size: tuple[int, int]) -> Shown:
    """The held-out images of a run, evenly over its table, where they still lie where they did; else generated ones.

    Args:
        folder: the run's.
        split: which of them.
        most: how many, at most.
        size: height and width of what is generated.
    """
    path = None if folder is None else folder / JUDGED
    if path is None or not path.is_file():
        return Shown("generated images", generated(size))
    items = read_judged_items(path).filter(pl.col("split") == split)
    there = items.filter(pl.Series([Path(each).is_file() for each in items["image"]], dtype=pl.Boolean))
    if there.is_empty():
        return Shown("generated images", generated(size))
    chosen = there[np.unique(np.linspace(0, len(there) - 1, min(most, len(there))).astype(int)).tolist()]
    images = [Picture(image, image, box=box) for image, box in zip(chosen["image"], boxes_of(chosen), strict=True)]
    known = chosen["identity"].null_count() == 0
    return Shown(
        "validation images" if split == "val" else "test images",
        images,
        chosen["identity"].to_numpy().astype(str) if known else None,
        chosen["label"].to_list(),
        chosen["mask"].to_list(),
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
    for ours, theirs in zip(_said(before, shown.images), _said(after, shown.images), strict=True):
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
    )


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
