"""The settings of `triune search`; what it prints is tested with `triune index`."""

import pytest
from pydantic import ValidationError

from triune.commands.search import SearchConfig


def test_at_least_one_hit_is_asked_for():
    assert SearchConfig("G", ("a.png",)).k == 10
    with pytest.raises(ValidationError, match="k"):
        SearchConfig("G", ("a.png",), k=0)
