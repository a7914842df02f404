"""Numbers in words: the page's are the report's."""

from collections.abc import Callable
from typing import Any

import pytest

from triune.plurals import count
from triune.report import formatting

MEASURED = [0, 1e-7, 4e-6, 2e-5, 0.00049, 0.0123, 0.05, 0.4949, 0.5, 0.93178, 0.9949, 0.996, 0.99968, 0.9999999, 1]
CHOSEN = [0.0001, 0.001, 0.0025, 0.01, 0.05, 0.125, 0.5, 0.9, 0.95, 0.999]


@pytest.fixture
def words(tab: Any) -> Any:
    """Calls functions of words.js."""
    opened = tab()
    opened.page.goto(f"{opened.url}page/icon.svg")
    call = """async ([name, several]) => {
        const words = await import("/page/words.js");
        return several.map((each) => words[name](...each));
    }"""
    return lambda name, *several: opened.page.evaluate(call, [name, several])


@pytest.mark.parametrize(
    ("name", "shares", "own"),
    [
        ("percent", MEASURED, formatting.percent),
        ("inHundred", MEASURED, formatting.in_hundred),
        ("roundPercent", CHOSEN, formatting.round_percent),
    ],
)
def test_shares_are_written_as_in_the_report(
    words: Any, name: str, shares: list[float], own: Callable[[float], str]
) -> None:
    assert words(name, *([share] for share in shares)) == [own(share) for share in shares]


def test_numbers_and_counts_are_written_as_in_the_report(words: Any) -> None:
    values = [0.25, -1.5, 0.9999, 12345.678]
    assert words("number", *([value, 4] for value in values)) == [formatting.number(value, 4) for value in values]
    assert words("count", [1234567], [0]) == [count(1234567), count(0)]
    assert words("plural", [1, "picture"], [2000, "identity", "identities"]) == ["1 picture", "2,000 identities"]


@pytest.mark.parametrize("missing", [None, "NaN"])
def test_what_is_not_known_is_a_dash(words: Any, missing: Any) -> None:
    assert words("percent", [missing]) == words("number", [missing]) == ["–"]


def test_small_shares_are_counted_of_as_many_as_it_takes(words: Any) -> None:
    found = words("soMany", *([share] for share in (0, 0.05, 0.0098, 0.001, 0.00034, 0.00001, 1e-7, 0.999, 1)))
    assert found == [
        *("none of 100", "5 of 100", "1 of 100", "1 of 1,000", "3 of 10,000", "1 of 100,000"),
        *("fewer than 1 of 100,000", "more than 99 of 100", "100 of 100"),
    ]


def test_sizes_are_told_as_people_say_them(words: Any) -> None:
    assert words("bytes", [999], [1], [2_500_000], [64 * 2**10], [3 * 2**30]) == [
        *("999 bytes", "1 byte", "2.38 MiB", "64 KiB", "3 GiB")
    ]
