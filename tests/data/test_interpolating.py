"""Grids at other sizes without torch: as torch interpolates them."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from triune.data import interpolating
from triune.data.interpolating import bilinear, ids_in_size, ids_of, of_resized
from triune.data.preprocessing import Preprocessing
from triune.model import own_size
from triune.model.network import masks_in_size

SIZES = [(1, 1), (7, 3), (16, 24), (50, 31), (5, 200), (97, 101)]


def logits(channels, size=(16, 24)):
    return np.random.default_rng(channels).normal(size=(channels, *size)).astype(np.float32)


@pytest.mark.parametrize("own", [(16, 24), (1, 5), (33, 2)])
@pytest.mark.parametrize("size", SIZES)
def test_a_plane_is_interpolated_as_torch_does_it(own, size):
    plane = logits(1, own)[0]
    theirs = interpolate(torch.from_numpy(plane)[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    found = bilinear(plane, size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, theirs.numpy(), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("size", SIZES)
def test_mask_ids_are_those_of_torch(channels, size):
    given = logits(channels)
    theirs = masks_in_size(torch.from_numpy(given)[None], size)[0].numpy()
    found = ids_in_size(given, size)
    assert found.dtype == np.uint8
    assert (found != theirs).mean() <= 1e-3  # but where the last bits decide


@pytest.mark.parametrize("channels", [1, 3])
def test_bands_of_any_height_give_the_same(channels, monkeypatch):
    given, size = logits(channels), (50, 31)
    whole = ids_in_size(given, size)
    for band in (1, 7, 50):
        monkeypatch.setattr(interpolating, "BAND", band)
        assert np.array_equal(ids_in_size(given, size), whole)
    assert np.array_equal(bilinear(given[0], size, slice(3, 9)), bilinear(given[0], size)[3:9])
    assert bilinear(given[0], size, slice(50, 60)).shape == (0, 31)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_ids_are_the_largest_channel_or_what_lies_above_0(channels):
    given = logits(channels)
    expected = given[0] > 0 if channels == 1 else given.argmax(0)
    found = ids_of(given)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


def test_of_equal_channels_the_first_counts():
    assert ids_in_size(np.ones((3, 2, 2), np.float32), (4, 4)).max() == 0


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
@pytest.mark.parametrize("own", [(60, 20), (20, 60), (31, 32)])
def test_a_frame_is_laid_on_the_resized_image_as_with_torch(fit, own):
    placed = Preprocessing((16, 24), fit).placed(own)
    given = logits(2)
    theirs = own_size.of_resized(torch.from_numpy(given)[None], placed)[0].numpy()
    assert np.array_equal(of_resized(given, placed), theirs)
