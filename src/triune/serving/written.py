"""Predictions of new images as a table with their masks beside it, whole or not at all."""

import csv
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from triune.data.decode import IGNORE, decode_image
from triune.errors import InputError
from triune.files import filled_together
from triune.plurals import plural
from triune.serving.answers import TOP, ImagePrediction, Unreadable
from triune.serving.loaded import LoadedRun
from triune.serving.networks import BATCH, Progress, Tiles
from triune.serving.pictures import Given, Picture, check_names, pictures

Array: TypeAlias = np.ndarray[Any, Any]

COLOURS = np.array([[0, 0, 0], [230, 60, 20], [20, 120, 230], [30, 170, 80], [230, 170, 20], [150, 60, 200]], np.uint8)
"""Of mask ids 0, 1, 2, … in overlays; from the second on, they come around again."""


def write_predictions(
    run: LoadedRun,
    given: Given,
    output: Path,
    *,
    overlays: bool = False,
    tiles: Tiles | None = None,
    skip: bool = False,
    batch_size: int = BATCH,
    progress: Progress | None = None,
) -> tuple[Path, list[str], list[str]]:
    """Write ``predictions.csv``, and ``masks/`` and ``overlays/`` as far as there are any, into a new folder.

    Args:
        run: says what is on the images.
        given: any images.
        output: the new folder.
        overlays: whether the images with their masks laid over them are written, too.
        tiles: how large images are cut for their masks; not at all where not given.
        skip: whether an image that cannot be read is left out, and not an error.
        batch_size: how many go through the network at a time.
        progress: called with the numbers of images that are done and of all.

    Returns:
        The folder, the images that could not be read and were left out, and those that look like nothing that the
        network was validated on.

    Raises:
        InputError: an image cannot be read, the folder is there already, or the network says nothing of images.
    """
    if output.exists():
        raise InputError(f"{output} is there already: name a new folder with --output")
    images = pictures(given)
    check_names(images)
    if not run.classes and not run.network.card.masks:
        raise InputError(f"{run.name} has neither a class head nor a mask head: `triune embed` gives its embeddings")
    answers = run.predict_each(images, tiles=tiles, skip=skip, batch_size=batch_size, progress=progress)
    left_out: list[str] = []
    unlike: list[str] = []
    with filled_together(output) as (folder, move_into_place):
        with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["image", "height", "width", *_top_columns(), "mask", "mask_share", "unfamiliar"])
            for number, (picture, answer) in enumerate(zip(images, answers, strict=True), start=1):
                if isinstance(answer, Unreadable):
                    left_out.append(str(answer))
                    continue
                if answer.unfamiliar:
                    unlike.append(answer.name)
                name = f"{number:06d}-{Path(answer.name).stem}.png"
                place = _write_mask(folder, name, picture, answer, overlays)
                table.writerow([answer.name, *answer.size, *_top(answer), place, answer.mask_share, answer.unfamiliar])
        if len(left_out) == len(images):
            raise InputError(f"none of {plural(len(images), 'image')} could be read; the first is {left_out[0]}")
        move_into_place()
    return output, left_out, unlike


def _top_columns() -> list[str]:
    """``label`` and ``probability`` of the most likely class, then of the next ones."""
    ends = ["", *(f"_{place}" for place in range(2, TOP + 1))]
    return [f"{word}{end}" for end in ends for word in ("label", "probability")]


def _top(answer: ImagePrediction) -> list[Any]:
    cells = [cell for both in answer.top().items() for cell in both]
    return cells + [None] * (2 * TOP - len(cells))


def _write_mask(folder: Path, name: str, picture: Picture, answer: ImagePrediction, overlay: bool) -> str | None:
    """The path of the mask below the folder, or ``None`` where there is none."""
    if answer.mask is None:
        return None
    (folder / "masks").mkdir(exist_ok=True)
    Image.fromarray(answer.mask).save(folder / "masks" / name, compress_level=1)
    if overlay:
        (folder / "overlays").mkdir(exist_ok=True)
        Image.fromarray(_laid_over(picture, answer.mask)).save(folder / "overlays" / name, compress_level=1)
    return f"masks/{name}"


def _laid_over(picture: Picture, mask: Array) -> Array:
    """The image with half of each masked pixel's colour from its mask id; what was not seen is darker."""
    pixels = decode_image(picture.source, 3).pixels
    colours = COLOURS[np.where(mask == 0, 0, 1 + (mask.astype(int) - 1) % (len(COLOURS) - 1))]
    colours[mask == IGNORE] = 0
    half = (pixels.astype(np.uint16) + colours) // 2
    return np.where(mask[:, :, None] == 0, pixels, half).astype(np.uint8)
