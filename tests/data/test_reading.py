"""Pixels of masks become ids as the values that are listed say, and what values mean is told from all of them."""

import numpy as np
import pytest

from triune.data.reading import IGNORE, Reading, choose_mask_values, depth_in_use, shown


def loop_ids(pixels, values, lossy):
    """The id of each pixel, one by one; None where it has none."""
    found = []
    for pixel in pixels.ravel().tolist():
        nearest = min(range(len(values)), key=lambda i: (abs(values[i] - pixel), i))
        between = len(values) == 2 and min(values) < pixel < max(values)
        if pixel in values or lossy or between:
            found.append(nearest)
        else:
            found.append(IGNORE if pixel == IGNORE else None)
    return found


@pytest.mark.parametrize("values", [(0, 255), (0, 200), (200, 0), (0, 50, 100), (3, 7, 255, 9)])
@pytest.mark.parametrize("lossy", [False, True])
def test_ids_are_those_of_a_loop_over_the_pixels(values, lossy):
    reading = Reading(mask_values=values)
    for pixel in range(256):
        pixels = np.full((1, 2), pixel, dtype=np.uint8)
        expected = loop_ids(pixels, values, lossy)
        if None in expected:
            with pytest.raises(ValueError, match=f"it holds {pixel}, which is none of the mask values"):
                reading.ids(pixels, lossy)
        else:
            assert reading.ids(pixels, lossy).ravel().tolist() == expected


def test_without_values_pixels_are_ids():
    pixels = np.array([[0, 7, 255]], dtype=np.uint8)
    assert Reading().ids(pixels) is pixels
    assert Reading().ids(pixels.astype(np.int64)).tolist() == pixels.tolist()
    for wrong in (-1, 256):
        with pytest.raises(ValueError, match=r"--images\.mask_values"):
            Reading().ids(np.array([[0, wrong]]))


@pytest.mark.parametrize(("largest", "bits"), [(0, 8), (255, 8), (256, 10), (4095, 12), (2**16, 24), (2**31 - 1, 32)])
def test_the_depth_in_use_holds_the_largest_value(largest, bits):
    assert depth_in_use(largest) == bits


def test_what_values_mean():
    assert choose_mask_values({0: 9, 200: 1, IGNORE: 5}, lossy=False).values == (0, 200)
    assert choose_mask_values({0: 9, 1: 1}, lossy=False).values is None
    many = choose_mask_values({0: 5000, 255: 5000} | dict.fromkeys(range(1, 255), 1), lossy=False)
    assert "of which 0 and 255 make up 97.5%" in many.problem
    organs = choose_mask_values(dict.fromkeys(range(105), 100), lossy=False)
    assert organs == (None, "", "", "")
    assert choose_mask_values({0: 5, 1: 5, 2: 5}, lossy=True).problem
    assert shown(range(30)).endswith("23,…]")
