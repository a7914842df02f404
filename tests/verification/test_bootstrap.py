"""Intervals against weighing every pair by hand, against scipy, and against what they promise: to cover the truth."""

import numpy as np
import pytest

from examples import sample
from oracles import brute_pair_noise, brute_scored_pairs, brute_weighed_figures
from triune.verification.all_pairs import verify_embeddings
from triune.verification.bootstrap import bootstrap_scores, bootstrap_verification
from triune.verification.intervals import wilson_interval
from triune.verification.new_identities import expected_fpr
from triune.verification.weighing import draw_weights


def check_against_naive(result, scores, first, second, identities, seed, tolerance):
    """Compare every resample; ``result`` has budgets and thresholds of its own."""
    weights = draw_weights(identities, result.resamples, seed)
    fprs, thresholds = list(result.tpr_at_fpr), list(result.tpr_at_threshold)
    expected = []
    for r in range(result.resamples):
        w = weights[:, r + 1].astype(np.int64)
        auc, eer, tprs, fixed = brute_weighed_figures(scores, first, second, w, fprs, thresholds)
        assert result.auc.values[r] == pytest.approx(auc, abs=tolerance)
        assert result.eer.values[r] == pytest.approx(eer, abs=tolerance)
        for fpr, tpr in zip(fprs, tprs):
            assert result.tpr_at_fpr[fpr].values[r] == pytest.approx(tpr, abs=tolerance)
        for t, (tpr, _) in zip(thresholds, fixed):
            assert result.tpr_at_threshold[t].values[r] == pytest.approx(tpr, abs=1e-9)
        expected.append([fpr for _, fpr in fixed])
    # FPR at a fixed threshold: drawn in by what is peculiar to pairs of identities, itself summed by hand.
    once = np.ones(identities, np.int64)
    for k, t in enumerate(thresholds):
        rates, rate = (
            np.array([row[k] for row in expected]),
            brute_weighed_figures(scores, first, second, once, (), [t])[3][0][1],
        )
        spread, noise = rates.var(), brute_pair_noise(scores >= t, first, second, identities)
        factor = np.sqrt(min(1, max(spread - 2 * noise, noise) / spread)) if spread > 0 else 1
        by_hand = np.clip(rate + factor * (rates - rate), 0, 1)
        np.testing.assert_allclose(result.fpr_at_threshold[t].values, by_hand, atol=1e-9)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_with_few_matches_every_resample_equals_weighing_every_pair(metric):
    x, labels = sample(30, 4, seed=1)
    shuffled = np.random.default_rng(0).permutation(len(x))
    thresholds = (0.4, -1.5, 2.0)
    result = bootstrap_verification(
        x[shuffled], labels[shuffled], metric=metric, fprs=(0.2, 0.05, 0.001, 0.0), thresholds=thresholds, resamples=40
    )
    scores, i, j = brute_scored_pairs(x, labels, metric)
    check_against_naive(result, scores, labels[i], labels[j], 30, 0, 1e-9)


def test_tied_scores_count_half_and_go_together_in_every_resample():
    g = np.random.default_rng(3)
    x, labels = g.integers(0, 3, (60, 3)).astype(np.float32), g.integers(0, 12, 60)
    labels = np.unique(labels, return_inverse=True)[1]
    result = bootstrap_verification(
        x, labels, metric="squared_euclidean", fprs=(0.3, 0.1), thresholds=(-2.0,), resamples=40
    )
    scores, i, j = brute_scored_pairs(x, labels, "squared_euclidean")
    check_against_naive(result, scores, labels[i], labels[j], labels.max() + 1, 0, 1e-12)


def test_with_many_matches_every_resample_is_within_a_thousandth():
    x, labels = sample(100, 10, noise=1.3, seed=2)  # 4,500 matching pairs: more than there are knots
    result = bootstrap_verification(x, labels, fprs=(0.05, 0.01, 0.001), thresholds=(0.5,), resamples=40)
    scores, i, j = brute_scored_pairs(x, labels)
    check_against_naive(result, scores, labels[i], labels[j], 100, 0, 1e-3)


def test_pairs_within_a_group_are_left_out_of_every_resample():
    x, labels = sample(25, 4, seed=4)
    groups = np.random.default_rng(5).integers(0, 6, len(x))
    result = bootstrap_verification(x, labels, groups=groups, fprs=(0.1,), thresholds=(0.3,), resamples=40)
    scores, i, j = brute_scored_pairs(x, labels, groups=groups)
    check_against_naive(result, scores, labels[i], labels[j], 25, 0, 1e-9)


