"""The scores of all pairs as arrays, against a loop in float64."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from examples import score, tiles_of
from triune.pairs import tiles
from triune.verification.all_pairs import verify_embeddings
from triune.verification.collecting import impostor_scores, match_scores

METRICS = ("cosine", "euclidean", "squared_euclidean")


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_those_of_every_pair(metric, monkeypatch):
    monkeypatch.setattr(tiles, "ROWS", 16)
    monkeypatch.setattr(tiles, "COLUMNS", 32)
    g = np.random.default_rng(0)
    y = g.integers(0, 17, 60)
    x = (g.normal(size=(17, 6))[y] + 0.8 * g.normal(size=(60, 6))).astype(np.float32)
    pairs = tiles_of(x, y, metric=metric)
    match, impostor = [], []
    for i, j in itertools.combinations(range(len(x)), 2):
        (match if y[i] == y[j] else impostor).append(score(x[i], x[j], metric))
    assert (np.diff(match_scores(pairs)) >= 0).all()
    np.testing.assert_allclose(match_scores(pairs), np.sort(match), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.sort(impostor_scores(pairs)), np.sort(impostor), rtol=1e-5, atol=1e-6)
    scores, flags = np.concatenate([match, impostor]), np.arange(len(match) + len(impostor)) < len(match)
    assert verify_embeddings(x, y, metric=metric).auc == pytest.approx(roc_auc_score(flags, scores), abs=1e-6)


def test_scores_of_nothing_are_none():
    pairs = tiles_of(torch.empty(0, 3), [])
    assert (len(match_scores(pairs)), len(impostor_scores(pairs))) == (0, 0)
