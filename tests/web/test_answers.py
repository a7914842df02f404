"""What the service answers and takes, as types."""

import pytest
from pydantic import ValidationError

from triune.web.answers import EnrolOptions, Figure, Level, SearchOptions, VerifyOptions


@pytest.mark.parametrize("key", ["short", "x" * 65, "with space", "../../etc", "a\n" * 8, "ключ-ключ"])
def test_a_key_is_letters_digits_and_hyphens(key):
    with pytest.raises(ValidationError):
        EnrolOptions(identity="Ada", key=key)
    assert EnrolOptions(identity="Ada", key="3f2a-AZ09").key == "3f2a-AZ09"


@pytest.mark.parametrize("k", [0, -1, 1001])
def test_hits_are_one_to_a_thousand(k):
    with pytest.raises(ValidationError):
        SearchOptions(k=k)


@pytest.mark.parametrize("fpr", [0, 1, -0.1, float("nan"), float("inf")])
def test_a_rate_lies_between_none_and_all(fpr):
    with pytest.raises(ValidationError):
        VerifyOptions(fpr=fpr)


def test_words_stand_for_what_json_has_no_number_for():
    level = Level(fpr=0.1, distance="-Infinity", validation_fpr=0.0, tpr=0.0, expected=None, exact=True)
    assert '"distance":"-Infinity"' in level.model_dump_json()
    assert Figure(value=float("inf")).model_dump_json() == '{"value":"Infinity","low":null,"high":null}'
