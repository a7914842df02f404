"""What the sources share: files written once into the cache, downloads, and the splits of published sets."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from triune.data.decode import Array, image_suffixes
from triune.data.items import ItemTable
from triune.errors import InputError


def with_holdout(table: ItemTable, share: float = 0.15) -> ItemTable:
    """Mark a data set's own splits as open-set, with part of the training images set aside for the class head.

    Args:
        table: the items, each in a split; identities of val and test do not occur in train.
        share: the part of each training identity's images that becomes the split holdout.
    """
    splits = np.array(table.frame["split"].to_list(), dtype=object)
    names = np.array(table.frame["identity"].to_list(), dtype=object)
    generator = np.random.default_rng(0)
    for name in sorted(set(names[splits == "train"])):
        places = np.flatnonzero((names == name) & (splits == "train"))
        splits[generator.permutation(places)[: round(share * len(places))]] = "holdout"
    frame = table.frame.with_columns(pl.Series("split", splits.tolist(), pl.String))
    return replace(table, frame=frame, split_kind="open-set", notes=())


def written_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """A folder of the cache, filled if it is not there yet: whole or not at all, whoever else fills it at that time.

    Args:
        folder: where it lies.
        write: fills an empty folder, whose path it is given; the folder is moved into place when that is done.

    Returns:
        ``folder``.

    Raises:
        OSError: the cache cannot be written; the message says how to choose another.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        remedy = f"{error.strerror}; set TRIUNE_CACHE to a folder that can be written"
        raise OSError(error.errno, remedy, str(folder.parent)) from error
    try:
        write(temporary)
        temporary.chmod(0o755)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def download(fetch: Callable[[], object], name: str, otherwise: str) -> None:
    """Download a data set.

    Args:
        fetch: does it, and raises where it cannot.
        name: what the message calls the data set.
        otherwise: what to do where it cannot be downloaded, for the message.

    Raises:
        InputError: it could not be downloaded.
    """
    try:
        fetch()
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name} is not there and could not be downloaded ({reason}): {otherwise}") from error


def save_png(pixels: Array, path: Path) -> None:
    """Write an image; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; hidden ones left out."""
    return sorted(part for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))


def images_in(folder: Path) -> list[Path]:
    """The images in a folder, sorted; hidden ones left out."""
    return sorted(
        part for part in folder.iterdir() if part.suffix.lower() in image_suffixes() and not part.name.startswith(".")
    )


def others_in(folder: Path) -> list[Path]:
    """The files in a folder that are no images; hidden ones left out."""
    images = set(images_in(folder))
    return [part for part in folder.iterdir() if part not in images and not part.is_dir() and part.name[0] != "."]
