"""The table: columns as people write them, every problem in one list, splits that keep their word."""

import pickle

import numpy as np
import polars as pl
import pytest
from PIL import Image

from conftest import shared_data
from triune.data.checks import check_table, mask_ids
from triune.data.items import ItemTable, from_frame, read_table
from triune.data.problems import DataError
from triune.data.splits import assign_splits, complete_splits
from triune.errors import InputError


def write_image(path, size=(12, 10), value=128, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(value).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path)
    return path


def write_mask(path, size=(12, 10), ids=(0, 1)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.resize(np.array(ids, np.uint8), (size[1], size[0]))).save(path)
    return path


def csv(folder, text, name="items.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def frame_of(identities, labels=None, **columns):
    """A table without files: names only, as splits need."""
    count = len(identities)
    frame = pl.DataFrame(
        {"image": [f"{i}.png" for i in range(count)], "identity": identities, "label": labels or ["x"] * count}
        | columns
    )
    return from_frame(frame, source="made")


# --- reading ---------------------------------------------------------------------------------------------------------


def test_relative_paths_are_relative_to_the_table_and_absolute_ones_are_kept(tmp_path):
    table = read_table(csv(tmp_path, "image,mask\npics/../a.png,m/a.png\n/elsewhere/b.png,\n"))
    assert table.frame["image"].to_list() == [str(tmp_path / "a.png"), "/elsewhere/b.png"]
    assert table.frame["mask"].to_list() == [str(tmp_path / "m" / "a.png"), None]


def test_rows_are_numbered_as_lines_of_the_file_and_blank_lines_are_passed_over(tmp_path):
    table = read_table(csv(tmp_path, "image,label\na.png,x\n\nb.png,y\n , \nc.png,z\n"))
    assert table.frame.select("row", "label").rows() == [(2, "x"), (4, "y"), (6, "z")]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_byte_order_mark_and_any_common_separator_are_read(tmp_path, separator):
    text = "\ufeffimage,label\r\na.png,x\r\n".replace(",", separator)
    assert read_table(csv(tmp_path, text)).frame["label"].to_list() == ["x"]


def test_labels_are_always_strings(tmp_path):
    csv_labels = read_table(csv(tmp_path, "image,label\na.png,7\nb.png,007\n")).frame["label"]
    assert csv_labels.to_list() == ["7", "007"]
    floats_with_gaps = read_table(csv(tmp_path, "image,label\na.png,7.0\nb.png,\nc.png,12.0\n")).frame["label"]
    assert floats_with_gaps.to_list() == ["7", None, "12"]
    true_fractions = read_table(csv(tmp_path, "image,label\na.png,7.0\nb.png,7.5\n")).frame["label"]
    assert true_fractions.to_list() == ["7.0", "7.5"]
    for values in ([7, None, 2**53 + 1], [7.0, None, float("nan")], ["7", None, " b "]):
        pl.DataFrame({"image": ["a", "b", "c"], "label": values}).write_parquet(tmp_path / "t.parquet")
        read = read_table(tmp_path / "t.parquet").frame["label"].to_list()
        assert read[:2] == ["7", None]
    assert read[2] == "b"


def test_parquet_keeps_types_of_other_columns_and_counts_rows_from_one(tmp_path):
    frame = pl.DataFrame({"image": ["a", "b"], "label": [1, 2], "azimuth": [0.5, 1.5], "is_query": [True, None]})
    frame.write_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet").frame
    assert table["azimuth"].to_list() == [0.5, 1.5]
    assert table["row"].to_list() == [1, 2]
    assert table["is_query"].to_list() == [True, None]


def test_open_metric_learning_tables_are_read_as_they_are(tmp_path):
    text = (
        "label,path,split,is_query,is_gallery,category,x_1,x_2,y_1,y_2\n"
        "3,a.png,train,,,cats,0,1,0,1\n4,b.png,validation,True,False,dogs,0,1,0,1\n5,c.png,validation,0,1,dogs,0,1,0,1\n"
    )
    table = read_table(csv(tmp_path, text))
    assert table.frame["split"].to_list() == ["train", "val", "val"]
    assert table.frame["is_query"].to_list() == [None, True, False]
    assert table.frame["is_gallery"].to_list() == [None, False, True]
    assert table.frame["identity"].to_list() == table.frame["label"].to_list() == ["3", "4", "5"]
    assert table.frame["category"].to_list() == ["cats", "dogs", "dogs"]
    assert "x_1" in table.notes[0]
    assert not table.problems


def test_an_empty_identity_stays_missing_where_the_column_exists(tmp_path):
    table = read_table(csv(tmp_path, "image,label,identity\na.png,cat,\nb.png,cat,tom\n"))
    assert table.frame["identity"].to_list() == [None, "tom"]


def test_columns_always_come_with_the_same_names_and_types(tmp_path):
    frame = read_table(csv(tmp_path, "image\na.png\n")).frame
    assert dict(frame.schema) == {
        "row": pl.Int64,
        **dict.fromkeys(("image", "label", "identity", "mask", "split"), pl.String),
        **dict.fromkeys(("is_query", "is_gallery"), pl.Boolean),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("image,label\n", "no rows"),
        ("image,label\n,\n", "no rows"),
        ("file,label\na.png,x\n", "no image column (its columns: file, label)"),
        ("Image,label\na.png,x\n", "rename 'Image' to 'image'"),
        ("image,label,label\na.png,x,y\n", "two columns called 'label'"),
        ("image,label\na.png,x,y,z\n", "cannot be read as a table"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_name_with_the_reason(tmp_path, text, words):
    path = csv(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"neither \.csv nor \.parquet"):
        read_table(csv(tmp_path, "x", "items.xlsx"))
    with pytest.raises(InputError, match="cannot be read as a table"):
        read_table(csv(tmp_path, "not parquet", "items.parquet"))
    with pytest.raises(InputError, match="UTF-8"):
        read_table(csv(tmp_path, "image\na.png\n", encoding="utf-16"))


# --- checking --------------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path):
    """A table with each of the five classic mistakes, one a row, and its sound rows."""
    lines = ["image,mask,label,identity,split,is_query"]
    for identity in ("tom", "rex", "kim", "ada"):
        for number in range(2):
            name = f"{identity}{number}"
            write_image(tmp_path / f"{name}.png")
            write_mask(tmp_path / "masks" / f"{name}.png")
            split = {"tom": "train", "rex": "train", "kim": "val", "ada": "test"}[identity]
            lines.append(f"{name}.png,masks/{name}.png,pet,{identity},{split},")
    write_image(tmp_path / "whole.jpg", (64, 64))
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-400])
    write_image(tmp_path / "small.png")
    write_mask(tmp_path / "masks" / "large.png", (13, 10))
    write_image(tmp_path / "lonely.png")
    write_image(tmp_path / "odd.png")
    lines += [
        "gone.png,,pet,tom,train,",
        "cut.jpg,,pet,tom,train,",
        "small.png,masks/large.png,pet,tom,train,",
        "lonely.png,,pet,eva,train,",
        "odd.png,,pet,tom,foo,maybe",
    ]
    return csv(tmp_path, "\n".join(lines) + "\n")


def test_every_problem_is_listed_at_once_with_row_column_and_remedy(broken):
    problems = check_table(read_table(broken))
    assert [(p.row, p.column) for p in problems] == [
        (10, "image"),
        (11, "image"),
        (12, "mask"),
        (13, "identity"),
        (14, "split"),
        (14, "is_query"),
    ]
    said = [str(p) for p in problems]
    for line, words in zip(said, ["gone.png does not exist", "cut.jpg cannot be read", "13 x 10", "'eva'", "'foo'"]):
        assert line.startswith(f"{broken}, row ")
        assert words in line
    assert "12 x 10" in said[2]
    assert "no positive pair" in said[3]
    assert "train, val, test" in said[4]
    assert "true or false" in said[5]
    assert all(p.remedy for p in problems)


def test_a_data_error_has_one_line_a_problem_and_sums_up_a_flood(broken):
    problems = check_table(read_table(broken))
    error = DataError(problems)
    assert isinstance(error, InputError)
    assert str(error).splitlines() == [str(p) for p in problems]
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.problems, str(copy)) == (problems, str(error))
    flood = str(DataError(problems * 100)).splitlines()
    assert len(flood) == 101
    assert flood[-1].startswith("and 500 more (")


