"""The kernels behind likely wrong labels, against sorting."""

import numpy as np
import pytest

from triune.kernels.closeness_cpu import best_of_each_label, closeness_to_labels

SIZES = np.array([1, 5, 3, 2])


def tile(seed=0, rows=20):
    scores = np.random.default_rng(seed).integers(-4, 5, (rows, SIZES.sum())).astype(np.float32)  # many are equal
    scores[np.arange(rows), np.arange(rows) % SIZES.sum()] = -np.inf  # a row's score with itself
    return scores


@pytest.mark.parametrize("most", [1, 2, 4])
def test_the_highest_scores_with_each_label_are_those_of_sorting(most):
    scores, ends = tile(), np.cumsum(SIZES)
    best = best_of_each_label(scores, SIZES, most)
    assert best.shape == (20, 4, most)
    for row, of_labels in zip(scores, best):
        for end, size, kept in zip(ends, SIZES, of_labels):
            expected = np.full(most, -np.inf)
            top = np.sort(row[end - size : end])[::-1][:most]
            expected[: len(top)] = top
            assert kept.tolist() == expected.tolist()


def test_closeness_is_the_mean_of_as_many_as_there_are_with_the_first_passed_over_where_that_is_asked():
    best = best_of_each_label(tile(), SIZES, 4)
    g = np.random.default_rng(1)
    taken, skipped = g.integers(0, 4, 20), g.random((20, 4)) < 0.5
    means = closeness_to_labels(best, taken, skipped)
    for i in range(20):
        for label in range(4):
            scores = best[i, label, int(skipped[i, label]) :][: taken[i]]
            scores = scores[np.isfinite(scores)]
            assert means[i, label] == (scores.astype(np.float64).mean() if len(scores) else -np.inf)
