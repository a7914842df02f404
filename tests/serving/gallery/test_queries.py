"""What is searched for: names and unit rows; what cannot be read is an error, or is left out and told."""

import numpy as np
import pytest

from serving.gallery.conftest import DIM, write_pictures
from triune.errors import InputError
from triune.serving.gallery.queries import check_asked, check_fpir, queries_of


@pytest.fixture
def folder(tmp_path):
    write_pictures(tmp_path)
    (tmp_path / "cup" / "torn.png").write_bytes(b"\x89PNG no more")
    return tmp_path


def test_without_a_list_for_them_an_image_that_cannot_be_read_is_an_error(run, folder):
    with pytest.raises(InputError, match=r"torn\.png"):
        queries_of(folder / "cup", lambda: run, DIM, "G", None)


def test_with_one_it_is_told_there_and_the_others_are_looked_for(run, folder):
    sound = sorted(path for path in (folder / "cup").iterdir() if path.name != "torn.png")
    left_out = ["told before"]
    names, rows = queries_of(folder / "cup", lambda: run, DIM, "G", left_out)
    assert names == list(map(str, sound))
    np.testing.assert_allclose(rows, run.embed(list(map(str, sound))), atol=1e-6)
    assert left_out[0] == "told before"
    assert [each.partition(": ")[0] for each in left_out[1:]] == [str(folder / "cup" / "torn.png")]


def test_where_none_can_be_read_there_is_nothing_to_look_for(run, folder):
    with pytest.raises(InputError, match=r"none of 1 image could be read; the first is .*torn\.png"):
        queries_of(folder / "cup" / "torn.png", lambda: run, DIM, "G", [])


def test_embeddings_are_taken_as_they_are_at_unit_length_and_need_no_network(run):
    names, rows = queries_of(np.full((2, DIM), 3.0), lambda: pytest.fail("not needed"), DIM, "G", None)
    assert names == ["query 0", "query 1"]
    np.testing.assert_allclose(rows, np.full((2, DIM), DIM**-0.5), atol=1e-6)


def test_how_many_are_embedded_is_told_on_the_way(run, folder):
    (folder / "cup" / "torn.png").unlink()
    told = []
    names, _ = queries_of(folder / "cup", lambda: run, DIM, "G", None, lambda done, of: told.append((done, of)))
    assert told[-1] == (len(names), len(names))


@pytest.mark.parametrize(
    ("k", "diversity", "given", "liked", "disliked", "fault"),
    [
        (0, 0, True, False, False, "k is 0"),
        (2.5, 0, True, False, False, r"k is 2\.5"),
        (1, 1.5, True, False, False, r"diversity is 1\.5"),
        (1, float("nan"), True, False, False, "diversity is nan"),
        (1, 0, True, False, True, "unlike needs like"),
        (1, 0, True, True, False, "one of the two"),
        (1, 0, False, False, False, "one of the two"),
    ],
)
def test_a_search_says_what_it_looks_for_and_how(k, diversity, given, liked, disliked, fault):
    with pytest.raises(InputError, match=fault):
        check_asked(k, diversity, given=given, liked=liked, disliked=disliked)


def test_a_rate_lies_between_0_and_1():
    check_fpir(0.01)
    for wrong in (0, 1, -0.1, float("nan"), "0.1"):
        with pytest.raises(InputError, match="a rate between 0 and 1"):
            check_fpir(wrong)
