"""Face sets as VGGFace and VGGFace2 are laid out: a folder a person, below train, val and test."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from triune.data.items import ItemTable
from triune.data.sources.folder import image_folder
from triune.data.sources.published import Layout, Part, without_lone

LAYOUT = Layout(
    "vggface",
    "a face data set laid out as VGGFace2 (Cao and others, 2018)",
    {
        "train": Part(("train/",), ("vggface2_train.tar.gz", "train.tar.gz")),
        "test": Part(("test/",), ("vggface2_test.tar.gz", "test.tar.gz"), needed=False),
    },
)


def vggface(root: Path, cache: Path) -> ItemTable:
    """A folder a person: ``train/n000002/0001_01.jpg``, with ``val`` and ``test`` beside ``train``.

    The person is the identity and the label. Below ``val`` or ``test`` any number of pictures will do; in ``train`` a
    person with a single one is left out.

    Args:
        root: the folder with ``train`` (and ``val``, ``test``), one that holds it, or one with the archives
            ``vggface2_train.tar.gz`` and ``vggface2_test.tar.gz``.
        cache: where archives are unpacked.

    Raises:
        InputError: there is no folder ``train``, or what is below the folders is laid out in another way.
    """
    paths = LAYOUT.found(root, cache)
    base = paths["train"].parent
    table = image_folder(base)
    if "test" in paths and paths["test"].parent != base:  # unpacked from two archives
        frame = image_folder(paths["test"].parent).frame.filter(pl.col("split") == "test")
        table = replace(table, frame=pl.concat([table.frame.filter(pl.col("split") == "train"), frame]))
    table = replace(table, frame=table.frame.with_columns(pl.Series("row", range(1, len(table.frame) + 1))))
    return without_lone(replace(table, source="vggface"))
