"""Counts to records: classes against scikit-learn, masks against loops, curves and histograms against their pairs."""

import math
from bisect import bisect_right

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix

from oracles import brute_verification
from triune.evaluation import measures, results
from triune.verification import conditions
from triune.verification.bootstrap import bootstrap_verification
from triune.verification.intervals import Interval
from triune.verification.roc import verify_scores
from triune.verification.thresholds import fit_threshold


def pairs(seed=0, count=300, ties=False):
    g = np.random.default_rng(seed)
    match = g.random(count) < 0.3
    scores = g.normal(size=count) + 1.2 * match
    return (np.round(scores, 1) if ties else scores), match


def test_accuracy_and_confusion_are_scikit_learn_s_and_leave_out_unknown_classes():
    g = np.random.default_rng(0)
    truth, predicted = g.integers(-1, 4, 200), g.integers(0, 4, 200)
    names = ["a", "b", "c", "d"]
    found = measures.class_result(truth, predicted, names, "test")
    known = truth >= 0
    assert found.accuracy == pytest.approx(accuracy_score(truth[known], predicted[known]))
    assert found.confusion == confusion_matrix(truth[known], predicted[known], labels=range(4)).tolist()
    assert (found.items, found.classes, found.split) == (int(known.sum()), names, "test")


def test_accuracy_counts_every_class():
    """Class 0 alone would be right once in two; all are right three times in five."""
    found = measures.class_result(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0]), ["a", "b"], "val")
    assert found.accuracy == 3 / 5
    assert found.confusion == [[1, 1], [1, 2]]


def loop_overlap(true, predicted, mask_id):
    """IoU and Dice of one id, pixel by pixel; 255 is nobody's."""
    both = either = sizes = 0
    for t, p in zip(true.ravel().tolist(), predicted.ravel().tolist()):
        if t == 255:
            continue
        both += t == mask_id and p == mask_id
        either += t == mask_id or p == mask_id
        sizes += (t == mask_id) + (p == mask_id)
    return both / either if either else math.nan, 2 * both / sizes if sizes else math.nan


def counted(true, predicted, ids):
    counts = np.zeros((ids, ids), dtype=np.int64)
    for t, p in zip(true.ravel().tolist(), predicted.ravel().tolist()):
        if t != 255:
            counts[t, p] += 1
    return counts


def masks(ids, seed=0):
    g = np.random.default_rng(seed)
    true = g.integers(0, ids, (5, 6, 7)).astype(np.uint8)
    predicted = np.where(g.random(true.shape) < 0.6, true, g.integers(0, ids, true.shape)).astype(np.uint8)
    true[g.random(true.shape) < 0.1] = 255
    return true, predicted


def test_one_channel_s_overlap_is_that_of_the_foreground_alone():
    true, predicted = masks(2)
    iou, dice = loop_overlap(true, predicted, 1)
    found = measures.mask_result(counted(true, predicted, 2), 5, "test")
    assert (found.iou, found.dice) == (pytest.approx(iou), pytest.approx(dice))
    assert found.per_channel == [pytest.approx(iou)]
    assert found.iou != pytest.approx((iou + loop_overlap(true, predicted, 0)[0]) / 2, abs=0.01)
    assert (found.items, found.split) == (5, "test")


def test_several_channels_overlap_is_the_mean_over_ids_that_occur():
    true, predicted = masks(4)
    true[true == 3], predicted[predicted == 3] = 0, 0  # the last id occurs nowhere
    each = [loop_overlap(true, predicted, k) for k in range(3)]
    found = measures.mask_result(counted(true, predicted, 4), 5, "val")
    assert found.iou == pytest.approx(np.mean([iou for iou, _ in each]))
    assert found.dice == pytest.approx(np.mean([dice for _, dice in each]))
    assert found.per_channel[:3] == [pytest.approx(iou) for iou, _ in each]
    assert math.isnan(found.per_channel[3])


@pytest.mark.parametrize("ties", [False, True])
def test_verification_figures_are_those_of_counting(ties):
    scores, match = pairs(ties=ties)
    found = measures.verification_result(verify_scores(scores, match))
    same, different = scores[match], scores[~match]
    wins = (same[:, None] > different).sum() + 0.5 * (same[:, None] == different).sum()
    assert found.auc == pytest.approx(wins / (len(same) * len(different)))
    assert (found.matches, found.impostors) == (len(same), len(different))
    assert [point.target_fpr for point in found.points] == [0.05, 0.01, 0.001]
    for point in found.points:
        within = [t for t in np.unique(scores) if (different >= t).mean() <= point.target_fpr]
        assert point.tpr == pytest.approx(max(((same >= t).mean() for t in within), default=0))
        assert point.fpr <= point.target_fpr
        assert point.reliable == (point.target_fpr * len(different) >= 30)
    assert found.uncertainty is None


