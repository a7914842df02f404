"""All pairs in blocks against the full list of pairs."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from triune.pairs import tiles
from triune.verification.all_pairs import verify_embeddings
from triune.verification.hardest import hardest_pairs, score_histograms


def example(n=70, d=5, classes=9, seed=0):
    g = np.random.default_rng(seed)
    return g.normal(size=(n, d)).astype(np.float32), g.integers(0, classes, n)


def listed(x, y, metric):
    """Scores in float64 and matches of every pair, one by one."""
    x = x.astype(np.float64)
    scores, match = [], []
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            if metric == "cosine":
                scores.append(x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j]))
            else:
                d = np.linalg.norm(x[i] - x[j])
                scores.append(-d if metric == "euclidean" else -d * d)
            match.append(y[i] == y[j])
    return np.array(scores), np.array(match)


@pytest.fixture(params=[(7, 11), (256, 1024)])
def tile_size(request, monkeypatch):
    for name, value in zip(("ROWS", "COLUMNS"), request.param, strict=True):
        monkeypatch.setattr(tiles, name, value)


@pytest.mark.usefixtures("tile_size")
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_every_pair_is_counted_once_whatever_the_tile(metric):
    x, y = example()
    v = verify_embeddings(x, y, metric=metric)
    scores, match = listed(x, y, metric)
    assert (v.matches, v.impostors) == (match.sum(), (~match).sum())
    np.testing.assert_allclose(v.match_scores, np.sort(scores[match]), atol=2e-6, rtol=1e-5)
    np.testing.assert_allclose(v.impostor_scores, np.sort(scores[~match]), atol=2e-6, rtol=1e-5)
    assert v.auc == pytest.approx(roc_auc_score(match, scores), abs=1e-4)


def test_labels_beyond_float_precision_stay_apart():
    x, _ = example(4)
    for small in (2**24, 2**53):
        assert verify_embeddings(x, np.array([small, small + 1, small, small + 1])).matches == 2


def test_string_labels_tensors_and_half_precision_are_taken():
    x, y = example()
    expected = verify_embeddings(x, y)
    words = [f"id {c}" for c in y]
    assert verify_embeddings(torch.tensor(x), words).auc == expected.auc
    halves = torch.tensor(x).half()
    assert verify_embeddings(halves, y).auc == verify_embeddings(halves.float(), y).auc


def test_nan_and_wrong_counts_and_single_kinds_are_refused():
    x, y = example(10)
    broken = x.copy()
    broken[7, 2] = np.nan
    with pytest.raises(ValueError, match="7"):
        verify_embeddings(broken, y)
    with pytest.raises(ValueError, match="10 rows"):
        verify_embeddings(x, y[:9])
    with pytest.raises(ValueError, match="no non-matching"):
        verify_embeddings(x, np.zeros(10, int))
    with pytest.raises(ValueError, match="no matching"):
        verify_embeddings(x, np.arange(10))
    with pytest.raises(ValueError, match="no matching"):
        verify_embeddings(x[:0], y[:0])


@pytest.mark.usefixtures("tile_size")
def test_histograms_count_every_pair_once():
    x, y = example()
    scores, match = listed(x, y, "cosine")
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
    scores, match = listed(x, y, "euclidean")
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
