"""The suggested margin is the median gap it says it is, and diagnoses fire on what they describe."""

import numpy as np
import pytest
import torch

from oracles import brute_distance, brute_triplets
from triune.distances.embeddings import unit
from triune.losses.margin_choice import diagnose, suggest_margin
from triune.losses.triplet import triplet_loss


def batch(spread, count=60, classes=6):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, count)
    return torch.tensor(rng.normal(size=(classes, 8))[labels] + spread * rng.normal(size=(count, 8))), labels


@pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean", "cosine"])
@pytest.mark.parametrize("spread", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("samples", [200, 20_000])
def test_the_margin_is_the_median_of_absolute_gaps(metric, spread, samples):
    x, labels = batch(spread)
    d = brute_distance(x.numpy(), x.numpy(), metric)
    a, p, n = brute_triplets(d, labels, "all").T
    gaps = d[a, n] - d[a, p]
    found = suggest_margin(x, labels, metric=metric, samples=samples)
    # One draw is off by 5 % as a rule, since an anchor's triplets are alike: the mean of eight is looked at.
    draws = [torch.Generator().manual_seed(seed) for seed in range(8)]
    margins = [suggest_margin(x, labels, metric=metric, samples=samples, generator=draw).margin for draw in draws]
    assert np.mean(margins) == pytest.approx(np.median(np.abs(gaps)), rel=0.15 if samples < 1000 else 0.05)
    assert found.ordered_share == pytest.approx((gaps > 0).mean(), abs=0.1)
    assert found.triplets <= 2 * max(samples, 600)


def test_half_of_ordered_triplets_and_three_quarters_of_chance_ones_are_active():
    x, labels = batch(0.05)
    assert suggest_margin(x, labels).active_share == pytest.approx(0.5, abs=0.02)
    noise = torch.randn(400, 16, generator=torch.Generator().manual_seed(0))
    assert suggest_margin(noise, np.arange(400) % 20).active_share == pytest.approx(0.75, abs=0.05)


def test_it_scales_with_the_embedding_and_repeats():
    x, labels = batch(1.0)
    assert suggest_margin(7 * x, labels).margin == pytest.approx(7 * suggest_margin(x, labels).margin)
    assert suggest_margin(x, labels) == suggest_margin(x, labels)


def test_no_triplet_or_no_distance_is_said():
    with pytest.raises(ValueError, match="3 embeddings in 1 classes give no triplet"):
        suggest_margin(torch.randn(3, 2), [1, 1, 1])
    with pytest.raises(ValueError, match="collapsed"):
        suggest_margin(torch.ones(4, 2), [0, 0, 1, 1])


def test_diagnoses():
    labels = torch.arange(40) % 5
    collapsed = unit(torch.ones(40, 8) + 1e-4 * torch.randn(40, 8))
    assert "collapsed" in diagnose(triplet_loss(collapsed, labels))
    apart = torch.eye(5)[labels]
    assert "only 0.0% of triplets" in diagnose(triplet_loss(apart, labels))
    assert diagnose(triplet_loss(torch.randn(40, 8), labels)) is None
    assert diagnose(triplet_loss(apart, torch.zeros(40, dtype=torch.int64))) is None
