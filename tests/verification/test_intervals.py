"""Intervals of plain counts against scipy and the equation they solve."""

import numpy as np
import pytest
from scipy import stats

from triune.verification.intervals import (
    check_resamples,
    clopper_pearson_interval,
    too_few_identities,
    wilson_interval,
)


def test_wilson_solves_the_score_equation():
    n = np.array([1, 5, 10, 200, 10**6])[:, None]
    k = np.floor(n * np.linspace(0, 1, 9)[None, :])
    low, high = wilson_interval(k, n, 0.9)
    z = stats.norm.ppf(0.95)
    for bound in (low, high):
        inside = (bound > 0) & (bound < 1)
        distance = (k / n - bound) / np.sqrt(np.where(inside, bound * (1 - bound), 1) / n)
        np.testing.assert_allclose(np.abs(distance[inside]), z, rtol=1e-6)
    assert (low[k == 0] == 0).all()
    assert (high[k == n] == 1).all()


def test_wilson_and_clopper_pearson_equal_scipy():
    for k, n in ((0, 1), (0, 10), (3, 10), (10, 10), (17, 23), (1, 10**7)):
        for method, ours in (("wilson", wilson_interval), ("exact", clopper_pearson_interval)):
            theirs = stats.binomtest(k, n).proportion_ci(0.9, method=method)
            np.testing.assert_allclose(ours(k, n, 0.9), (theirs.low, theirs.high), rtol=1e-6, atol=1e-14)


def test_no_trial_tells_nothing_and_impossible_counts_are_refused():
    for interval in (wilson_interval, clopper_pearson_interval):
        assert tuple(map(float, interval(0, 0))) == (0.0, 1.0)
        low, high = interval([0, 1], [0, 2])
        assert low.shape == high.shape == (2,)
        with pytest.raises(ValueError, match="3 successes in 2 trials"):
            interval(3, 2)
        with pytest.raises(ValueError, match="level is 95"):
            interval(1, 2, 95)


@pytest.mark.parametrize(("level", "needed"), [(0.95, 39), (0.9, 19), (0.99, 199), (0.999, 1999), (0.5, 3)])
def test_a_level_needs_so_many_resamples_that_a_value_lies_beyond_each_end(level, needed):
    check_resamples(needed, level)
    values = np.arange(1.0, needed + 1) / (needed + 1)  # the quantiles that so many values stand for
    assert values[0] <= (1 - level) / 2 + 1e-12
    with pytest.raises(ValueError, match=rf"resamples is {needed - 1}, but .* needs {needed} at least"):
        check_resamples(needed - 1, level)


def test_fewer_than_ten_identities_are_too_few():
    assert too_few_identities(10) is None
    assert "2 identities are resampled" in too_few_identities(2)
