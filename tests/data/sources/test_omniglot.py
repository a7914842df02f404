"""Real Omniglot, and its archives in small."""

import zipfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from conftest import shared_data
from made_items import is_open_set
from triune.data.checks import check_table
from triune.data.decode import read_image, read_mask
from triune.data.sources.named import load_source
from triune.data.sources.omniglot import omniglot
from triune.errors import InputError


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def drawing(seed=0):
    content = BytesIO()
    Image.fromarray(np.random.default_rng(seed).random((105, 105)) > 0.1).save(content, "PNG")
    return content.getvalue()


def archive(path, alphabets, characters=5, drawers=3, top="images_background", extra=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for place, alphabet in enumerate(alphabets):
            for c in range(characters):
                for d in range(drawers):
                    name = f"{top}/{alphabet}/character{c + 1:02d}/{place}{c}_{d + 1:02d}.png"
                    file.writestr(name, drawing(100 * place + 10 * c + d))
        for name, content in extra:
            file.writestr(name, content)


def test_omniglot_trains_on_four_alphabets_and_is_judged_on_the_fifth(cache):
    table = load_source("omniglot", root=shared_data("omniglot"), cache=cache)
    assert len(table.frame) == 2720
    assert table.frame["identity"].n_unique() == 136
    assert is_open_set(table)
    assert set(table.part("test")["label"]) == {"Latin"}
    others = {"Balinese", "Early_Aramaic", "Greek", "Korean"}
    for split in ("train", "val", "holdout"):
        assert set(table.part(split)["label"]) == others
    assert table.part("val")["identity"].n_unique() == 22
    assert set(table.part("holdout")["identity"]) == set(table.part("train")["identity"])
    assert check_table(table, mask_ids=2) == []
    row = table.frame.row(5, named=True)
    assert row["identity"].startswith(row["label"] + "/")
    assert (read_mask(row["mask"]) == (read_image(row["image"], 1)[:, :, 0] == 0)).all()
    assert 0.01 < read_mask(row["mask"]).mean() < 0.2


def test_another_alphabet_can_be_the_test(cache):
    root = shared_data("omniglot")
    assert set(omniglot(root, cache, "Greek").part("test")["label"]) == {"Greek"}
    with pytest.raises(InputError, match="no alphabet 'Klingon'; it has Balinese"):
        omniglot(root, cache, "Klingon")


def test_the_evaluation_set_is_the_test_where_it_is_there(tmp_path):
    archive(tmp_path / "images_background.zip", ["A", "B", "C"])
    archive(tmp_path / "images_evaluation.zip", ["D", "E"], top="images_evaluation")
    table = omniglot(tmp_path, tmp_path / "cache")
    assert set(table.part("test")["label"]) == {"D", "E"}
    assert set(table.part("train")["label"]) | set(table.part("val")["label"]) == {"A", "B", "C"}


def test_unpacked_folders_and_overlapping_archives_give_each_drawing_once(tmp_path):
    archive(tmp_path / "images_background.zip", ["A", "B", "C"])
    expected = omniglot(tmp_path, tmp_path / "cache").frame.select("label", "identity", "split")
    with zipfile.ZipFile(tmp_path / "images_background.zip") as file:
        file.extractall(tmp_path / "unpacked" / "omniglot-py")
    unpacked = omniglot(tmp_path / "unpacked", tmp_path / "cache").frame
    assert unpacked.select("label", "identity", "split").equals(expected)
    archive(tmp_path / "images_background_small1.zip", ["A"], top="images_background_small1")
    assert len(omniglot(tmp_path, tmp_path / "cache").frame) == len(expected)


@pytest.mark.parametrize("name", ["../../outside/character01/a.png", "/outside/character01/a.png", "a\\..\\b/c/d.png"])
def test_an_archive_that_points_outside_is_refused(tmp_path, name):
    archive(tmp_path / "images_background.zip", ["A", "B"], extra=[(name, drawing())])
    with pytest.raises(InputError, match="points outside"):
        omniglot(tmp_path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_what_lies_in_an_archive_beside_the_drawings_is_passed_over(tmp_path):
    extra = [("__MACOSX/images_background/A/character01/._x.png", b"x"), ("images_background/.DS_Store", b"x")]
    archive(tmp_path / "images_background.zip", ["A", "B"], extra=extra)
    assert len(omniglot(tmp_path, tmp_path / "cache").frame) == 30


def test_damaged_archives_are_named(tmp_path):
    path = tmp_path / "images_background.zip"
    archive(path, ["A", "B"])
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(InputError, match=r"images_background\.zip cannot be read"):
        omniglot(tmp_path, tmp_path / "cache")
    archive(path, ["A", "B"], extra=[("images_background/A/character01/broken.png", b"no picture")])
    with pytest.raises(InputError, match=r"broken\.png cannot be read"):
        omniglot(tmp_path, tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [], "nothing half written is left"
