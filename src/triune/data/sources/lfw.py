"""Labeled Faces in the Wild, with its own development split."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from triune.data.items import ItemTable, from_frame
from triune.data.sources.common import download, folders_in, images_in
from triune.errors import InputError


def lfw(root: Path) -> ItemTable:
    """Labeled Faces in the Wild (Huang and others, 2007): identity is the person; no classes, no masks.

    People with a single picture are left out, since they can give no matching pair.

    Args:
        root: the folder with ``lfw-py/lfw_funneled`` (or ``lfw-deepfunneled``, ``lfw``), one folder a person;
            torchvision downloads it where it is not there.
    """
    base = _lfw_folder(root)
    if base is None:
        from torchvision.datasets import LFWPeople

        download(
            lambda: LFWPeople(str(root), split="10fold", download=True),
            "lfw",
            f"unpack lfw-funneled.tgz into {root / 'lfw-py'}, so that {root / 'lfw-py' / 'lfw_funneled'} "
            "holds one folder a person",
        )
        base = _lfw_folder(root)
    if base is None:
        raise InputError(f"{root} holds no folder of people: unpack lfw-funneled.tgz into {root / 'lfw-py'}")
    people = {folder.name: images_in(folder) for folder in folders_in(base)}
    several = {name: images for name, images in people.items() if len(images) > 1}
    if not several:
        raise InputError(f"{base} holds no person with two pictures: it should hold one folder a person")
    frame = pl.DataFrame(
        {
            "image": [str(image) for images in several.values() for image in images],
            "identity": [name for name, images in several.items() for _ in images],
        }
    )
    left_out = len(people) - len(several)
    note = f"lfw: {left_out} people with a single picture are left out, {len(several)} stay"
    return replace(from_frame(frame, source="lfw"), notes=(note,))


def _lfw_folder(root: Path) -> Path | None:
    for place in (root / "lfw-py", root):
        for name in ("lfw_funneled", "lfw-deepfunneled", "lfw"):
            if (place / name).is_dir():
                return place / name
    return None
