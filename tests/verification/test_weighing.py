"""Histograms of weighed pairs, against weighing them one by one."""

import numpy as np
import pytest

from examples import every_pair, sample, score
from triune.pairs.prepared import prepare
from triune.verification import pair_noise, weighing
from triune.verification.weighing import (
    bins_of,
    choose_knots,
    draw_weights,
    match_scores_by_identity,
    weigh_impostors,
    weigh_list,
    weigh_matches,
)


def test_every_resample_draws_as_many_identities_as_there_are_and_the_first_column_is_the_sample():
    weights = draw_weights(50, 2000, seed=3)
    assert (weights.dtype, weights.shape) == (np.uint8, (50, 2001))
    assert (weights[:, 0] == 1).all()
    assert (weights.sum(0, dtype=int) == 50).all()
    # Of a multinomial draw: mean 1, variance 1 − 1/G.
    assert weights[:, 1:].mean(1) == pytest.approx(np.ones(50), abs=0.15)
    assert weights[:, 1:].var() == pytest.approx(0.98, rel=0.03)
    assert np.array_equal(weights, draw_weights(50, 2000, seed=3))
    assert not np.array_equal(weights, draw_weights(50, 2000, seed=4))
    assert np.array_equal(weights[:, :11], draw_weights(50, 10, seed=3)), "more resamples begin with the same"


def test_knots_are_the_distinct_match_scores_and_the_thresholds():
    scores = np.array([0.25, 0.5, 0.5, 0.75], np.float32)
    assert choose_knots(scores, (0.5, 0.6)).tolist() == [0.25, 0.5, float(np.float32(0.6)), 0.75]
    assert choose_knots(scores, ()).dtype == np.float32


def test_of_many_match_scores_so_many_are_chosen_evenly_by_rank(monkeypatch):
    monkeypatch.setattr(weighing, "KNOTS", 11)
    scores = np.sort(np.random.default_rng(0).normal(size=1001).astype(np.float32))
    assert choose_knots(scores, ()).tolist() == scores[::100].tolist()


def test_bins_alternate_between_knots_and_what_lies_between_them():
    knots = np.array([-1.0, 0.5, 2.0])
    assert bins_of(knots, np.array([-7, -1, 0, 0.5, 1, 2, 3])).tolist() == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
@pytest.mark.parametrize("grouped", [False, True])
def test_match_scores_are_those_of_each_identity(metric, grouped):
    x, labels = sample(6, 5, seed=1)
    labels[:4] = 5  # identities of 1, 5 and 9 items
    groups = np.arange(len(x)) % 2
    found = match_scores_by_identity(prepare(x, labels, metric=metric, groups=groups if grouped else None))
    for identity in range(6):
        own = np.flatnonzero(labels == identity)
        expected = [
            score(x[i], x[j], metric)
            for i in own for j in own if i < j and not (grouped and groups[i] == groups[j])
        ]  # fmt: skip
        mine = [scores for scores, code in found if code == identity]
        scores = np.concatenate([np.empty(0, np.float32), *mine])
        np.testing.assert_allclose(np.sort(scores), np.sort(expected), atol=1e-5)


def test_an_identity_of_many_items_is_scored_in_parts():
    x = np.random.default_rng(0).normal(size=(1100, 2)).astype(np.float32)
    found = match_scores_by_identity(prepare(x, np.zeros(1100, int), metric="euclidean"))
    assert len(found) == 2
    i, j = np.triu_indices(1100, 1)
    expected = -np.linalg.norm(x[i].astype(np.float64) - x[j], axis=1)
    np.testing.assert_allclose(np.sort(np.concatenate([scores for scores, _ in found])), np.sort(expected), atol=1e-5)


@pytest.mark.parametrize("cells", [100, 1 << 20])
@pytest.mark.parametrize("grouped", [False, True])
def test_impostors_are_weighed_by_both_identities_and_added(monkeypatch, cells, grouped):
    for module in (weighing, pair_noise):
        monkeypatch.setattr(module, "BLOCK_CELLS", cells)
    g = np.random.default_rng(2)
    # Whole numbers, whose squared distances are exact.
    x, labels, groups = g.integers(-2, 3, (45, 3)).astype(np.float32), g.integers(0, 6, 45), g.integers(0, 4, 45)
    weights = g.integers(0, 4, (6, 5)).astype(np.uint8)
    knots = np.array([-9.0, -5.5, -4.0, -2.0], np.float32)
    expected = np.ones((9, 5))
    scores, _ = every_pair(x, labels, "squared_euclidean")
    for s, (i, j) in zip(np.round(scores), zip(*np.triu_indices(45, 1))):
        if labels[i] != labels[j] and not (grouped and groups[i] == groups[j]):
            place = (knots < s).sum() + (knots <= s).sum()
            expected[place] += weights[labels[i]].astype(float) * weights[labels[j]]
    items = prepare(x, labels, metric="squared_euclidean", groups=groups if grouped else None)
    histograms = np.ones((9, 5))
    weigh_impostors(items, knots, weights, histograms)
    np.testing.assert_array_equal(histograms, expected)


def listed(pairs=300, seed=5):
    g = np.random.default_rng(seed)
    return g.integers(0, 7, pairs), g.integers(0, 4, pairs), g.integers(0, 4, pairs), g.integers(0, 9, (4, 6))


@pytest.mark.parametrize("parts", [1, 3, 5000])
def test_matches_are_weighed_by_their_one_identity(parts):
    bins, codes, _, weights = listed()
    expected = np.zeros((7, 6))
    for place, code in zip(bins, codes):
        expected[place] += weights[code]
    given = zip(np.array_split(bins, parts), np.array_split(codes, parts))  # some are empty
    np.testing.assert_array_equal(weigh_matches(given, 3, weights.astype(np.uint8)), expected)
    assert not weigh_matches([], 3, weights.astype(np.uint8)).any()


@pytest.mark.parametrize("pairs", [0, 1, 300])
def test_listed_impostors_are_weighed_by_both_identities(pairs):
    bins, first, second, weights = listed(pairs)
    expected = np.zeros((7, 6))
    for place, one, other in zip(bins, first, second):
        expected[place] += weights[one] * weights[other]
    np.testing.assert_array_equal(weigh_list(bins, first, second, 3, weights.astype(np.uint8)), expected)
