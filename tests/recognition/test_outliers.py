"""Outliers: what is far from everything is told, and a set without any has about one."""

import numpy as np
import pytest

from examples import sample
from triune.recognition.outliers import outliers


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_items_far_from_everything_are_told_the_furthest_first(metric):
    x = np.random.default_rng(0).normal(size=(300, 8)) * 0.2 + 2
    x[17], x[230] = -3, [9, 9, 9, 9, -9, -9, -9, -9]
    found = outliers(x, metric=metric)
    assert {17, 230} <= set(found.rows.tolist()[:2])
    assert len(found.rows) <= 4
    assert (np.diff(found.distance[found.rows]) <= 0).all()


def test_distances_are_means_over_the_nearest():
    x, _ = sample(4, 10, seed=2)
    all_pairs = np.linalg.norm(x[:, None].astype(float) - x[None], axis=2)
    expected = np.sort(all_pairs, axis=1)[:, 1:4].mean(axis=1)
    np.testing.assert_allclose(outliers(x, neighbours=3, metric="euclidean").distance, expected, rtol=1e-4)


def test_a_set_without_outliers_has_hardly_any():
    found = [len(outliers(np.random.default_rng(seed).normal(size=(300, 8))).rows) for seed in range(20)]
    assert np.mean(found) < 3


@pytest.mark.parametrize("x", [np.empty((0, 3)), np.ones((1, 3)), np.eye(3), np.ones((50, 3))])
def test_where_there_is_nothing_to_tell_nothing_is_an_outlier(x):
    found = outliers(x)
    assert len(found.rows) == 0
    assert found.limit == np.inf
    with pytest.raises(ValueError, match="neighbours is 0"):
        outliers(x, neighbours=0)
