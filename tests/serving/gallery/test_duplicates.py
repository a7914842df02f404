"""All pairs within a distance, and no other; groups are what they connect."""

import numpy as np
import pytest

from triune.errors import InputError
from triune.serving.gallery import duplicates
from triune.serving.gallery.duplicates import groups, near_duplicates


def planted():
    """Forty rows at random; 7, 20 and 33 are nearly the same, and so are 4 and 5; 11 and 12 are equal."""
    g = np.random.default_rng(0)
    x = g.normal(size=(40, 16))
    x[20], x[33] = x[7] + 0.001 * g.normal(size=16), x[7] + 0.001 * g.normal(size=16)
    x[5] = x[4] + 0.01 * g.normal(size=16)
    x[12] = x[11]
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("block", [40, 100, 1 << 23])
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
@pytest.mark.parametrize("squared", [1e-7, 1e-4, 0.01, 1.5])
def test_it_lists_the_pairs_that_are_within_the_distance_by_counting_all(metric, squared, block, monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", block)
    x = planted()
    d2 = np.square(x[:, None].astype(np.float64) - x[None]).sum(2)
    apart = {"cosine": d2 / 2, "euclidean": np.sqrt(d2), "squared_euclidean": d2}[metric]
    limit = {"cosine": squared / 2, "euclidean": squared**0.5, "squared_euclidean": squared}[metric]
    expected = {(i, j) for i in range(40) for j in range(i + 1, 40) if apart[i, j] <= limit}
    found = near_duplicates(x, metric, limit)
    assert set(zip(found.first.tolist(), found.second.tolist())) == expected
    assert len(found.first) == len(expected)
    assert (np.diff(found.scores) <= 0).all()
    for i, j, score in zip(*found):
        assert (1 - score if metric == "cosine" else -score) == pytest.approx(apart[i, j], abs=1e-6)


def test_equal_rows_are_at_distance_0_and_groups_are_connected_rows():
    x = planted()
    same = near_duplicates(x, "cosine", 0)
    assert (same.first.tolist(), same.second.tolist()) == ([11], [12])
    found = near_duplicates(x, "cosine", 1e-3)
    assert groups(found, 40) == [[4, 5], [7, 20, 33], [11, 12]]
    assert groups(near_duplicates(x[:1], "cosine", 1), 1) == []
    assert groups(near_duplicates(x[:0], "cosine", 1), 0) == []


def test_a_distance_that_is_none_or_connects_too_much_is_refused(monkeypatch):
    for wrong in (-0.1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="at least 0"):
            near_duplicates(planted(), "cosine", wrong)
    monkeypatch.setattr(duplicates, "MOST", 100)
    with pytest.raises(InputError, match=r"more than 100 pairs lie within a distance of 2\.5"):
        near_duplicates(planted(), "cosine", 2.5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_beyond_the_furthest_that_rows_can_be_all_pairs_are_within(metric):
    x = planted()
    x[1] = -x[0]
    for distance in (4.0, 1e200, 10**400):
        assert len(near_duplicates(x, metric, distance).first) == 40 * 39 // 2
