"""Cars-196 in both of its published layouts."""

import shutil

import numpy as np
import pytest
from scipy.io import savemat

from data.sources.layouts import CARS, as_tar, cars196 as tree, cars196_devkit as devkit
from triune.data.checks import check_table
from triune.data.sources.cars196 import cars196
from triune.errors import InputError


def splits_of(table):
    return {split: set(table.part(split)["identity"]) for split in ("train", "test")}


SPLIT = {"train": {CARS[0], CARS[97]}, "test": {CARS[98], CARS[195]}}


@pytest.mark.parametrize("packed", [False, True])
def test_the_first_98_models_are_trained_on(tmp_path, packed):
    tree(tmp_path)
    if packed:
        as_tar(tmp_path / "car_ims", tmp_path / "car_ims.tgz")
        shutil.rmtree(tmp_path / "car_ims")
    table = cars196(tmp_path, tmp_path / "cache")
    assert splits_of(table) == SPLIT
    assert table.frame["label"].to_list() == table.frame["identity"].to_list()
    assert table.frame["image"][7].endswith("car_ims/000008.jpg")
    assert "x_1" not in table.frame.columns
    assert check_table(table) == []


def test_the_development_kit_gives_the_zero_shot_split_too(tmp_path):
    devkit(tmp_path)
    table = cars196(tmp_path, tmp_path / "cache")
    assert splits_of(table) == SPLIT
    assert len(table.frame) == 16
    folders = table.frame["image"].str.extract(r"(cars_\w+)/")
    assert set(folders.filter(table.frame["split"] == "train")) == {"cars_train", "cars_test"}
    assert check_table(table) == []


@pytest.mark.parametrize("made", [tree, devkit])
def test_boxes_count_from_nought_and_end_behind_the_last_pixel(tmp_path, made):
    made(tmp_path)
    frame = cars196(tmp_path, tmp_path / "cache", cropped=True).frame
    assert {tuple(map(int, row)) for row in frame.select("x_1", "y_1", "x_2", "y_2").rows()} == {(1, 0, 8, 7)}


def test_another_layout_is_told_in_one_line(tmp_path):
    (tmp_path / "readme.txt").write_text("cars")
    with pytest.raises(
        InputError, match=r"no cars_annos\.mat, .*it holds readme\.txt.*with the development kit: cars_train_annos"
    ) as e:
        cars196(tmp_path, tmp_path / "cache")
    assert "\n" not in str(e.value)


def test_a_development_kit_without_the_labels_of_its_test_says_so(tmp_path):
    devkit(tmp_path)
    (tmp_path / "devkit" / "cars_test_annos_withlabels.mat").unlink()
    with pytest.raises(InputError, match=r"holds no cars_test_annos_withlabels\.mat, but it holds cars_test/"):
        cars196(tmp_path, tmp_path / "cache")


def test_files_of_matlab_that_are_none_or_hold_something_else_are_named(tmp_path):
    tree(tmp_path)
    path = tmp_path / "cars_annos.mat"
    whole = path.read_bytes()
    for content in (b"", b"no matlab", whole[:200], whole[:-40]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"cars_annos\.mat"):
            cars196(tmp_path, tmp_path / "cache")
    savemat(path, {"other": np.zeros(3)})
    with pytest.raises(InputError, match=r"cars_annos\.mat holds no annotations"):
        cars196(tmp_path, tmp_path / "cache")
    savemat(path, {"annotations": np.zeros(3), "class_names": np.array([CARS], dtype=object)})
    with pytest.raises(InputError, match=r"has no field relative_im_path"):
        cars196(tmp_path, tmp_path / "cache")


def test_a_class_without_a_name_is_told(tmp_path):
    tree(tmp_path)
    from scipy.io import loadmat

    content = loadmat(tmp_path / "cars_annos.mat")
    savemat(
        tmp_path / "cars_annos.mat",
        {k: content[k] for k in ("annotations",)} | {"class_names": np.array([CARS[:99]], dtype=object)},
    )
    with pytest.raises(InputError, match=r"000007\.jpg is of class 196, but there are 99 names"):
        cars196(tmp_path, tmp_path / "cache")
