"""Folders of images by class."""

import pytest

from conftest import shared_data
from made_items import is_open_set, mask, picture
from triune.data.checks import check_table
from triune.data.sources.folder import image_folder
from triune.data.sources.named import load_source
from triune.errors import InputError


def test_a_folder_by_class_with_masks_beside_it(tmp_path):
    for number in range(3):
        for name in ("cat", "dog"):
            picture(tmp_path / name / f"{number}.jpg", number)
        mask(tmp_path / "masks" / "cat" / f"{number}.png")
    picture(tmp_path / "cat" / ".hidden.jpg")
    table = image_folder(tmp_path)
    assert table.frame.select("label", "identity").rows() == [("cat", "cat")] * 3 + [("dog", "dog")] * 3
    assert table.frame["mask"].to_list()[:3] == [str(tmp_path / "masks" / "cat" / f"{n}.png") for n in range(3)]
    assert table.frame["mask"].to_list()[3:] == [None] * 3
    assert not table.has_split


def test_a_folder_by_split_class_and_identity(tmp_path):
    for split, people in {"train": "abcd", "valid": "ef", "test": "gh"}.items():
        for person in people:
            for number in range(2):
                picture(tmp_path / "images" / split / "cat" / person / f"{number}.png", number)
                mask(tmp_path / "masks" / split / "cat" / person / f"{number}.png")
    for folder in (tmp_path, tmp_path / "images"):
        table = load_source(folder)
        assert table.split_kind == "given"
        assert is_open_set(table)
        assert set(table.part("val")["identity"]) == {"cat/e", "cat/f"}
        assert table.frame["mask"].null_count() == 0
        assert set(table.frame["label"]) == {"cat"}
        assert check_table(table, mask_ids=2) == []


def test_images_in_no_class_folder_are_refused(tmp_path):
    picture(tmp_path / "stray.png")
    with pytest.raises(InputError, match=r"stray\.png lies neither in a folder CLASS"):
        image_folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        image_folder(tmp_path / "empty")
    picture(tmp_path / "split" / "train" / "cat" / "a.png")
    picture(tmp_path / "split" / "cat" / "a.png")
    with pytest.raises(InputError, match="beside the split folders train"):
        image_folder(tmp_path / "split")


def test_eth80s_own_folders_are_read_with_their_masks():
    table = image_folder(shared_data("eth80"))
    assert len(table.frame) == 2624
    assert table.frame["mask"].null_count() == 0
    assert table.frame["label"].n_unique() == 8
