"""Any source by its name, its path or its folder."""

import pytest

from conftest import shared_data
from made_items import is_open_set, picture
from triune.data.checks import check_table
from triune.data.sources.named import default_cache, load_source
from triune.errors import InputError


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIUNE_CACHE", str(tmp_path / "here"))
    assert default_cache() == tmp_path / "here"
    monkeypatch.delenv("TRIUNE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "triune"


@pytest.mark.parametrize(
    ("name", "loader", "what"),
    [
        ("omniglot", "Omniglot", "images_background.zip"),
        ("oxford-pets", "OxfordIIITPet", "annotations.tar.gz"),
    ],
)
def test_where_nothing_can_be_fetched_the_error_says_what_to_put_where(tmp_path, monkeypatch, name, loader, what):
    def no_network(root, **options):
        assert options["download"]
        raise OSError("no route to host")

    monkeypatch.setattr(f"torchvision.datasets.{loader}", no_network)
    with pytest.raises(InputError) as caught:
        load_source(name, root=tmp_path / "root", cache=tmp_path)
    assert "no route to host" in str(caught.value)
    assert what in str(caught.value)
    assert str(tmp_path / "root") in str(caught.value)


def test_a_name_that_is_nothing_is_refused_with_the_choices(tmp_path):
    with pytest.raises(InputError, match=r"digits, omniglot, oxford-pets, lfw, a \.csv or \.parquet file, or a folder"):
        load_source("mnist")
    with pytest.raises(InputError, match="does not exist"):
        load_source(tmp_path / "none.csv")


def test_a_table_with_splits_keeps_them_unless_told_otherwise():
    path = shared_data("eth80") / "items.csv"
    given = load_source(path)
    assert given.split_kind == "given"
    assert set(given.part("val")["identity"].str.slice(-2)) == {"06"}
    anew = load_source(path, split="open-set", seed=1)
    assert anew.split_kind == "open-set"
    assert is_open_set(anew)
    assert anew.frame["split"].to_list() != given.frame["split"].to_list()
    closed = load_source(path, split="closed-set")
    assert not is_open_set(closed)


def test_a_table_that_cannot_be_split_is_told_of_with_all_its_other_problems(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "items.csv").write_text("image,label\na.png,x\nb.png,x\n")
    problems = check_table(load_source(tmp_path / "items.csv"))
    assert [(p.row, p.column) for p in problems] == [(None, "label"), (3, "image")]
    assert "open-set split needs 6" in problems[0].problem


def test_without_a_home_folder_only_data_sets_by_name_ask_for_another(monkeypatch, tmp_path):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    for name in ("TRIUNE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pathlib.Path.home", nowhere)
    with pytest.raises(InputError, match="TRIUNE_CACHE=FOLDER"):
        load_source("digits")
    picture(tmp_path / "1.png")
    (tmp_path / "items.csv").write_text("image,label\n1.png,a\n")
    assert len(load_source(tmp_path / "items.csv", split="given").frame) == 1
