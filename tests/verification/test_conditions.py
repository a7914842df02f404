"""Rates by condition against counting every pair, and intervals against weighing every pair."""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from triune.verification.all_pairs import verify_embeddings
from triune.verification.conditions import rates_by_condition
from triune.verification.new_identities import expected_fpr
from triune.verification.weighing import draw_weights


def sample(identities=24, items=5, seed=0, noise=0.8):
    g = np.random.default_rng(seed)
    x = g.normal(size=(identities, 1, 6)) + noise * g.normal(size=(identities, items, 6))
    return x.reshape(-1, 6).astype(np.float32), np.repeat(np.arange(identities), items)


def scores_of(x, metric):
    x = x.astype(np.float64)
    if metric == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        return x @ x.T
    d = np.square(x[:, None] - x[None]).sum(2)
    return -(np.sqrt(d) if metric == "euclidean" else d)


def by_hand(x, labels, conditions, c, d, threshold, w, metric="cosine"):
    """Weighted TPR, FPR, matches, impostors of pairs with one side in condition c and the other in d."""
    scores, totals = scores_of(x, metric), np.zeros(4)
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            if {conditions[i], conditions[j]} != {c, d} or (c != d and conditions[i] == conditions[j]):
                continue
            same = labels[i] == labels[j]
            weight = w[labels[i]] if same else w[labels[i]] * w[labels[j]]
            totals += weight * np.array([same and scores[i, j] >= threshold, same, 0, 0])
            totals += weight * np.array([0, 0, not same and scores[i, j] >= threshold, not same])
    with np.errstate(invalid="ignore", divide="ignore"):
        return totals[0] / totals[1], totals[2] / totals[3], totals[1], totals[3]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", ["cameras", "breeds"])
def test_rates_equal_counting_every_pair(metric, kind):
    x, labels = sample()
    g = np.random.default_rng(1)
    # A camera sees items of every identity; an identity has one breed.
    codes = g.integers(0, 3, len(x)) if kind == "cameras" else g.integers(0, 3, 24)[labels]
    conditions = np.array(["north", "east", "west"])[codes]
    threshold = 0.6 if metric == "cosine" else -2.0
    shuffled = g.permutation(len(x))
    table = rates_by_condition(
        x[shuffled], labels[shuffled], conditions[shuffled], threshold, metric=metric, cross="all", resamples=40
    )
    assert table.conditions == ("east", "north", "west")
    assert len(table.rows) == 6
    ones = np.ones(24)
    for row in table.rows:
        tpr, fpr, matches, impostors = by_hand(x, labels, conditions, row.first, row.second, threshold, ones, metric)
        assert (row.matches, row.impostors) == (matches, impostors)
        assert row.fpr.estimate == pytest.approx(fpr, abs=1e-12)
        assert row.tpr.estimate == pytest.approx(tpr, abs=1e-12, nan_ok=True)
        if row.first == row.second:
            assert row.items == (conditions == row.first).sum()
            assert row.identities == len(set(labels[conditions == row.first]))
    matrix = table.matrix("fpr")
    np.testing.assert_array_equal(matrix, matrix.T)
    assert matrix[0, 1] == next(r.fpr.estimate for r in table.rows if (r.first, r.second) == ("east", "north"))


def test_every_resample_weighs_identities():
    x, labels = sample(16, 4)
    conditions = np.random.default_rng(2).integers(0, 2, len(x))
    table = rates_by_condition(x, labels, conditions, 0.5, cross="all", resamples=60, seed=5)
    weights = draw_weights(16, 60, 5)
    for row in table.rows:
        rates = [by_hand(x, labels, conditions, row.first, row.second, 0.5, weights[:, r].astype(int))[:2]
                 for r in range(61)]  # fmt: skip
        np.testing.assert_allclose(row.tpr.values, [t for t, _ in rates[1:]], atol=1e-12)
        # FPR is drawn in towards the estimate by one factor, no larger than 1.
        plain, drawn = np.array([f for _, f in rates]), row.fpr.values - row.fpr.estimate
        moved = plain[1:] - plain[0]
        factor = (drawn @ moved) / (moved @ moved)
        assert 0.4 < factor <= 1 + 1e-9
        inside = (row.fpr.values > 0) & (row.fpr.values < 1)
        np.testing.assert_allclose(drawn[inside], factor * moved[inside], atol=0.02)
        assert row.tpr.low <= row.tpr.estimate <= row.tpr.high
        assert row.fpr.low <= row.fpr.estimate <= row.fpr.high


