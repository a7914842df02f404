"""Thresholds fitted on one set and applied to another."""

import json
import math

import numpy as np
import pytest

from triune.files import without_nan
from triune.verification.all_pairs import verify_embeddings
from triune.verification.roc import verify_scores
from triune.verification.thresholds import Threshold, fit_threshold


def sets(seed=0, n=60):
    g = np.random.default_rng(seed)
    y = g.integers(0, 8, n)
    return (g.normal(size=(8, 4))[y] + 0.5 * g.normal(size=(n, 4))).astype(np.float32), y


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_a_threshold_is_applied_as_a_score_and_as_a_distance(metric):
    fitted = fit_threshold(verify_embeddings(*sets(0), metric=metric), 0.05, metric=metric, fitted_on="val")
    test = verify_embeddings(*sets(1), metric=metric)
    counts = fitted.apply(test)
    assert counts.tp == fitted.accepts(test.match_scores).sum()
    assert counts.fp == fitted.accepts(test.impostor_scores).sum()
    sign = (lambda s: 1 - s.astype(np.float64)) if metric == "cosine" else (lambda s: -s.astype(np.float64))
    assert fitted.accepts_distance(sign(test.match_scores)).sum() == counts.tp
    assert fitted.fpr <= 0.05
    assert not fitted.reliable or fitted.impostors * 0.05 >= 30


def test_it_survives_json_even_where_it_accepts_nothing():
    nothing = fit_threshold(verify_scores([1.0, 1.0, 0.0], [True, False, False]), 0.0, fitted_on="three pairs")
    assert nothing.threshold == math.inf
    stored = json.loads(json.dumps(without_nan(nothing.as_dict()), allow_nan=False))
    assert Threshold.from_dict(stored) == nothing
    assert not nothing.accepts(1e300)
    with pytest.raises(ValueError, match="accepts"):
        nothing.accepts_distance(0.1)
    del stored["fpr"]
    with pytest.raises(ValueError, match="lacks fpr"):
        Threshold.from_dict(stored)
