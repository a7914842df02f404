"""Tiles of an image, blended: equal to the image at once wherever the overlap covers what the network sees."""

import numpy as np
import pytest
import torch
from torch import nn

from triune.data.tiles import Grid, grid, tiled
from triune.errors import InputError


@pytest.fixture(scope="module")
def network():
    """Receptive field 9 (4 on each side), stride 1, two channels."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(8, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)).eval()


def segmenting(network):
    """What a network says of images ``(B, h, w, C)``."""

    def segment(images):
        with torch.inference_mode():
            return network(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()

    return segment


def drawn(*size):
    return np.random.default_rng(1).normal(size=(*size, 3)).astype(np.float32)


@pytest.mark.parametrize("size", [(40, 40), (64, 100), (97, 41), (33, 200), (150, 32)])
@pytest.mark.parametrize("overlap", [0.5, 0.75])
@pytest.mark.parametrize("sides", [(32, 32), (32, 44)])
def test_tiles_equal_the_image_at_once_away_from_its_borders(network, size, overlap, sides):
    image, segment = drawn(*size), segmenting(network)
    down, across = (grid(side, overlap, 1) for side in sides)
    found = np.concatenate(list(tiled(segment, image, down, across, batch_size=3)), axis=1)
    whole = segment(image[None])[0]
    assert found.shape == whole.shape
    inner = (slice(None), slice(4, size[0] - 4), slice(4, size[1] - 4))
    np.testing.assert_allclose(found[inner], whole[inner], atol=1e-5)


def test_too_small_an_overlap_shows_at_the_seams(network):
    image, segment, apart = drawn(64, 64), segmenting(network), grid(32, 0.0, 1)
    found = np.concatenate(list(tiled(segment, image, apart, apart)), axis=1)
    difference = np.abs(found - segment(image[None])[0]).max(0)
    assert difference[28:36, 8:24].max() > 1e-2
    assert difference[8:24, 8:24].max() < 1e-5


def as_logits(tiles):
    """The tiles themselves, as what a network says of them."""
    return tiles.transpose(0, 3, 1, 2)


def test_rows_come_band_by_band_and_each_once():
    image = np.broadcast_to(np.arange(70.0, dtype=np.float32)[:, None, None], (70, 20, 1))
    bands = list(tiled(as_logits, image, Grid(32, 16), Grid(32, 16)))
    assert [band.shape[1] for band in bands] == [16, 16, 16, 22]
    np.testing.assert_allclose(np.concatenate(bands, axis=1), image[None, ..., 0], atol=1e-4)


def test_an_image_smaller_than_a_tile_goes_on_as_it_ends():
    seen = []
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    (band,) = tiled(lambda tiles: seen.append(tiles) or as_logits(tiles), image, Grid(4, 2), Grid(5, 2))
    assert np.array_equal(band[0], image[..., 0])
    assert seen[0].shape == (1, 4, 5, 1)
    assert seen[0].dtype == np.uint8
    assert (seen[0][0, 2:, 3:] == 5).all()


def test_no_more_tiles_at_once_than_asked_for():
    seen = []

    def segment(tiles):
        seen.append(len(tiles))
        return as_logits(tiles)

    list(tiled(segment, np.zeros((32, 32 + 9 * 16, 1)), Grid(32, 16), Grid(32, 16), batch_size=4))
    assert seen == [4, 4, 2]


@pytest.mark.parametrize(
    ("side", "overlap", "stride", "step"), [(64, 0.25, 32, 32), (64, 0.5, 8, 32), (96, 0.25, 32, 64)]
)
def test_tiles_move_by_multiples_of_the_stride(side, overlap, stride, step):
    assert grid(side, overlap, stride) == (side, step)
    assert grid(side, overlap, stride).overlap == side - step


def test_an_overlap_that_leaves_no_step_is_refused():
    with pytest.raises(InputError, match="cannot move by the network's 32: choose a smaller overlap"):
        grid(32, 0.25, 32)
