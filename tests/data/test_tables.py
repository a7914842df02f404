"""The reader of every table and list: what is in the file comes out, and what is wrong is told by its line."""

import datetime
import os
import tracemalloc

import numpy as np
import polars as pl
import pytest

from triune.data.columns import MOST_COLUMNS, Columns
from triune.data.problems import DataError
from triune.data.tables import MOST_BYTES, YES_NO, as_text, read_cells, read_lines, read_text
from triune.errors import InputError


def write(folder, text, name="t.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# What type inference would change, drop or merge.
LOOK_ALIKE = ["007", "7", "1e5", "100000", "1.10", "1.1", "+1", "1", "inf", "Infinity", "NaN", "NA", "None", "null"]
LOOK_ALIKE += ["12345678901234567890", "12345678901234567891", "true", "True", "2024-01-01", "0x10", "1_000", "-0"]


def test_cells_are_what_is_written_whatever_they_look_like(tmp_path):
    table = read_cells(write(tmp_path, "name,n\n" + "".join(f"{cell},1\n" for cell in LOOK_ALIKE)))
    assert table.words("name") == LOOK_ALIKE


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("last", [True, False])
def test_separators_line_ends_and_byte_order_marks_change_nothing(tmp_path, separator, end, mark, last):
    lines = ["a,b", " x , y z ", '"p,q;r\ts",""']
    text = mark + end.join(lines).replace(",", separator).replace(f"p{separator}q", "p,q") + (end if last else "")
    table = read_cells(write(tmp_path, text))
    assert table.text("a") == ["x", "p,q;r\ts"]
    assert table.text("b") == ["y z", None]
    assert table.lines == (2, 3)


def test_the_separator_is_the_one_that_finds_the_known_columns(tmp_path):
    path = write(tmp_path, "first;second;match, yes or no, of these, or those\na;b;1\n")
    with pytest.raises(InputError):
        read_cells(path, Columns(("first", "second"), ("match",)))
    assert read_cells(path, Columns(("first", "second"))).words("second") == ["b"]
    assert read_cells(write(tmp_path, '"x,y,z";b\n1;2\n')).frame.columns == ["x,y,z", "b"]
    assert read_cells(write(tmp_path, "alone\n1;2,3\n".replace(",3", ""))).words("alone") == ["1;2"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_are_lines_of_the_file_behind_quoted_line_breaks_and_blank_lines(tmp_path, end):
    text = end.join(['a,"b', 'c"', "1,x", "", '2,"y', "", 'z"', " , ", "3,w", "", ""])
    table = read_cells(write(tmp_path, text))
    assert table.lines == (3, 5, 9)
    assert table.text("a") == ["1", "2", "3"]


def test_a_row_with_another_number_of_cells_is_a_problem_with_its_line(tmp_path):
    table = read_cells(write(tmp_path, 'a,b\n1,2\n"x\ny",2,3\n4\n5,6\n'))
    assert table.text("a") == ["1", "5"]
    assert [(p.row, p.problem) for p in table.problems] == [
        (3, "it has 3 cells, but the header has 2"),
        (5, "it has 1 cells, but the header has 2"),
    ]


def test_a_quote_that_is_never_closed_is_told_by_the_line_where_it_opens(tmp_path):
    with pytest.raises(InputError, match="row 3: it is no CSV from here on"):
        read_cells(write(tmp_path, 'a,b\n1,2\n3,"4\n5,6\n'))


def test_blank_rows_are_cells_where_rows_belong_to_another_file(tmp_path):
    path = write(tmp_path, "group\nx\n\ny\n\n")
    assert read_cells(path).lines == (2, 4)
    table = read_cells(path, aligned=True)
    assert (table.lines, table.text("group")) == ((2, 3, 4), ["x", None, "y"])
    with pytest.raises(DataError, match="row 3, column group: empty"):
        table.words("group")


@pytest.mark.parametrize("name", ["Identity", "IDENTITY", " identity ", "ıdentity".replace("ı", "i"), "\u00a0Identity"])
def test_known_columns_are_found_whatever_their_capitals_and_spaces(tmp_path, name):
    table = read_cells(write(tmp_path, f"Camera,{name}\nleft,z\n"), Columns(("identity",)))
    assert table.frame.columns == ["Camera", "identity"]
    assert table.words("identity") == ["z"]


def test_columns_without_a_name_are_dropped_if_empty_and_numbered_else(tmp_path):
    assert read_cells(write(tmp_path, "a,b,,\n1,2,,\n")).frame.columns == ["a", "b"]
    assert read_cells(write(tmp_path, ",a\n0,x\n1,y\n")).frame.columns == ["column 1", "a"]


def test_a_path_is_a_path_and_never_a_pattern(tmp_path):
    write(tmp_path, "a\nwrong\n", "t1.csv")
    write(tmp_path, "a\nright\n", "t[1].csv")
    assert read_cells(tmp_path / "t[1].csv").words("a") == ["right"]
    pl.DataFrame({"a": ["wrong"]}).write_parquet(tmp_path / "t1.parquet")
    pl.DataFrame({"a": ["right"]}).write_parquet(tmp_path / "u.parquet")
    (tmp_path / "u.parquet").rename(tmp_path / "t[1].parquet")
    assert read_cells(tmp_path / "t[1].parquet").words("a") == ["right"]
    with pytest.raises(InputError, match="does not exist"):
        read_cells(tmp_path / "t*.csv")


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("", "t.csv", "is empty"),
        ("\n\n \n", "t.csv", "is empty"),
        (b"\xff\xd8\xff\xe0", "t.csv", "not UTF-8 text"),
        ("a,b\n1,2\n".encode("utf-16"), "t.csv", "not UTF-8 text"),
        ("a,b\n1,2\n".encode("utf-16-le"), "t.csv", "not UTF-8 text"),
        ("PK", "t.xlsx", "neither .csv nor .parquet"),
        ("a,b\n1,2\n", "t.parquet", "cannot be read as a table"),
        (",".join(f"c{i}" for i in range(MOST_COLUMNS + 1)), "t.csv", f"{MOST_COLUMNS + 1} columns"),
    ],
)
def test_what_is_no_table_is_told_in_one_line(tmp_path, content, name, words):
    path = write(tmp_path, content, name)
    with pytest.raises(InputError) as caught:
        read_cells(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["none.csv", "none.parquet", ""])
