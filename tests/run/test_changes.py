"""Data that changed since a run was begun: every change is named, and no test identity comes into training."""

from dataclasses import replace

import polars
import pytest

from made_items import csv, mask, picture
from triune.data.items import read_table
from triune.errors import InputError
from triune.run.changes import resumed_items
from triune.run.origin import origin_of, write_origin
from triune.run.parser import parse_train
from triune.run.split import write_split

HEADER = "image,label,identity,mask,split"
ROWS = [f"{k}.png,{'cat' if k % 2 else 'dog'},p{k // 2},{k}-mask.png,{split}" for k, split in enumerate(
    ["train"] * 4 + ["val"] * 4 + ["test"] * 4)]  # fmt: skip


@pytest.fixture
def begun(tmp_path):
    """A run that was begun on twelve rows of six identities, and a function that reads other rows as its data."""
    for k in range(14):
        picture(tmp_path / "data" / f"{k}.png", seed=k)
        mask(tmp_path / "data" / f"{k}-mask.png")
    run = tmp_path / "run"
    run.mkdir()

    def read(rows, folder="data"):
        return read_table(csv(tmp_path / folder, "\n".join([HEADER, *rows]) + "\n"))

    table = read(ROWS)
    drawn = replace(table, split_kind="open-set")
    origin = origin_of(run, parse_train(["--data", table.source]), drawn, ["cat", "dog"], ["p0", "p1"])
    write_split(run, table)
    write_origin(run, origin)

    def resumed(rows, with_changes=False, own_split=True, **options):
        return resumed_items(run, read(rows, **options), origin, with_changes=with_changes, own_split=own_split)

    return run, resumed


def known(table):
    return [(image.rpartition("/")[2], split) for image, split in table.frame.select("image", "split").rows()]


def edited(k, **cells):
    row = dict(zip(HEADER.split(","), ROWS[k].split(",")))
    return [*ROWS[:k], ",".join((row | cells).values()), *ROWS[k + 1 :]]


SPLITS = [(f"{k}.png", ROWS[k].split(",")[-1]) for k in range(12)]


def test_unchanged_data_are_taken_as_they_were(begun):
    _, resumed = begun
    assert known(resumed(ROWS)) == SPLITS
    assert resumed(ROWS).split_kind == "open-set"  # how the run's splits came about, not those of the table


def test_the_order_of_the_rows_and_the_split_that_is_drawn_anew_do_not_matter(begun):
    _, resumed = begun
    others = [row.rsplit(",", 1)[0] + f",{split}" for row, split in zip(ROWS[::-1], ["train", "val", "test"] * 4)]
    assert known(resumed(others, own_split=False)) == SPLITS
    assert known(resumed([row.rsplit(",", 1)[0] + "," for row in ROWS])) == SPLITS


def test_data_that_were_moved_are_the_same_data(begun, tmp_path):
    _, resumed = begun
    (tmp_path / "data").rename(tmp_path / "there")
    assert known(resumed(ROWS, folder="there")) == SPLITS


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS[:-1], r"1 row removed \(the first is .*11\.png\)"),
        (ROWS[1:], r"1 row removed \(the first is .*0\.png\)"),
        ([*ROWS, "12.png,cat,p5,,test", "13.png,cat,p9,,test"], r"2 rows added \(the first is row 14, .*12\.png\)"),
        ([*ROWS, ROWS[3]], r"1 row added \(the first is row 14, .*3\.png\)"),
        (edited(2, identity="p5"), r"the identity of 1 row changed \(the first is .*2\.png: p1 before, p5 now\)"),
        (edited(2, identity=""), r"p1 before, nothing now"),
        ([row.replace("cat", "lion") for row in ROWS], r"the label of 6 rows changed .*1\.png: cat before, lion now"),
        (edited(5, mask="6-mask.png"), r"the mask of 1 row changed .*5-mask\.png before, .*6-mask\.png now"),
        (edited(5, mask=""), r"the mask of 1 row changed .*nothing now.*; the size of the mask of 1 row changed"),
        (edited(8, split="train"), r"the split of 1 row changed \(the first is .*8\.png: test before, train now\)"),
    ],
)
def test_a_change_is_named_and_refused(begun, rows, said):
    _, resumed = begun
    with pytest.raises(InputError, match=said) as refused:
        resumed(rows)
    assert "\n" not in str(refused.value)
    assert "--resume_with_changes" in str(refused.value)


def test_a_file_of_another_size_is_named(begun, tmp_path):
    _, resumed = begun
    size = (tmp_path / "data" / "7.png").stat().st_size
    picture(tmp_path / "data" / "7.png", seed=7, size=(9, 9))
    now = (tmp_path / "data" / "7.png").stat().st_size
    with pytest.raises(InputError, match=rf"size of the image of 1 row changed .*7\.png: {size} before, {now} now"):
        resumed(ROWS)


