"""Bytes to the numbers that a network takes: each channel less its mean, over its standard deviation."""

import numpy as np
import torch

from triune.data.normalising import denormalise, network_input, normalise
from triune.data.preprocessing import MEAN, STD, Preprocessing


def test_each_channel_is_normalised_by_its_own_numbers():
    pixels = torch.tensor([[0, 51], [102, 255]], dtype=torch.uint8).expand(3, 2, 2)
    found = normalise(pixels, [0.0, 0.2, 1.0], [1.0, 0.5, 0.1])
    assert found.dtype == torch.float32
    expected = [[[0.0, 0.2], [0.4, 1.0]], [[-0.4, 0.0], [0.4, 1.6]], [[-10.0, -8.0], [-6.0, 0.0]]]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)
    one, batched = normalise(pixels), normalise(torch.stack([pixels, pixels]))
    assert torch.equal(batched[1], one)


def test_an_image_becomes_an_input_by_the_numbers_of_its_preprocessing():
    pixels = np.array([[[0, 102, 0]], [[51, 255, 255]]], np.uint8)
    own = Preprocessing((2, 1), mean=(0.0, 0.2, 1.0), std=(1.0, 0.5, 0.1))
    expected = torch.tensor([[[0.0], [0.2]], [[0.4], [1.6]], [[-10.0], [0.0]]])
    torch.testing.assert_close(network_input(pixels, own), expected, atol=1e-5, rtol=0)
    planes = torch.tensor(pixels).permute(2, 0, 1)
    assert torch.equal(network_input(pixels, Preprocessing((2, 1))), normalise(planes, MEAN[3]))


def test_every_byte_is_found_again():
    every = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    for mean, std in ((MEAN[3], STD[3]), ((0.0, 0.2, 1.0), (1.0, 0.01, 3.0))):
        assert torch.equal(denormalise(normalise(every, mean, std), mean, std), every)
