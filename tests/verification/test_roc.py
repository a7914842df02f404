"""The exact ROC against scikit-learn and against counting by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import det_curve, roc_auc_score, roc_curve

from triune.verification.roc import FPRS, Confusion, Verification, verify_scores


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


# --- figures of the curve, each by another way -----------------------------------------------------------------------


def test_the_equal_error_rate_is_where_the_curve_meets_the_diagonal_of_equal_errors():
    """The straight pieces of the curve, each cut with the line FPR = FNR by solving two equations."""
    for scores, match in random_sets(400):
        v = verify_scores(scores, match)
        thresholds = sorted(set(scores.tolist()), reverse=True)
        points = [(0.0, 1.0), *(((scores >= t)[~match].mean(), (scores < t)[match].mean()) for t in thresholds)]
        for (f0, n0), (f1, n1) in pairwise(points):
            if f1 >= n1:
                share, _ = np.linalg.solve([[f1 - f0, -1], [n1 - n0, -1]], [-f0, -n0])
                assert v.eer == pytest.approx(f0 + share * (f1 - f0), abs=1e-12)
                break


def test_partial_auc_equals_scikit_learn_and_is_the_mean_tpr_up_to_the_rate():
    for seed, (scores, match) in enumerate(random_sets(120)):
        finite = np.clip(np.asarray(scores, dtype=np.float64), -1e308, 1e308)
        v = verify_scores(finite, match)
        for rate in (0.05, 0.5, (seed % 96 + 1) / 97, 1.0):
            expected = roc_auc_score(match, finite, max_fpr=rate)
            assert v.partial_auc(rate, standardized=True) == pytest.approx(expected, abs=1e-9)
            fpr, tpr, _ = v.roc()
            # The last of points with equal FPR is where the curve goes on from; a rate's TPR lies between two points.
            grid = (np.arange(4_000) + 0.5) / 4_000 * rate
            after = np.searchsorted(fpr, grid, side="right")
            share = (grid - fpr[after - 1]) / (fpr[after] - fpr[after - 1])
            mean = (tpr[after - 1] + share * (tpr[after] - tpr[after - 1])).mean()
            assert v.partial_auc(rate) == pytest.approx(mean, abs=1e-3)


def test_partial_auc_is_not_standardized_unless_asked():
    v = verify_scores([3, 2, 1, 0], [1, 0, 1, 0])
    # TPR is 1/2 up to FPR 1/2; chance has area 1/8 there, perfect scores 1/2.
    assert v.partial_auc(0.5) == 0.5
    assert v.partial_auc(0.5, standardized=True) == 0.5 * (1 + (0.25 - 0.125) / (0.5 - 0.125))


@pytest.mark.parametrize("rate", [0.0, -0.5, 1.01, math.nan])
def test_partial_auc_of_no_range_is_refused(rate):
    with pytest.raises(ValueError, match="max_fpr is"):
        verify_scores([1, 0], [1, 0]).partial_auc(rate)


@pytest.mark.parametrize(("prior", "miss", "false_alarm"), [(0.5, 1, 1), (0.25, 2, 1), (0.125, 1, 4), (0.75, 0.5, 2)])
def test_the_least_cost_is_that_of_plain_counting(prior, miss, false_alarm):
    for scores, match in random_sets(200):
        scores = np.clip(scores, -1e30, 1e30)
        v = verify_scores(scores, match)
        costs = {}
        for t in [math.inf, *set(scores.tolist())]:
            fnr, fpr = (scores < t)[match].mean(), (scores >= t)[~match].mean()
            costs[t] = prior * miss * fnr + (1 - prior) * false_alarm * fpr
        found = v.least_cost(prior, miss=miss, false_alarm=false_alarm)
        assert found.cost == pytest.approx(min(costs.values()), abs=1e-12)
        assert costs[found.threshold] == pytest.approx(found.cost, abs=1e-12)
        assert found.normalized == pytest.approx(found.cost / min(prior * miss, (1 - prior) * false_alarm))
        assert found.confusion == v.confusion_at(found.threshold)


def test_of_equal_costs_the_highest_threshold_is_taken():
    # Accepting at 3 misses two of four matches; at 1 none, for the false alarm of both impostors: 1/4 + 0 = 0 + 1/4.
    v = verify_scores([3, 3, 2, 2, 1, 1], [1, 1, 0, 0, 1, 1])
    assert v.least_cost(0.5, false_alarm=0.5) == (3.0, 0.25, 1.0, Confusion(2, 0, 2, 2))
    # Accepting nothing costs as much as accepting all.
    assert verify_scores([1.0, 1.0], [1, 0]).least_cost(0.5).threshold == math.inf


def test_costs_are_one_each_unless_given():
    v = verify_scores([3, 2, 1, 0], [1, 0, 1, 0])
    assert v.least_cost(0.75).cost == v.least_cost(0.75, miss=1.0, false_alarm=1.0).cost == 0.125
    assert v.least_cost(0.25).cost == 0.125


@pytest.mark.parametrize("prior", [0.0, 1.0])
def test_a_certain_prior_costs_nothing_and_has_nothing_to_compare_with(prior):
    found = verify_scores([1.0, 1.0], [1, 0]).least_cost(prior)
    assert found.cost == 0
    assert math.isnan(found.normalized)


def test_mistakes_that_cost_nothing_are_allowed():
    assert verify_scores([1.0, 0.0], [0, 1]).least_cost(0.5, miss=0.0).threshold == math.inf
    assert verify_scores([1.0, 0.0], [0, 1]).least_cost(0.5, false_alarm=0.0).threshold == 0.0


@pytest.mark.parametrize(
    ("prior", "costs", "words"),
    [
        (-0.1, {}, "prior is"),
        (1.1, {}, "prior is"),
        (0.5, {"miss": -1.0}, "costs are"),
        (0.5, {"miss": math.inf}, "costs are"),
        (0.5, {"false_alarm": -1.0}, "costs are"),
        (0.5, {"false_alarm": math.inf}, "costs are"),
    ],
)
def test_costs_that_are_none_are_refused(prior, costs, words):
    with pytest.raises(ValueError, match=words):
        verify_scores([1, 0], [1, 0]).least_cost(prior, **costs)


def test_an_operating_point_holds_the_budget_the_rates_and_whether_they_can_be_trusted():
    scores, match = np.arange(602.0), np.arange(602) % 301 == 300  # matches at 300 and 601, above all
    point = verify_scores(scores, match).operating_point(0.25)
    assert (point.target_fpr, point.threshold, point.tpr, point.fpr) == (0.25, 451.0, 0.5, 0.25)
    assert (point.reliable, point.reason) == (True, None)
    point = verify_scores(scores, match).operating_point(0.049)
    assert not point.reliable
    assert point.reason == "only 29.4 false positives are expected; 30 are needed"


def test_pairs_are_counted_and_listed_in_ascending_order():
    v = verify_scores([3, 1, 2, 5, 4], [1, 0, 1, 0, 0])
    assert (v.matches, v.impostors) == (2, 3)
    assert v.match_scores.tolist() == [2, 3]
    assert v.impostor_scores.tolist() == [1, 4, 5]
    assert v.detached().impostor_scores.tolist() == [1, 4, 5]


def test_the_curve_has_a_point_for_every_observed_score_and_one_that_accepts_nothing():
    fpr, tpr, thresholds = verify_scores([3, 1, 2, 1], [1, 0, 0, 1]).roc()
    assert thresholds.tolist() == [math.inf, 3, 2, 1]
    assert thresholds.dtype == np.float64
    assert fpr.tolist() == [0, 0, 0.5, 1]
    assert tpr.tolist() == [0, 0.5, 0.5, 1]


def test_accepted_is_at_or_above_the_threshold():
    v = verify_scores([1.0, 2.0, 2.0, 3.0], [0, 1, 0, 1])
    assert v.confusion_at(2.0) == Confusion(tp=2, fp=1, tn=1, fn=0)
    assert v.confusion_at(np.nextafter(2.0, 3.0)) == Confusion(tp=1, fp=0, tn=2, fn=1)
    with pytest.raises(ValueError, match="threshold is nan"):
        v.confusion_at(math.nan)


def test_histograms_share_edges_from_the_lowest_to_the_highest_score():
    scores, match = np.array([0.0, 1.0, 2.0, 8.0]), np.array([True, False, True, False])
    edges, matching, other = verify_scores(scores, match).histogram(8)
    assert edges.tolist() == list(range(9))
    assert matching.tolist() == [1, 0, 1, 0, 0, 0, 0, 0]
    assert other.tolist() == [0, 1, 0, 0, 0, 0, 0, 1]
    for low, high in ((0.0, 8.0), (8.0, 0.0)):  # of a matching pair, and of another
        edges, *_ = verify_scores([low, high], [1, 0]).histogram()
        assert (edges[0], edges[-1], len(edges)) == (0.0, 8.0, 81)


def test_the_highest_score_ends_the_histogram_whichever_pair_has_it():
    for match in ([1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 1]):
        edges, *_ = verify_scores([0.0, 8.0, 4.0], match).histogram(4)
        assert edges.tolist() == [0, 2, 4, 6, 8]


def test_impostors_that_are_counted_are_asked_for_a_range_that_has_a_width():
    class Counted:
        count, lowest = 3, 2.0

        def at(self, place):
            return 2.0

        def histogram(self, low, high, bins):
            return np.linspace(low, high, bins + 1), np.array([0, 3, 0])

    edges, matching, _ = Verification(np.array([2.0, 2.0]), Counted()).histogram(3)
    assert (edges[0], edges[-1]) == (1.5, 2.5)
    assert matching.tolist() == [0, 2, 0]
    with pytest.raises(ValueError, match="counted, not listed"):
        _ = Verification(np.array([2.0, 2.0]), Counted()).impostor_scores


def test_a_budget_one_bit_below_a_rate_does_not_keep_that_rate():
    rounded_up = 0
    for n in range(1, 60):
        v = verify_scores([-1.0, *range(n)], [1] + [0] * n)
        for k in range(1, n + 1):
            below = np.nextafter(k / n, 0)
            assert v.confusion_at(v.threshold_at_fpr(k / n)).fp == k
            assert v.confusion_at(v.threshold_at_fpr(below)).fp == k - 1
            rounded_up += math.floor(below * n) == k
    assert rounded_up > 100  # in floats, so many products say that one more is allowed


def test_the_histogram_of_one_value_has_it_in_the_middle():
    edges, matching, other = verify_scores([2.0, 2.0, 2.0], [1, 0, 0]).histogram(3)
    assert (edges[0], edges[-1]) == (1.5, 2.5)
    assert (matching.tolist(), other.tolist()) == ([0, 1, 0], [0, 2, 0])


def test_where_everything_may_be_accepted_the_threshold_is_the_lowest_score():
    assert verify_scores([0.0, 1.0], [1, 0]).threshold_at_fpr(1.0) == 0.0
    assert verify_scores([1.0, 0.0], [1, 0]).threshold_at_fpr(1.0) == 0.0


@pytest.mark.parametrize(("fpr", "fine"), [(0.0, True), (1.0, True), (-1e-9, False), (1 + 1e-9, False)])
def test_rates_from_0_to_1_are_budgets(fpr, fine):
    v = verify_scores([1, 0], [1, 0])
    for ask in (v.tpr_at_fpr, v.threshold_at_fpr):
        if fine:
            ask(fpr)
        else:
            with pytest.raises(ValueError, match="a rate from 0 to 1"):
                ask(fpr)


def test_what_was_found_cannot_be_changed():
    v = verify_scores([1, 0], [1, 0])
    with pytest.raises(AttributeError):
        v.match_scores = v.impostor_scores


@pytest.mark.parametrize("kind", ["int32", "uint8", "bool", "float32", "float64"])
def test_numbers_of_every_kind_are_scores_and_stay_what_they_are(kind):
    v = verify_scores(np.array([1, 0, 1, 0], dtype=kind), np.array([1, 0, 1, 0]))
    assert v.auc == 1.0
    assert v.match_scores.dtype == kind


def test_half_precision_is_widened_and_double_precision_kept():
    for given, taken in [
        (torch.float16, "float32"),
        (torch.bfloat16, "float32"),
        (torch.float32, "float32"),
        (torch.float64, "float64"),
        (torch.int16, "int16"),
    ]:
        v = verify_scores(torch.tensor([1, 0], dtype=given), torch.tensor([1, 0]))
        assert v.match_scores.dtype == taken


def test_a_table_of_scores_is_refused():
    with pytest.raises(ValueError, match="one score and one flag a pair"):
        verify_scores(np.zeros((2, 2)), np.eye(2, dtype=bool))


def test_the_only_pair_without_a_partner_is_named():
    with pytest.raises(ValueError, match="no matching pair"):
        verify_scores([0.5], [0])
    with pytest.raises(ValueError, match="no non-matching pair"):
        verify_scores([0.5], [1])


def test_a_point_of_equal_errors_is_the_equal_error_rate_to_the_last_bit():
    """Ties jump from FPR a / n to b / n, where FNR is b / n too: no interpolation may round it away."""
    found = 0
    for n in range(3, 16):
        for b in range(2, n):
            for a in range(1, b):
                accepted, tied = [3.0] * a, [2.0] * (b - a)
                impostors = accepted + tied + [1.0] * (n - b)
                matches = [2.0] * (n - b) + [0.0] * b
                v = verify_scores(impostors + matches, [False] * n + [True] * n)
                if 1 - (n - b) / n == b / n:
                    assert v.eer == b / n
                    found += a / n + (b / n - a / n) != b / n
    assert found > 10  # so many would be off by one bit


def test_the_budgets_that_nobody_asked_for_are_five_one_and_a_tenth_of_a_percent():
    assert FPRS == (5 / 100, 1 / 100, 1 / 1000)


def test_a_budget_of_everything_rejects_nothing():
    v = verify_scores([3, 1, 2, 0], [1, 1, 0, 0])
    assert v.bracket_at_fpr(1.0) == (-math.inf, 0, 2)
    assert verify_scores([3, -1, 2, 0], [1, 1, 0, 0]).bracket_at_fpr(1.0) == (-math.inf, -1, 2)
