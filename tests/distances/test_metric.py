"""The distances by their names: which there are, and what a score of each stands for."""

import pytest

from triune.distances.metric import check_metric, to_distance


def test_an_unknown_metric_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match="metric is 'manhattan'; known are 'euclidean', 'squared_euclidean', 'cosine'"):
        check_metric("manhattan")


def test_a_distance_is_never_negative():
    assert to_distance(1.0000001, "cosine") == 0.0
    assert to_distance(0.25, "cosine") == 0.75
    assert to_distance(-2.5, "euclidean") == 2.5
