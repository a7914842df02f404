"""In-Shop Clothes Retrieval with its queries and gallery."""

import pytest

from data.sources.layouts import inshop as tree
from triune.data.checks import check_table
from triune.data.sources.inshop import inshop
from triune.errors import InputError


@pytest.mark.parametrize("where", ["Eval", "Anno", "."])
def test_the_list_says_what_is_trained_on_what_asks_and_what_answers(tmp_path, where):
    tree(tmp_path, where=where)
    table = inshop(tmp_path, tmp_path / "cache")
    train, test = table.part("train"), table.part("test")
    assert (len(train), train["is_query"].null_count() + train["is_query"].sum()) == (8, 0)
    assert (test["is_query"].sum(), test["is_gallery"].sum()) == (4, 8)
    assert not (test["is_query"] & test["is_gallery"]).any()
    assert set(table.frame["label"]) == {"WOMEN/Dresses"}
    assert table.frame["identity"][0] == "id_00000001"
    assert check_table(table) == []


def test_a_status_that_is_none_is_named(tmp_path):
    base = tree(tmp_path)
    path = base / "Eval" / "list_eval_partition.txt"
    path.write_text(path.read_text().replace("gallery", "galery", 1))
    with pytest.raises(InputError, match=r"row 12: the evaluation status 'galery' is none of train, query, gallery"):
        inshop(tmp_path, tmp_path / "cache")


def test_another_layout_is_told(tmp_path):
    base = tree(tmp_path)
    (base / "Img" / "img").rename(base / "Img" / "pictures")
    with pytest.raises(InputError, match=r"holds no img/ \(nor the archive img\.zip or Img/img\.zip\)"):
        inshop(tmp_path, tmp_path / "cache")


@pytest.mark.parametrize(("lines", "said"), [(12, r"20 lines are announced, but 10 follow"), (22, None)])
def test_a_list_that_was_cut_off_is_told_by_the_number_in_its_first_line(tmp_path, lines, said):
    path = tree(tmp_path) / "Eval" / "list_eval_partition.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:lines]) + "\n")
    if said is None:
        assert len(inshop(tmp_path, tmp_path / "cache").frame) == 20
        return
    with pytest.raises(InputError, match=rf"list_eval_partition\.txt, row 1: {said}"):
        inshop(tmp_path, tmp_path / "cache")
