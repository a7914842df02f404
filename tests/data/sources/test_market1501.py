"""Market-1501: persons, cameras, junk and distractors by the names of the files."""

import pytest

from data.sources.layouts import as_zip, market1501 as tree
from triune.data.checks import check_table
from triune.data.sources.market1501 import market1501
from triune.errors import InputError


@pytest.mark.parametrize("packed", [False, True])
def test_persons_cameras_queries_and_gallery_are_those_of_the_names(tmp_path, packed):
    base = tree(tmp_path / "root")
    root = as_zip(base, tmp_path / "Market-1501-v15.09.15.zip") if packed else base
    table = market1501(root, tmp_path / "cache")
    train, test = table.part("train"), table.part("test")
    assert set(train["identity"]) == {"0002", "0004", "0006", "0008"}
    assert set(test["identity"].drop_nulls()) == {"0001", "0003", "0005", "0007"}
    assert (test["is_query"].sum(), test["is_gallery"].sum()) == (4, 14)
    assert set(test.filter(test["is_query"])["camera"]) == {"c1"}
    assert set(train["camera"]) == {"c1", "c2"}
    assert check_table(table) == []


def test_junk_is_left_out_and_distractors_are_nobody_in_the_gallery(tmp_path):
    tree(tmp_path)
    table = market1501(tmp_path, tmp_path / "cache")
    assert not table.frame["image"].str.contains("/-1_").any()
    nobody = table.frame.filter(table.frame["identity"].is_null())
    assert nobody["image"].str.contains("/0000_").all()
    assert nobody["is_gallery"].to_list() == [True, True]
    assert "market1501: 1 junk images left out, 2 distractors in the gallery as nobody's match" in table.notes


def test_another_layout_is_told(tmp_path):
    base = tree(tmp_path)
    (base / "query" / "somebody.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"somebody\.jpg is not called as images of Market-1501 are: 0002_c1s1_"):
        market1501(tmp_path, tmp_path / "cache")
    for path in (base / "query").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"query holds no images"):
        market1501(tmp_path, tmp_path / "cache")
    (base / "query").rmdir()
    with pytest.raises(InputError, match=r"holds no query/ \(nor the archive Market-1501-v15\.09\.15\.zip"):
        market1501(tmp_path, tmp_path / "cache")
