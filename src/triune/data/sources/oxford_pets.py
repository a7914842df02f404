"""Oxford-IIIT Pets: breeds with trimap masks."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from triune.data.decode import IGNORE
from triune.data.items import ItemTable, from_frame
from triune.data.sources.common import download, save_png, written_once
from triune.data.tables import read_text, split_lines


def oxford_pets(root: Path, cache: Path) -> ItemTable:
    """The Oxford-IIIT pets (Parkhi and others, CVPR 2012): class is the species, identity the breed.

    The mask is 1 on the pet, 0 behind it and 255 (ignore) along its border, which the annotators left open.

    Args:
        root: the folder with ``oxford-iiit-pet/images`` and ``oxford-iiit-pet/annotations``; torchvision
            downloads them where they are not there.
        cache: where the masks are written.
    """
    base = root / "oxford-iiit-pet"
    if not ((base / "images").is_dir() and (base / "annotations").is_dir()):
        from torchvision.datasets import OxfordIIITPet

        download(
            lambda: OxfordIIITPet(str(root), download=True),
            "oxford-pets",
            f"put images.tar.gz and annotations.tar.gz of the Oxford-IIIT Pet data set into {base} and unpack them, "
            f"so that {base / 'images'} and {base / 'annotations'} exist",
        )
    lines = [
        line.split()
        for part in ("trainval.txt", "test.txt")
        for line in split_lines(read_text(base / "annotations" / part))
        if line.strip() and not line.startswith("#")
    ]
    names = [line[0] for line in lines]
    trimaps = base / "annotations" / "trimaps"
    mark = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    masks = written_once(cache / f"oxford-pets-1-{mark}", lambda place: _write_trimaps(place, trimaps, names))
    frame = pl.DataFrame(
        {
            "image": [str(base / "images" / f"{name}.jpg") for name in names],
            "label": [{"1": "cat", "2": "dog"}.get(line[2], line[2]) for line in lines],
            "identity": [name.rsplit("_", 1)[0] for name in names],
            "mask": [str(masks / f"{name}.png") if (masks / f"{name}.png").is_file() else None for name in names],
        }
    )
    return from_frame(frame, source="oxford-pets")


def _write_trimaps(folder: Path, trimaps: Path, names: list[str]) -> None:
    """Trimaps (1 pet, 2 background, 3 border) as masks (1, 0, 255); damaged ones are copied for the check to find."""
    ids = np.full(256, IGNORE, dtype=np.uint8)
    ids[1], ids[2] = 1, 0
    for name in names:
        path = trimaps / f"{name}.png"
        if not path.is_file():
            continue
        try:
            with Image.open(path) as file:
                mask = ids[np.asarray(file)]
        except (OSError, SyntaxError, ValueError):
            shutil.copyfile(path, folder / f"{name}.png")
            continue
        save_png(mask, folder / f"{name}.png")