def test_identities_of_many_items_and_strings_as_labels():
    x, labels = sample(3, 90, noise=2.0, seed=6)  # more items than a block has rows
    names = np.array(["ant", "bee", "cat"])[labels]
    result = bootstrap_verification(x, names, fprs=(0.2,), thresholds=(0.0,), resamples=40)
    scores, i, j = brute_scored_pairs(x, labels)
    weights = draw_weights(3, 30, 0)
    for r in range(30):
        w = weights[:, r + 1].astype(np.int64)
        if (w > 0).sum() < 2:
            assert np.isnan(result.auc.values[r])  # one identity alone has no impostor
        else:
            auc = brute_weighed_figures(scores, labels[i], labels[j], w, (0.2,), ())[0]
            assert result.auc.values[r] == pytest.approx(auc, abs=1e-4)
    assert result.auc.low <= result.auc.estimate <= result.auc.high


def test_estimates_are_those_of_all_pairs():
    x, labels = sample(60, 5, seed=7)
    exact = verify_embeddings(x, labels)
    result = bootstrap_verification(x, labels, thresholds=(0.5,), resamples=40)
    assert result.auc.estimate == exact.auc
    assert result.eer.estimate == exact.eer
    assert result.tpr_at_fpr[0.01].estimate == exact.tpr_at_fpr(0.01)
    assert result.fpr_at_threshold[0.5].estimate == exact.confusion_at(0.5).fpr


def test_a_part_of_the_pairs_gives_nearly_the_same_interval():
    x, labels = sample(200, 4, seed=8)
    full = bootstrap_verification(x, labels, fprs=(0.05,), resamples=300)
    part = bootstrap_verification(x, labels, fprs=(0.05,), resamples=300, max_pairs=80_000)
    for a, b in ((full.auc, part.auc), (full.tpr_at_fpr[0.05], part.tpr_at_fpr[0.05])):
        assert a.estimate == b.estimate
        assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.25)
        assert not np.array_equal(a.values, b.values)


