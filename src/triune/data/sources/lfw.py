"""Labeled Faces in the Wild, with its own development split."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from triune.data.items import ItemTable, from_frame
from triune.data.pair_lists import PairList, read_pairs
from triune.data.sources.common import folders_in, images_in
from triune.data.sources.published import Layout, Part
from triune.errors import InputError

_FOLDERS = ("lfw_funneled/", "lfw-deepfunneled/", "lfw/")

_ARCHIVES = ("lfw-funneled.tgz", "lfw-deepfunneled.tgz", "lfw.tgz")

LAYOUT = Layout("lfw", "Labeled Faces in the Wild (Huang and others, 2007)", {"people": Part(_FOLDERS, _ARCHIVES)})

PROTOCOL = replace(LAYOUT, name="lfw-pairs", parts={"pairs": Part(("pairs.txt",)), **LAYOUT.parts})
"""With the list of pairs in ten folds that verification is reported on."""


def lfw(root: Path, cache: Path) -> ItemTable:
    """Labeled Faces in the Wild (Huang and others, 2007): identity is the person; no classes, no masks.

    People with a single picture are left out, since they can give no matching pair.

    Args:
        root: the folder ``lfw_funneled`` (or ``lfw-deepfunneled``, ``lfw``), one folder a person; one that holds it; or
            one with ``lfw-funneled.tgz``.
        cache: where an archive is unpacked.

    Raises:
        InputError: the files are not there, or are others.
    """
    base = LAYOUT.found(root, cache)["people"]
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


def lfw_pairs(root: Path, cache: Path) -> ItemTable:
    """The pictures that LFW's ``pairs.txt`` lists, all of them to be judged: identity is the person, the split test.

    Args:
        root: the folder with ``pairs.txt`` and what :func:`lfw` needs.
        cache: where an archive is unpacked.

    Raises:
        InputError: the files are not there, or are others.
    """
    names = lfw_pair_list(root, cache).names
    frame = pl.DataFrame({"image": names, "identity": [Path(name).parent.name for name in names], "split": "test"})
    return from_frame(frame, source="lfw-pairs")


def lfw_pair_list(root: Path, cache: Path) -> PairList:
    """The pairs of ``pairs.txt`` with their folds, by the paths of their images.

    Args:
        root: the folder with ``pairs.txt`` and what :func:`lfw` needs.
        cache: where an archive is unpacked.

    Raises:
        InputError: the files are not there, or are others.
    """
    paths = PROTOCOL.found(root, cache)
    listed, people = read_pairs(paths["pairs"]), paths["people"].absolute()
    first, second = (tuple(str(people / name) for name in names) for names in (listed.first, listed.second))
    return replace(listed, first=first, second=second)
