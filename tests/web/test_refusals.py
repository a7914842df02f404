"""Why a request is not answered: always one line."""

from triune.web.refusals import Refused, full


def test_a_reason_of_any_characters_is_one_line():
    assert Refused(422, "a\nb\x1b[31m").body() == {"error": "a\\nb\\x1b[31m"}


def test_the_image_that_is_to_blame_is_named_where_there_is_one():
    assert Refused(422, "it is none", 3).body() == {"error": "it is none", "image": 3}
    assert "image" not in Refused(401, "no token").body()


def test_who_comes_while_too_many_wait_is_told_when_to_come_again():
    assert (full("they wait").status, full("they wait").headers) == (503, {"Retry-After": "1"})
