"""Tables among a run's files: what was written is read back, and what is not one is refused in one line."""

import polars
import pytest

from triune.errors import InputError
from triune.run.columns import read_csv, read_parquet, write_csv, write_parquet

SCHEMA = {"row": polars.Int64, "name": polars.String, "rate": polars.Float64}


def frame():
    return polars.DataFrame({"rate": [0.1, None], "extra": [1, 2], "row": [7, 8], "name": ["007", "ä,b"]})


def test_a_csv_has_the_columns_of_its_schema_in_their_order_and_is_read_back(tmp_path):
    path = tmp_path / "new" / "t.csv"
    write_csv(path, frame(), SCHEMA)
    assert path.read_text() == 'row,name,rate\n7,007,0.1\n8,"ä,b",\n'
    assert read_csv(path, SCHEMA, required=3).equals(frame().select("row", "name", "rate"))


def test_a_parquet_file_likewise_with_its_types(tmp_path):
    path = tmp_path / "new" / "t.parquet"
    write_parquet(path, frame().cast({"row": polars.Int32}), SCHEMA)
    assert polars.read_parquet_schema(path) == SCHEMA
    assert read_parquet(path, SCHEMA).equals(frame().select("row", "name", "rate"))


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_a_table_that_lacks_a_column_leaves_the_old_file_and_no_other(tmp_path, write):
    path = tmp_path / "t"
    path.write_text("old")
    with pytest.raises(polars.exceptions.ColumnNotFoundError):
        write(path, frame().drop("row"), SCHEMA)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["t"]


def test_columns_that_need_not_be_there_are_null_and_others_are_passed_over(tmp_path):
    (tmp_path / "t.csv").write_text("name,row,more\nx,3,4\n")
    read = read_csv(tmp_path / "t.csv", SCHEMA, required=2)
    assert read.to_dict(as_series=False) == {"row": [3], "name": ["x"], "rate": [None]}
    assert dict(read.schema) == SCHEMA


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("row,name\n1,x\n", "t.csv is damaged or another file: it has no column rate"),
        ("row,name,rate\n1,x,2\n1.5,x,2\n", "t.csv row 3, column row: '1.5' is not a whole number"),
        ("row,name,rate\n1,x,high\n", "t.csv row 2, column rate: 'high' is not a number"),
        ("", "t.csv is damaged or another file: "),
        (None, "t.csv does not exist: name a run folder that `triune train` finished"),
    ],
)
def test_damage_of_a_csv_is_one_line_that_names_row_and_column(tmp_path, text, says):
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError) as raised:
        read_csv(tmp_path / "t.csv", SCHEMA, required=3)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"row": [1], "name": ["x"]}, "t.parquet is damaged or another file: it has no column rate"),
        ({"row": ["1"], "name": ["x"], "rate": [0.5]}, "t.parquet, column row: it holds String, not Int64"),
    ],
)
def test_damage_of_a_parquet_file_names_the_column(tmp_path, columns, says):
    polars.DataFrame(columns).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError) as raised:
        read_parquet(tmp_path / "t.parquet", SCHEMA)
    assert says in str(raised.value)


def test_columns_that_came_later_are_null_in_a_file_that_lacks_them_and_kept_in_one_that_has_them(tmp_path):
    later = {"x": polars.Int64}
    write_parquet(tmp_path / "old.parquet", polars.DataFrame({"a": [1, 2]}), {"a": polars.Int64})
    old = read_parquet(tmp_path / "old.parquet", {"a": polars.Int64}, later)
    assert old.to_dict(as_series=False) == {"a": [1, 2], "x": [None, None]}
    assert old.schema["x"] == polars.Int64
    write_parquet(tmp_path / "new.parquet", polars.DataFrame({"a": [1], "x": [7]}), {"a": polars.Int64, **later})
    assert read_parquet(tmp_path / "new.parquet", {"a": polars.Int64}, later)["x"].to_list() == [7]
    polars.DataFrame({"a": [1], "x": ["seven"]}).write_parquet(tmp_path / "odd.parquet")
    with pytest.raises(InputError, match="column x: it holds String, not Int64"):
        read_parquet(tmp_path / "odd.parquet", {"a": polars.Int64}, later)
