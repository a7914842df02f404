"""Names of columns as people write them."""

import pytest

from triune.data.columns import ANY, Columns, named_columns
from triune.errors import InputError


@pytest.mark.parametrize("name", ["Is_Query", "is query", "is-query", "IS  QUERY"])
def test_spaces_hyphens_and_underscores_in_a_name_are_one(name):
    assert named_columns([name], Columns(("is_query",)), "t") == ["is_query"]


def test_another_name_stands_in_only_where_the_name_itself_is_absent():
    columns = Columns(("image",), ("image",), {"path": "image"})
    assert named_columns(["Path", "x"], columns, "t") == ["image", "x"]
    assert named_columns(["path", "image"], columns, "t") == ["path", "image"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("masks", "mask"), ("Labels", "label"), ("splits", "split"), ("identiy", "identity"), ("is_querry", "is_query")],
)
def test_a_misspelt_column_is_refused_with_the_name_that_is_meant(written, meant):
    known = ("image", "label", "identity", "mask", "split", "is_query")
    with pytest.raises(InputError, match=f"a column '{written}' but none called '{meant}': rename it to '{meant}'"):
        named_columns(["image", written], Columns(known), "t")
    assert named_columns([meant, written], Columns(known), "t") == [meant, written]


def test_columns_unlike_any_known_one_are_left_alone():
    names = ["image", "camera", "note", "path", "class", "name", "age", "id", "task", "file"]
    known = ("image", "label", "identity", "mask", "split", "is_query", "is_gallery")
    assert named_columns(names, Columns(known), "t") == names


def test_a_missing_column_is_named_with_those_there_are_and_the_nearest():
    with pytest.raises(
        InputError, match=r"^t has no column 'match' and none 'fold' \(its columns: a, other\): do this$"
    ):
        named_columns(["a", "other"], Columns(needed=("match", "fold"), advice="do this"), "t")
    with pytest.raises(InputError, match=r"\(its columns: a, matchs\): rename 'matchs' to 'match'$"):
        named_columns(["a", "matchs"], Columns(needed=("match",), advice="do this"), "t")


@pytest.mark.parametrize("second", ["label", " label", "Label", "LABEL ", "la\u0301bel"])
def test_two_columns_of_one_name_are_refused(second):
    first = "l\u00e1bel" if "\u0301" in second else "label"
    with pytest.raises(InputError, match="two columns called"):
        named_columns([first, second], ANY, "t")
