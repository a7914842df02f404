from pathlib import Path

import pytest
from pydantic import ValidationError

from triune.commands.embed import EmbedConfig


def test_a_batch_holds_an_image_or_more():
    assert EmbedConfig("run", ("a.png",), batch_size=1).batch_size == 1
    with pytest.raises(ValidationError, match="batch_size"):
        EmbedConfig("run", ("a.png",), batch_size=0)


def test_where_it_writes_is_a_new_place_of_its_own_where_none_is_named():
    assert EmbedConfig("run", ("a.png",)).output == Path("embeddings.parquet")