def test_what_is_not_trained_on_is_not_asked_for(broken):
    problems = check_table(read_table(broken), masks=False, identities=False)
    assert {p.column for p in problems} == {"image", "split", "is_query"}


def test_a_sound_table_has_no_problems_and_progress_is_told(tmp_path):
    lines = ["image,mask,label"]
    for number in range(4):
        write_image(tmp_path / f"{number}.jpg")
        write_mask(tmp_path / f"{number}.png", ids=(0, 1, 2, 255))
        lines.append(f"{number}.jpg,{number}.png,{number % 2}")
    table = read_table(csv(tmp_path, "\n".join(lines)))
    told = []
    assert check_table(table, mask_ids=3, progress=lambda done, total: told.append((done, total))) == []
    assert told[-1] == (4, 4)
    assert mask_ids(table) == (0, 1, 2)


def test_mask_ids_beyond_the_expected_are_found_and_255_is_never_one(tmp_path):
    write_image(tmp_path / "a.png")
    write_mask(tmp_path / "m.png", ids=(0, 1, 3, 255))
    table = read_table(csv(tmp_path, "image,mask\na.png,m.png\n"))
    assert check_table(table, mask_ids=4) == []
    (problem,) = check_table(table, mask_ids=3)
    assert "the id 3, but ids go from 0 to 2" in problem.problem


