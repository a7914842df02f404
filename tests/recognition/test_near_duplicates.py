"""Near-duplicates: copies among neighbours are told, whatever the scale of the distances."""

import numpy as np
import pytest

from examples import sample, score
from triune.recognition.near_duplicates import chance_limit, close_pairs, groups


def with_copies(count, *, size=1e-3, seed=0):
    """Embeddings whose last rows are copies of the first ones, a little off."""
    x, _ = sample(20, 20, dims=16, noise=0.7, seed=seed)
    g = np.random.default_rng(seed)
    return np.concatenate([x, x[:count] + size * g.normal(size=(count, 16))]).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_copies_are_within_the_limit_and_neighbours_are_not(metric, scale):
    x = with_copies(8) * np.float32(scale)
    found = close_pairs(x, metric=metric)
    within = found.distance <= found.limit
    pairs = set(zip(found.first[within].tolist(), found.second[within].tolist()))
    assert {(k, 400 + k) for k in range(8)} <= pairs
    assert len(pairs) <= 12
    for i, j, distance in zip(found.first[:50], found.second[:50], found.distance[:50]):
        exact = 1 - score(x[i], x[j], "cosine") if metric == "cosine" else -score(x[i], x[j], metric)
        assert distance == pytest.approx(exact, rel=1e-2)
    assert (np.diff(found.distance) >= 0).all()
    assert (found.first < found.second).all()


def test_equal_rows_are_within_the_limit_however_many_there_are():
    x = np.concatenate([with_copies(0)[:30]] * 2)
    found = close_pairs(x)
    within = found.distance <= found.limit
    assert set(zip(found.first[within].tolist(), found.second[within].tolist())) == {(k, 30 + k) for k in range(30)}


def test_without_copies_about_one_pair_is_within_the_limit_by_chance():
    found = [close_pairs(with_copies(0, seed=seed)) for seed in range(10)]
    assert sum((each.distance <= each.limit).sum() for each in found) <= 20


def test_few_items_and_none():
    assert len(close_pairs(np.empty((0, 4))).first) == 0
    assert len(close_pairs(np.ones((1, 4))).first) == 0
    found = close_pairs(np.eye(3))
    assert len(found.first) == 3
    assert not (found.distance <= found.limit).any()
    with pytest.raises(ValueError, match="neighbours is 0"):
        close_pairs(np.eye(3), neighbours=0)


def test_pairs_that_share_an_item_are_one_group():
    numbers = groups(7, np.array([0, 1, 4]), np.array([1, 2, 6]))
    assert numbers[0] == numbers[1] == numbers[2]
    assert numbers[4] == numbers[6]
    assert len(set(numbers.tolist())) == 4
    assert len(set(groups(3, np.empty(0, int), np.empty(0, int)).tolist())) == 3


def test_one_in_n_falls_below_the_limit_by_chance():
    g = np.random.default_rng(0)
    below = [(d < chance_limit(d)).sum() for d in np.exp(g.normal(size=(400, 200)))]
    assert np.mean(below) == pytest.approx(1, abs=0.35)
    assert chance_limit(np.ones(5)) == 0
