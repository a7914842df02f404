"""CUB-200-2011: birds of 200 species, the first 100 to train on and the others to be judged on."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, floor
from pathlib import Path

import polars as pl

from triune.data.items import ItemTable, from_frame
from triune.data.problems import DataError, Problem
from triune.data.reading import Reading
from triune.data.sources.published import Box, Layout, Line, Part, listed, whole, within
from triune.plurals import plural

TRAINED_CLASSES = 100
"""Classes 1 to 100 are trained on: the zero-shot split of Oh Song and others (CVPR 2016)."""

_ARCHIVE = ("CUB_200_2011.tgz", "CUB_200_2011.tar.gz", "CUB_200_2011.tar")

LAYOUT = Layout(
    "cub200",
    "CUB-200-2011 (Wah and others, 2011)",
    {
        "images": Part(("images.txt",), _ARCHIVE),
        "classes": Part(("image_class_labels.txt",), _ARCHIVE),
        "folder": Part(("images/",), _ARCHIVE),
        "masks": Part(("segmentations/",), ("segmentations.tgz", "segmentations.tar.gz"), needed=False),
    },
)


def cub200(root: Path, cache: Path, *, cropped: bool = False) -> ItemTable:
    """Caltech-UCSD Birds 200-2011: label and identity are the species, such as ``001.Black_footed_Albatross``.

    Classes 1 to 100 are ``train``, 101 to 200 ``test``. The mask is the bird, where the segmentations are there: what
    three of their five annotators or more took for it.

    Args:
        root: the folder with ``images.txt``, ``image_class_labels.txt`` and ``images`` (and ``segmentations``), one
            that holds it, or ``CUB_200_2011.tgz``.
        cache: where an archive is unpacked.
        cropped: whether the columns ``x_1``, ``y_1``, ``x_2``, ``y_2`` hold the published boxes; else whole images are
            meant, as most of the literature does.

    Raises:
        InputError: the files are not there, or are others.
    """
    layout = LAYOUT
    if cropped:
        layout = replace(LAYOUT, parts=LAYOUT.parts | {"boxes": Part(("bounding_boxes.txt",), _ARCHIVE)})
    paths = layout.found(root, cache)
    images = listed(paths["images"], 2)
    classes = _by_image(paths["classes"], listed(paths["classes"], 2), images)
    names = [line.words[1] for line in images]
    species = [name.partition("/")[0] for name in names]
    numbers = [whole(paths["classes"], line, 1) for line in classes]
    columns: dict[str, Sequence[str | None]] = {
        "image": [str(paths["folder"] / name) for name in names],
        "label": species,
        "identity": species,
        "split": ["train" if number <= TRAINED_CLASSES else "test" for number in numbers],
    }
    if "masks" in paths:
        masks = [paths["masks"] / Path(name).with_suffix(".png") for name in names]
        columns["mask"] = [str(path) if path.is_file() else None for path in masks]
    frame = pl.DataFrame(columns)
    if cropped:
        boxes = _by_image(paths["boxes"], listed(paths["boxes"], 5), images)
        corners = within([_corners(paths["boxes"], line) for line in boxes], [paths["folder"] / name for name in names])
        frame = frame.hstack(pl.DataFrame(corners, schema=["x_1", "y_1", "x_2", "y_2"], orient="row").get_columns())
    table = from_frame(frame, source="cub200-cropped" if cropped else "cub200")
    return replace(table, reading=Reading(mask_values=(0, 255)) if "masks" in paths else table.reading)


def _by_image(path: Path, lines: list[Line], images: list[Line]) -> list[Line]:
    """The line of each image, in the order of the images; both begin with an image's number.

    Raises:
        DataError: the two files do not list the same images, each once.
    """
    found, numbers = {line.words[0]: line for line in lines}, [line.words[0] for line in images]
    known = set(numbers)
    lost = [number for number in numbers if number not in found]
    unknown = [number for number in found if number not in known]
    twice = [line.words[0] for line in lines if found[line.words[0]] is not line]
    said = (
        (lost, f"it says nothing of {len(lost)} of the {len(images)} images of images.txt"),
        (unknown, f"it lists {len(unknown)} images that are not in images.txt"),
        (twice, f"it lists {plural(len(twice), 'image')} more than once"),
    )
    for some, problem in said:
        if some:
            shown = ", ".join(some[:5]) + (", …" if len(some) > 5 else "")
            raise DataError([Problem(str(path), None, None, f"{problem} ({shown})", "copy both files again")])
    return [found[number] for number in numbers]


def _corners(path: Path, line: Line) -> Box:
    """The box of a line ``image x y width height`` as whole pixels: its first column and row, and one past its last."""
    try:
        x, y, width, height = (float(word) for word in line.words[1:])
        left, top, right, bottom = max(floor(x), 0), max(floor(y), 0), ceil(x + width), ceil(y + height)
    except (ValueError, OverflowError):
        left = top = right = bottom = 0
    if not (left < right and top < bottom):
        problem = f"{' '.join(line.words[1:])} is no box x y width height"
        raise DataError([Problem(str(path), line.number, None, problem, "copy the file again")])
    return left, top, right, bottom
