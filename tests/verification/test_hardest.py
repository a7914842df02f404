"""Histograms and hardest pairs against the full list of pairs."""

import numpy as np
import pytest

from examples import every_pair
from triune.pairs import tiles
from triune.verification.all_pairs import verify_embeddings
from triune.verification.hardest import hardest_pairs, score_histograms


def example(n=70, d=5, classes=9, seed=0):
    g = np.random.default_rng(seed)
    return g.normal(size=(n, d)).astype(np.float32), g.integers(0, classes, n)


@pytest.fixture(params=[(7, 11), (256, 1024)])
def tile_size(request, monkeypatch):
    for name, value in zip(("ROWS", "COLUMNS"), request.param, strict=True):
        monkeypatch.setattr(tiles, name, value)


@pytest.mark.usefixtures("tile_size")
def test_histograms_count_every_pair_once():
    x, y = example()
    scores, match = every_pair(x, y, "cosine")
    edges, same, other = score_histograms(x, y, bins=13, range=(-1, 1))
    np.testing.assert_array_equal(same, np.histogram(scores[match], edges)[0])
    np.testing.assert_array_equal(other, np.histogram(scores[~match], edges)[0])
    _, same, other = score_histograms(x, y, metric="euclidean", bins=5)
    assert (same.sum(), other.sum()) == (match.sum(), (~match).sum())


def test_histograms_of_equal_scores_have_room():
    edges, same, other = score_histograms(np.ones((4, 2), np.float32), [0, 0, 1, 1])
    assert np.isfinite(edges).all()
    assert (same.sum(), other.sum()) == (2, 4)


@pytest.mark.usefixtures("tile_size")
def test_hardest_pairs_are_the_extremes_of_the_full_list():
    x, y = example()
    scores, match = every_pair(x, y, "euclidean")
    impostors, matches = hardest_pairs(x, y, metric="euclidean", k=6)
    np.testing.assert_allclose(impostors.score, np.sort(scores[~match])[::-1][:6], rtol=1e-5)
    np.testing.assert_allclose(matches.score, np.sort(scores[match])[:6], rtol=1e-5)
    for found, same in ((impostors, False), (matches, True)):
        assert ((y[found.first] == y[found.second]) == same).all()
        distances = -np.linalg.norm(x[found.first] - x[found.second], axis=1)
        np.testing.assert_allclose(found.score, distances, rtol=1e-5)


def test_hardest_pairs_of_few_items_are_fewer():
    x, _ = example(3)
    impostors, matches = hardest_pairs(x, [0, 0, 1], k=10)
    assert (len(impostors.score), len(matches.score)) == (2, 1)
    impostors, matches = hardest_pairs(x[:1], [0])
    assert (len(impostors.first), len(matches.first)) == (0, 0)
    with pytest.raises(ValueError, match="k is 0"):
        hardest_pairs(x, [0, 0, 1], k=0)


@pytest.mark.usefixtures("tile_size")
def test_of_equally_hard_pairs_the_lowest_rows_come_first():
    y = np.array([2, 0, 1] * 9)
    impostors, matches = hardest_pairs(np.ones((27, 4), np.float32), y, k=5)
    assert list(zip(impostors.first, impostors.second)) == [(0, j) for j in (1, 2, 4, 5, 7)]
    assert list(zip(matches.first, matches.second)) == [(0, j) for j in (3, 6, 9, 12, 15)]


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_scores_are_those_of_verification(metric):
    x, y = example(50, classes=3)
    x[7] = x[3] + 1e-4  # near-duplicates, whose distance is computed anew
    v = verify_embeddings(x, y, metric=metric)
    impostors, matches = hardest_pairs(x, y, metric=metric, k=2000)
    np.testing.assert_array_equal(impostors.score[::-1], v.impostor_scores)
    np.testing.assert_array_equal(matches.score, v.match_scores)
    edges, same, other = score_histograms(x, y, metric=metric, bins=20)
    np.testing.assert_array_equal(same, np.histogram(v.match_scores, edges)[0])
    np.testing.assert_array_equal(other, np.histogram(v.impostor_scores, edges)[0])
