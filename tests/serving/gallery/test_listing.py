"""Every image once, with its cells in the types that were asked for."""

import datetime
import re

import numpy as np
import polars as pl
import pytest
from PIL import Image

from triune.data.boxes import Box
from triune.data.problems import DataError
from triune.errors import InputError
from triune.serving.gallery.listing import Naming, listed


def test_a_table_brings_all_its_columns_and_a_csv_s_cells_are_text(table):
    listing = listed(table)
    assert listing.known == ["label", "identity", "price", "note"]
    assert listing.frame["price"].to_list()[:3] == ["0", "5", "10"]
    assert [each.source for each in listing.pictures] == listing.frame["image"].to_list()
    assert (listing.frame["file_bytes"] > 0).all()


@pytest.mark.parametrize(
    ("kind", "values"),
    [("float", [0.0, 5.0]), ("int", [0, 5]), ("text", ["0", "5"])],
)
def test_a_column_has_the_type_that_was_asked_for(table, kind, values):
    assert listed(table, Naming(types={"price": kind})).frame["price"].to_list()[:2] == values


@pytest.mark.parametrize(
    ("cells", "kind", "named"),
    [
        (["1", "x"], "float", "row 3, column price: 'x' is no float"),
        (["1.5", "2"], "int", "row 2, column price: '1.5' is no int"),
        (["maybe", "no"], "bool", "'maybe' is no bool"),
        (["1", "2"], "number", "price=number: the types are text, int, float, bool"),
    ],
)
def test_a_cell_that_is_not_of_its_type_is_named_with_its_row(tmp_path, cells, kind, named):
    path = tmp_path / "t.csv"
    path.write_text("image,price\n" + "".join(f"{k}.png,{cell}\n" for k, cell in enumerate(cells)))
    with pytest.raises((InputError, DataError), match=named):
        listed(path, Naming(types={"price": kind}))


def test_an_empty_cell_is_empty_in_every_type(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("image,a,b,c\n0.png,,,\n1.png,2,3,yes\n")
    frame = listed(path, Naming(types={"a": "int", "b": "float", "c": "bool"})).frame
    assert frame.select("a", "b", "c").rows() == [(None, None, None), (2, 3.0, True)]


def test_parquet_keeps_its_types(tmp_path):
    days = [datetime.date(2024, 1, 1), None]
    frame = pl.DataFrame(
        {"image": ["a.png", "b.png"], "n": [1, None], "x": [0.5, 1.5], "day": days, "ok": [True, False]}
    )
    frame = frame.with_columns(pl.col("n").cast(pl.Int16), pl.Series("kind", ["u", "v"], pl.Categorical))
    frame.write_parquet(tmp_path / "t.parquet")
    found = listed(tmp_path / "t.parquet").frame.select("n", "x", "day", "ok", "kind")
    assert found.dtypes == [pl.Int64, pl.Float64, pl.Date, pl.Boolean, pl.String]
    assert found.rows() == [(1, 0.5, days[0], True, "u"), (None, 1.5, None, False, "v")]


def test_a_type_of_a_column_that_is_not_there_is_refused(table):
    with pytest.raises(InputError, match="--types speaks of a column 'cost', but there is none: the columns are image"):
        listed(table, Naming(types={"cost": "float"}))


@pytest.mark.parametrize("name", ["embedding", "score", "thumbnail", "file_time", "_rowid"])
def test_a_column_that_a_gallery_keeps_for_itself_is_refused(tmp_path, name):
    (tmp_path / "t.csv").write_text(f"image,{name}\na.png,1\n")
    with pytest.raises(InputError, match=name):
        listed(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["*", "^a.*$", "a.b", "a`b"])
def test_a_name_that_would_stand_for_others_is_refused_by_name(tmp_path, name):
    (tmp_path / "t.csv").write_text(f"image,{name}\na.png,1\n")
    with pytest.raises(InputError, match=re.escape(f"has a column {name!r}: ")):
        listed(tmp_path / "t.csv")


def test_one_image_is_listed_once_and_different_cells_for_it_are_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("image,label\na.png,x\nb.png,y\na.png,x\n")
    assert listed(path).frame["label"].to_list() == ["x", "y"]
    path.write_text("image,label\na.png,x\nb.png,y\n./a.png,z\n")
    with pytest.raises(InputError, match=r"a\.png is listed twice with different cells of label"):
        listed(path)


def test_folders_and_words_say_what_all_images_are(table):
    frame = listed(table.parent, Naming(identity="bob", folder_is="label")).frame
    assert frame.select("label", "identity").unique().sort("label").rows() == [
        ("car", "bob"),
        ("cup", "bob"),
        ("dog", "bob"),
    ]
    with pytest.raises(InputError, match="--label x and --folder_is label"):
        listed(table.parent, Naming(label="x", folder_is="label"))


def test_tables_files_and_images_in_memory_may_be_mixed(table, tmp_path):
    image = Image.fromarray(np.zeros((4, 5, 3), np.uint8))
    lone = tmp_path / "lone.png"
    image.save(lone)
    listing = listed([str(lone), image, table, table.parent / "cup"])
    names = listing.frame["image"].to_list()
    assert len(names) == len(set(names)) == 14
    assert names[0] == str(lone)
    assert names[1].startswith("image ")
    assert listing.pictures[1].source is image
    # What the table says of an image holds where the folder gives it again.
    assert listing.frame["note"].null_count() == 2


def test_a_whole_number_beyond_what_a_gallery_takes_is_named_and_may_be_text(table):
    path = table.parent / "big.parquet"
    pl.DataFrame({"image": ["cup/00.png", "dog/01.png"], "code": pl.Series([1, 2**63], dtype=pl.UInt64)}).write_parquet(
        path
    )
    with pytest.raises(DataError, match=f"row 2, column code: {2**63} .*--types code=text"):
        listed(path)
    assert listed(path, Naming(types={"code": "text"})).frame["code"].to_list() == ["1", str(2**63)]


def test_the_boxes_of_a_table_are_columns_and_the_part_that_is_embedded(tmp_path):
    (tmp_path / "t.csv").write_text("image,x_1,y_1,x_2,y_2\na.png,1,2,8,9\nb.png,,,,\n")
    found = listed(tmp_path / "t.csv")
    assert [each.box for each in found.pictures] == [Box(1, 2, 8, 9), None]
    assert found.frame["x_2"].to_list() == [8, None]
    (tmp_path / "t.csv").write_text("image,x_1,y_1,x_2,y_2\na.png,,,,\n")
    assert "x_1" not in listed(tmp_path / "t.csv").frame.columns
    (tmp_path / "t.csv").write_text("image,x_1,y_1,x_2,y_2\na.png,,,,\na.png,1,2,8,9\n")
    (once,) = listed(tmp_path / "t.csv").pictures
    assert once.box == Box(1, 2, 8, 9), "as the row says"
    (tmp_path / "t.csv").write_text("image,x_1,y_1,x_2,y_2\na.png,1,2,8,9\na.png,2,2,8,9\n")
    with pytest.raises(InputError, match="listed twice with different cells of x_1: a gallery has one row an image"):
        listed(tmp_path / "t.csv")
