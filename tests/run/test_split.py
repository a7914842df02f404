"""``split.csv``: a run knows what each item was for, whatever became of the data."""

from dataclasses import replace

import polars
import pytest

from triune.data.boxes import Box, boxes_of
from triune.data.items import from_frame
from triune.errors import InputError
from triune.run.split import read_split, with_split_of, write_split


def table(folder, names, splits, identities=None):
    identities = identities or [f"p{i // 2}" for i in range(len(names))]
    frame = polars.DataFrame({"image": names, "identity": identities, "split": splits})
    return from_frame(frame, source="items.csv", folder=folder)


NAMES = ["a.png", "b.png", "c.png", "d.png"]


def splits_of(found):
    return dict(zip((path.rsplit("/", 1)[1] for path in found.frame["image"]), found.frame["split"], strict=True))


def test_the_run_s_split_holds_where_the_data_are_split_otherwise_now(tmp_path):
    write_split(tmp_path, table(tmp_path, NAMES, ["train", "train", "val", "test"]))
    again = with_split_of(tmp_path, table(tmp_path, NAMES[::-1], ["test", "train", "train", "holdout"]))
    assert splits_of(again) == {"a.png": "train", "b.png": "train", "c.png": "val", "d.png": "test"}
    assert again.frame["image"].to_list()[0].endswith("d.png")  # the order is the data's


def test_items_that_the_run_never_saw_are_left_out(tmp_path):
    write_split(tmp_path, table(tmp_path, NAMES, ["train", "train", "val", "test"]))
    more = table(tmp_path, [*NAMES, "e.png"], ["test"] * 5, ["p0", "p0", "p1", "p1", "p9"])
    assert set(splits_of(with_split_of(tmp_path, more))) == set(NAMES)


def test_data_that_were_moved_are_found_by_their_paths_below_the_common_folder(tmp_path):
    names = ["one/a.png", "one/b.png", "two/a.png", "two/b.png"]
    write_split(tmp_path, table(tmp_path / "here", names, ["train", "val", "test", "test"]))
    moved = with_split_of(tmp_path, table(tmp_path / "there" / "deeper", names, ["train"] * 4))
    assert moved.frame["split"].to_list() == ["train", "val", "test", "test"]
    assert moved.frame["image"][0] == str(tmp_path / "there" / "deeper" / "one" / "a.png")


def test_an_image_listed_twice_keeps_both_its_splits(tmp_path):
    write_split(tmp_path, table(tmp_path, ["a.png", "a.png"], ["val", "test"]))
    again = with_split_of(tmp_path, table(tmp_path, ["a.png", "a.png"], ["train", "train"]))
    assert again.frame["split"].to_list() == ["val", "test"]


def test_an_identity_that_was_corrected_is_the_table_s(tmp_path):
    write_split(tmp_path, table(tmp_path, NAMES, ["train", "train", "val", "test"]))
    again = with_split_of(tmp_path, table(tmp_path, NAMES, ["train"] * 4, ["p0", "p7", "p1", "p1"]))
    assert again.frame["identity"].to_list() == ["p0", "p7", "p1", "p1"]
    assert again.frame["split"].to_list() == ["train", "train", "val", "test"]


def test_items_without_identity_are_known_too(tmp_path):
    write_split(tmp_path, table(tmp_path, NAMES, ["train", "train", "val", "test"], [None, None, "p", "q"]))
    again = with_split_of(tmp_path, table(tmp_path, NAMES, ["test"] * 4, [None, None, "p", "q"]))
    assert again.frame["split"].to_list() == ["train", "train", "val", "test"]


def test_an_image_that_is_gone_is_named(tmp_path):
    write_split(tmp_path, table(tmp_path, NAMES, ["train", "train", "val", "test"]))
    with pytest.raises(InputError, match=r"items\.csv lacks 2 of the 4 images .* first is .*c\.png.*--data"):
        with_split_of(tmp_path, table(tmp_path, NAMES[:2], ["train", "train"]))


def test_a_run_of_an_earlier_version_stored_no_split(tmp_path):
    items = table(tmp_path, NAMES, ["train", "train", "val", "test"])
    assert with_split_of(tmp_path, items) is items


def test_damage_is_named(tmp_path):
    (tmp_path / "split.csv").write_text("image,split\n/a.png,train\n")
    with pytest.raises(InputError, match=r"split\.csv is damaged or another file: it has no column identity"):
        with_split_of(tmp_path, table(tmp_path, NAMES, ["train"] * 4))
    (tmp_path / "split.csv").write_text("image,identity,split\n/a.png,p,\n")
    with pytest.raises(InputError, match=r"split\.csv row 2, column split: empty"):
        with_split_of(tmp_path, table(tmp_path, NAMES, ["train"] * 4))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "it lists no image"),
        (["/x/a.png,p,train,,", "b.png,p,val,,"], r"row 3, column image: 'b\.png' is no absolute path"),
        (["a.png,p,train,,"], r"row 2, column image: 'a\.png' is no absolute path"),
        (["/x/a.png,p,train,,", "/x/b.png,p,train,,masks/b.png"], "row 3, column mask: 'masks/b.png' is no absolute"),
        ([",p,train,,"], "row 2, column image: empty"),
        (["/x/a.png,p,tset,,"], "row 2, column split: 'tset' is no split"),
    ],
)
def test_what_no_run_has_stored_is_named(tmp_path, rows, said):
    """Found by fuzzing: paths of two kinds have no folder in common, and no path has none."""
    (tmp_path / "split.csv").write_text("\n".join(["image,identity,split,label,mask", *rows]) + "\n")
    with pytest.raises(InputError, match=said) as refused:
        with_split_of(tmp_path, table(tmp_path, NAMES, ["train"] * 4))
    assert "split.csv" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_boxes_are_stored_and_of_whole_images_empty(tmp_path):
    boxed = table(tmp_path, ["a.png", "b.png"], ["train", "test"])
    sides = {"x_1": [1, None], "y_1": [2, None], "x_2": [30, None], "y_2": [40, None]}
    frame = boxed.frame.hstack([polars.Series(name, side) for name, side in sides.items()])
    write_split(tmp_path, replace(boxed, frame=frame))
    assert boxes_of(read_split(tmp_path)) == [Box(1, 2, 30, 40), None]
    write_split(tmp_path, boxed)
    assert boxes_of(read_split(tmp_path)) == [None, None]
