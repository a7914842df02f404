"""Tiles of an image, blended: equal to the image at once wherever the overlap covers what the network sees."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from triune.errors import InputError
from triune.model.tiles import Grid, grid, ids_in_size, tiled


@pytest.fixture(scope="module")
def network():
    """Receptive field 9 (4 on each side), stride 1, two channels."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(8, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)).eval()


@pytest.mark.parametrize("size", [(40, 40), (64, 100), (97, 41), (33, 200), (150, 32)])
@pytest.mark.parametrize("overlap", [0.5, 0.75])
def test_tiles_equal_the_image_at_once_away_from_its_borders(network, size, overlap):
    image = torch.randn(3, *size, generator=torch.Generator().manual_seed(1))
    tiles = grid(32, overlap, 1)
    with torch.inference_mode():
        found = torch.cat(list(tiled(network, image, tiles, batch_size=3)), dim=1)
        whole = network(image[None])[0]
    assert found.shape == whole.shape
    inner = (slice(None), slice(4, size[0] - 4), slice(4, size[1] - 4))
    np.testing.assert_allclose(found[inner], whole[inner], atol=1e-5)


def test_too_small_an_overlap_shows_at_the_seams(network):
    image = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = torch.cat(list(tiled(network, image, grid(32, 0.0, 1))), dim=1)
        difference = (found - network(image[None])[0]).abs().amax(0)
    assert difference[28:36, 8:24].max() > 1e-2
    assert difference[8:24, 8:24].max() < 1e-5


def test_rows_come_band_by_band_and_each_once():
    image = torch.arange(70.0)[:, None].expand(70, 20)[None]
    bands = list(tiled(lambda tiles: tiles, image, Grid(32, 16)))
    assert [band.shape[1] for band in bands] == [16, 16, 16, 22]
    np.testing.assert_allclose(torch.cat(bands, dim=1), image, atol=1e-4)


def test_no_more_tiles_at_once_than_asked_for():
    seen = []

    def segment(tiles):
        seen.append(len(tiles))
        return tiles

    list(tiled(segment, torch.zeros(1, 32, 32 + 9 * 16), Grid(32, 16), batch_size=4))
    assert seen == [4, 4, 2]


@pytest.mark.parametrize(
    ("side", "overlap", "stride", "step"), [(64, 0.25, 32, 32), (64, 0.5, 8, 32), (96, 0.25, 32, 64)]
)
def test_tiles_move_by_multiples_of_the_stride(side, overlap, stride, step):
    assert grid(side, overlap, stride) == (side, step)
    assert grid(side, overlap, stride).overlap == side - step


def test_an_overlap_that_leaves_no_step_is_refused():
    with pytest.raises(InputError, match="cannot move by the network's 32"):
        grid(32, 0.25, 32)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_ids_of_another_size_are_those_of_all_channels_at_once(channels):
    logits = torch.randn(channels, 9, 14, generator=torch.Generator().manual_seed(2))
    wide = interpolate(logits[None], size=(50, 31), mode="bilinear")[0]
    expected = (wide[0] > 0) if channels == 1 else wide.argmax(0)
    np.testing.assert_array_equal(ids_in_size(logits, (50, 31)), expected)
