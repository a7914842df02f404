"""The check of a table: every problem in one list, and only those of what is trained on."""

import os
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conftest import shared_data
from made_items import csv, is_open_set, write_image, write_mask
from triune.data.checks import check_table, examine
from triune.data.decode import read_mask
from triune.data.items import read_table
from triune.data.reading import Reading


@pytest.fixture
def broken(tmp_path):
    """A table with each of the five classic mistakes, one a row, and its sound rows."""
    lines = ["image,mask,label,identity,split,is_query"]
    for identity in ("tom", "rex", "kim", "ada"):
        for number in range(2):
            name = f"{identity}{number}"
            write_image(tmp_path / f"{name}.png")
            write_mask(tmp_path / "masks" / f"{name}.png")
            split = {"tom": "train", "rex": "train", "kim": "val", "ada": "test"}[identity]
            lines.append(f"{name}.png,masks/{name}.png,pet,{identity},{split},")
    write_image(tmp_path / "whole.jpg", (64, 64))
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-400])
    write_image(tmp_path / "small.png")
    write_mask(tmp_path / "masks" / "large.png", (13, 10))
    write_image(tmp_path / "lonely.png")
    write_image(tmp_path / "odd.png")
    lines += [
        "gone.png,,pet,tom,train,",
        "cut.jpg,,pet,tom,train,",
        "small.png,masks/large.png,pet,tom,train,",
        "lonely.png,,pet,eva,train,",
        "odd.png,,pet,tom,foo,maybe",
    ]
    return csv(tmp_path, "\n".join(lines) + "\n")


def test_every_problem_is_listed_at_once_with_row_column_and_remedy(broken):
    problems = check_table(read_table(broken))
    assert [(p.row, p.column) for p in problems] == [
        (10, "image"),
        (11, "image"),
        (12, "mask"),
        (13, "identity"),
        (14, "split"),
        (14, "is_query"),
    ]
    said = [str(p) for p in problems]
    for line, words in zip(said, ["gone.png does not exist", "cut.jpg cannot be read", "13 x 10", "'eva'", "'foo'"]):
        assert line.startswith(f"{broken}, row ")
        assert words in line
    assert "12 x 10" in said[2]
    assert "no positive pair" in said[3]
    assert "train, val, calibration, test" in said[4]
    assert "true or false" in said[5]
    assert all(p.remedy for p in problems)


def test_what_is_not_trained_on_is_not_asked_for(broken):
    problems = check_table(read_table(broken), masks=False, identities=False)
    assert {p.column for p in problems} == {"image", "split", "is_query"}


def test_masks_that_are_not_looked_at_are_not_opened(tmp_path):
    write_image(tmp_path / "a.png")
    table = read_table(csv(tmp_path, "image,mask,label\na.png,none.png,x\n"))
    assert check_table(table, masks=False, identities=False) == []
    assert {problem.column for problem in check_table(table, identities=False)} == {"mask"}


def test_a_sound_table_has_no_problems_and_progress_is_told(tmp_path):
    lines = ["image,mask,label"]
    for number in range(4):
        write_image(tmp_path / f"{number}.jpg")
        write_mask(tmp_path / f"{number}.png", ids=(0, 1, 2, 255))
        lines.append(f"{number}.jpg,{number}.png,{number % 2}")
    table = read_table(csv(tmp_path, "\n".join(lines)))
    told = []
    assert check_table(table, mask_ids=3, progress=lambda done, total: told.append((done, total))) == []
    assert told[-1] == (4, 4)
    assert [(p.row, p.column) for p in check_table(table, mask_ids=2)] == [(row, "mask") for row in (2, 3, 4, 5)]


def test_mask_ids_beyond_the_expected_are_found_and_255_is_never_one(tmp_path):
    write_image(tmp_path / "a.png")
    write_mask(tmp_path / "m.png", ids=(0, 1, 3, 255))
    table = read_table(csv(tmp_path, "image,mask\na.png,m.png\n"))
    assert check_table(table, mask_ids=4) == []
    (problem,) = check_table(table, mask_ids=3)
    assert "the id 3, but ids go from 0 to 2" in problem.problem


def test_masks_of_nothing_but_0_and_255_are_told_to_have_no_foreground(tmp_path):
    for name in "ab":
        write_image(tmp_path / f"{name}.png")
        write_mask(tmp_path / f"{name}-mask.png", ids=(0, 255))
    path = csv(tmp_path, "image,mask\na.png,a-mask.png\nb.png,b-mask.png\n")
    (problem,) = check_table(read_table(path))
    assert "255 means ignore" in problem.problem
    assert problem.remedy == "write the foreground as 1, or say --images.mask_values [0,255]"
    write_mask(tmp_path / "b-mask.png", ids=(0, 1))
    assert check_table(read_table(path)) == []


