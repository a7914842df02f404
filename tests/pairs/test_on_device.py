"""Products, samples and matching scores of pairs on a device; here the device is the host. Also test_scores_gpu.py."""

import numpy as np
import pytest
import torch

from examples import score, tiles_of
from triune.pairs import on_device

METRICS = ("cosine", "euclidean", "squared_euclidean")


def example(seed=0, n=24):
    g = np.random.default_rng(seed)
    return g.normal(size=(n, 5)).astype(np.float32), g.integers(0, 5, n), np.arange(n) % 3


def test_products_are_those_of_float64():
    x, y = (torch.randn(n, 7, generator=torch.Generator().manual_seed(n)) for n in (6, 9))
    out = torch.full((6, 9), torch.nan)
    on_device.multiply(x, y, out)
    torch.testing.assert_close(out.double(), x.double() @ y.double().T, atol=1e-5, rtol=0)


def sampled(pairs, count):
    spans, groups = pairs.spans_on_device()
    return on_device.sampled_scores(pairs.x, pairs.y, spans, groups, pairs.metric, count)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("one_set", [True, False])
def test_a_sample_is_of_impostor_scores_alone_each_about_as_often_as_any_other(metric, grouped, one_set):
    x, labels, kinds = example()
    y, other_labels, other_kinds = (x, labels, kinds) if one_set else example(1, n=17)
    given = {"metric": metric} | ({"groups": kinds} if grouped else {})
    if not one_set:
        given |= {"gallery": y, "gallery_labels": other_labels}
        given |= {"gallery_groups": other_kinds} if grouped else {}
    impostors = [
        score(x[i], y[j], metric)
        for i in range(len(x))
        for j in range(i + 1 if one_set else 0, len(y))
        if labels[i] != other_labels[j] and not (grouped and kinds[i] == other_kinds[j])
    ]
    count = 200_000
    found = sampled(tiles_of(x, labels, **given), count)
    assert found.dtype == np.float32
    assert (np.diff(found) >= 0).all()
    impostors = np.sort(impostors)
    middles = (impostors[1:] + impostors[:-1]) / 2
    place = np.searchsorted(middles, found)
    np.testing.assert_allclose(found, impostors[place], atol=1e-5)
    # Of all draws (rows and columns each alike) so many are of each impostor pair, give or take 5 standard deviations.
    chance = (2 if one_set else 1) / (len(x) * len(y))
    often = np.bincount(place, minlength=len(impostors))
    assert np.abs(often - count * chance).max() < 5 * np.sqrt(count * chance)


def test_a_sample_is_the_same_each_time_and_whatever_is_gathered_at_once(monkeypatch):
    x, labels, _ = example()
    pairs = tiles_of(x, labels)
    first = sampled(pairs, 300)
    assert np.array_equal(sampled(pairs, 300), first)
    monkeypatch.setattr(on_device, "GATHERED", 5 * 70)
    small = sampled(pairs, 300)
    assert 0.6 * 300 < len(small) < 300
    assert set(np.round(small, 4)) <= set(np.round(sampled(pairs, 20_000), 4))


@pytest.mark.parametrize("at_a_time", [1, 7, 1 << 22])
@pytest.mark.parametrize("grouped", [False, True])
def test_matching_scores_of_a_tile_are_those_of_its_runs(monkeypatch, at_a_time, grouped):
    monkeypatch.setattr(on_device, "MATCHES", at_a_time)
    scores = torch.randn(6, 11, generator=torch.Generator().manual_seed(2))
    first, last = np.array([0, 3, 5, 2, 9, 4]), np.array([4, 3, 11, 1, 11, 9])  # two of the runs are empty
    kinds = (np.arange(6) % 3, np.arange(11) % 3) if grouped else (np.empty(0, np.int64),) * 2
    expected = [
        float(scores[i, j])
        for i in range(6)
        for j in range(first[i], last[i])
        if not (grouped and kinds[0][i] == kinds[1][j])
    ]
    parts = on_device.matching_scores(scores, first, last, kinds)
    assert np.concatenate(parts).tolist() == expected
    assert max(map(len, parts)) <= max(at_a_time, 6)  # a row's run is not split
