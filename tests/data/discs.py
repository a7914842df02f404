"""Pictures of a bright disc, each with the disc as its mask, and data sets of them."""

import numpy as np
import polars as pl
from PIL import Image

from triune.data.dataset import ItemDataset
from triune.data.transform import eval_transform, train_transform


def write_discs(folder):
    """Six pictures; the last has no mask, label or identity."""
    rows = []
    down, across = np.mgrid[:40, :48]
    for number in range(6):
        disc = (down - 15 - 2 * number) ** 2 + (across - 20 - number) ** 2 < 81
        Image.fromarray(np.where(disc, 250, 5).astype(np.uint8)).save(folder / f"{number}.png")
        Image.fromarray(disc.astype(np.uint8)).save(folder / f"{number}-mask.png")
        known = number < 5
        rows.append(
            {
                "image": str(folder / f"{number}.png"),
                "mask": str(folder / f"{number}-mask.png") if known else None,
                "label": "ab"[number % 2] if known else None,
                "identity": f"p{number // 2}" if known else None,
            }
        )
    return pl.DataFrame(rows)


def dataset(frame, size=32, channels=1, **options):
    transform = train_transform(size, options.pop("augment")) if "augment" in options else eval_transform(size)
    names = {"classes": ["a", "b"], "identities": ["p0", "p1"]} | options
    return ItemDataset(frame, channels=channels, transform=transform, **names)