def test_what_is_not_there_or_a_folder_is_told(tmp_path, name):
    with pytest.raises(InputError, match=r"does not exist|cannot be read"):
        read_cells(tmp_path / name)


def test_a_header_alone_has_no_rows(tmp_path):
    table = read_cells(write(tmp_path, "a,b\n"))
    assert (len(table), table.frame.columns) == (0, ["a", "b"])


def test_parquet_keeps_its_types_and_numbers_its_rows_from_one(tmp_path):
    frame = pl.DataFrame({" A ": ["1", None, "  "], "b": [0.5, None, None], "c": [7, None, 8]})
    frame.write_parquet(tmp_path / "t.parquet")
    table = read_cells(tmp_path / "t.parquet", Columns(("a",)))
    assert table.lines == (1, 3)
    assert table.frame.columns == ["a", "b", "c"]
    assert table.frame["b"].dtype == pl.Float64
    assert table.text("c") == ["7", "8"]
    assert table.text("a") == ["1", None]
    assert read_cells(tmp_path / "t.parquet", aligned=True).lines == (1, 2, 3)


@pytest.mark.parametrize("values", [[[1, 2]], [{"x": 1}], [b"x"], pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2))])
def test_cells_of_several_values_are_told_where_one_is_needed(tmp_path, values):
    pl.DataFrame({"a": values}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"column a: it holds .*; one value a cell is needed"):
        read_cells(tmp_path / "t.parquet").words("a")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([7, None, 2**53 + 1], ["7", None, str(2**53 + 1)]),
        ([7.0, None, float("nan")], ["7", None, None]),
        ([7.5, 8.0], ["7.5", "8.0"]),
        ([float("inf"), 1.0], ["inf", "1.0"]),
        ([True, False], ["true", "false"]),
        ([" a ", ""], ["a", None]),
    ],
)
def test_values_become_the_text_that_stands_for_them(values, text):
    assert as_text(pl.Series("x", values), "t").to_list() == text


def test_the_words_for_yes_and_no_are_one_list_for_every_column(tmp_path):
    yes = ["1", "1.0", "true", "True", "TRUE", "t", "yes", "Yes", "y", "Y"]
    no = ["0", "0.0", "false", "False", "f", "no", "NO", "n"]
    assert {word.lower() for word in yes + no} == set(YES_NO)
    flags = read_cells(write(tmp_path, "a\n" + "\n".join(yes + no))).flags("a")
    assert flags.dtype == bool
    assert flags.tolist() == [True] * len(yes) + [False] * len(no)
    with pytest.raises(DataError) as caught:
        read_cells(write(tmp_path, "b,a\n1,yes\n2,ja\n3,\n4,2\n")).flags("a")
    assert [(p.row, p.column, p.problem) for p in caught.value.problems] == [
        (3, "a", "'ja' is neither yes nor no"),
        (4, "a", "empty"),
        (5, "a", "'2' is neither yes nor no"),
    ]


def test_numbers_are_read_where_numbers_are_meant(tmp_path):
    values = read_cells(write(tmp_path, "a\n1\n-0.5\n1e-3\ninf\n007\n")).numbers("a")
    np.testing.assert_array_equal(values, [1, -0.5, 1e-3, np.inf, 7])
    pl.DataFrame({"a": [1, 2]}).write_parquet(tmp_path / "t.parquet")
    np.testing.assert_array_equal(read_cells(tmp_path / "t.parquet").numbers("a"), [1.0, 2.0])
    with pytest.raises(DataError) as caught:
        read_cells(write(tmp_path, "b;a\n1;0,5\n2;nan\n3;\n4;1\n5;x\n")).numbers("a")
    assert [(p.row, p.problem) for p in caught.value.problems] == [
        (2, "'0,5' is not a number (write 0.5)"),
        (3, "'nan' is not a number"),
        (4, "empty"),
        (6, "'x' is not a number"),
    ]


