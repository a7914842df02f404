"""A condition chooses the rows that SQL would choose; a faulty one is told in one line."""

import polars as pl
import pytest

from triune.errors import InputError
from triune.serving.gallery.filters import matching

FRAME = pl.DataFrame(
    {
        "label": ["cup", "dog", None, "cup", "it's"],
        "price": [5.0, 30.0, 2.0, None, 19.5],
        "code": ["007", "7", "07", "7", None],
        "ripe": [True, False, None, True, False],
    }
)


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("label = 'cup'", [0, 3]),
        ("label = 'cup' and price < 20", [0]),
        ("label = 'cup' or price > 20", [0, 1, 3]),
        ("not label = 'cup'", [1, 4]),
        ("label is null", [2]),
        ("label in ('dog', 'it''s')", [1, 4]),
        ("label like 'c%'", [0, 3]),
        ("price between 2 and 19.5", [0, 2, 4]),
        ("code = '7'", [1, 3]),
        ("code != '--' and code != '/*' and price > - -20", [1]),
        ("label = 'dog'\n", [1]),
        ("ripe", [0, 3]),
        ("(price < 3 or price > 25) and label is not null", [1]),
        ("1 = 1", [0, 1, 2, 3, 4]),
        ("1 = 2", []),
    ],
)
def test_a_condition_chooses_rows_and_empty_cells_meet_none(where, rows):
    assert matching(FRAME, where, "G").tolist() == rows


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ("colour = 'red'", "colour"),
        ("label = = 'cup'", "label = = 'cup'"),
        ("price", "price"),
        ("", "''"),
        ("code < 8", "--types"),
        ("label = 'cup", "'cup"),
        ('label = "dog"', "there is no column 'dog'; text takes single quotes: 'dog'"),
        ("price = '5'", "numbers take no quotes"),
        ("'5' < price and label = 'cup'", "numbers take no quotes"),
        ("price in ('5', '30')", "numbers take no quotes"),
        ("code in (7, 8)", "--types"),
        ("__place = 1", "there is no column '__place'"),
        ("label = 'cup' oops", "words follow"),
        ("label = 'cup' as foo", "words follow"),
        ("(label = 'cup') \"price\"", "words follow"),
        ("label = 'cup' -- and price < 3", "comment"),
        ("label = 'cup' /* and price < 3 */", "comment"),
        ("label = 'cup' -- that\nand price < 3", "comment"),
        ("label = 'a'; drop table items", "drop table"),
    ],
)
def test_what_is_no_condition_is_told_in_a_line_with_the_columns_there_are(where, named):
    with pytest.raises(InputError) as caught:
        matching(FRAME, where, "G")
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count("price (float)") == 1
    assert "__place" not in str(caught.value).replace(where, "").replace("no column '__place'", "")
    assert '["' not in str(caught.value)  # a second list of the columns


@pytest.mark.parametrize(("name", "where"), [("x y", "x y = 'a'"), ("it's", "it's = 'a'"), ("a-b", "a-b = 'a'")])
def test_a_name_that_is_no_plain_word_is_told_to_take_double_quotes(name, where):
    frame = FRAME.with_columns(pl.Series(name, ["a"] * len(FRAME)))
    with pytest.raises(InputError, match=f'takes double quotes: "{name}"'):
        matching(frame, where, "G")
    assert matching(frame, f"\"{name}\" = 'a'", "G").tolist() == list(range(len(FRAME)))