def test_what_is_removed_leaves_the_splits_of_the_others_as_they_are(begun, capsys):
    _, resumed = begun
    shorter = [row.rsplit(",", 1)[0] + "," for row in ROWS[:2] + ROWS[6:]]  # p1 and p2 are gone; splits drawn anew
    assert known(resumed(shorter, with_changes=True)) == SPLITS[:2] + SPLITS[6:]
    assert "4 rows removed" in capsys.readouterr().err


def test_new_rows_go_where_their_identity_is_and_those_of_unknown_ones_are_left_out(begun, capsys):
    _, resumed = begun
    more = [*ROWS, "12.png,cat,p0,,test", "13.png,cat,p9,,train", "12.png,cat,p5,,train"]
    assert known(resumed(more, with_changes=True)) == [*SPLITS, ("12.png", "train"), ("12.png", "test")]
    said = capsys.readouterr().err
    assert "3 rows added" in said
    assert "1 row left out, of identities that the run does not know" in said


def test_a_row_that_shows_a_test_identity_now_leaves_training(begun):
    _, resumed = begun
    table = resumed(edited(0, identity="p5"), with_changes=True)
    assert dict(known(table))["0.png"] == "test"
    by_identity = table.frame.group_by("identity").agg(polars.col("split").unique())
    assert all(len(splits) == 1 for splits in by_identity["split"].to_list())


@pytest.mark.parametrize("name", ["lion", "Cat"])
def test_a_class_that_the_head_has_no_output_for_is_refused_whatever_is_allowed(begun, name):
    _, resumed = begun
    with pytest.raises(InputError, match=f"has the class '{name}', .*'cat' is gone"):
        resumed([row.replace("cat", name) for row in ROWS], with_changes=True)


def test_a_run_of_an_earlier_version_is_compared_as_far_as_it_stored_anything(begun, tmp_path):
    run, resumed = begun
    stored = polars.read_csv(run / "split.csv", infer_schema=False)
    stored.select("image", "identity", "split").write_csv(run / "split.csv")
    assert known(resumed(ROWS)) == SPLITS
    with pytest.raises(InputError, match="the identity of 1 row changed"):
        resumed(edited(2, identity="p5"))
    (run / "split.csv").unlink()
    assert len(resumed(ROWS).frame) == 12


@pytest.mark.parametrize(("place", "split"), [(4, "val"), (8, "test")])
def test_an_image_that_was_held_out_is_never_learnt_from_whatever_is_said_of_it_now(begun, capsys, place, split):
    _, resumed = begun
    nameless = dict(known(resumed(edited(place, identity=""), with_changes=True)))
    assert nameless[f"{place}.png"] == split
    capsys.readouterr()
    renamed = dict(known(resumed(edited(place, identity="p0"), with_changes=True)))
    assert f"{place}.png" not in renamed
    assert len(renamed) == 11
    assert "1 row left out" in capsys.readouterr().err
    # What was learnt from may go on being learnt from under another name, or none.
    for identity in ("p1", ""):
        assert dict(known(resumed(edited(0, identity=identity), with_changes=True)))["0.png"] == "train"


def test_a_box_that_was_moved_added_or_taken_away_is_named(tmp_path):
    for k in range(4):
        picture(tmp_path / f"{k}.png", seed=k)

    def read(*boxes):
        rows = [f"{k}.png,p{k // 2},train,{box}" for k, box in enumerate(boxes)]
        return read_table(csv(tmp_path, "\n".join(["image,identity,split,x_1,y_1,x_2,y_2", *rows]) + "\n"))

    boxes = ["0,0,4,4", "1,1,5,5", ",,,", "2,2,3,3"]
    table = read(*boxes)
    origin = origin_of(tmp_path, parse_train(["--data", table.source]), table, [], ["p0", "p1"])
    write_split(tmp_path, table)
    assert resumed_items(tmp_path, read(*boxes), origin, with_changes=False).frame.equals(table.frame)
    for place, box, says in (
        (0, "0,0,4,3", "the box's y_2 of 1 row changed .*0.png: 4 before, 3 now"),
        (2, "0,0,1,1", "the box's x_1 of 1 row changed .*2.png: nothing before, 0 now"),
        (3, ",,,", "the box's x_2 of 1 row changed .*3.png: 3 before, nothing now"),
    ):
        changed = [*boxes[:place], box, *boxes[place + 1 :]]
        with pytest.raises(InputError, match=says):
            resumed_items(tmp_path, read(*changed), origin, with_changes=False)
