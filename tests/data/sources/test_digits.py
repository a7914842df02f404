"""Numbers put together from real handwritten digits."""

import numpy as np
import pytest

from made_items import is_open_set
from triune.data.checks import check_table
from triune.data.decode import read_image, read_mask
from triune.data.sources import digits as digits_module
from triune.data.sources.digits import digits
from triune.data.sources.named import load_source


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_digits_are_numbers_judged_on_numbers_never_trained_on(cache):
    table = load_source("digits", cache=cache)
    assert len(table.frame) == 2000
    assert table.split_kind == "open-set"
    assert is_open_set(table)
    numbers = {s: set(table.part(s)["identity"]) for s in ("train", "val", "test")}
    assert {s: len(names) for s, names in numbers.items()} == {"train": 60, "val": 20, "test": 20}
    assert set().union(*numbers.values()) == {f"{n:02d}" for n in range(100)}
    for names in numbers.values():  # every digit in both places, as often as any other
        for place in (0, 1):
            counts = np.bincount([int(name[place]) for name in names], minlength=10)
            assert (counts == len(names) // 10).all()
    assert (table.frame["label"] == table.frame["identity"].str.head(1)).all()
    assert check_table(table, mask_ids=2) == []


def test_no_handwritten_digit_is_in_two_splits(tmp_path, monkeypatch):
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    numbered = bunch.images.copy()
    numbered[:] = np.arange(len(numbered))[:, None, None]
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: type(bunch)(images=numbered, target=bunch.target))
    used = []
    monkeypatch.setattr(
        digits_module,
        "_as_photograph",
        lambda pair, generator: used.append([int(p[0, 0]) for p in pair]) or (np.zeros((4, 4), np.uint8),) * 2,
    )
    table = digits(tmp_path)
    by_split = {s: set() for s in ("train", "val", "test")}
    for split, name, pair in zip(table.frame["split"], table.frame["identity"], used, strict=True):
        assert [str(bunch.target[i]) for i in pair] == list(name)
        by_split[split] |= set(pair)
    assert not by_split["train"] & by_split["val"]
    assert not by_split["train"] & by_split["test"]
    assert not by_split["val"] & by_split["test"]


def test_the_mask_of_a_number_is_its_ink(cache):
    frame = digits(cache).frame
    for number in (0, 17, 1000, 1996):
        row = frame.row(number, named=True)
        image, ink = read_image(row["image"], 1)[:, :, 0], read_mask(row["mask"]) > 0
        assert image.shape == ink.shape == (32, 32)
        assert 0.04 < ink.mean() < 0.35
        assert image[ink].mean() < image[~ink].mean() - 40
