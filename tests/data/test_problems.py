"""Problems of a table, and the one error that holds them all."""

import pickle

from triune.data.problems import MOST_LISTED, DataError, Problem
from triune.errors import InputError

FOUND = [
    Problem("items.csv", 3, "image", "a.png does not exist", "correct the path"),
    Problem("items.csv", 7, None, "it has 2 cells", "quote them"),
    Problem("items.csv", None, "label", "there are 5 identities", "add some"),
    Problem("items.csv", None, None, "it is odd", "mend it"),
]


def test_a_problem_says_where_it_is_as_far_as_that_is_known():
    assert [str(problem) for problem in FOUND] == [
        "items.csv, row 3, column image: a.png does not exist; correct the path",
        "items.csv, row 7: it has 2 cells; quote them",
        "items.csv, column label: there are 5 identities; add some",
        "items.csv: it is odd; mend it",
    ]


def test_a_data_error_has_one_line_a_problem_and_travels_whole():
    error = DataError(FOUND)
    assert isinstance(error, InputError)
    assert str(error).splitlines() == [str(problem) for problem in FOUND]
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.problems, str(copy)) == (FOUND, str(error))


def test_a_flood_of_problems_is_summed_up_by_column():
    assert len(str(DataError(FOUND * 25)).splitlines()) == MOST_LISTED == 100
    flood = str(DataError(FOUND * 26)).splitlines()
    assert len(flood) == MOST_LISTED + 1
    assert flood[-1] == "and 4 more (1 in image, 1 in label, 2 in table)"


def test_a_name_with_line_breaks_and_escapes_is_shown_on_one_line():
    problem = Problem("a\nb.csv", 3, "image", "c\x1b[2J.png does not exist", "correct the path")
    assert str(problem) == "a\\nb.csv, row 3, column image: c\\x1b[2J.png does not exist; correct the path"
