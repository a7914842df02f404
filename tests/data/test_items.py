"""The table of items: its columns as people write them, paths, rows and what is told of wrong cells."""

import polars as pl
import pytest

from made_items import csv
from triune.data.boxes import Box, boxes_of
from triune.data.items import read_table
from triune.errors import InputError
from triune.names import MISSING_WORDS


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


def test_columns_whose_names_polars_would_take_for_several_are_read_as_they_are(tmp_path):
    (tmp_path / "t.csv").write_text("image,*,^i.*$\na,1,2\nb,3,4\n")
    table = read_table(tmp_path / "t.csv").frame
    assert (table["*"].to_list(), table["^i.*$"].to_list()) == (["1", "3"], ["2", "4"])


def test_open_metric_learning_tables_are_read_as_they_are(tmp_path):
    text = (
        "label,path,split,is_query,is_gallery,category,x_1,x_2,y_1,y_2\n"
        "3,a.png,train,,,cats,0,7,2,9\n4,b.png,validation,True,False,dogs,,,,\n5,c.png,validation,0,1,dogs,0,1,0,1\n"
    )
    table = read_table(csv(tmp_path, text))
    assert table.frame["split"].to_list() == ["train", "val", "val"]
    assert table.frame["is_query"].to_list() == [None, True, False]
    assert table.frame["is_gallery"].to_list() == [None, False, True]
    assert table.frame["identity"].to_list() == table.frame["label"].to_list() == ["3", "4", "5"]
    assert table.frame["category"].to_list() == ["cats", "dogs", "dogs"]
    assert boxes_of(table.frame) == [Box(left=0, top=2, right=7, bottom=9), None, Box(0, 0, 1, 1)]
    assert not any("x_1" in note for note in table.notes)
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
        ("file,label\na.png,x\n", "has no column 'image' (its columns: file, label): name the column of image paths"),
        ("imgae,label\na.png,x\n", "has no column 'image' (its columns: imgae, label): rename 'imgae' to 'image'"),
        ("image,label,label\na.png,x,y\n", "two columns called 'label'"),
        ("image,label\na.png,x,y,z\n", "row 2: it has 4 cells, but the header has 2"),
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


@pytest.mark.parametrize(
    ("column", "known", "value"),
    [("Identity", "identity", "z"), ("SPLIT", "split", "train"), (" Mask", "mask", "m.png"), ("Label ", "label", "z")],
)
def test_columns_are_found_whatever_their_capitals(tmp_path, column, known, value):
    table = read_table(csv(tmp_path, f"Image,{column}\na.png,{value}\n"))
    assert str(table.frame[known][0]).endswith(value)


def test_a_column_that_looks_misspelt_is_refused_rather_than_passed_over(tmp_path):
    with pytest.raises(InputError, match="'masks' but none called 'mask'"):
        read_table(csv(tmp_path, "image,label,masks\na.png,x,m.png\n"))


def test_a_column_called_row_is_the_users_and_the_lines_are_ours(tmp_path):
    table = read_table(csv(tmp_path, "row,image,row_,label\n9,a.png,8,x\n7,b.png,6,x\n"))
    assert table.frame["row"].to_list() == [2, 3]
    assert table.frame["row__"].to_list() == ["9", "7"]
    assert table.frame["row_"].to_list() == ["8", "6"]
    pl.DataFrame({"row": [5], "image": ["a.png"]}).write_parquet(tmp_path / "t.parquet")
    frame = read_table(tmp_path / "t.parquet").frame
    assert (frame["row"].to_list(), frame["row_"].to_list()) == ([1], [5])


def test_lists_in_a_column_that_is_used_are_told(tmp_path):
    lists = pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2))
    pl.DataFrame({"image": ["a.png"], "label": lists}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="column label: it holds"):
        read_table(tmp_path / "t.parquet")


def test_words_for_missing_values_mean_not_known_and_that_is_said(tmp_path):
    table = read_table(
        csv(tmp_path, "image,label,identity\na.png,None,x\nb.png,cat,NaN\nc.png,cat,NA\nd.png,none,nan\n")
    )
    assert table.frame["label"].to_list() == [None, "cat", "cat", "none"]
    assert table.frame["identity"].to_list() == ["x", None, None, None]
    assert [note.split(": ", 1)[1] for note in table.notes] == [
        "1 cells of the column label say None: taken as not known",
        "3 cells of the column identity say NA, NaN, nan: taken as not known",
    ]


def test_composed_and_decomposed_names_are_one_identity(tmp_path):
    table = read_table(csv(tmp_path, "image,label\na.png,caf\u00e9\nb.png,cafe\u0301\n"))
    assert table.frame["label"].n_unique() == 1


def test_every_row_with_a_cell_too_many_is_a_problem_of_its_own(tmp_path):
    table = read_table(csv(tmp_path, "image,label\na.png,x\nb.png,x,y\nc.png\nd.png,x\n"))
    assert [problem.row for problem in table.problems] == [3, 4]
    assert table.frame["row"].to_list() == [2, 5]


def test_yes_and_no_are_said_as_everywhere(tmp_path):
    table = read_table(csv(tmp_path, "image,is_query\na.png,Y\nb.png,1.0\nc.png,F\nd.png,maybe\n"))
    assert table.frame["is_query"].to_list() == [True, True, False, None]
    assert [(p.row, p.column) for p in table.problems] == [(5, "is_query")]


def test_characters_that_are_not_seen_are_said(tmp_path):
    table = read_table(csv(tmp_path, "image,label\na.png,An\u200bna\nb.png,Anna Maria\nc.png,An\u200bna\n"))
    note = f"{tmp_path / 'items.csv'}: 2 cells of the column label hold characters that are not seen ('An\\u200bna')"
    assert table.notes == (note,)
    assert read_table(csv(tmp_path, "image,label\na.png,Zo\u00eb\n")).notes == ()


def test_every_word_for_a_missing_label_is_not_known(tmp_path):
    words = sorted(MISSING_WORDS - {""})
    lines = [f"{place}.png,{word}" for place, word in enumerate([*words, "x"])]
    table = read_table(csv(tmp_path, "\n".join(["image,label", *lines])))
    assert table.frame["label"].to_list() == [None] * len(words) + ["x"]
    assert f"{len(words)} cells of the column label say" in table.notes[0]


def test_columns_that_may_be_meant_for_those_that_are_not_there_are_named(tmp_path):
    text = "image,label,person_id,fold\na.png,x,p1,train\nb.png,y,p2,test\n"
    said = "no column split: one is made (columns not used: person_id, fold)"
    assert any(said in note for note in read_table(csv(tmp_path, text)).notes)
    assert not read_table(csv(tmp_path, "image,label\na.png,x\n")).notes
    known = "image,label,identity,split,camera\na.png,x,p1,train,c\n"
    assert not read_table(csv(tmp_path, known)).notes