def test_one_condition_gives_the_rates_of_all_pairs():
    x, labels = sample(40, 4)
    whole = verify_embeddings(x, labels).confusion_at(0.5)
    (row,) = rates_by_condition(torch.from_numpy(x), labels, ["all"] * len(x), 0.5, resamples=40).rows
    assert row.tpr.estimate == whole.tpr
    assert row.fpr.estimate == whole.fpr
    assert row.fnr.estimate == 1 - whole.tpr
    assert row.fnr.low == 1 - row.tpr.high


def test_pairs_of_a_group_are_left_out():
    x, labels = sample(10, 4)
    sessions = np.random.default_rng(3).integers(0, 4, len(x))
    whole = verify_embeddings(x, labels, groups=sessions).confusion_at(0.5)
    (row,) = rates_by_condition(x, labels, [0] * len(x), 0.5, groups=sessions, resamples=40).rows
    assert (row.matches, row.impostors) == (whole.tp + whole.fn, whole.fp + whole.tn)
    assert (row.tpr.estimate, row.fpr.estimate) == (whole.tpr, whole.fpr)


def test_blocks_are_cut_anywhere(monkeypatch):
    x, labels = sample(12, 9)
    conditions = np.random.default_rng(4).integers(0, 2, len(x))
    whole = rates_by_condition(x, labels, conditions, 0.5, cross="all", resamples=40)
    monkeypatch.setattr("triune.verification.pair_noise.BLOCK_CELLS", 100)
    cut = rates_by_condition(x, labels, conditions, 0.5, cross="all", resamples=40)
    for a, b in zip(whole.rows, cut.rows):
        assert a[:6] == b[:6]
        np.testing.assert_allclose(a.tpr.values, b.tpr.values)
        np.testing.assert_allclose(a.fpr.values, b.fpr.values)


def test_inequity_is_the_worst_rate_over_the_best_and_over_the_geometric_mean():
    x, labels = sample(60, 4)
    conditions = labels % 3
    table = rates_by_condition(x, labels, conditions, 0.4, resamples=40)
    rates = [row.fpr.estimate for row in table.within]
    inequity = table.inequity("fpr")
    assert inequity.max_over_min == pytest.approx(max(rates) / min(rates))
    assert inequity.max_over_mean == pytest.approx(max(rates) / np.prod(rates) ** (1 / 3))
    assert inequity.worst == int(np.argmax(rates))
    assert rates_by_condition(x, labels, conditions, 2.0, resamples=0).inequity("fpr").worst == 0
    assert math.isnan(rates_by_condition(x, labels, conditions, 2.0, resamples=0).inequity("fpr").max_over_min)


def test_a_condition_without_such_pairs_says_so():
    x, labels = sample(6, 2)
    conditions = ["a"] * 10 + ["b", "c"]  # b and c hold one item each
    table = rates_by_condition(x, labels, conditions, 0.5, resamples=40)
    row = table.within[1]
    assert (row.items, row.matches, row.impostors) == (1, 0, 0)
    assert math.isnan(row.tpr.estimate)
    assert math.isnan(row.fpr.low)
    assert not math.isnan(table.inequity("fnr").max_over_mean) or table.within[0].fnr.estimate == 0


def test_a_rate_of_zero_has_an_upper_end():
    x, labels = sample(30, 3)
    (row,) = rates_by_condition(x, labels, [0] * 90, 1.5, resamples=40).rows
    assert (row.tpr.estimate, row.fpr.estimate, row.fpr.low) == (0, 0, 0)
    assert 0.1 < row.fpr.high < 0.3  # none of 15 pairs of identities without one in common
    assert 0.05 < row.tpr.high < 0.2


