"""Identities set aside for the threshold."""

from dataclasses import replace

import polars
import pytest

from made_items import frame_of
from triune.data.calibration import check_promise, with_calibration
from triune.data.problems import DataError
from triune.data.splits import assign_splits
from triune.errors import InputError


def table(identities=40, images=6):
    names = [f"{i:02d}" for i in range(identities) for _ in range(images)]
    return frame_of(names, [f"class {int(name) % 4}" for name in names])


def splits_of(table):
    found = {}
    for name, split in table.frame.select("identity", "split").rows():
        found.setdefault(split, set()).add(name)
    return found


def test_a_share_of_the_training_identities_goes_over_with_all_their_images():
    before = assign_splits(table())
    after = with_calibration(before, 0.25)
    old, new = splits_of(before), splits_of(after)
    assert len(old["train"]) == 24
    assert len(new["calibration"]) == 6
    assert new["calibration"] < old["train"]
    assert new["train"] == old["train"] - new["calibration"]
    assert (new["val"], new["test"]) == (old["val"], old["test"])
    rows = after.frame.filter(after.frame["identity"].is_in(list(new["calibration"])))
    assert set(rows["split"]) == {"calibration"}
    assert len(rows) == 36
    assert {int(name) % 4 for name in new["calibration"]} == {0, 1, 2, 3}  # evenly over the classes
    assert "6 of 24 training identities were set aside" in after.notes[-1]


def test_images_held_out_of_training_go_along():
    one_class_each = frame_of(
        [f"{i:02d}" for i in range(20) for _ in range(10)], [str(i) for i in range(20) for _ in range(10)]
    )
    before = assign_splits(one_class_each)
    assert (before.frame["split"] == "holdout").any()
    after = with_calibration(before, 0.5)
    new = splits_of(after)
    assert not new["calibration"] & (new["train"] | new["holdout"] | new["val"] | new["test"])
    assert len(after.frame.filter(after.frame["split"] == "calibration")) == 60


def test_the_same_seed_draws_the_same_identities_and_another_one_others():
    before = assign_splits(table())
    drawn = [splits_of(with_calibration(before, 0.25, seed))["calibration"] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_share_of_0_takes_nothing_and_none_is_taken_beside_a_split_of_the_table_s_own():
    before = assign_splits(table())
    assert with_calibration(before, 0.0) is before
    marked = with_calibration(before, 0.25)
    assert with_calibration(marked, 0.0) is marked
    with pytest.raises(DataError, match="has a split calibration of its own"):
        with_calibration(marked, 0.5)


def test_where_identities_are_too_few_or_all_are_trained_on_it_is_refused():
    with pytest.raises(DataError, match="3 training identities are too few to set 2 aside"):
        with_calibration(replace(frame_of(list("aabbcc"), split=["train"] * 6)), 0.3)
    with pytest.raises(DataError, match="closed-set"):
        with_calibration(assign_splits(table(), "closed-set"), 0.3)


def test_a_promise_needs_calibration_identities_and_enough_of_them():
    before = assign_splits(table(200, 2))
    with pytest.raises(InputError, match="needs 118 identities by which nothing was chosen: mark rows of made"):
        check_promise(before, 0.05, 0.95)
    marked = with_calibration(before, 0.5)  # 60 identities
    with pytest.raises(
        InputError, match=r"60 identities cannot promise .* 60 can promise 0\.096 .* raise --target_fpr"
    ):
        check_promise(marked, 0.05, 0.95)
    check_promise(marked, 0.096, 0.95)
    for split in ("train", "val", "holdout"):
        names = marked.frame["identity"].to_list()
        place = marked.frame["split"].to_list().index("calibration")
        moved = marked.frame["split"].to_list()
        moved[place] = split
        shared = replace(marked, frame=marked.frame.with_columns(polars.Series("split", moved)))
        with pytest.raises(InputError, match=f"identity {names[place]} is in {split} and in calibration .1 such."):
            check_promise(shared, 0.096, 0.95)
    single = replace(marked, frame=marked.frame.unique("identity"))
    with pytest.raises(InputError, match="split calibration: every identity has a single image"):
        check_promise(single, 0.096, 0.95)
