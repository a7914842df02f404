"""Whatever people give as images becomes a list of them, in order; what is none is named."""

import numpy as np
import pytest
import torch
from PIL import Image

from made_items import csv, picture, write_image
from triune.data.boxes import Box
from triune.errors import InputError
from triune.serving.pictures import pictures


def sources(given):
    return [each.source for each in pictures(given)]


def pixels(given):
    return [np.asarray(each.source) for each in pictures(given)]


def test_files_folders_patterns_and_tables_give_their_paths_in_order(tmp_path, monkeypatch):
    for name in ("b/2.png", "b/1.jpg", "a/3.png", "a/deep/4.png"):
        write_image(tmp_path / "photos" / name)
    (tmp_path / "photos" / "a" / "notes.txt").write_text("no image")
    folder = tmp_path / "photos"
    below = [str(folder / name) for name in ("a/3.png", "a/deep/4.png", "b/1.jpg", "b/2.png")]
    assert sources(folder) == sources(str(folder)) == below
    assert [each.name for each in pictures(folder)] == below
    assert sources(folder / "b" / "2.png") == below[3:]
    assert sources(str(folder / "*" / "*.png")) == [below[0], below[3]]
    assert sources(str(folder / "**" / "*.png")) == [below[0], below[1], below[3]]
    table = csv(tmp_path, "image,label\nphotos/b/2.png,x\nphotos/a/3.png,y\n")
    assert sources(table) == [below[3], below[0]]
    assert sources([str(folder / "b"), table, folder / "a" / "3.png"]) == [
        below[2],
        below[3],
        below[3],
        below[0],
        below[0],
    ]
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "odd [1].png")
    assert sources("odd [1].png") == ["odd [1].png"]  # a path is a path first


def test_images_in_memory_keep_their_pixels_and_are_numbered_among_all():
    g = np.random.default_rng(0)
    colours = g.integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    assert [each.name for each in pictures(colours)] == ["image 0", "image 1"]
    for form in (
        colours,
        list(colours),
        torch.from_numpy(colours).permute(0, 3, 1, 2),
        colours / 255,
        colours[:, ::-1][:, ::-1],
    ):
        np.testing.assert_array_equal(pixels(form), colours)
    np.testing.assert_array_equal(pixels(torch.from_numpy(colours[0]).permute(2, 0, 1).half() / 255), colours[:1])
    grey = colours[0, :, :, :1]
    for form in (grey, grey[:, :, 0]):
        np.testing.assert_array_equal(pixels(form), [grey[:, :, 0]])
    np.testing.assert_array_equal(pixels(grey[:, :, 0] > 100)[0], (grey[:, :, 0] > 100) * 255)
    image = Image.fromarray(colours[1])
    assert sources([image, [image]]) == [image, image]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "NoneType is no image: give a path"),
        ([], "no images were given"),
        (3, "int is no image"),
        ("none.jpg", "none.jpg does not exist"),
        ("", "the path of an image is empty"),
        (["none.jpg", ""][1:], "the path of an image is empty"),
        ("no*e.jpg", "matches no file"),
        (np.zeros((2, 3, 5), np.uint8), r"shape \(2, 3, 5\).* is no image"),
        (np.zeros((0, 3, 3), np.uint8), "is no image"),
        (np.zeros((3, 3), np.int64), "uint8, or floats in"),
        (np.full((3, 3), 1.5), "outside of"),
        (np.full((3, 3), np.nan), "outside of"),
        (torch.zeros(3), r"tensor of shape \(3,\) is no image"),
        (["none.jpg", np.zeros((3, 3))], "none.jpg"),
    ],
)
def test_what_is_no_image_is_told_in_a_line(given, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said) as refused:
        pictures(given)
    assert "\n" not in str(refused.value)


def test_an_empty_folder_and_a_table_with_problems_are_told(tmp_path):
    with pytest.raises(InputError, match="holds no images"):
        pictures(tmp_path)
    with pytest.raises(InputError, match="row 3, column image"):
        pictures(csv(tmp_path, "image,label\na.png,x\n,y\n"))


def test_a_table_with_boxes_says_which_part_of_an_image_is_meant(tmp_path):
    (tmp_path / "t.csv").write_text("image,x_1,x_2,y_1,y_2\na.png,3,9,4,10\nb.png,,,,\n")
    first, second = pictures(tmp_path / "t.csv")
    assert (first.box, second.box) == (Box(left=3, top=4, right=9, bottom=10), None)
    (tmp_path / "t.csv").write_text("image,x_1,x_2,y_1,y_2\na.png,3,3,4,10\n")
    with pytest.raises(InputError, match="row 2, column x_2: the box is empty"):
        pictures(tmp_path / "t.csv")
