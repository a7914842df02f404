"""Handwritten digits of scikit-learn as photographs of numbers: needs no network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from triune.data.decode import Array
from triune.data.items import ItemTable, read_table
from triune.data.sources.common import save_png, written_once

NUMBER_COPIES = 20


NUMBER_SIDE = 32


def digits(cache: Path) -> ItemTable:
    """Two-digit numbers put together from the 1,797 real handwritten digits that come with scikit-learn.

    2,000 images of 32 x 32 pixels, 20 of each number from 00 to 99. Identity is the number, class its first digit,
    the mask the ink. Sixty numbers are trained on, twenty are for the threshold and twenty to be judged on: numbers
    never seen in training, written with digits (images) never seen in training either. Digits alone would make a
    poor open set: with ten of them, five to train on, nothing general about shapes can be learnt.
    """
    folder = written_once(cache / "digits-4", _write_digits)
    return replace(read_table(folder / "items.csv"), source="digits", split_kind="open-set")


def _write_digits(folder: Path) -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    generator = np.random.default_rng(0)
    # Which handwritten digits each split may use: no split sees another's.
    share = np.array(["train", "train", "train", "val", "test"])[np.arange(len(bunch.target)) % 5]
    lines = ["image,mask,label,identity,split"]
    for number in range(100):
        tens, units = divmod(number, 10)
        # Six numbers of every decade, and six with every second digit, are trained on; two are for each other split.
        split = ("train", "train", "train", "val", "test")[(units + 3 * tens) % 10 // 2]
        for copy in range(NUMBER_COPIES):
            pair = [
                bunch.images[generator.choice(np.flatnonzero((bunch.target == digit) & (share == split)))]
                for digit in (tens, units)
            ]
            image, ink = _as_photograph(pair, generator)
            name = f"{number:02d}/{copy:02d}.png"
            save_png(image, folder / "images" / name)
            save_png(ink, folder / "masks" / name)
            lines.append(f"images/{name},masks/{name},{tens},{number:02d},{split}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _as_photograph(pair: list[Array], generator: np.random.Generator) -> tuple[Array, Array]:
    """Two 8 x 8 digits of values 0 to 16 as a photographed number: 32 x 32 bytes, and where its ink is.

    Enlarged about twofold, side by side, shifted and turned a little, on paper that is lit from one side.
    """
    canvas = Image.new("F", (NUMBER_SIDE, NUMBER_SIDE))
    side = int(generator.integers(13, 16))
    left = int(generator.integers(0, NUMBER_SIDE - 2 * side + 1))
    top = int(generator.integers(3, NUMBER_SIDE - side - 3 + 1))
    for place, pixels in enumerate(pair):
        digit = Image.fromarray(np.asarray(pixels, dtype=np.float32) / 16)
        canvas.paste(digit.resize((side, side), Image.Resampling.BICUBIC), (left + place * side, top))
    ink = np.asarray(canvas.rotate(float(generator.uniform(-10, 10)), Image.Resampling.BICUBIC)).clip(0, 1)
    slope_y, slope_x = generator.uniform(-0.25, 0.25, 2)
    ramp = np.linspace(-0.5, 0.5, NUMBER_SIDE)
    paper = generator.uniform(0.6, 0.9) + slope_y * ramp[:, None] + slope_x * ramp[None, :]
    image = paper - ink * generator.uniform(0.4, 0.55) + generator.normal(0, 0.03, ink.shape)
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8), (ink > 0.4).astype(np.uint8)
