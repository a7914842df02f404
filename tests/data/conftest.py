"""What tests of images and their masks share: a few pictures as files."""

import pytest

from data.discs import write_discs


@pytest.fixture
def frame(tmp_path):
    """Six pictures of a bright disc, each with the disc as its mask; the last has no mask, label or identity."""
    return write_discs(tmp_path)
