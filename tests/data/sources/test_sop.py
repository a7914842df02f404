"""Stanford Online Products by its own two lists."""

import pytest

from data.sources.layouts import as_zip, sop as tree
from triune.data.checks import check_table
from triune.data.sources.named import load_source
from triune.data.sources.sop import sop
from triune.errors import InputError


@pytest.mark.parametrize("packed", [False, True])
def test_the_lists_are_the_splits_and_kinds_the_classes(tmp_path, packed):
    base = tree(tmp_path / "root")
    root = as_zip(base, tmp_path / "Stanford_Online_Products.zip") if packed else tmp_path / "root"
    table = sop(root, tmp_path / "cache")
    assert set(table.part("train")["identity"]) == {"1", "2", "3", "4"}
    assert set(table.part("test")["identity"]) == {"5", "6", "7", "8"}
    assert set(table.frame["label"]) == {"bicycle", "coffee_maker"}
    assert check_table(table) == []


def test_products_of_one_picture_are_left_out_of_training_and_kept_in_the_test(tmp_path):
    base = tree(tmp_path)
    for part, line in (("train", "97 90 1 bicycle_final/100001_0.JPG"), ("test", "98 91 1 bicycle_final/100002_0.JPG")):
        with (base / f"Ebay_{part}.txt").open("a") as file:
            file.write(line + "\n")
    table = sop(tmp_path, tmp_path / "cache")
    assert "90" not in set(table.frame["identity"])
    assert "91" in set(table.part("test")["identity"])
    assert "sop: left out for their single training image: 1 identity" in table.notes


def test_validation_is_taken_of_the_trained_products(tmp_path):
    tree(tmp_path)
    table = load_source("sop", root=tmp_path, cache=tmp_path / "cache")
    assert set(table.part("val")["identity"]) < {"1", "2", "3", "4"}
    assert table.split_kind == "given"


def test_another_layout_is_told(tmp_path):
    base = tree(tmp_path)
    (base / "Ebay_test.txt").unlink()
    with pytest.raises(InputError, match=r"holds no Ebay_test\.txt \(nor .*zip.*it holds Stanford_Online_Products/"):
        sop(tmp_path, tmp_path / "cache")
    (base / "Ebay_test.txt").write_text("image_id class_id super_class_id path\n1 2 x.JPG\n")
    with pytest.raises(InputError, match=r"Ebay_test\.txt, row 2: it has 3 words, not 4"):
        sop(tmp_path, tmp_path / "cache")


def test_a_line_of_other_words_is_named(tmp_path):
    base = tree(tmp_path)
    with (base / "Ebay_train.txt").open("a") as file:
        file.write("some words of something else\n")
    with pytest.raises(InputError, match=r"Ebay_train\.txt, row 10: 'words' is no whole number"):
        sop(tmp_path, tmp_path / "cache")