def test_the_fpr_s_interval_leaves_out_one_identity_at_a_time():
    x, labels = sample(16, 4)
    conditions = np.random.default_rng(2).integers(0, 2, len(x))
    for row in rates_by_condition(x, labels, conditions, 0.3, resamples=40, level=0.9).rows:
        part = conditions == row.first
        expected = expected_fpr(x[part], labels[part], threshold=0.3, level=0.9)
        assert (row.fpr.low, row.fpr.high) == pytest.approx((expected.low, expected.high))


def test_between_two_conditions_each_identity_is_left_out_with_its_pairs_on_both_sides():
    x, labels = sample(14, 3)
    scores = scores_of(x, "cosine")
    for conditions, apart in ((labels % 2, 7), (labels < 2, 2), (np.arange(len(x)) % 2, 7)):
        (row,) = (
            each
            for each in rates_by_condition(x, labels, conditions.astype(int), 0.2, cross="all", resamples=40).rows
            if each.first != each.second
        )
        known = (labels[:, None] != labels[None, :]) & (conditions[:, None] != conditions[None, :])

        def rate(kept):
            part = known[np.ix_(kept, kept)]
            return (scores[np.ix_(kept, kept)] >= 0.2)[part].mean()

        whole = rate(np.full(len(x), True))
        left = np.array([rate(labels != name) for name in range(14)])
        error = math.sqrt(13 / 14 * ((left - left.mean()) ** 2).sum())
        half = stats.t(13 if apart == 7 else 2 * apart - 1).ppf(0.975) * error / (whole * (1 - whole))
        assert special.logit([row.fpr.low, row.fpr.high]) == pytest.approx(
            special.logit(whole) + half * np.array([-1, 1])
        )
        none = rates_by_condition(x, labels, conditions.astype(int), 2.0, cross="all", resamples=40).rows[1].fpr
        assert none.low == 0
        assert (1 - none.high) ** apart == pytest.approx(0.025)


@pytest.mark.parametrize("identities", [10, 30])
def test_the_fpr_s_interval_covers_the_rate_of_the_population(identities):
    """One identity in ten resembles all; of its resampled rates 95 % intervals covered it in 70 and 80 % of draws."""
    g = np.random.default_rng(5)

    def draw(count, images):
        centres = g.normal(size=(count, 8))
        chosen = g.random(count) < 0.1
        centres[chosen] = 0.3 * centres[chosen] + 0.3
        x = centres[:, None] + 0.5 + 0.4 * g.normal(size=(count, images, 8))
        return x.reshape(-1, 8).astype(np.float32), np.repeat(np.arange(count), images)

    population = np.sort(scores_of(draw(2000, 1)[0], "cosine")[np.triu_indices(2000, 1)])
    threshold = population[int(0.97 * len(population))]
    covered, resampled, trials = 0, 0, 120
    for _ in range(trials):
        x, labels = draw(identities, 5)
        (row,) = rates_by_condition(x, labels, [0] * len(x), float(threshold), resamples=60).rows
        covered += row.fpr.low <= 0.03 <= row.fpr.high
        low, high = np.nanquantile(row.fpr.values, [0.025, 0.975])
        resampled += low <= 0.03 <= high
    assert covered >= 0.91 * trials  # 95% less two standard errors
    assert resampled < 0.88 * trials


def test_no_resamples_give_no_intervals():
    x, labels = sample(6, 3)
    (row,) = rates_by_condition(x, labels, [0] * 18, 0.5, resamples=0).rows
    assert not math.isnan(row.tpr.estimate)
    assert math.isnan(row.tpr.low)


def test_bad_input_is_refused():
    x, labels = sample(6, 3)
    with pytest.raises(ValueError, match="conditions has 3 entries but embeddings has 18"):
        rates_by_condition(x, labels, ["a"] * 3, 0.5)
    with pytest.raises(ValueError, match="cross is 'some'"):
        rates_by_condition(x, labels, ["a"] * 18, 0.5, cross="some")
    with pytest.raises(ValueError, match="threshold is nan"):
        rates_by_condition(x, labels, ["a"] * 18, math.nan)
    with pytest.raises(ValueError, match="conditions has dtype float64"):
        rates_by_condition(x, labels, np.zeros(18), 0.5)
