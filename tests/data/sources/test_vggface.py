"""Faces in the layout of VGGFace2."""

import shutil

import pytest

from data.sources.layouts import as_tar, vggface as tree
from made_items import picture
from triune.data.checks import check_table
from triune.data.sources.named import load_source
from triune.data.sources.vggface import vggface
from triune.errors import InputError


def test_folders_are_persons_and_splits_are_theirs(tmp_path):
    tree(tmp_path)
    picture(tmp_path / "train" / "n000900" / "0001_01.jpg")
    table = vggface(tmp_path, tmp_path / "cache")
    assert {split: len(table.part(split)) for split in ("train", "val", "test")} == {"train": 8, "val": 8, "test": 8}
    assert set(table.part("train")["identity"]) == {f"n00000{person}" for person in range(4)}
    assert "vggface: left out for their single training image: 1 identity" in table.notes
    assert check_table(table) == []


def test_train_and_test_may_come_as_two_archives(tmp_path):
    tree(tmp_path)
    for part in ("train", "test"):
        as_tar(tmp_path / part, tmp_path / f"vggface2_{part}.tar.gz")
        shutil.rmtree(tmp_path / part)
    shutil.rmtree(tmp_path / "val")
    table = load_source("vggface", root=tmp_path, cache=tmp_path / "cache")
    assert (len(table.part("test")), len(table.part("train")) + len(table.part("val"))) == (8, 8)
    assert table.frame["row"].to_list() == list(range(1, 17))
    assert check_table(table) == []


def test_another_layout_is_told(tmp_path):
    picture(tmp_path / "n000001" / "0001_01.jpg")
    with pytest.raises(InputError, match=r"holds no train/ \(nor .*it holds n000001/"):
        vggface(tmp_path, tmp_path / "cache")


def test_a_file_in_place_of_a_folder_is_named(tmp_path):
    tree(tmp_path)
    shutil.rmtree(tmp_path / "test" / "n002001")
    (tmp_path / "test" / "n002001").write_text("no folder")
    assert any(note.endswith("the first is test/n002001") for note in vggface(tmp_path, tmp_path / "cache").notes)
    shutil.rmtree(tmp_path / "test")
    (tmp_path / "test").write_text("no folder")
    with pytest.raises(InputError, match=r"test is a file, and should be a folder: copy or unpack it again"):
        vggface(tmp_path, tmp_path / "cache")
