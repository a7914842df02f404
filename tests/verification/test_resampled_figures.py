"""Figures of weighed histograms, against weighing every pair."""

import numpy as np
import pytest

from oracles import brute_weighed_figures
from triune.verification.resampled_figures import figures_of_histograms, joined_figures

FPRS = (0.3, 0.1, 0.01, 0.0)
THRESHOLDS = (0.0, 3.0)


def example(columns, seed=0):
    """Scores with many ties, both identities of each pair, weights, and their histograms, counted one by one."""
    g = np.random.default_rng(seed)
    first, second = g.integers(0, 9, 400), g.integers(0, 9, 400)
    scores = g.integers(-6, 4, 400) + 2.0 * (first == second)
    weights = g.integers(0, 4, (9, columns)).astype(float)
    weights[:, 0] = 1
    same = first == second
    knots = np.union1d(scores[same], THRESHOLDS)
    matches, impostors = np.zeros((2, 2 * len(knots) + 1, columns))
    for s, one, other in zip(scores, first, second):
        place = sum(knots < s) + sum(knots <= s)
        if one == other:
            matches[place] += weights[one]
        else:
            impostors[place] += weights[one] * weights[other]
    return scores, first, second, weights, knots, matches, impostors


def test_every_column_has_the_figures_of_its_weighed_pairs():
    scores, first, second, weights, knots, matches, impostors = example(70)  # more than are worked on at a time
    found = figures_of_histograms(matches, impostors, knots, FPRS, THRESHOLDS)
    for r in range(70):
        auc, eer, tprs, fixed = brute_weighed_figures(scores, first, second, weights[:, r], FPRS, THRESHOLDS)
        assert found.auc[r] == pytest.approx(auc, abs=1e-12)
        assert found.eer[r] == pytest.approx(eer, abs=1e-12)
        assert [each[r] for each in found.tpr_at_fpr] == pytest.approx(tprs, abs=1e-12)
        rates = [(tpr[r], fpr[r]) for tpr, fpr in zip(found.tpr_at_threshold, found.fpr_at_threshold)]
        np.testing.assert_allclose(rates, fixed, atol=1e-12)


def test_a_resample_without_a_kind_of_pair_has_no_figure():
    *_, knots, matches, impostors = example(3)
    matches[:, 1] = 0
    impostors[:, 2] = 0
    found = figures_of_histograms(matches, impostors, knots, FPRS, THRESHOLDS)
    for values in (found.auc, found.eer, *found.tpr_at_fpr, *found.tpr_at_threshold, *found.fpr_at_threshold):
        assert np.isnan(values).tolist() == [False, True, True]


def test_matches_between_two_knots_are_taken_as_evenly_spread_among_the_impostors_there():
    """Bins: below 1, at 1, between, at 2, above. A quarter of the impostors is half of those between."""
    matches, impostors = np.array([[0, 0, 2, 1, 1]]).T * 1.0, np.array([[4, 0, 4, 0, 0]]).T * 1.0
    found = figures_of_histograms(matches, impostors, np.array([1.0, 2.0]), (0.25, 0.5, 0.0), ())
    assert [float(each[0]) for each in found.tpr_at_fpr] == [(1 + 1 + 1) / 4, 1.0, (1 + 1) / 4]


def test_sets_of_resamples_are_joined_to_the_figures_of_all():
    *_, knots, matches, impostors = example(10)
    whole = figures_of_histograms(matches, impostors, knots, FPRS, THRESHOLDS)
    cuts = (slice(0, 1), slice(1, 7), slice(7, 10))
    parts = [figures_of_histograms(matches[:, c], impostors[:, c], knots, FPRS, THRESHOLDS) for c in cuts]
    for joined, one in zip(joined_figures(parts), whole, strict=True):
        np.testing.assert_array_equal(joined, one)
