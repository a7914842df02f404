"""Folders of images by class."""

import unicodedata

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


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPG", ".webp", ".avif", ".tga"])
def test_whatever_pillow_reads_is_an_image(tmp_path, suffix):
    for name in ("cat", "dog"):
        picture(tmp_path / name / f"0{suffix}")
    table = image_folder(tmp_path)
    assert len(table.frame) == 2
    assert table.notes == ()


def test_files_that_are_left_out_are_counted_by_suffix_and_the_first_is_named(tmp_path):
    for name in ("cat", "dog"):
        picture(tmp_path / name / "0.png")
        (tmp_path / name / "0.jpg.1").write_bytes(b"")
        (tmp_path / name / "README").write_text("")
        (tmp_path / name / ".hidden.txt").write_text("")
    (tmp_path / "labels.txt").write_text("")
    (note,) = image_folder(tmp_path).notes
    assert note.startswith(f"{tmp_path}: files left out, for their suffix is none of an image, 5 (")
    assert all(kind in note for kind in (".1: 2", "no suffix: 2", ".txt: 1"))
    assert note.endswith("; the first is cat/0.jpg.1")


def test_masks_are_found_whatever_their_suffix_and_those_of_no_image_counted(tmp_path):
    for number, suffix in enumerate((".PNG", ".tga", ".tiff")):
        picture(tmp_path / "cat" / f"{number}.jpg", number)
        mask(tmp_path / "masks" / "cat" / f"{number}{suffix}")
    mask(tmp_path / "masks" / "cat" / "1.bmp")
    mask(tmp_path / "masks" / "cat" / "1.png")
    mask(tmp_path / "masks" / "cat" / "9.png")
    table = image_folder(tmp_path)
    assert [path.rsplit("/", 1)[1] for path in table.frame["mask"]] == ["0.PNG", "1.png", "2.tiff"]
    assert table.notes == (f"{tmp_path}: 1 masks are left out, for no image has their name",)


def test_a_name_in_two_forms_of_unicode_is_one(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Zo\u00eb") for form in ("NFC", "NFD"))
    picture(tmp_path / composed / "0.png")
    picture(tmp_path / decomposed / "1.png", 1)
    mask(tmp_path / "masks" / composed / "0.png")
    assert image_folder(tmp_path).frame["identity"].to_list() == [composed] * 2
