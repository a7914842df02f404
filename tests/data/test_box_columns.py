"""Boxes read from tables: whole pixels or a problem that names row and column."""

import polars as pl
import pytest

from triune.data.box_columns import box_columns, has_boxes
from triune.data.boxes import BOX_COLUMNS, Box, boxes_of
from triune.data.items import from_frame
from triune.errors import InputError


def read(*cells, kind=pl.String):
    frame = pl.DataFrame([pl.Series(name, column, kind) for name, column in zip(BOX_COLUMNS, zip(*cells))])
    columns, problems = box_columns(frame, range(2, 2 + len(cells)), "t.csv")
    return boxes_of(pl.DataFrame(columns)), problems


@pytest.mark.parametrize("kind", [pl.String, pl.Float64])
def test_whole_numbers_are_read_however_they_are_written_and_nothing_is_no_box(kind):
    empty = (None,) * 4
    cells = [("1", "2", "3", "4"), ("1.0", "2.0", "30.0", "4.0"), empty, ("nan",) * 4]
    if kind == pl.Float64:
        cells = [tuple(None if cell is None else float(cell) for cell in row) for row in cells]
    assert read(*cells, kind=kind) == ([Box(1, 2, 3, 4), Box(1, 2, 30, 4), None, None], [])


@pytest.mark.parametrize(
    ("cells", "column", "says"),
    [
        (("1", "2", "1", "4"), "x_2", "the box is empty: its right edge x_2 is 1, and x_1 is 1"),
        (("1", "4", "2", "3"), "y_2", "the box is empty: its bottom edge y_2 is 3, and y_1 is 4"),
        (("-1", "2", "3", "4"), "x_1", "'-1' is no whole number of pixels from 0 on"),
        (("1", "2.5", "3", "4"), "y_1", "'2.5' is no whole number"),
        (("1", "2", "wide", "4"), "x_2", "'wide' is no whole number"),
        (("1", "2", "inf", "4"), "x_2", "'inf' is no whole number"),
        (("1", "2", "1e30", "4"), "x_2", "'1e30' is no whole number"),
        (("1", "2", "3", None), "y_2", "the box has no such side"),
        ((None, None, "3", None), "x_1", "the box has no such side"),
    ],
)
def test_what_is_no_box_is_a_problem_of_its_row_and_column(cells, column, says):
    boxes, (problem,) = read(("0", "0", "5", "5"), cells)
    assert boxes == [Box(0, 0, 5, 5), None]
    assert (problem.row, problem.column) == (3, column)
    assert says in problem.problem
    assert problem.remedy


def test_a_table_has_all_four_columns_or_none():
    assert not has_boxes(["image", "x"], "t.csv")
    assert has_boxes(["y_2", "x_1", "image", "x_2", "y_1"], "t.csv")
    with pytest.raises(InputError, match=r"t\.csv has a column 'x_1' but none called 'y_2': a box needs"):
        has_boxes(["x_1", "y_1", "x_2"], "t.csv")
    with pytest.raises(InputError, match="a column 'y_1' but none called 'x_1'"):
        from_frame(pl.DataFrame({"image": ["a.png"], "Y_1": [3]}), source="t.csv")