def test_masks_that_are_no_masks_are_found(tmp_path):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png", value=3)
    (tmp_path / "text.png").write_text("no picture")
    write_image(tmp_path / "colour.png", value=5)
    problems = check_table(read_table(csv(tmp_path, "image,mask\na.png,text.png\nb.png,colour.png\n")))
    assert [(p.row, p.column) for p in problems] == [(2, "mask"), (3, "mask")]
    assert "colour picture" in problems[1].problem


def test_an_image_listed_twice_is_found(tmp_path):
    write_image(tmp_path / "a.png")
    problems = check_table(read_table(csv(tmp_path, "image,label\na.png,x\n./a.png,x\n")))
    assert [(p.row, p.column) for p in problems] == [(3, "image")]
    assert "row 2" in problems[0].problem


def test_empty_images_and_half_empty_splits_are_found(tmp_path):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png", value=2)
    problems = check_table(read_table(csv(tmp_path, "image,label,split\na.png,x,train\n,x,train\nb.png,x,\n")))
    assert [(p.row, p.column) for p in problems] == [(3, "image"), (4, "split")]


def test_a_truncated_file_is_found_in_every_format(tmp_path):
    lines = ["image"]
    for suffix in ("jpg", "png", "bmp", "tif", "webp", "gif"):
        write_image(tmp_path / f"whole.{suffix}", (64, 48))
        content = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(content[: len(content) * 2 // 3])
        lines += [f"whole.{suffix}", f"cut.{suffix}"]
    problems = check_table(read_table(csv(tmp_path, "\n".join(lines))))
    assert [p.row for p in problems] == [3, 5, 7, 9, 11, 13]


def test_a_turned_photograph_is_compared_with_its_mask_as_it_is_seen(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "turned.jpg", exif=exif)
    write_mask(tmp_path / "upright.png", (10, 20))
    assert check_table(read_table(csv(tmp_path, "image,mask\nturned.jpg,upright.png\n"))) == []


def test_eth80_is_sound():
    table = read_table(shared_data("eth80") / "items.csv")
    assert len(table.frame) == 2624
    assert check_table(table, mask_ids=2) == []
    assert {i for path in table.frame["mask"][::100] for i in np.unique(read_mask(path))} == {0, 1}
    assert is_open_set(table)
    assert {s: len(table.part(s)) for s in ("train", "val", "test")} == {"train": 1640, "val": 328, "test": 656}


def masked_table(folder, pixels, suffix=".png", splits=None):
    """A table of images with one mask each, whose pixels are given."""
    lines = ["image,mask,split"]
    for place, each in enumerate(pixels):
        size = (each.shape[1], each.shape[0])
        write_image(folder / f"{place}.png", size, value=place)
        Image.fromarray(each).save(folder / f"{place}-mask{suffix}")
        lines.append(f"{place}.png,{place}-mask{suffix},{splits[place] if splits else 'train'}")
    return read_table(csv(folder, "\n".join(lines)))


SHAPE = np.zeros((16, 20), np.uint8)
SHAPE[3:9, 4:15] = 1


@pytest.mark.parametrize(("low", "high"), [(0, 200), (0, 128), (1, 2), (10, 254), (0, 65535)])
def test_two_values_are_background_and_foreground_whatever_they_are(tmp_path, low, high):
    kind = np.uint8 if high < 256 else np.uint16
    pixels = np.where(SHAPE == 1, high, low).astype(kind)
    found = examine(masked_table(tmp_path, [pixels, pixels.T.copy()]))
    assert found.problems == []
    assert found.reading.mask_values == (low, high)
    assert found.notes == (f"{tmp_path / 'items.csv'}: {low} in the masks is background and {high} foreground",)
    assert (read_mask(tmp_path / "0-mask.png", reading=found.reading) == SHAPE).all()


def test_pixels_that_are_ids_stay_ids(tmp_path):
    for ids in ([0, 1], [0, 1, 255], [0, 1, 2, 5], [1, 2, 3]):
        pixels = np.resize(np.array(ids, np.uint8), (16, 20))
        found = examine(masked_table(tmp_path, [pixels]))
        assert (found.problems, found.reading, found.notes) == ([], Reading(), ())


JPEG_SAYS = "compression or smoothing has changed the others"


@pytest.mark.parametrize(
    ("name", "suffix", "said", "remedy"),
    [
        ("jpeg", ".jpg", JPEG_SAYS, "--images.mask_values [0,255]"),
        ("smooth", ".png", JPEG_SAYS, "--images.mask_values [0,255]"),
        ("sparse", ".png", "hold 4 values up to 150: [0,50,100,150]", "--images.mask_values [0,50,100,150]"),
        ("deep", ".png", "hold 3 values up to 40000", "--images.mask_values [0,300,40000]"),
        ("empty", ".png", "every pixel of every mask is 0 (the background)", "--beta 0"),
        ("full", ".png", "every pixel of every mask is 1", "--beta 0"),
        ("ignored", ".png", "every pixel of every mask is 255 (ignore)", "--beta 0"),
        ("one and ignored", ".png", "nothing but 1 and 255", "--images.mask_values [1,255]"),
    ],
)
def test_masks_whose_values_say_nothing_are_told_with_the_way_out(tmp_path, name, suffix, said, remedy):
    smooth = np.asarray(Image.fromarray(SHAPE * 255).resize((200, 160), Image.Resampling.BICUBIC))
    pixels = {
        "jpeg": SHAPE.repeat(4, 0).repeat(4, 1) * 255,
        "smooth": smooth,
        "sparse": np.resize(np.array([0, 50, 100, 150], np.uint8), (16, 20)),
        "deep": np.resize(np.array([0, 300, 40000], np.uint16), (16, 20)),
        "empty": SHAPE * 0,
        "full": SHAPE * 0 + 1,
        "ignored": SHAPE * 0 + 255,
        "one and ignored": np.where(SHAPE == 1, 255, 1).astype(np.uint8),
    }[name]
    table = masked_table(tmp_path, [pixels], suffix)
    (problem,) = check_table(table)
    assert said in problem.problem
    assert remedy in problem.remedy
    if "mask_values" in remedy:  # the way out is one
        values = tuple(map(int, remedy.split("[")[1].strip("]").split(",")))
        found = examine(replace(table, reading=Reading(mask_values=values)))
        assert found.problems == []
        ids = read_mask(table.frame["mask"][0], reading=found.reading)
        assert set(np.unique(ids)) == set(range(len(values)))
        if name == "jpeg":
            assert (ids == SHAPE.repeat(4, 0).repeat(4, 1)).all()


def test_ids_are_taken_as_they_are_where_their_number_is_given(tmp_path):
    table = masked_table(tmp_path, [np.resize(np.array([0, 50, 100, 150], np.uint8), (16, 20))])
    assert check_table(table, mask_ids=151) == []
    assert "id 150, but ids go from 0 to 149" in check_table(table, mask_ids=150)[0].problem
    two = masked_table(tmp_path, [SHAPE * 200])
    assert examine(two, mask_ids=2).reading.mask_values == (0, 200)
    assert "id 200, but ids go from 0 to 1" in examine(two, mask_ids=2, choose=False).problems[0].problem


def test_a_shape_in_the_alpha_channel_is_told(tmp_path):
    hidden = np.dstack([SHAPE * 0] * 3 + [SHAPE * 255])
    (problem,) = check_table(masked_table(tmp_path, [hidden]))
    assert "its shape lies in the alpha channel" in problem.problem
    visible = np.dstack([SHAPE] * 3 + [SHAPE * 0 + 255])
    assert check_table(masked_table(tmp_path, [visible])) == []


@pytest.mark.parametrize("split", ["val", "test", "holdout"])
def test_an_id_that_no_training_mask_holds_is_found_before_training(tmp_path, split):
    ids = [np.resize(np.array(each, np.uint8), (16, 20)) for each in ([0, 1, 2], [0, 1, 2], [0, 1, 2, 3])]
    (problem,) = check_table(masked_table(tmp_path, ids, splits=["train", split, split]))
    assert (problem.row, problem.column) == (4, "mask")
    assert "the id 3, but ids go from 0 to 2, as those of the training images do" in problem.problem
    assert "--model.mask_channels 4" in problem.remedy
    assert check_table(masked_table(tmp_path, ids, splits=["train", split, split]), mask_ids=4) == []
    assert check_table(masked_table(tmp_path, ids, splits=[split, split, "train"])) == []


def test_a_value_that_is_not_among_those_given_is_found(tmp_path):
    table = masked_table(tmp_path, [np.resize(np.array([0, 50, 60], np.uint8), (16, 20))])
    (problem,) = check_table(replace(table, reading=Reading(mask_values=(0, 50, 100))))
    assert "it holds 60, which is none of the mask values [0,50,100]" in problem.problem


@pytest.mark.parametrize(("largest", "bits"), [(255, 8), (1000, 10), (4095, 12), (4096, 14), (65535, 16)])
def test_the_depth_in_use_is_chosen_once_for_all_images(tmp_path, largest, bits):
    for place, top in enumerate((largest, largest // 8)):
        ramp = np.linspace(0, top, 256).round().astype(np.uint16)
        Image.fromarray(np.tile(ramp, (4, 1))).save(tmp_path / f"{place}.png")
    table = read_table(csv(tmp_path, "image\n0.png\n1.png\n"))
    found = examine(table)
    assert found.problems == []
    assert found.reading.bits == bits
    assert f"2 images have more than 8 bits a channel; {bits} bits are in use" in found.notes[0]
    trained = replace(table, reading=Reading(16))
    assert examine(trained).reading.bits == 16


def test_deep_pixels_that_would_be_lost_are_told(tmp_path):
    Image.fromarray(np.array([[-1000, 0], [5, 3000]], np.int32)).save(tmp_path / "scan.tif")
    (problem,) = check_table(read_table(csv(tmp_path, "image\nscan.tif\n")))
    assert "its pixels go down to -1000" in problem.problem
    for bits, told in ((12, True), (16, False)):
        write_deep_colour(tmp_path / "colour.png", (1 << bits) - 1)
        problems = check_table(read_table(csv(tmp_path, "image\ncolour.png\n")))
        assert [f"use {bits} of them at most" in each.problem for each in problems] == [True] * told


def write_deep_colour(path, value):
    """A PNG of 2 x 1 pixels with 16 bits a channel, which Pillow itself cannot write."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    row = b"\0" + struct.pack(">6H", 0, 0, 0, value, value, value)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(row)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks))


@pytest.mark.parametrize("twin", ["An\u200bna", "A\u00adnna"])
def test_names_that_look_the_same_are_found(tmp_path, twin):
    for name in "abcd":
        write_image(tmp_path / f"{name}.png", value=ord(name))
    table = read_table(csv(tmp_path, f"image,label\na.png,Anna\nb.png,Anna\nc.png,{twin}\nd.png,{twin}\n"))
    (problem,) = check_table(table)
    assert (problem.row, problem.column) == (4, "label")
    assert "look the same, but are two names" in problem.problem


@pytest.mark.parametrize("column", ["image", "mask"])
def test_a_pipe_a_folder_or_a_device_is_no_file_and_keeps_nobody_waiting(tmp_path, column):
    write_image(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "folder.png", "/dev/zero"):
        row = f"{name}," if column == "image" else f"a.png,{name}"
        problems = check_table(read_table(csv(tmp_path, f"image,mask\n{row}\n")))
        assert [(each.row, each.column) for each in problems] == [(2, column)]
        assert "it is a folder" in problems[0].problem or "it is a pipe or a device" in problems[0].problem


def boxed(folder, *rows, columns="image,mask,label,x_1,y_1,x_2,y_2"):
    write_image(folder / "a.png", (12, 10))
    write_mask(folder / "m.png", (12, 10), ids=(0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0))
    return read_table(csv(folder, "\n".join([columns, *rows]) + "\n"))


def test_a_box_must_lie_within_its_image_and_says_row_column_and_both_sizes(tmp_path):
    rows = ["a.png,,x,0,0,12,10", "a.png,,x,3,2,13,9", "a.png,,x,3,2,12,11", "a.png,,x,,,,", "a.png,,x,20,20,30,30"]
    problems = check_table(boxed(tmp_path, *rows), masks=False, identities=False)
    assert [(p.row, p.column) for p in problems] == [(3, "x_2"), (4, "y_2"), (6, "x_2")]
    assert "the box reaches to 13, but the image is 12 x 10 pixels" in str(problems[0])
    assert all(p.remedy for p in problems)


def test_empty_boxes_are_listed_with_everything_else_that_is_wrong(tmp_path):
    problems = check_table(boxed(tmp_path, "a.png,,x,5,0,5,10", "b.png,,x,1,1,2,2"), masks=False, identities=False)
    assert [(p.row, p.column) for p in problems] == [(2, "x_2"), (3, "image")]


def test_two_boxes_of_one_image_are_two_items_and_the_same_box_is_one(tmp_path):
    rows = ["a.png,,x,0,0,5,5", "a.png,,x,5,0,10,5", "a.png,,x,,,,", "a.png,,x,5,0,10,5"]
    (problem,) = check_table(boxed(tmp_path, *rows), masks=False, identities=False)
    assert (problem.row, problem.column) == (5, "image")
    assert "with the same box, also that of row 3" in problem.problem


def test_only_the_mask_within_the_box_is_looked_at(tmp_path):
    """Every row of the mask is 0 1 2 3 0 0 …: the columns from 4 on are background."""
    seen = boxed(tmp_path, "a.png,m.png,x,0,0,4,10", "a.png,m.png,x,0,0,3,10", "a.png,m.png,x,4,0,12,10")
    assert [p.row for p in check_table(seen, mask_ids=3, identities=False)] == [2]