def test_the_seed_decides():
    x, labels = sample(30, 3)
    a, b, c = (bootstrap_verification(x, labels, resamples=40, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(a.auc.values, b.auc.values)
    assert not np.array_equal(a.auc.values, c.auc.values)


def test_listed_pairs_equal_weighing_by_hand_and_the_embeddings_they_came_from():
    x, labels = sample(30, 4, seed=9)
    scores, i, j = brute_scored_pairs(x, labels)
    names = np.array([f"p{k:02d}" for k in range(30)])
    result = bootstrap_scores(
        scores, names[labels[i]], names[labels[j]],
        fprs=(0.1, 0.01), thresholds=(0.4,), resamples=40,
    )  # fmt: skip
    check_against_naive(result, scores, labels[i], labels[j], 30, 0, 1e-12)
    direct = bootstrap_verification(x, labels, fprs=(0.1, 0.01), resamples=40)
    np.testing.assert_allclose(result.auc.values, direct.auc.values, atol=1e-9)


def test_listed_pairs_match_where_both_sides_have_one_identity():
    result = bootstrap_scores([0.9, 0.8, 0.1], ["a", "b", "a"], ["a", "c", "b"], thresholds=(0.5,), resamples=40)
    assert (result.tpr_at_threshold[0.5].estimate, result.fpr_at_threshold[0.5].estimate) == (1.0, 0.5)
    with pytest.raises(ValueError, match="no matching pair"):
        bootstrap_scores([0.9, 0.8], ["a", "b"], ["b", "c"])
    with pytest.raises(ValueError, match="second_identity"):
        bootstrap_scores([0.9, 0.8], ["a", "b"], ["a"])


def test_identity_intervals_cover_the_truth_where_intervals_over_pairs_do_not():
    settings = {"dims": 6, "noise": 0.5, "spread": 0.5}
    threshold, budget, sets = 0.7, 0.1, 200
    truth = verify_embeddings(*sample(4000, 4, **settings, seed=12345))
    point = truth.confusion_at(threshold)
    covered = dict.fromkeys(("auc", "tpr@fpr", "tpr", "fpr", "wilson tpr", "wilson fpr"), 0)
    for seed in range(sets):
        x, labels = sample(40, 4, **settings, seed=seed)
        result = bootstrap_verification(x, labels, fprs=(budget,), thresholds=(threshold,), resamples=200, seed=seed)
        counts = verify_embeddings(x, labels).confusion_at(threshold)
        for name, interval, true in (
            ("auc", result.auc, truth.auc),
            ("tpr@fpr", result.tpr_at_fpr[budget], truth.tpr_at_fpr(budget)),
            ("tpr", result.tpr_at_threshold[threshold], point.tpr),
            ("fpr", result.fpr_at_threshold[threshold], point.fpr),
        ):
            covered[name] += interval.low <= true <= interval.high
        for name, part, whole, true in (
            ("wilson tpr", counts.tp, counts.tp + counts.fn, point.tpr),
            ("wilson fpr", counts.fp, counts.fp + counts.tn, point.fpr),
        ):
            low, high = wilson_interval(part, whole)
            covered[name] += low <= true <= high
    shares = {name: count / sets for name, count in covered.items()}
    for name in ("auc", "tpr@fpr", "tpr"):
        assert 0.90 <= shares[name] <= 0.99, shares
    assert shares["fpr"] >= 0.95, shares  # the jackknife's variance is not too small on average, and may be too large
    assert shares["wilson tpr"] < 0.80, shares
    assert shares["wilson fpr"] < 0.80, shares


def test_a_rate_that_no_resample_changes_still_has_an_interval():
    x, labels = sample(40, 3, noise=0.01)
    result = bootstrap_verification(x, labels, thresholds=(0.999999, 0.9), resamples=50)
    tpr, fpr = result.tpr_at_threshold[0.9], result.fpr_at_threshold[0.999999]
    assert tpr.estimate == 1.0
    assert tpr.high == 1.0
    assert tpr.low == pytest.approx(wilson_interval(40, 40)[0])
    assert result.auc.estimate == result.auc.high == 1.0
    assert 0.8 < result.auc.low < 1.0
    assert fpr.estimate == 0.0
    assert fpr.low == 0.0
    assert (1 - fpr.high) ** 20 == pytest.approx(0.025)  # twenty pairs of identities have none in common


def test_the_interval_of_a_rate_at_a_threshold_is_that_of_new_identities_and_the_same_of_a_list():
    x, labels = sample(12, 4, seed=3)
    expected = expected_fpr(x, labels, threshold=0.3, level=0.9)
    by_embeddings = bootstrap_verification(x, labels, thresholds=(0.8, 0.3), resamples=40, level=0.9)
    scores, i, j = brute_scored_pairs(x, labels)
    by_list = bootstrap_scores(scores, labels[i], labels[j], thresholds=(0.8, 0.3), resamples=40, level=0.9)
    for found in (by_embeddings, by_list):
        rate = found.fpr_at_threshold[0.3]
        assert (rate.estimate, rate.low, rate.high) == pytest.approx((expected.estimate, expected.low, expected.high))


def test_of_a_part_of_the_pairs_the_interval_lies_around_the_rate_of_all():
    x, labels = sample(200, 4, seed=8)
    full, part = (
        bootstrap_verification(x, labels, thresholds=(0.5,), resamples=40, max_pairs=most).fpr_at_threshold[0.5]
        for most in (100_000_000, 80_000)
    )
    assert full.estimate == part.estimate
    assert part.low < part.estimate < part.high
    assert part.high - part.low == pytest.approx(full.high - full.low, rel=0.5)


def test_bad_settings_and_data_are_refused():
    x, labels = sample(5, 3)
    with pytest.raises(ValueError, match="resamples is 0"):
        bootstrap_verification(x, labels, resamples=0)
    with pytest.raises(ValueError, match=r"fprs holds 1\.5"):
        bootstrap_verification(x, labels, fprs=(1.5,))
    with pytest.raises(ValueError, match="thresholds holds NaN"):
        bootstrap_verification(x, labels, thresholds=(float("nan"),))
    with pytest.raises(ValueError, match="no matching pair"):
        bootstrap_verification(x, np.arange(15))
    with pytest.raises(ValueError, match="no non-matching pair"):
        bootstrap_verification(x, np.zeros(15, int))
    x[3, 0] = np.nan
    with pytest.raises(ValueError, match="row 3"):
        bootstrap_verification(x, labels)


def test_a_verification_of_other_pairs_is_refused():
    rows, labels = np.random.default_rng(0).normal(size=(24, 5)), np.repeat(np.arange(8), 3)
    own = verify_embeddings(rows, labels)
    assert bootstrap_verification(rows, labels, resamples=40, verification=own).auc.estimate == own.auc
    with pytest.raises(ValueError, match=r"of other data: it has 12 matching pairs, these .* have 24"):
        bootstrap_verification(rows, labels, resamples=40, verification=verify_embeddings(rows[:12], labels[:12]))
    with pytest.raises(ValueError, match="verification is of other data: the scores of 24 matching pairs"):
        bootstrap_verification(rows, labels, resamples=40, verification=verify_embeddings(rows**3 + 1, labels))
