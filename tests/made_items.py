"""Small images, masks and tables that several test files make."""

import numpy as np
import polars as pl
from PIL import Image

from triune.data.items import ItemTable, from_frame


def write_image(path, size=(12, 10), value=128, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(value).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path)
    return path


def write_mask(path, size=(12, 10), ids=(0, 1)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.resize(np.array(ids, np.uint8), (size[1], size[0]))).save(path)
    return path


def csv(folder, text, name="items.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def frame_of(identities, labels=None, **columns):
    """A table without files: names only, as splits need."""
    count = len(identities)
    frame = pl.DataFrame(
        {"image": [f"{i}.png" for i in range(count)], "identity": identities, "label": labels or ["x"] * count}
        | columns
    )
    return from_frame(frame, source="made")


def picture(path, seed=0, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def mask(path, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.eye(*size, dtype=np.uint8)).save(path)


def is_open_set(table: ItemTable) -> bool:
    """Whether no identity of val or test occurs in train or holdout."""
    splits = {}
    for name, split in table.frame.select("identity", "split").rows():
        if name is not None:
            splits.setdefault(name, set()).add({"holdout": "train"}.get(split, split) == "train")
    return all(len(sides) == 1 for sides in splits.values())