def test_masks_of_nothing_but_0_and_255_are_told_to_have_no_foreground(tmp_path):
    for name in "ab":
        write_image(tmp_path / f"{name}.png")
        write_mask(tmp_path / f"{name}-mask.png", ids=(0, 255))
    path = csv(tmp_path, "image,mask\na.png,a-mask.png\nb.png,b-mask.png\n")
    (problem,) = check_table(read_table(path))
    assert "255 means ignore" in problem.problem
    assert problem.remedy == "write the foreground as 1"
    write_mask(tmp_path / "b-mask.png", ids=(0, 1))
    assert check_table(read_table(path)) == []


def test_masks_that_are_no_masks_are_found(tmp_path):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png", value=3)
    (tmp_path / "text.png").write_text("no picture")
    write_image(tmp_path / "colour.png", value=5)
    problems = check_table(read_table(csv(tmp_path, "image,mask\na.png,text.png\nb.png,colour.png\n")))
    assert [(p.row, p.column) for p in problems] == [(2, "mask"), (3, "mask")]
    assert "colour picture" in problems[1].problem


def test_an_image_listed_twice_is_found(tmp_path):
    write_image(tmp_path / "a.png")
    problems = check_table(read_table(csv(tmp_path, "image,label\na.png,x\n./a.png,x\n")))
    assert [(p.row, p.column) for p in problems] == [(3, "image")]
    assert "row 2" in problems[0].problem


def test_empty_images_and_half_empty_splits_are_found(tmp_path):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png", value=2)
    problems = check_table(read_table(csv(tmp_path, "image,label,split\na.png,x,train\n,x,train\nb.png,x,\n")))
    assert [(p.row, p.column) for p in problems] == [(3, "image"), (4, "split")]


def test_a_truncated_file_is_found_in_every_format(tmp_path):
    lines = ["image"]
    for suffix in ("jpg", "png", "bmp", "tif", "webp", "gif"):
        write_image(tmp_path / f"whole.{suffix}", (64, 48))
        content = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(content[: len(content) * 2 // 3])
        lines += [f"whole.{suffix}", f"cut.{suffix}"]
    problems = check_table(read_table(csv(tmp_path, "\n".join(lines))))
    assert [p.row for p in problems] == [3, 5, 7, 9, 11, 13]


def test_a_turned_photograph_is_compared_with_its_mask_as_it_is_seen(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "turned.jpg", exif=exif)
    write_mask(tmp_path / "upright.png", (10, 20))
    assert check_table(read_table(csv(tmp_path, "image,mask\nturned.jpg,upright.png\n"))) == []


def test_eth80_is_sound():
    table = read_table(shared_data("eth80") / "items.csv")
    assert len(table.frame) == 2624
    assert check_table(table, mask_ids=2) == []
    assert mask_ids(table) == (0, 1)
    assert table.is_open_set
    assert {s: len(table.part(s)) for s in ("train", "val", "test")} == {"train": 1640, "val": 328, "test": 656}


# --- splitting -------------------------------------------------------------------------------------------------------


def counts(table: ItemTable, column="identity"):
    grouped = table.frame.group_by("split").agg(pl.col(column).n_unique())
    return dict(grouped.rows())


@pytest.mark.parametrize("seed", range(5))
def test_open_set_identities_never_cross_and_classes_are_shared_out_evenly(seed):
    identities = [f"{c}{i:02d}" for c in "abcd" for i in range(20) for _ in range(3)]
    table = assign_splits(frame_of(identities, [name[0] for name in identities]), seed=seed)
    assert table.is_open_set
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
        assert table.is_open_set
        assert "were taken for it" in table.notes[0]
    only_train = complete_splits(frame_of(identities, split=["train"] * 40))
    assert counts(only_train) == {"train": 16, "val": 2, "test": 2}
    whole = frame_of(identities, split=["train"] * 20 + ["val"] * 10 + ["test"] * 10)
    assert complete_splits(whole).frame.equals(whole.frame)
    with pytest.raises(DataError, match="no row has the split train"):
        complete_splits(frame_of(identities, split=["test"] * 40))
