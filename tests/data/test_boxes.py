"""Boxes: a part of an image by pixels, and the columns that hold them."""

import numpy as np
import polars as pl
import pytest

from triune.data.boxes import BOX_COLUMNS, Box, boxes_of, outside, with_box_columns, without_boxes

FRAME = pl.DataFrame({"image": ["a", "b"], "x_1": [2, None], "y_1": [0, None], "x_2": [5, None], "y_2": [7, None]})


def test_a_box_is_columns_from_left_to_before_right_and_rows_from_top_to_before_bottom():
    pixels = np.arange(80).reshape(8, 10)
    box = Box(2, 1, 5, 7)
    assert box.size == (6, 3)
    assert pixels[box.place].tolist() == [[10 * row + column for column in (2, 3, 4)] for row in range(1, 7)]


def test_an_item_without_a_box_is_a_whole_image():
    assert boxes_of(FRAME) == [Box(2, 0, 5, 7), None]
    assert boxes_of(FRAME.select("image")) == [None, None]
    assert without_boxes(FRAME).columns == ["image"]
    assert without_boxes(FRAME.select("image")).columns == ["image"]


def test_columns_are_added_where_a_table_has_none():
    added = with_box_columns(FRAME.select("image"))
    assert added.columns == ["image", *BOX_COLUMNS]
    assert added["x_1"].to_list() == [None, None]
    assert with_box_columns(FRAME).equals(FRAME)


@pytest.mark.parametrize(
    ("box", "column"),
    [
        ((0, 0, 10, 8), None),
        ((9, 7, 10, 8), None),
        ((0, 0, 11, 8), "x_2"),
        ((3, 3, 4, 9), "y_2"),
        ((20, 2, 30, 4), "x_2"),
    ],
)
def test_a_box_must_lie_within_its_image(box, column):
    found = outside(Box(*box), (8, 10))
    if column is None:
        assert found is None
    else:
        assert found[0] == column
        assert "10 x 8 pixels" in found[1]
