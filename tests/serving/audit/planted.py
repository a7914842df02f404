"""Items with planted mistakes: wrong labels, copies in other splits, an outlier."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

SIDE = 40


def write_mistakes(folder, *, identities=8, items=15, wrong=4, copies=4, seed=0):
    """A table of made pictures in a folder.

    Returns:
        The rows of the table, which rows have a wrong label, and which rows are copies of which.
    """
    g = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = []
    for identity in range(identities):
        pattern = g.integers(0, 256, (5, 5, 3)).astype(np.float64)
        for item in range(items):
            small = (pattern + g.normal(0, 30, pattern.shape)).clip(0, 255).astype(np.uint8)
            place = folder / "images" / f"{identity}-{item}.png"
            Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(place)
            split = ("train", "val", "test")[item % 3]
            rows.append({"image": f"images/{place.name}", "label": f"id{identity}", "split": split})
    count = len(rows)
    # No two of one identity: those with the same wrong label would agree with each other.
    mistaken = [int(own) * items + int(g.integers(items)) for own in g.choice(identities, wrong, replace=False)]
    for row in mistaken:
        own = int(rows[row]["label"][2:])
        rows[row]["label"] = f"id{(own + g.integers(1, identities)) % identities}"
    copied = {}
    for number, row in enumerate(g.choice(np.setdiff1d(np.arange(count), mistaken), copies, replace=False).tolist()):
        source, name = folder / rows[row]["image"], f"images/copy{number}.jpg"
        if number % 2:
            ImageEnhance.Brightness(Image.open(source)).enhance(1.05).save(folder / name, quality=90)
        else:
            Path(folder / name).write_bytes(source.read_bytes())
        copied[len(rows)] = row
        rows.append({**rows[row], "image": name, "split": "test" if rows[row]["split"] == "train" else "train"})
    with (folder / "items.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["image", "label", "split"])
        table.writeheader()
        table.writerows(rows)
    return rows, set(mistaken), copied


def pixels(folder, rows, side=8):
    """Centred small pixels of the images: embeddings that need no network."""
    small = [np.asarray(Image.open(folder / row["image"]).convert("RGB").resize((side, side))) for row in rows]
    flat = np.stack(small).reshape(len(rows), -1).astype(np.float32)
    return flat - flat.mean(axis=1, keepdims=True)
