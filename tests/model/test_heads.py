"""How a feature map becomes a vector, against NumPy in float64."""

import numpy as np
import pytest
import torch

from triune.model.heads import AttentionPooling, average, foreground_average, generalised_mean, grid_averages


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


def test_attention_weighs_the_places_by_a_learnt_query_head_by_head():
    torch.manual_seed(0)
    pool = AttentionPooling(12).double()  # 4 heads of 3 channels
    x = torch.randn(2, 12, 3, 5, dtype=torch.float64)
    places, query = x.flatten(2).numpy().transpose(0, 2, 1), pool.query.detach().numpy()[0, 0]
    weights = pool.attention.in_proj_weight.detach().numpy().reshape(3, 12, 12)
    q, k, v = query @ weights[0].T, places @ weights[1].T, places @ weights[2].T  # the biases begin at 0
    found = np.empty((2, 12))
    for b in range(2):
        for h in range(4):
            part = slice(3 * h, 3 * h + 3)
            share = np.exp(k[b][:, part] @ q[part] / np.sqrt(3))
            found[b, part] = share / share.sum() @ v[b][:, part]
    expected = found @ pool.attention.out_proj.weight.detach().numpy().T
    np.testing.assert_allclose(pool(x).detach(), expected, atol=1e-12)


@pytest.mark.parametrize("width", [1, 7, 24, 512])
def test_attention_takes_maps_of_any_width_and_size_whatever_lies_where(width):
    torch.manual_seed(0)
    pool = AttentionPooling(width)
    x = torch.randn(2, width, 4, 6)
    assert pool(x[..., :1, :1]).shape == pool(x).shape == (2, width)
    shuffled = x.flatten(2)[..., torch.randperm(24)].unflatten(2, (4, 6))
    torch.testing.assert_close(pool(shuffled), pool(x), atol=1e-5, rtol=1e-4)


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
