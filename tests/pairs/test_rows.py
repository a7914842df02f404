"""Scores of pairs without torch are those with it."""

import numpy as np
import pytest
import torch

from triune.pairs.rows import row_scores, row_scores_between, unit_rows
from triune.pairs.scores import paired_scores, scores_between

METRICS = ("cosine", "euclidean", "squared_euclidean")


def rows(width, count=400, dtype=np.float32):
    return np.random.default_rng(width).normal(size=(2, count, width)).astype(dtype)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("width", [1, 3, 128, 513])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_they_are_those_of_torch_but_for_a_last_bit(metric, width, dtype):
    x, y = rows(width, dtype=dtype)
    found, theirs = row_scores(x, y, metric), paired_scores(x, y, metric).numpy()
    assert found.dtype == np.float32
    if metric == "cosine":  # whose rows are brought to unit length in float32 first, by sums of another order
        np.testing.assert_allclose(found, theirs, atol=3e-7)
    else:
        np.testing.assert_array_max_ulp(found, theirs, 1)
        assert (found == theirs).mean() > 0.98


@pytest.mark.parametrize("metric", METRICS)
def test_one_pair_scores_as_among_many_and_from_either_side(metric):
    for width in (1, 7, 128):
        x, y = rows(width)
        many = row_scores(x, y, metric)
        assert np.array_equal(many, row_scores(y, x, metric))
        for k in range(0, len(x), 37):
            assert row_scores(x[k, None], y[k, None], metric) == many[k]


def test_rows_of_any_length_have_a_cosine_and_zero_rows_have_none():
    x = np.array([[3e38, 3e38], [1e-38, 0], [0, 0]], np.float32)
    assert row_scores(x, x).tolist() == pytest.approx([1, 1, 0])
    assert row_scores(np.zeros((2, 0)), np.zeros((2, 0))).tolist() == [0, 0]


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"x has shape \(2, 3\) but y has \(2, 4\)"):
        row_scores(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="metric is 'manhattan'"):
        row_scores(np.zeros((2, 3)), np.zeros((2, 3)), "manhattan")


@pytest.mark.parametrize("metric", METRICS)
def test_all_rows_against_all_score_as_with_torch_and_near_duplicates_keep_their_distance(metric):
    x, y = rows(33, count=40)
    y = np.concatenate([y, x * np.float32(1 + 1e-4)])
    if metric == "cosine":
        x, y = unit_rows(x), unit_rows(y)
    found = row_scores_between(x, y, metric)
    assert (found.shape, found.dtype) == ((40, 80), np.float32)
    theirs = scores_between(torch.from_numpy(x), torch.from_numpy(y), metric).numpy()
    np.testing.assert_allclose(found, theirs, rtol=1e-5, atol=1e-6)
    exact = np.linalg.norm(x.astype(float) - y[40:], axis=1)
    if metric == "euclidean":
        np.testing.assert_allclose(-np.diag(found[:, 40:]), exact, rtol=1e-3)
    assert row_scores_between(x[:0], y, metric).shape == (0, 80)
