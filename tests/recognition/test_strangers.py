"""The threshold at which strangers are called unknown: counted word for word, and kept on strangers of a simulation."""

import math

import numpy as np
import pytest

from triune.recognition.strangers import FpirThreshold, StrangerScores, fpir_threshold


def rate_at(scores, identities, threshold):
    """The mean over identities of the share of its images that reach a threshold."""
    return np.mean([np.mean(scores[identities == one] >= threshold) for one in np.unique(identities)])


def crowd(seed=0, count=40, decimals=9):
    """Strangers with one to six images each, who are not equally alike to the gallery."""
    g = np.random.default_rng(seed)
    identities = np.repeat(np.arange(count), g.integers(1, 7, count))
    scores = g.normal(size=count)[identities] + 0.5 * g.normal(size=len(identities))
    return scores.round(decimals), identities


@pytest.mark.parametrize("fpir", [0.025, 0.05, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("decimals", [9, 1])
def test_it_is_the_lowest_threshold_that_keeps_the_rate(fpir, decimals):
    scores, identities = crowd(decimals=decimals)
    threshold = fpir_threshold([StrangerScores("validation", scores, identities)], fpir).threshold
    assert rate_at(scores, identities, threshold) <= fpir
    lower = scores[scores < threshold].max()
    assert rate_at(scores, identities, lower) > fpir


def test_it_lies_in_the_middle_between_two_observed_scores():
    found = fpir_threshold([StrangerScores("v", np.arange(10.0), np.arange(10))], 0.2)
    assert found.threshold == 7.5
    assert found.strangers[0].fpir == pytest.approx(0.2)


def test_an_identity_counts_once_however_many_images_it_has():
    scores, identities = np.array([0.9] + [0.1] * 99), np.array([0] + [1] * 99)
    assert fpir_threshold([StrangerScores("v", scores, identities)], 0.5).strangers[0].fpir == 0.5


def test_the_strictest_set_decides_and_the_order_of_sets_does_not_matter():
    low, high = (StrangerScores(str(s), np.arange(50.0) + s, np.arange(50)) for s in (0, 100))
    both, reversed_ = fpir_threshold([low, high], 0.1), fpir_threshold([high, low], 0.1)
    assert both.threshold == reversed_.threshold == fpir_threshold([high], 0.1).threshold
    assert [each.fpir for each in both.strangers] == pytest.approx([0.0, 0.1])


def test_what_is_promised_holds_in_the_mean_over_sets_of_strangers():
    """Split conformal prediction, by simulation: strangers of a few identities that differ wildly, one heavy tail."""
    g = np.random.default_rng(5)
    for count, fpir in ((4, 0.3), (12, 0.05), (60, 0.05)):
        rates, promised = [], 0.0
        for _ in range(400):
            likeness = g.standard_t(2, size=count + 200)
            scores = likeness[:, None] + 0.3 * g.normal(size=(count + 200, 3))
            known, new = scores[:count], scores[count:]
            found = fpir_threshold([StrangerScores("v", known.ravel(), np.repeat(np.arange(count), 3))], fpir)
            rates.append((new >= found.threshold).mean())
            promised = found.promised_fpir
        assert promised == pytest.approx((count * fpir + 1) / (count + 1))
        assert np.mean(rates) <= promised + 3 * np.std(rates) / math.sqrt(len(rates))
        assert np.mean(rates) > promised / 10, "a threshold that nobody passes would keep any promise"


@pytest.mark.parametrize(("metric", "offset"), [("cosine", 1.0), ("euclidean", 0.0)])
def test_a_rate_too_small_to_be_counted_follows_from_the_tail_and_is_said(metric, offset):
    """Distances whose smallest ones follow a known power: P(d < x) = x³."""
    g = np.random.default_rng(1)
    reached = []
    for _ in range(50):
        scores = offset - g.random(90) ** (1 / 3)
        found = fpir_threshold([StrangerScores("v", scores, np.arange(90))], 0.001, metric=metric)
        reached.append((offset - found.threshold) ** 3)
        assert found.strangers[0].extrapolated
        assert "90 identities of strangers can count rates from 1.1% on; the threshold for 0.001" in found.reason
    assert 0.0004 < np.median(reached) < 0.002
    assert min(reached) > 0, "a distance below 0 would never be reached by anybody"


def test_the_tail_never_lets_more_through_than_counting_would():
    scores = np.append(np.zeros(40), 0.97)  # the tail follows no power
    found = fpir_threshold([StrangerScores("v", scores, np.arange(41))], 0.01)
    assert 0.97 < found.threshold < 1


def test_a_stranger_who_is_a_copy_of_somebody_enrolled_leaves_a_threshold_that_is_a_number():
    scores = np.append(np.linspace(0, 0.5, 40), [1.0, 1.0, 1.0000001])
    found = fpir_threshold([StrangerScores("v", scores, np.arange(43))], 0.001)
    assert 1.0000001 < found.threshold < 1.001


def test_enrolled_identities_alone_promise_nothing():
    scores, identities = crowd()
    own = StrangerScores("enrolled", scores, identities, exchangeable=False)
    found = fpir_threshold([own], 0.1)
    assert found.promised_fpir is None
    with_others = fpir_threshold([own, StrangerScores("validation", scores, identities)], 0.1)
    assert with_others.promised_fpir == pytest.approx((40 * 0.1 + 1) / 41)
    assert with_others.reason is None


def test_one_stranger_gives_a_threshold_above_it():
    found = fpir_threshold([StrangerScores("v", np.array([0.7], np.float32), np.array(["x"]))], 0.5)
    assert 0.7 < found.threshold < 0.701
    assert found.promised_fpir == pytest.approx(0.75)


def test_a_set_without_images_is_passed_over():
    scores, identities = crowd()
    empty = StrangerScores("validation", np.zeros(0), np.zeros(0, np.int64))
    found = fpir_threshold([empty, StrangerScores("enrolled", scores, identities, exchangeable=False)], 0.1)
    assert isinstance(found, FpirThreshold)
    assert [each.name for each in found.strangers] == ["enrolled"]
    assert found.promised_fpir is None


@pytest.mark.parametrize(
    ("scores", "identities", "fpir", "message"),
    [
        ([], [], 0.1, "there are no strangers"),
        ([0.1, math.nan], [0, 1], 0.1, "scores of strangers .v. hold NaN in row 1"),
        ([0.1, 0.2], [0], 0.1, "identities has 1 entries but scores has 2 rows"),
        ([0.1], [0], 0.0, "fpir is 0.0: a rate between 0 and 1"),
        ([0.1], [0], 1, "fpir is 1: a rate"),
        ([0.1], [0], math.nan, "fpir is nan"),
        ([0.1], [0], "0.1", "fpir is '0.1'"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(scores, identities, fpir, message):
    with pytest.raises(ValueError, match=message):
        fpir_threshold([StrangerScores("v", np.array(scores), np.array(identities))], fpir)
