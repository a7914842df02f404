"""Names as they are seen: what stands for none, and which look alike."""

import pytest

from triune.names import INVISIBLE, MISSING_WORDS, lookalikes, visible


@pytest.mark.parametrize("twin", ["An\u200bna", "Anna\ufeff", "\u202aAnna", "Anna ", "Anna\u00a0", "A\u00adnna"])
def test_names_that_differ_by_nothing_that_is_seen_look_alike(twin):
    assert visible(twin) == "Anna"
    assert set(lookalikes(["Anna", twin])) == {"Anna", twin}
    assert lookalikes(["Anna Maria", "AnnaMaria", "Bob"]) is None


def test_a_plain_space_is_seen_and_every_other_one_is_not():
    assert not INVISIBLE.search("Anna Maria")
    assert all(INVISIBLE.fullmatch(each) for each in "\t\n\u00a0\u2009\u3000")


def test_words_that_stand_for_nothing_are_written_as_programs_write_them():
    assert {"", "NaN", "NULL", "None", "<NA>", "NaT"} <= MISSING_WORDS
    assert "Nan" not in MISSING_WORDS, "a name"
