"""How numbers are written on the page."""

import pytest

from triune.report import formatting


@pytest.mark.parametrize(
    ("share", "expected", "words"),
    [
        (0.0, "0%", "0 of 100"),
        (1.0, "100%", "100 of 100"),
        (0.05, "5.0%", "5 of 100"),
        (0.9421, "94.2%", "94 of 100"),
        (0.9996, "99.96%", "more than 99 of 100"),
        (0.999999, "over 99.999%", "more than 99 of 100"),
        (0.0004, "0.04%", "fewer than 1 of 100"),
        (0.00001234, "0.001%", "fewer than 1 of 100"),
        (0.99998, "99.998%", "more than 99 of 100"),
        (0.5, "50.0%", "50 of 100"),
        (0.000001, "under 0.001%", "fewer than 1 of 100"),
        (None, "–", "an unknown number of 100"),
        (float("nan"), "–", "an unknown number of 100"),
    ],
)
def test_shares_are_never_rounded_to_nothing_or_all(share: float | None, expected: str, words: str) -> None:
    assert formatting.percent(share) == expected
    assert formatting.in_hundred(share) == words


def test_a_share_that_somebody_chose_is_written_as_it_was_chosen() -> None:
    assert [formatting.round_percent(share) for share in (0.05, 0.001, 0.95, 0.8, 0.29, 1e-6)] == [
        *("5%", "0.1%", "95%", "80%", "29%", "0.0001%")
    ]


def test_numbers_have_a_minus_and_differences_a_sign() -> None:
    assert formatting.number(-0.12345) == "−0.123"
    assert formatting.number(2.0, 1) == "2.0"
    assert formatting.number(float("inf")) == "–"
    assert formatting.signed(0.25) == "+0.250"
    assert formatting.signed(-0.25) == "−0.250"
    assert formatting.signed(0.0) == "0.000"
    assert formatting.signed(float("nan")) == "–"


def test_a_small_p_value_says_no_more_than_that() -> None:
    assert formatting.p_value(0.0009) == "under 0.001"
    assert formatting.p_value(0.001) == "0.001"
    assert formatting.p_value(float("nan")) == "–"


def test_times_are_said_in_the_unit_that_fits() -> None:
    assert formatting.duration(89.4) == "89 seconds"
    assert formatting.duration(90) == "1.5 minutes"
    assert formatting.duration(3600) == "60.0 minutes"
    assert formatting.minute("2026-01-02T03:04:05+00:00") == "2026-01-02 03:04 UTC"
