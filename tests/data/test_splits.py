"""Splits that keep their word: identities, shares, classes, seeds."""

import polars as pl
import pytest

from made_items import frame_of, is_open_set
from triune.data.items import ItemTable
from triune.data.problems import DataError
from triune.data.splits import assign_splits, complete_splits


def counts(table: ItemTable, column="identity"):
    grouped = table.frame.group_by("split").agg(pl.col(column).n_unique())
    return dict(grouped.rows())


@pytest.mark.parametrize("seed", range(5))
def test_open_set_identities_never_cross_and_classes_are_shared_out_evenly(seed):
    identities = [f"{c}{i:02d}" for c in "abcd" for i in range(20) for _ in range(3)]
    table = assign_splits(frame_of(identities, [name[0] for name in identities]), seed=seed)
    assert is_open_set(table)
    assert table.split_kind == "open-set"
    assert counts(table) == {"train": 48, "val": 16, "test": 16}
    for _, part in table.frame.group_by("label"):
        shared = dict(part.group_by("split").agg(pl.col("identity").n_unique()).rows())
        assert shared["train"] in (11, 12, 13)
        assert shared["val"] in (3, 4, 5)
        assert shared["test"] == 4


def test_splits_depend_on_the_seed_alone_not_on_the_order_of_rows():
    identities = [f"p{i}" for i in range(30) for _ in range(2)]
    table = frame_of(identities)
    first = assign_splits(table, seed=3).frame
    assert first["split"].to_list() == assign_splits(table, seed=3).frame["split"].to_list()
    assert first["split"].to_list() != assign_splits(table, seed=4).frame["split"].to_list()
    shuffled = ItemTable(table.frame.sample(fraction=1, shuffle=True, seed=0), "made")
    again = assign_splits(shuffled, seed=3).frame.sort("row")
    assert again["split"].to_list() == first["split"].to_list()


@pytest.mark.parametrize("count", [6, 7, 9])
def test_few_identities_leave_two_to_each_split(count):
    table = assign_splits(frame_of([f"p{i}" for i in range(count) for _ in range(2)]))
    assert min(counts(table).values()) >= 2


def test_too_few_identities_are_refused_with_the_ways_out():
    with pytest.raises(DataError, match="there are 5 identities") as caught:
        assign_splits(frame_of([f"p{i}" for i in range(5) for _ in range(9)]))
    assert "closed-set" in str(caught.value)


def test_images_are_held_out_only_where_the_test_classes_were_never_trained_on():
    digits = [str(i) for i in range(10) for _ in range(20)]
    held = assign_splits(frame_of(digits, digits))
    out, train = held.part("holdout"), held.part("train")
    assert set(out["identity"]) == set(train["identity"])
    assert out["identity"].value_counts()["count"].to_list() == [3] * 6
    assert "holdout" not in counts(assign_splits(frame_of(digits, ["digit"] * 200)))
    pairs = [str(i) for i in range(10) for _ in range(2)]
    assert "holdout" not in counts(assign_splits(frame_of(pairs, pairs))), "two images must stay in train"


@pytest.mark.parametrize("images", [4, 5, 10])
def test_closed_set_leaves_two_of_every_identity_in_train_and_keeps_the_shares(images):
    table = assign_splits(frame_of([f"p{i}" for i in range(40) for _ in range(images)]), "closed-set")
    train = table.part("train")["identity"].value_counts()
    assert train["count"].min() >= 2
    assert len(train) == 40
    for split in ("val", "test"):
        assert len(table.part(split)) == pytest.approx(8 * images, abs=2)
        assert table.part(split)["identity"].value_counts()["count"].min() >= 2


def test_closed_set_without_images_to_spare_is_refused():
    with pytest.raises(DataError, match="too few images of an identity for the split"):
        assign_splits(frame_of([f"p{i}" for i in range(40) for _ in range(3)]), "closed-set")


def test_items_without_an_identity_are_shared_out_by_image():
    table = assign_splits(frame_of([None] * 100))
    assert {s: len(table.part(s)) for s in ("train", "val", "test")} == {"train": 60, "val": 20, "test": 20}


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (1.0, 0.0, 0.0), (0.5, 0.5, 0.5)])
def test_fractions_must_be_fractions(fractions):
    with pytest.raises(ValueError, match="fractions"):
        assign_splits(frame_of(["a"] * 9), fractions=fractions)


def test_a_given_split_gets_the_val_or_test_it_lacks_by_identity():
    identities = [f"p{i}" for i in range(20) for _ in range(2)]
    no_val = complete_splits(frame_of(identities, split=["train"] * 30 + ["test"] * 10))
    assert counts(no_val) == {"train": 12, "val": 3, "test": 5}
    no_test = complete_splits(frame_of(identities, split=["train"] * 20 + ["validation"] * 20))
    assert counts(no_test) == {"train": 10, "val": 5, "test": 5}
    for table in (no_val, no_test):
        assert is_open_set(table)
        assert "were taken for it" in table.notes[0]
    only_train = complete_splits(frame_of(identities, split=["train"] * 40))
    assert counts(only_train) == {"train": 16, "val": 2, "test": 2}
    whole = frame_of(identities, split=["train"] * 20 + ["val"] * 10 + ["test"] * 10)
    assert complete_splits(whole).frame.equals(whole.frame)
    with pytest.raises(DataError, match="no row has the split train"):
        complete_splits(frame_of(identities, split=["test"] * 40))
