"""The demonstration: its run is found again, its gallery is made once, and what is to be tried is not in it."""

import os

import polars as pl
import pytest

import triune
from evaluation.conftest import untrained_run
from triune.web.demo import demo_gallery, demo_items, demo_run, demo_samples

SMALL = ("--model.backbone", "test_resnet", "--images.channels", "1", "--images.size", "32")


@pytest.fixture(scope="module")
def items():
    return demo_items()


def test_what_is_to_be_tried_is_of_every_class_two_pictures_of_one_number_and_two_strangers(items):
    tried = items.filter("to_try")
    counts = dict(tried.group_by("identity").len().iter_rows())
    assert set(counts.values()) == {2}
    own, strangers = (tried.filter(pl.col("split") == split) for split in ("test", "val"))
    assert own["label"].unique().sort().to_list() == [str(digit) for digit in range(10)]
    assert own["identity"].n_unique() == 10
    assert strangers["identity"].n_unique() == 2
    assert all(os.path.isfile(each.path) for each in demo_samples(items))


def test_the_gallery_holds_the_other_test_images_and_is_made_once(items, tmp_path):
    run = tmp_path / "digits-1"
    untrained_run(run, "digits", *SMALL)
    few = items.filter(pl.col("identity").is_in(items["identity"].unique().sort().head(3).to_list()))
    place = demo_gallery(run, few)
    rows = triune.Gallery.open(place).rows()
    kept = few.filter(~pl.col("to_try"))
    assert set(rows["image"]) == set(kept["image"])
    assert rows.join(kept, on="image").select(pl.col("identity") == pl.col("identity_right")).to_series().all()
    assert not set(rows["image"]) & {each.path for each in demo_samples(few)}
    version = triune.Gallery.open(place).version
    assert demo_gallery(run, few) == place
    assert triune.Gallery.open(place).version == version
    assert sorted(each.name for each in tmp_path.iterdir()) == ["digits-1", "digits-1-gallery"]


def test_the_newest_finished_run_of_the_demonstration_is_taken(tmp_path, served_run):
    assert demo_run(tmp_path) is None
    for number in (1, 2):
        untrained_run(tmp_path / f"digits-{number}", "digits", *SMALL)
    os.utime(tmp_path / "digits-1" / "model.safetensors", (4e9, 4e9))
    assert demo_run(tmp_path) == tmp_path / "digits-1"
    (tmp_path / "digits-1" / "model.safetensors").unlink()
    assert demo_run(tmp_path) == tmp_path / "digits-2"
    (tmp_path / "digits-2" / "config.yaml").write_text((served_run / "config.yaml").read_text())
    assert demo_run(tmp_path) is None
