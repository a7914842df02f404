"""All pairs in blocks against the full list of pairs."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from examples import every_pair
from triune.pairs import tiles
from triune.verification.all_pairs import verify_embeddings


def example(n=70, d=5, classes=9, seed=0):
    g = np.random.default_rng(seed)
    return g.normal(size=(n, d)).astype(np.float32), g.integers(0, classes, n)


@pytest.fixture(params=[(7, 11), (256, 1024)])
def tile_size(request, monkeypatch):
    for name, value in zip(("ROWS", "COLUMNS"), request.param, strict=True):
        monkeypatch.setattr(tiles, name, value)


@pytest.mark.usefixtures("tile_size")
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_every_pair_is_counted_once_whatever_the_tile(metric):
    x, y = example()
    v = verify_embeddings(x, y, metric=metric)
    scores, match = every_pair(x, y, metric)
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
