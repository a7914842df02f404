"""Cars-196: photographs of 196 models of cars, the first 98 to train on and the others to be judged on."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from triune.data.items import ItemTable, from_frame
from triune.data.sources.published import Box, Layout, Part, within
from triune.errors import InputError
from triune.files import on_one_line

TRAINED_CLASSES = 98
"""Classes 1 to 98 are trained on: the zero-shot split of Oh Song and others (CVPR 2016)."""

_TITLE = "Cars-196 (Krause and others, 2013)"

WHOLE = Layout(
    "cars196",
    _TITLE,
    {
        "annotations": Part(("cars_annos.mat",)),
        "folder": Part(("car_ims/",), ("car_ims.tgz", "car_ims.tar.gz")),
    },
)
"""All images in one folder, numbered through."""

DEVKIT = Layout(
    "cars196",
    _TITLE,
    {
        "train": Part(("cars_train_annos.mat", "devkit/cars_train_annos.mat"), ("car_devkit.tgz",)),
        "test": Part(("cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat")),
        "names": Part(("cars_meta.mat", "devkit/cars_meta.mat"), ("car_devkit.tgz",)),
        "train folder": Part(("cars_train/",), ("cars_train.tgz",)),
        "test folder": Part(("cars_test/",), ("cars_test.tgz",)),
    },
)
"""Images in the two folders of the classification task, whose division the zero-shot split does not follow."""


class _Car(NamedTuple):
    """An image, its class from 1, and its box: the first column and row, and one past the last."""

    image: Path
    number: int
    box: Box


def cars196(root: Path, cache: Path, *, cropped: bool = False) -> ItemTable:
    """Stanford's cars: label and identity are make, model and year, such as ``AM General Hummer SUV 2000``.

    Classes 1 to 98 are ``train``, 99 to 196 ``test``, whatever the division of the classification task was.

    Args:
        root: the folder with ``cars_annos.mat`` and ``car_ims`` (or ``car_ims.tgz``); or with the development kit's
            ``cars_train_annos.mat``, ``cars_test_annos_withlabels.mat``, ``cars_meta.mat``, ``cars_train`` and
            ``cars_test``.
        cache: where archives are unpacked.
        cropped: whether the columns ``x_1``, ``y_1``, ``x_2``, ``y_2`` hold the published boxes; else whole images are
            meant, as most of the literature does.

    Raises:
        InputError: the files are not there, or are others.
    """
    cars, names = _read(root, cache)
    strange = next((car for car in cars if not 1 <= car.number <= len(names)), None)
    if strange is not None:
        raise InputError(f"{root}: {strange.image.name} is of class {strange.number}, but there are {len(names)} names")
    labels = [names[car.number - 1] for car in cars]
    frame = pl.DataFrame(
        {
            "image": [str(car.image) for car in cars],
            "label": labels,
            "identity": labels,
            "split": ["train" if car.number <= TRAINED_CLASSES else "test" for car in cars],
        }
    )
    if cropped:
        cut = within([car.box for car in cars], [car.image for car in cars])
        boxes = pl.DataFrame(cut, schema=["x_1", "y_1", "x_2", "y_2"], orient="row")
        frame = frame.hstack(boxes.get_columns())
    return from_frame(frame, source="cars196-cropped" if cropped else "cars196")


def _read(root: Path, cache: Path) -> tuple[list[_Car], list[str]]:
    """Every image of either layout, and the names of the classes."""
    try:
        paths = WHOLE.found(root, cache)
    except InputError as error:
        paths = _found_devkit(root, cache, error)
        cars = [car for part in ("train", "test") for car in _cars(paths[part], paths[f"{part} folder"], "fname")]
        return cars, _names(paths["names"])
    # The paths of the list begin with the folder's name.
    return _cars(paths["annotations"], paths["folder"].parent, "relative_im_path"), _names(paths["annotations"])


def _found_devkit(root: Path, cache: Path, otherwise: InputError) -> dict[str, Path]:
    """The parts of the development kit; where nothing of it is there, what is said of the other layout counts."""
    try:
        replace(DEVKIT, parts={"train": DEVKIT.parts["train"]}).found(root, cache)
    except InputError as error:
        names = ", ".join(part.names[0] for part in DEVKIT.parts.values())
        raise InputError(f"{otherwise}; or with the development kit: {names}") from error
    return DEVKIT.found(root, cache)


def _cars(path: Path, folder: Path, field: str) -> list[_Car]:
    rows = np.atleast_1d(_content(path, "annotations"))
    needed = (field, "class", *(f"bbox_{corner}" for corner in ("x1", "y1", "x2", "y2")))
    lacking = [name for name in needed if name not in (rows.dtype.names or ())]
    if lacking:
        raise InputError(f"{path} has no field {lacking[0]} of its annotations: copy or download it again")
    cars = []
    for number, row in enumerate(rows, start=1):
        try:
            left, top, right, bottom, of_class = (int(row[name]) for name in (*needed[2:], "class"))
            image = folder / str(row[field])
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}, annotation {number}: {on_one_line(str(error))}: download it again") from error
        # Pixels are counted from 1, and the last one belongs to the box.
        cars.append(_Car(image, of_class, (max(left - 1, 0), max(top - 1, 0), right, bottom)))
    return cars


def _names(path: Path) -> list[str]:
    return [str(name) for name in np.atleast_1d(_content(path, "class_names"))]


def _content(path: Path, name: str) -> Any:
    """A variable of a file of Matlab's."""
    from scipy.io import loadmat

    try:
        content = loadmat(str(path), squeeze_me=True)
    except OSError as error:
        if error.errno is not None:
            raise
        raise InputError(f"{path} is no file of Matlab's: copy or download it again") from error
    except Exception as error:  # a damaged file raises whatever the reader trips over: a dozen kinds
        reason = on_one_line(str(error)) or type(error).__name__
        raise InputError(f"{path} is no file of Matlab's ({reason}): copy or download it again") from error
    if name not in content:
        raise InputError(f"{path} holds no {name}: copy or download it again")
    return content[name]
