"""Masks by tiles: scaled as in training, blended, in the image's own size, whatever says the mask of a tile."""

import numpy as np
import pytest
from PIL import Image

from triune.data.boxes import Box
from triune.data.preprocessing import MEAN, STD
from triune.errors import InputError
from triune.run.card import ModelCard, Network
from triune.serving.by_tiles import Segmenter, mask_by_tiles
from triune.serving.networks import Tiles

BRIGHT = 128


def bright(tiles):
    """A network without context: pixels are foreground where they are bright."""
    return tiles.astype(np.float32).transpose(0, 3, 1, 2) - BRIGHT


def segmenter(size=(16, 16), side=(16, 16), segment=bright, **changes):
    network = Network(
        backbone="test_resnet", num_classes=0, mask_channels=1, embedding_dim=0, in_channels=1, decoder="unet",
        decoder_channels=(16, 8, 8, 8, 8), embedding_stage=-1, pooling="avg", mask_pooling=False, dropout=0.0,
    )  # fmt: skip
    card = ModelCard(
        model=network, classes=[], channels=1, metric="cosine", size=size, fit="crop", interpolation="bicubic",
        boxes=True, mean=MEAN[1], std=STD[1],
    ).model_copy(update=changes)  # fmt: skip
    return Segmenter(card, side, 4, segment)


@pytest.fixture
def picture():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70), dtype=np.uint8)
    return Image.fromarray(pixels), pixels


def test_at_the_scale_of_training_a_mask_is_what_is_said_of_each_pixel(picture):
    image, pixels = picture
    for side in ((16, 16), (16, 24), (32, 32)):
        assert np.array_equal(mask_by_tiles(segmenter(side=side), image, Tiles(16)), pixels > BRIGHT)


def test_an_image_is_scaled_so_that_a_tile_is_as_large_as_training_images_were(picture):
    seen = []

    def segment(tiles):
        seen.append(tiles.shape)
        return bright(tiles)

    mask = mask_by_tiles(segmenter((8, 16), (8, 16), segment), picture[0], Tiles(32, 0.0))
    assert mask.shape == (50, 70)
    # 25 x 35 pixels in tiles of 8 x 16: three columns, four rows
    assert seen == [(3, 8, 16, 1)] * 4


def test_a_box_alone_is_cut_where_the_network_was_trained_with_boxes(picture):
    image, pixels = picture
    box = Box(5, 10, 45, 50)
    mask = mask_by_tiles(segmenter(), image, Tiles(16), box)
    assert np.array_equal(mask[box.place], pixels[box.place] > BRIGHT)
    mask[box.place] = 255
    assert (mask == 255).all()
    assert np.array_equal(mask_by_tiles(segmenter(boxes=False), image, Tiles(16), box), pixels > BRIGHT)


def test_an_image_no_larger_than_a_tile_is_not_cut(picture):
    assert mask_by_tiles(segmenter(), picture[0], Tiles(70)) is None


def test_tiles_that_cannot_be_are_refused_with_those_that_can(picture):
    with pytest.raises(InputError, match=r"cannot move by the network's 4: choose a smaller overlap"):
        mask_by_tiles(segmenter(side=(4, 16)), picture[0], Tiles(16))
    with pytest.raises(InputError, match=r"would enlarge an image of 70 x 50 to 17500 x 12500: choose a tile of 2 or"):
        mask_by_tiles(segmenter(size=(250, 250)), picture[0], Tiles(1))
