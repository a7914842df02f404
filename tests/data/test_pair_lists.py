"""Lists of pairs: what is read, and that every wrong line is named with its number."""

import numpy as np
import pytest

from triune.data.pair_lists import MOST_DIGITS, read_pairs
from triune.data.problems import DataError
from triune.errors import InputError


def write(folder, text, name="pairs.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def lfw(folds, half):
    """A list in LFW's form, written by the rule of its readme: matching pairs first, in each fold."""
    lines = [f"{folds}\t{half}"]
    for f in range(folds):
        lines += [f"Anna_{f}\t{i + 1}\t{i + 2}" for i in range(half)]
        lines += [f"Anna_{f}\t{i + 1}\tBo_{f}\t{i + 11}" for i in range(half)]
    return "\n".join(lines) + "\n"


def test_a_csv_is_read_as_it_is_written(tmp_path):
    pairs = read_pairs(
        write(tmp_path, 'second,match,first,fold,note\nb.jpg,yes,a.jpg,x,1\n"c, 2.jpg",False,a.jpg,10,2\n')
    )
    assert pairs.first == ("a.jpg", "a.jpg")
    assert pairs.second == ("b.jpg", "c, 2.jpg")
    assert pairs.is_match.tolist() == [True, False]
    assert pairs.folds == ("x", "10")
    assert pairs.names == ("a.jpg", "b.jpg", "c, 2.jpg")
    assert len(pairs) == 2


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_blank_lines_byte_order_mark_and_missing_folds(tmp_path, separator):
    text = "\ufefffirst,second,match\r\n\r\na,b,1\r\na,c,0\r\n".replace(",", separator)
    pairs = read_pairs(write(tmp_path, text))
    assert pairs.first == ("a", "a")
    assert pairs.is_match.tolist() == [True, False]
    assert pairs.folds is None


def test_lfw_lists_give_file_names_and_numbered_folds(tmp_path):
    pairs = read_pairs(write(tmp_path, lfw(10, 3), "pairs.txt"))
    assert len(pairs) == 60
    assert (pairs.first[0], pairs.second[0]) == ("Anna_0/Anna_0_0001.jpg", "Anna_0/Anna_0_0002.jpg")
    assert (pairs.first[3], pairs.second[3]) == ("Anna_0/Anna_0_0001.jpg", "Bo_0/Bo_0_0011.jpg")
    assert pairs.is_match.tolist() == ([True] * 3 + [False] * 3) * 10
    assert pairs.folds == tuple(str(f) for f in range(1, 11) for _ in range(6))


def test_an_lfw_list_of_one_set_has_no_folds(tmp_path):
    pairs = read_pairs(write(tmp_path, "1\nA 1 2\nA 1 B 1\n", "pairsDevTest.txt"))
    assert pairs.folds is None
    assert pairs.second == ("A/A_0002.jpg", "B/B_0001.jpg")


def test_every_wrong_line_of_a_csv_is_named(tmp_path):
    text = "first,second,match,fold\na,b,1,1\na,,1,1\na,a,1,1\na,c,maybe,1\na,d,1\na,e,0,\nb,a,0,2\n"
    with pytest.raises(DataError) as caught:
        read_pairs(write(tmp_path, text))
    found = [(problem.row, problem.column) for problem in caught.value.problems]
    assert found == [(3, "second"), (4, "second"), (5, "match"), (6, None), (7, "fold"), (8, "match")]
    assert "row 2" in caught.value.problems[-1].problem  # the contradiction names both lines


def test_rows_are_lines_of_the_file_even_behind_a_cell_of_two_lines(tmp_path):
    with pytest.raises(DataError) as caught:
        read_pairs(write(tmp_path, 'first,second,match\n"a\nb",c,1\nd,e,2\n'))
    assert [problem.row for problem in caught.value.problems] == [4]


def test_every_wrong_line_of_an_lfw_list_is_named(tmp_path):
    text = "1 4\nA 1 2\nA 1 1\nA x 2\nA 0 2\nA 1 B\nA 1 A 2\nA 1 B 2 3\nA 1 B 2\n"
    with pytest.raises(DataError) as caught:
        read_pairs(write(tmp_path, text, "pairs.txt"))
    assert [problem.row for problem in caught.value.problems] == [3, 4, 5, 6, 7, 8]


def test_an_lfw_list_that_is_cut_short_is_told_by_its_first_line(tmp_path):
    text = "\n".join(lfw(2, 3).splitlines()[:-1])
    with pytest.raises(DataError, match=r"row 1: 2 x 2 x 3 = 12 pairs are announced, but 11 lines follow"):
        read_pairs(write(tmp_path, text, "pairs.txt"))


def test_an_lfw_pair_in_the_wrong_half_of_its_fold_is_named(tmp_path):
    with pytest.raises(DataError, match="row 2: it is a pair of different people where one of the same person is due"):
        read_pairs(write(tmp_path, "1\nA 1 B 2\nA 1 C 2\n", "pairs.txt"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("first,second,match\n", "lists no pair"),
        ("0 0\n", "lists no pair"),
        ("first,other\na,b\n", "has no column 'second' and none 'match'"),
        ("first,second,match,first\n", "has two columns called 'first'"),
    ],
)
def test_files_that_hold_no_list_are_told(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_pairs(write(tmp_path, text))


def test_files_that_are_missing_or_no_text_are_told(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_pairs(tmp_path / "none.csv")
    (tmp_path / "picture.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InputError, match="not UTF-8"):
        read_pairs(tmp_path / "picture.csv")


def test_pairs_become_rows_of_named_embeddings(tmp_path):
    pairs = read_pairs(write(tmp_path, "first,second,match\na,b,1\nc,a,0\n"))
    first, second = pairs.rows(["c", "b", "a"])
    np.testing.assert_array_equal(first, [2, 0])
    np.testing.assert_array_equal(second, [1, 2])
    with pytest.raises(InputError, match=r"2 of 3 images that have no embedding \('a', 'b'\)"):
        pairs.rows(["c"])
    with pytest.raises(InputError, match="'c' names two rows"):
        pairs.rows(["c", "a", "b", "c"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("9" * 5000 + "\na 1 2\n", "row 1: 999"),
        ("1 " + "9" * (MOST_DIGITS + 1) + "\na 1 2\n", "row 1: 999"),
        ("1\na 1 " + "9" * 5000 + "\na 1 b 1\n", "row 2: '999"),
        ("9" * MOST_DIGITS + "\na 1 2\n", "pairs are announced, but 1 lines follow"),
    ],
)
def test_numbers_beyond_64_bits_are_told_by_their_row(tmp_path, text, says):
    with pytest.raises(InputError, match=says):
        read_pairs(write(tmp_path, text, "pairs.txt"))


def test_a_picture_is_found_by_the_end_of_its_path_and_never_by_its_bare_name(tmp_path):
    pairs = read_pairs(write(tmp_path, "first,second,match\nann/1.jpg,/data/bob/1.jpg,0\nann/1.jpg,2.jpg,1\n"))
    first, second = pairs.rows(["/data/bob/1.jpg", "2.jpg", "/data/lfw/ann/1.jpg"])
    np.testing.assert_array_equal(first, [2, 2])
    np.testing.assert_array_equal(second, [0, 1])
    with pytest.raises(InputError, match=r"1 of 3 images that have no embedding \('2\.jpg'\)"):
        pairs.rows(["/data/bob/1.jpg", "/data/lfw/2.jpg", "/data/lfw/ann/1.jpg"])
    with pytest.raises(InputError, match=r"1 of 3 images that have no embedding \('ann/1\.jpg'\)"):
        pairs.rows(["/data/bob/1.jpg", "2.jpg", "/data/lfw/joann/1.jpg"])
    with pytest.raises(InputError, match=r"'ann/1\.jpg' is the end of '/a/ann/1\.jpg' and of '/b/ann/1\.jpg'"):
        pairs.rows(["/data/bob/1.jpg", "2.jpg", "/a/ann/1.jpg", "/b/ann/1.jpg"])
    # A name that is written in full is that one, whatever else ends in it.
    assert pairs.rows(["/data/bob/1.jpg", "2.jpg", "/a/ann/1.jpg", "ann/1.jpg"])[0].tolist() == [3, 3]
