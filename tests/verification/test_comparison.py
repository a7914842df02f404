"""Two models on the same items: differences, and how often chance alone is taken for one."""

import numpy as np
import pytest
from scipy import stats

from examples import sample
from triune.verification.comparison import compare_verification


def test_a_model_does_not_differ_from_itself():
    x, labels = sample(30, 3)
    same = compare_verification(x, 2 * x, labels, resamples=50)  # the cosine knows no length
    assert same.auc.estimate == pytest.approx(0, abs=1e-6)
    assert same.auc.p_value > 0.5 or same.auc.high < 1e-6
    with pytest.raises(ValueError, match="first has 90 rows but second has 89"):
        compare_verification(x, x[:89], labels)


def test_the_interval_of_a_difference_is_paired():
    x, labels = sample(60, 4, noise=1.2, spread=0.4, seed=10)
    y = x + 0.35 * np.random.default_rng(11).normal(size=x.shape).astype(np.float32)
    result = compare_verification(x, y, labels, resamples=300)
    separate = np.sqrt(np.nanvar(result.first.auc.values) + np.nanvar(result.second.auc.values))
    assert result.auc.high - result.auc.low < 0.8 * 2 * 1.96 * separate
    assert result.auc.low > 0
    assert result.auc.p_value < 0.05
    differences = result.first.auc.values - result.second.auc.values
    assert result.auc.low == pytest.approx(np.quantile(differences, 0.025))
    rarer = min((differences <= 0).sum(), (differences >= 0).sum())
    assert result.auc.p_value == pytest.approx(2 * (1 + rarer) / 301)


def test_models_that_differ_by_chance_alone_are_seldom_told_apart():
    low = 0
    for seed in range(60):
        x, labels = sample(30, 3, seed=seed)
        g = np.random.default_rng(1000 + seed)
        noisy = [x + 0.5 * g.normal(size=x.shape).astype(np.float32) for _ in range(2)]
        low += compare_verification(*noisy, labels, resamples=100, seed=seed, fprs=()).auc.p_value <= 0.05
    assert low <= stats.binom.ppf(0.999, 60, 0.08)
