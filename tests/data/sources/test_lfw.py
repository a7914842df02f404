"""Faces, a folder a person."""

import shutil

import pytest

from data.sources.layouts import as_tar, lfw as tree
from made_items import is_open_set, picture
from triune.data.checks import check_table
from triune.data.sources.lfw import lfw, lfw_pairs
from triune.data.sources.named import listed_pairs, load_source
from triune.errors import InputError


def test_lfw_leaves_out_people_with_a_single_picture_and_says_so(tmp_path):
    for person, count in {"Ann_A": 3, "Bob_B": 1, "Cy_C": 2, "Di_D": 2, "Ed_E": 2, "Flo_F": 2, "Gus_G": 4}.items():
        for number in range(count):
            picture(tmp_path / "lfw-py" / "lfw_funneled" / person / f"{person}_{number + 1:04d}.jpg", number)
    table = lfw(tmp_path, tmp_path / "cache")
    assert set(table.frame["identity"]) == {"Ann_A", "Cy_C", "Di_D", "Ed_E", "Flo_F", "Gus_G"}
    assert table.frame["label"].null_count() == len(table.frame)
    assert table.notes == ("lfw: 1 people with a single picture are left out, 6 stay",)
    assert is_open_set(load_source("lfw", root=tmp_path))


def test_the_archive_is_unpacked_where_it_lies_in_the_root(tmp_path):
    tree(tmp_path)
    as_tar(tmp_path / "lfw_funneled", tmp_path / "lfw-funneled.tgz")
    shutil.rmtree(tmp_path / "lfw_funneled")
    table = load_source("lfw", root=tmp_path, cache=tmp_path / "cache")
    assert len(table.frame) == 16
    assert check_table(table) == []


def test_the_list_of_pairs_names_its_pictures_and_folds(tmp_path):
    tree(tmp_path)
    table = lfw_pairs(tmp_path, tmp_path / "cache")
    assert set(table.frame["split"]) == {"test"}
    assert set(table.frame["identity"]) == {f"Person_{letter}{fold}" for letter in "ABCD" for fold in "01"}
    assert check_table(table) == []
    pairs = listed_pairs("lfw-pairs", tmp_path, tmp_path / "cache")
    assert pairs.folds == ("1",) * 4 + ("2",) * 4
    assert pairs.is_match.tolist() == [True, True, False, False] * 2
    first, second = pairs.rows(table.frame["image"].to_list())
    names = table.frame["identity"].to_numpy()
    assert ((names[first] == names[second]) == pairs.is_match).all()
    assert listed_pairs("lfw", tmp_path) is None


def test_without_the_list_of_pairs_it_is_told_what_is_missing(tmp_path):
    tree(tmp_path)
    (tmp_path / "pairs.txt").unlink()
    with pytest.raises(InputError, match=r"holds no pairs\.txt, but it holds lfw_funneled/: --root names"):
        lfw_pairs(tmp_path, tmp_path / "cache")


@pytest.mark.parametrize("below", [".", "lfw-py", "lfw", "lfw_funneled"])
def test_the_root_may_be_the_folder_of_people_or_one_around_it(tmp_path, below):
    base = tmp_path if below == "lfw_funneled" else tmp_path / below
    tree(base)
    root = tmp_path / "lfw_funneled" if below == "lfw_funneled" else tmp_path
    assert len(lfw(root, tmp_path / "cache").frame) == 16


def test_nothing_is_downloaded_where_the_people_are_not(tmp_path):
    for root, said in (
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path, r"holds no lfw_funneled/ \(nor the archive"),
    ):
        with pytest.raises(InputError, match=rf"{said}.*--root names the folder with Labeled Faces in the Wild"):
            load_source("lfw", root=root, cache=tmp_path / "cache")


def test_a_list_of_pairs_is_judged_and_not_trained_on(tmp_path):
    tree(tmp_path)
    with pytest.raises(InputError, match=r"lfw-pairs is for judging, not for training: triune evaluate RUN --data"):
        load_source("lfw-pairs", root=tmp_path)