# --- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "entries"),
    [
        ("\ufeffcat\ncat\n", ["cat", "cat"]),
        ("cat\ncat \n", ["cat", "cat"]),
        ("cat\ncat\t\n\n\n", ["cat", "cat"]),
        ("cat\rcat", ["cat", "cat"]),
        ("cat\r\ncat\r\n", ["cat", "cat"]),
        ("a\u2028b\nc\n", ["a\u2028b", "c"]),
        ("a\x0bb\nc\x0cd\ne\x85f", ["a\x0bb", "c\x0cd", "e\x85f"]),
        ("cafe\u0301\ncaf\u00e9\n", ["caf\u00e9", "caf\u00e9"]),
        ("007\n7\n", ["007", "7"]),
        ("", []),
    ],
)
def test_a_list_has_one_entry_a_line(tmp_path, content, entries):
    assert read_lines(write(tmp_path, content, "l.txt")) == entries


def test_missing_entries_are_named_by_their_lines(tmp_path):
    path = write(tmp_path, "a\n\nNaN\n \nb\n", "l.txt")
    with pytest.raises(DataError) as caught:
        read_lines(path)
    assert [problem.row for problem in caught.value.problems] == [2, 4]
    with pytest.raises(DataError) as caught:
        read_lines(path, missing=frozenset({"NaN"}))
    assert [problem.row for problem in caught.value.problems] == [2, 3, 4]


def test_text_is_utf_8_or_an_error_in_one_line(tmp_path):
    assert read_text(write(tmp_path, "\ufeffa\r\nb")) == "a\r\nb"
    for content in (b"\xff", b"a\0b"):
        with pytest.raises(InputError, match="not UTF-8 text"):
            read_text(write(tmp_path, content))


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("c", [1], dtype=pl.Duration("us")),
        pl.Series("c", [b"a"]),
        pl.Series("c", [[1]]),
        pl.Series("c", [[1]], dtype=pl.Array(pl.Int64, 1)),
        pl.Series("c", [{"a": 1}]),
        pl.Series("c", [10**8], dtype=pl.Int32).cast(pl.Date),  # beyond polars' own calendar, where it panics
        pl.Series("c", [-(10**6)], dtype=pl.Int32).cast(pl.Date),
        pl.Series("c", [2**62], dtype=pl.Int64).cast(pl.Datetime("ms")),
        pl.Series("c", [-(2**62)], dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
    ],
)
def test_what_is_no_value_or_no_date_is_told_by_its_column(tmp_path, column):
    pl.DataFrame({"d": ["x"], "c": column}).write_parquet(tmp_path / "t.parquet")
    table = read_cells(tmp_path / "t.parquet")
    assert table.words("d") == ["x"]
    for read in (table.text, table.words, table.flags, table.numbers):
        with pytest.raises(InputError, match=r"t\.parquet, column c:") as refused:
            read("c")
        assert "\n" not in str(refused.value)


def test_types_that_stand_for_one_value_become_text(tmp_path):
    day = datetime.date(2024, 2, 29)
    columns = {
        "date": pl.Series([day, datetime.date.min, datetime.date.max, None]),
        "time": pl.Series([datetime.time(1, 2), datetime.time.min, datetime.time.max, None]),
        "decimal": pl.Series(["1.50", "2.25", "3.00", None]).cast(pl.Decimal(10, 2)),
        "category": pl.Series(["a", "b", "a", None], dtype=pl.Categorical),
        "null": pl.Series([None] * 4),
    }
    pl.DataFrame(columns).write_parquet(tmp_path / "t.parquet")
    table = read_cells(tmp_path / "t.parquet", aligned=True)
    assert table.text("date") == ["2024-02-29", "0001-01-01", "9999-12-31", None]
    assert table.text("time")[0].startswith("01:02:00")
    assert table.text("decimal") == ["1.50", "2.25", "3.00", None]
    assert table.text("category") == ["a", "b", "a", None]
    assert table.text("null") == [None] * 4


def test_a_table_beyond_the_limit_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "t.csv"
    with open(path, "wb") as file:
        file.truncate(MOST_BYTES + 1)  # a hole: it takes no room
    with pytest.raises(InputError, match="larger than 2 GiB"):
        read_cells(path)


def test_a_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    os.mkfifo(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        with pytest.raises(InputError, match="pipe"):
            read_cells(tmp_path / name)


def test_a_small_table_takes_little_memory_whatever_the_limit_is(tmp_path):
    path = write(tmp_path, "a,b\n1,2\n")
    tracemalloc.start()
    try:
        read_cells(path)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()
