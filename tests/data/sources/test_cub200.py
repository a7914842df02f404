"""CUB-200-2011 in the layout of its authors."""

import shutil

import numpy as np
import pytest

from data.sources.layouts import BIRDS, as_tar, cub200 as tree
from triune.data.checks import check_table
from triune.data.sources.cub200 import cub200
from triune.data.sources.named import load_source
from triune.errors import InputError


def test_the_first_hundred_species_are_trained_on_and_the_others_judged(tmp_path):
    tree(tmp_path)
    table = cub200(tmp_path, tmp_path / "cache")
    of_split = {split: set(table.part(split)["identity"]) for split in ("train", "test")}
    assert of_split == {
        "train": {BIRDS[1], BIRDS[2], BIRDS[50], BIRDS[51], BIRDS[100]},
        "test": {BIRDS[101], BIRDS[150], BIRDS[200]},
    }
    assert table.frame["label"].equals(table.frame["identity"].alias("label"))
    assert table.frame["image"][0].endswith("images/001.Black_footed_Albatross/Black_footed_Albatross_0001_1.jpg")
    assert not {"x_1", "x_2"} & set(table.frame.columns)
    assert check_table(table) == []


@pytest.mark.parametrize("given", ["root", "base", "archive", "folder of the archive"])
def test_the_root_may_be_any_folder_around_it_or_the_archive(tmp_path, given):
    base = tree(tmp_path / "data")
    expected = cub200(base, tmp_path / "cache").frame.drop("image")
    root = {"root": tmp_path / "data", "base": base}.get(given)
    if root is None:
        archive = as_tar(base, tmp_path / "CUB_200_2011.tgz")
        shutil.rmtree(base)
        root = archive if given == "archive" else tmp_path
    found = cub200(root, tmp_path / "cache")
    assert found.frame.drop("image").equals(expected)
    assert check_table(found) == []
    assert cub200(root, tmp_path / "cache").frame.equals(found.frame)  # unpacked once


def test_boxes_are_given_only_where_cropped_images_are_asked_for(tmp_path):
    tree(tmp_path)
    frame = load_source("cub200-cropped", root=tmp_path, cache=tmp_path / "c", split="given").frame
    # x 2, y 3, 10 wide, 6 high: columns 2 to 11 and rows 3 to 8.
    assert frame.select("x_1", "y_1", "x_2", "y_2").row(0) == (2, 3, 12, 9)
    assert check_table(load_source("cub200-cropped", root=tmp_path, cache=tmp_path / "c")) == []
    (tmp_path / "CUB_200_2011" / "bounding_boxes.txt").unlink()
    assert len(cub200(tmp_path, tmp_path / "c").frame) == 24
    with pytest.raises(InputError, match=r"holds no bounding_boxes\.txt"):
        load_source("cub200-cropped", root=tmp_path, cache=tmp_path / "c")


def test_masks_are_what_three_of_five_annotators_took_for_the_bird(tmp_path):
    tree(tmp_path, masks=True)
    table = cub200(tmp_path, tmp_path / "cache")
    assert table.frame["mask"].null_count() == 0
    ids = table.reading.ids(np.array([0, 51, 102, 153, 204, 255], np.uint8))
    assert ids.tolist() == [0, 0, 0, 1, 1, 1]
    assert check_table(table) == []


def test_a_validation_split_is_made_of_the_trained_species_alone(tmp_path):
    tree(tmp_path)
    table = load_source("cub200", root=tmp_path, cache=tmp_path / "cache", split="given")
    assert set(table.frame["split"]) == {"train", "test"}
    whole = load_source("cub200", root=tmp_path, cache=tmp_path / "cache")
    assert len(set(whole.part("val")["identity"])) == 2
    assert set(whole.part("test")["identity"]) == {BIRDS[101], BIRDS[150], BIRDS[200]}


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda base: (base / "images.txt").unlink(), r"holds no images\.txt \(nor the archive CUB_200_2011\.tgz"),
        (lambda base: shutil.rmtree(base / "images"), r"holds no images/ .*it holds CUB_200_2011/: --root names"),
        (lambda base: (base / "images.txt").write_text("1 a.jpg\n2\n"), r"images\.txt, row 2: it has 1 words, not 2"),
        (lambda base: (base / "images.txt").write_text(""), r"images\.txt lists nothing"),
        (lambda base: (base / "images.txt").write_bytes(b"\xff\xfe\n"), r"images\.txt is not UTF-8 text"),
        (
            lambda base: (base / "image_class_labels.txt").write_text("1 1\n"),
            r"image_class_labels\.txt: it says nothing of 23 of the 24 images of images\.txt \(2, 3, 4, 5, 6, …\)",
        ),
        (
            lambda base: (base / "image_class_labels.txt").write_text("".join(f"{i} x\n" for i in range(1, 25))),
            r"image_class_labels\.txt, row 1: 'x' is no whole number",
        ),
    ],
)
def test_another_layout_is_one_line_that_says_what_is_expected(tmp_path, break_it, said):
    break_it(tree(tmp_path))
    with pytest.raises(InputError, match=said) as caught:
        cub200(tmp_path, tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_a_box_that_is_none_is_named(tmp_path):
    base = tree(tmp_path)
    lines = (base / "bounding_boxes.txt").read_text().splitlines()
    for wrong in ("2 1.0 1.0 0.0 5.0", "2 1.0 nan 3.0 5.0", "2 a b c d", "2 1.0 1.0 inf 5.0"):
        (base / "bounding_boxes.txt").write_text("\n".join([lines[0], wrong, *lines[2:]]))
        with pytest.raises(InputError, match=r"bounding_boxes\.txt, row 2: .* is no box x y width height"):
            cub200(tmp_path, tmp_path / "cache", cropped=True)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("25 7\n26 7\n", r"it lists 2 images that are not in images\.txt \(25, 26\); copy both files again"),
        ("3 7\n", r"it lists 1 image more than once \(3\)"),
    ],
)
def test_lists_that_do_not_belong_together_are_told(tmp_path, more, said):
    path = tree(tmp_path) / "image_class_labels.txt"
    path.write_text(path.read_text() + more)
    with pytest.raises(InputError, match=rf"image_class_labels\.txt: {said}"):
        cub200(tmp_path, tmp_path / "cache")
