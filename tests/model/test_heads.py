"""How a feature map becomes a vector, against NumPy in float64."""

import numpy as np
import pytest
import torch

from triune.model.heads import average, foreground_average, generalised_mean, grid_averages


def features(height=8, width=12):
    return torch.randn(2, 5, height, width, generator=torch.Generator().manual_seed(0))


def test_the_average_is_over_height_and_width():
    x = features()
    np.testing.assert_allclose(average(x), x.numpy().astype(np.float64).mean((2, 3)), atol=1e-6)


@pytest.mark.parametrize("exponent", [1.0, 3.0, 6.5])
def test_the_generalised_mean_is_the_root_of_the_mean_power(exponent):
    x = features().abs() + 0.1
    expected = np.mean(x.numpy().astype(np.float64) ** exponent, axis=(2, 3)) ** (1 / exponent)
    np.testing.assert_allclose(generalised_mean(x, torch.tensor(exponent)), expected, rtol=1e-5)


def test_the_generalised_mean_nears_the_maximum_and_takes_values_below_0_for_a_little():
    x = features()
    highest = x.amax((2, 3))
    assert (generalised_mean(x, torch.tensor(50.0)) / highest - 1).abs().max() < 0.1
    gone = generalised_mean(-x.abs(), torch.tensor(3.0))
    np.testing.assert_allclose(gone, 1e-6, rtol=1e-4)
    assert generalised_mean(x.half(), torch.tensor(3.0)).dtype == torch.float32


def test_grid_averages_are_those_of_16_cells_a_channel_row_by_row():
    x = features()
    cells = [
        x.numpy()[:, c, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3] for c in range(5) for i in range(4) for j in range(4)
    ]
    expected = np.stack([cell.astype(np.float64).mean((1, 2)) for cell in cells], axis=1)
    np.testing.assert_allclose(grid_averages(x), expected, atol=1e-6)


def test_mask_pooling_leaves_the_background_out_of_the_embedding():
    features = torch.rand(1, 512, 2, 2)
    logits = torch.full((1, 1, 64, 64), -40.0)
    logits[..., :32, :32] = 40.0
    pooled = foreground_average(features, logits)
    torch.testing.assert_close(pooled, features[..., 0, 0], atol=0.02, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_count_by_their_probability_of_foreground(channels):
    x = features(4, 4)
    logits = torch.randn(2, channels, 4, 4, generator=torch.Generator().manual_seed(1))
    z = logits.numpy().astype(np.float64)
    background = 1 / (1 + np.exp(z[:, 0])) if channels == 1 else np.exp(z[:, 0]) / np.exp(z).sum(1)
    weight = (1 - background + 1e-3)[:, None]
    expected = (x.numpy() * weight).sum((2, 3)) / weight.sum((2, 3))
    np.testing.assert_allclose(foreground_average(x, logits), expected, atol=1e-5)


def test_the_embedding_does_not_bend_the_masks():
    x, logits = features(4, 4).requires_grad_(), torch.zeros(2, 1, 4, 4, requires_grad=True)
    foreground_average(x, logits).sum().backward()
    assert x.grad.abs().sum() > 0
    assert logits.grad is None