def test_the_equal_error_rate_is_that_of_brute_force():
    g = np.random.default_rng(2)
    y = np.repeat(np.arange(8), 4)
    x = g.normal(size=(8, 4)).repeat(4, 0) + 0.9 * g.normal(size=(32, 4))
    scores = (x @ x.T).astype(np.float32)
    i, j = np.triu_indices(32, 1)
    found = measures.verification_result(verify_scores(scores[i, j], y[i] == y[j]))
    expected = brute_verification(scores, y)
    assert found.eer == pytest.approx(expected["eer"], abs=1e-12)
    assert found.eer != pytest.approx(1 - found.auc, abs=1e-3)


def test_intervals_stand_beside_their_figures():
    g = np.random.default_rng(2)
    y = np.repeat(np.arange(12), 4)
    x = (g.normal(size=(12, 4)).repeat(4, 0) + 0.9 * g.normal(size=(48, 4))).astype(np.float32)
    intervals = bootstrap_verification(x, y, resamples=40, level=0.7, seed=4)
    from triune.verification.all_pairs import verify_embeddings

    found = measures.verification_result(verify_embeddings(x, y), intervals, seed=4)
    assert (found.auc_interval.low, found.auc_interval.high) == (intervals.auc.low, intervals.auc.high)
    assert (found.eer_interval.low, found.eer_interval.high) == (intervals.eer.low, intervals.eer.high)
    for point in found.points:
        theirs = intervals.tpr_at_fpr[point.target_fpr]
        assert (point.interval.low, point.interval.high) == (theirs.low, theirs.high)
    made = found.uncertainty
    assert (made.level, made.resamples, made.identities, made.seed) == (0.7, 40, 12, 4)
    assert measures.verification_result(verify_embeddings(x, y), intervals).uncertainty.seed == 0


def test_a_thinned_curve_has_points_of_the_curve_only_and_both_its_ends():
    scores, match = pairs(count=20_000)
    verification = verify_scores(scores, match)
    fpr, tpr, _ = verification.roc()
    thin = measures.thinned_curve(verification)
    assert len(thin.fpr) <= measures.CURVE_POINTS + 2 < len(fpr)
    assert set(zip(thin.fpr, thin.tpr)) <= set(zip(fpr.tolist(), tpr.tolist()))
    assert (thin.fpr[0], thin.tpr[0], thin.threshold[0]) == (0, 0, math.inf)
    assert (thin.fpr[-1], thin.tpr[-1]) == (1, 1)
    for budget in (0.001, 0.01, 0.05, 0.5):  # nowhere better than the curve itself
        shown = max(t for f, t in zip(thin.fpr, thin.tpr) if f <= budget)
        assert shown <= verification.tpr_at_fpr(budget)
        assert shown >= verification.tpr_at_fpr(budget * 0.9) - 0.01


@pytest.mark.parametrize("count", [20_000, 40])
def test_a_thinned_curve_has_the_last_point_at_or_below_500_even_and_500_geometric_rates(count):
    scores, match = pairs(count=count)
    verification = verify_scores(scores, match)
    fpr, tpr, threshold = (part.tolist() for part in verification.roc())
    lowest = 1 / (~match).sum()
    rates = [k / 499 for k in range(500)] + [lowest ** (1 - k / 499) for k in range(500)]
    kept = sorted({0, len(fpr) - 1, *(bisect_right(fpr, rate) - 1 for rate in rates)})
    thin = measures.thinned_curve(verification)
    # A rate that a point has exactly may be rounded to either side of it.
    differing = set(zip(thin.fpr, thin.tpr)) ^ {(fpr[k], tpr[k]) for k in kept}
    assert all(any(math.isclose(rate, at, rel_tol=1e-12) for rate in rates) for at, _ in differing)
    assert len(differing) <= 4
    assert set(thin.threshold) <= set(threshold)


def test_a_histogram_counts_every_pair():
    scores, match = pairs()
    found = measures.histogram(verify_scores(scores, match))
    assert (sum(found.matches), sum(found.impostors)) == (match.sum(), (~match).sum())
    assert found.matches == np.histogram(scores[match], found.edges)[0].tolist()
    assert len(found.edges) == 80 + 1


@pytest.mark.parametrize("matching", [True, False])
@pytest.mark.parametrize("score", [math.inf, -math.inf])
def test_one_score_that_is_infinite_leaves_no_histogram(matching, score):
    scores, match = pairs(count=40)
    assert measures.histogram(verify_scores(scores, match)) is not None
    assert measures.histogram(verify_scores([*scores, score], [*match, matching])) is None


