"""What a network says of what it saw, in the whole image: 255 for all that it did not see."""

import numpy as np
import pytest

from triune.data.boxes import Box
from triune.data.laid_back import in_box, laid_back
from triune.data.preprocessing import Preprocessing


@pytest.mark.parametrize(("own", "unseen"), [((10, 30), (0, 10)), ((30, 10), (10, 0)), ((20, 20), (0, 0))])
def test_what_was_cropped_is_unknown(own, unseen):
    ids = np.ones(own, np.uint8)
    found = laid_back(ids, Preprocessing((16, 16), "crop"), own)
    inner = found[unseen[0] : own[0] - unseen[0], unseen[1] : own[1] - unseen[1]]
    assert (inner == 1).all()
    assert (found == 255).sum() == found.size - inner.size
    assert (ids == 1).all(), "what was given is left as it was"


def test_around_a_box_nothing_is_known():
    box = Box(2, 1, 5, 3)  # left, top, right, bottom
    found = laid_back(np.full((2, 3), 7, np.uint8), Preprocessing((8, 8)), (4, 6), box)
    expected = np.full((4, 6), 255)
    expected[1:3, 2:5] = 7
    assert np.array_equal(found, expected)
    assert np.array_equal(in_box(np.full((2, 3), 7, np.uint8), (4, 6), box), expected)
