"""A setting's type in words."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from triune.ranges import Count, Positive, Rate, Share, ShareBelowOne, in_words


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "a whole number"),
        (Count, "a whole number of at least 0"),
        (Positive, "a number of more than 0"),
        (Rate, "a number of more than 0 and less than 1"),
        (Share, "a number of at least 0 and at most 1"),
        (ShareBelowOne | None, "a number of at least 0 and less than 1"),
        (Annotated[int, Field(le=7)], "a whole number of at most 7"),
        (bool, "true or false"),
        (Path | None, "a path"),
        (Literal["a"], "a"),
        (Literal["a", "b", "c"], "a, b or c"),
        (Count | Literal["soft", "auto"], "a whole number of at least 0, soft or auto"),
        (tuple[Count, ...], "a list [A, B, …] of which each is a whole number of at least 0"),
        (dict[str, int], "names with values {NAME: VALUE, …}"),
    ],
)
def test_a_type_is_said_in_words(kind, words):
    assert in_words(kind) == words