def test_an_applied_threshold_tells_what_it_does_to_both_sets():
    fitted_on, judged = verify_scores(*pairs(1)), verify_scores(*pairs(2))
    threshold = fit_threshold(fitted_on, 0.05, metric="euclidean", fitted_on="validation pairs")
    found = measures.applied_threshold(threshold, fitted_on, judged)
    scores, match = pairs(2)
    accepted = scores >= threshold.threshold
    counts = found.on_test
    assert (counts.tp, counts.fp) == ((accepted & match).sum(), (accepted & ~match).sum())
    assert (counts.tn, counts.fn) == ((~accepted & ~match).sum(), (~accepted & match).sum())
    assert counts.tpr == pytest.approx(counts.tp / match.sum())
    assert counts.fpr == pytest.approx(counts.fp / (~match).sum())
    assert counts.precision == pytest.approx(counts.tp / accepted.sum())
    assert counts.accuracy == pytest.approx((accepted == match).mean())
    assert found.on_fitted.fpr <= 0.05
    assert (found.distance, found.fitted_on) == (-threshold.threshold, "validation pairs")
    assert measures.applied_threshold(threshold, None, None).on_test is None
    with pytest.raises(ValueError, match="no distances"):
        measures.applied_threshold(fit_threshold(judged, 0.05), None, judged)


def test_a_score_s_distance_is_that_of_its_metric():
    assert measures.distance_of(0.75, "cosine") == 0.25
    assert measures.distance_of(-0.75, "euclidean") == 0.75
    assert measures.distance_of(-0.75, "distance") == 0.75


@pytest.mark.parametrize(("truth", "accuracy"), [([-1, -1], 0.0), ([1, -1], 1.0), ([0, -1], 0.0)])
def test_accuracy_of_one_known_class_is_all_or_nothing_and_of_none_is_nothing(truth, accuracy):
    found = measures.class_result(np.array(truth), np.array([1, 1]), ["a", "b"], "test")
    assert (found.accuracy, found.items) == (accuracy, sum(t >= 0 for t in truth))


def rates_within(name, rate):
    return conditions.ConditionRates(
        name, name, items=4, identities=2, matches=3, impostors=5,
        tpr=Interval(0.9, 0.8, 0.95, np.array([0.9])), fpr=Interval(rate, 0.01, 0.3, np.array([rate])),
    )  # fmt: skip


def test_a_table_of_conditions_has_each_rate_in_its_place_and_names_the_worst():
    found = conditions.RatesByCondition(("a", 2), (rates_within("a", 0.1), rates_within(2, 0.2)), 0.75, 0.8)
    made = results.Uncertainty(level=0.8, resamples=40, identities=2, seed=0)
    table = measures.condition_table("camera", found, "cosine", made, fitted_here=True)
    assert (table.column, table.threshold, table.distance, table.fitted_here) == ("camera", 0.75, 0.25, True)
    assert [row.condition for row in table.rows] == ["a", "2"]
    row = table.rows[1]
    assert (row.items, row.identities, row.matches, row.impostors) == (4, 2, 3, 5)
    assert (row.tpr.estimate, row.tpr.low, row.tpr.high) == (0.9, 0.8, 0.95)
    assert (row.fpr.estimate, row.fpr.low, row.fpr.high) == (0.2, 0.01, 0.3)
    worst = table.inequity["fpr"]
    assert (worst.worst, worst.max_over_min) == ("2", pytest.approx(2))
    assert worst.max_over_mean == pytest.approx(found.inequity("fpr").max_over_mean)
    unknown = conditions.RatesByCondition(("a",), (rates_within("a", math.nan),), 0.75, 0.8)
    assert measures.condition_table("camera", unknown, "cosine", made, fitted_here=False).inequity["fpr"].worst is None


def test_items_of_classes_never_trained_are_counted_and_said():
    labels = ["a", "c", "b", None, "c", "d"]
    truth = np.array([0, -1, 1, -1, -1, -1])
    found = measures.class_result(truth, np.array([0, 0, 1, 0, 1, 0]), ["a", "b"], "test", labels)
    assert (found.items, found.accuracy, found.untrained) == (2, 1.0, {"c": 2, "d": 1})
    assert found.left_out() == "3 more test images are left out: their classes were never trained (c, d)"
    alone = measures.class_result(truth[:2], np.array([0, 0]), ["a", "b"], "val", ["a", "c"])
    assert alone.left_out() == "1 more val images are left out: their class was never trained (c)"
    assert measures.class_result(truth[:1], np.array([0]), ["a", "b"], "test", ["a"]).left_out() is None


@pytest.mark.parametrize(("identities", "reliable"), [(2, False), (9, False), (10, True), (100, True)])
def test_intervals_of_few_identities_are_marked(identities, reliable):
    made = measures.made_uncertainty(0.95, 1000, identities, 0)
    assert made.reliable == reliable
    assert (made.reason is None) == reliable
    assert made.reason is None or f"{identities} identities are resampled" in made.reason
    assert measures.made_uncertainty(0.95, 0, identities, 0).reliable  # no intervals


def test_scores_too_nearly_the_same_have_no_histogram():
    scores = np.float32(1) - np.float32(2.0**-24) * np.arange(4, dtype=np.float32)
    assert measures.histogram(verify_scores(scores, [1, 0, 1, 0])) is None
