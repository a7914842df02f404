"""The exact ROC against scikit-learn and against counting by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import det_curve, roc_auc_score, roc_curve

from triune.verification.roc import Confusion, verify_scores


def random_sets(count):
    """Score sets of every kind: smooth, tied, two-valued, tiny, lopsided, infinite, denormal, signed zeros."""
    for seed in range(count):
        g = np.random.default_rng(seed)
        n = int(g.integers(2, 40))
        kind = seed % 8
        scores = {
            0: lambda: g.normal(size=n),
            1: lambda: g.integers(0, 4, n).astype(float),
            2: lambda: g.integers(0, 2, n).astype(float),
            3: lambda: np.full(n, 0.3),
            4: lambda: g.choice([-np.inf, -1.0, 0.0, 1.0, np.inf], n),
            5: lambda: g.integers(-3, 4, n) * 5e-324,
            6: lambda: g.choice([-0.0, 0.0, 1e-300], n),
            7: lambda: g.normal(size=n).astype(np.float32),
        }[kind]()
        match = g.random(n) < g.choice([0.1, 0.5, 0.9])
        match[:2] = True, False
        yield scores, match


def brute_force_point(scores, match, budget):
    """The lowest observed score whose FPR keeps the budget, and its TPR; plain counting."""
    best = (math.inf, 0.0)
    for t in sorted(set(scores.tolist()), reverse=True):
        accepted = scores >= t
        if (accepted & ~match).sum() / (~match).sum() <= budget:
            best = (t, (accepted & match).sum() / match.sum())
    return best


def test_auc_and_roc_equal_scikit_learn_on_a_thousand_sets():
    for scores, match in random_sets(1000):
        v = verify_scores(scores, match)
        finite = np.clip(np.asarray(scores, dtype=np.float64), -1e308, 1e308)
        assert v.auc == pytest.approx(roc_auc_score(match, finite), abs=1e-12)
        fpr, tpr, _ = roc_curve(match, finite, drop_intermediate=False)
        ours = v.roc()
        np.testing.assert_allclose(ours[0], fpr, atol=1e-15)
        np.testing.assert_allclose(ours[1], tpr, atol=1e-15)


def test_det_equals_scikit_learn_on_a_thousand_sets():
    for scores, match in random_sets(1000):
        finite = np.clip(np.asarray(scores, dtype=np.float64), -1e308, 1e308)
        fpr, fnr, thresholds = det_curve(match, finite)
        ours = verify_scores(finite, match)
        # scikit-learn leaves out what lies before the first and behind the last change of a rate.
        points = {t: (a, b) for a, b, t in zip(*(part.tolist() for part in ours.det()))}
        for x, y, t in zip(fpr.tolist(), fnr.tolist(), thresholds.tolist()):
            assert points[t] == pytest.approx((x, y), abs=1e-15)


def test_tpr_at_fpr_and_its_threshold_equal_plain_counting_on_a_thousand_sets():
    for seed, (scores, match) in enumerate(random_sets(1000)):
        v = verify_scores(scores, match)
        for budget in (0.0, 0.05, 1 / 3, 1.0, (seed % 97) / 97):
            threshold, tpr = brute_force_point(scores, match, budget)
            assert v.threshold_at_fpr(budget) == threshold
            assert v.tpr_at_fpr(budget) == tpr
            if tpr > 0:
                assert v.confusion_at(threshold).fpr <= budget


def test_a_budget_is_the_decimal_that_was_written():
    # 0.07 * 100 is 7.000000000000001 and 0.29 * 100 is 28.999999999999996; the budgets are 7 and 29 false positives.
    scores = np.arange(101.0)
    match = np.zeros(101, bool)
    match[0] = True
    v = verify_scores(scores, match)
    for percent in range(101):
        assert v.confusion_at(v.threshold_at_fpr(percent / 100)).fp == percent


def test_pairs_of_equal_score_are_accepted_together():
    scores = [0.9, 0.8, 0.8, 0.8, 0.1]
    match = [True, True, False, False, False]
    v = verify_scores(scores, match)
    assert v.tpr_at_fpr(0.5) == 0.5  # accepting at 0.8 would take both impostors: FPR 2/3
    assert v.threshold_at_fpr(0.5) == 0.9
    assert v.tpr_at_fpr(2 / 3) == 1.0


def test_where_even_the_best_score_breaks_the_budget_nothing_is_accepted():
    v = verify_scores([1.0, 1.0], [True, False])
    assert v.threshold_at_fpr(0.5) == math.inf
    assert v.tpr_at_fpr(0.5) == 0.0
    assert v.confusion_at(math.inf) == Confusion(0, 0, 1, 1)


def test_eer_lies_between_the_two_points_where_the_rates_cross():
    # FPR, FNR: (0, 1) (0, .5) (.25, .5) (.5, .5) …: they meet at one half.
    assert verify_scores([5, 4, 3, 2, 1, 0], [1, 0, 0, 1, 0, 0]).eer == 0.5
    for scores, match in random_sets(200):
        v = verify_scores(scores, match)
        fpr, tpr, _ = v.roc()
        fnr = 1 - tpr
        after = int(np.argmax(fnr <= fpr))
        assert (
            min(fpr[max(after - 1, 0)], fnr[after]) - 1e-12 <= v.eer <= max(fpr[after], fnr[max(after - 1, 0)]) + 1e-12
        )


def test_perfect_and_useless_scores():
    assert verify_scores([2, 2, 1, 1], [1, 1, 0, 0]).auc == 1.0
    assert verify_scores([2, 2, 1, 1], [1, 1, 0, 0]).eer == 0.0
    assert verify_scores([1, 1, 1, 1], [1, 1, 0, 0]).auc == 0.5
    assert verify_scores([1, 1, 1, 1], [1, 1, 0, 0]).eer == 0.5


def test_scores_are_never_transformed():
    v = verify_scores([1000.0, 30.0, -5.0], [True, False, False])
    assert v.threshold_at_fpr(0.0) == 1000.0


def test_the_worked_confusion_table():
    c = Confusion(tp=85, fp=10, tn=180, fn=25)
    assert round(c.tpr, 4) == 0.7727
    assert round(c.fpr, 4) == 0.0526
    assert c.precision == 85 / 95
    assert c.accuracy == 265 / 300


def test_ratios_without_pairs_are_nan():
    c = Confusion(0, 0, 0, 0)
    assert all(math.isnan(x) for x in (c.tpr, c.fpr, c.precision, c.accuracy))


def test_reliable_from_thirty_expected_false_positives():
    v = verify_scores(np.arange(602.0), np.arange(602) < 2)
    assert v.reliable_at(0.05)
    assert not v.reliable_at(0.049)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_every_precision_are_taken(dtype):
    v = verify_scores(torch.tensor([0.5, 0.25, 0.75, 0.0], dtype=dtype), torch.tensor([True, False, True, False]))
    assert v.auc == 1.0


@pytest.mark.parametrize(
    ("scores", "match", "words"),
    [
        ([0.1, math.nan, 0.3], [1, 0, 1], r"scores\[1\] is NaN"),
        ([0.1, 0.2], [1, 1], "no non-matching pair"),
        ([0.1, 0.2], [0, 0], "no matching pair"),
        ([0.1, 0.2], [1, 2], "0 and 1"),
        ([0.1, 0.2], [1], "shape"),
        ([], [], "no matching pair"),
        (["a", "b"], [1, 0], "dtype"),
    ],
)
def test_what_has_no_roc_says_why(scores, match, words):
    with pytest.raises(ValueError, match=words):
        verify_scores(scores, match)


@pytest.mark.parametrize("fpr", [-0.1, 1.1, math.nan])
def test_a_rate_outside_0_to_1_is_refused(fpr):
    with pytest.raises(ValueError, match="fpr"):
        verify_scores([1, 0], [1, 0]).tpr_at_fpr(fpr)
