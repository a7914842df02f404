"""The check of a table: every problem in one list, and only those of what is trained on."""

import numpy as np
import pytest
from PIL import Image

from conftest import shared_data
from made_items import csv, is_open_set, write_image, write_mask
from triune.data.checks import check_table
from triune.data.decode import read_mask
from triune.data.items import read_table


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
    assert "train, val, test" in said[4]
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
    assert problem.remedy == "write the foreground as 1"
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
