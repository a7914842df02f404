"""Thresholds promised to new identities: against every score tried by hand, and against the worst population."""

import math

import numpy as np
import pytest
import torch

import triune
from triune.pairs.scores import paired_scores, rounding_of, scores_between
from triune.verification.promise import (
    best_bet,
    identities_needed,
    least_promisable_fpr,
    promised_score,
    round_robin,
    too_few,
)


def items(identities, images, seed=0, dim=6):
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(identities, 1, dim, generator=g)
    x = (centres + 0.7 * torch.randn(identities, images, dim, generator=g)).reshape(-1, dim)
    return x, np.repeat(np.arange(identities), images)


def rates_between(x, labels, threshold):
    """h_ij of every two identities, in float64 from the embeddings as they are in float32."""
    unit = torch.nn.functional.normalize(x.float()).double().numpy()
    accepted = (unit @ unit.T).astype(np.float32) >= threshold
    count = len(np.unique(labels))
    return accepted.reshape(count, -1, count, len(labels) // count).mean(axis=(1, 3))


@pytest.mark.parametrize("identities", [2, 3, 4, 7, 10, 11])
def test_any_two_meet_exactly_once_and_none_twice_in_a_round(identities):
    rounds = [pairs.tolist() for pairs in round_robin(identities)]
    met = sorted(tuple(sorted(pair)) for pairs in rounds for pair in pairs)
    assert met == [(i, j) for i in range(identities) for j in range(i + 1, identities)]
    for pairs in rounds:
        assert len(pairs) == identities // 2
        assert len({one for pair in pairs for one in pair}) == 2 * (identities // 2)


def test_the_fewest_identities_are_those_whose_spotless_record_is_evidence_enough():
    assert identities_needed(0.05, 0.95) == 118
    assert identities_needed(0.01, 0.95) == 598
    for fpr in (0.001, 0.01, 0.05, 0.2, 0.5):
        for confidence in (0.5, 0.9, 0.95, 0.99):
            pairs = identities_needed(fpr, confidence) // 2
            assert (1 - fpr) ** pairs <= (1 - confidence) * (1 + 1e-9) < (1 - fpr) ** (pairs - 1) * (1 + 1e-9)
            assert identities_needed(least_promisable_fpr(2 * pairs, confidence), confidence) == 2 * pairs
    assert least_promisable_fpr(1, 0.95) == 1


def test_too_few_identities_are_refused_with_what_they_can_promise():
    x, labels = items(40, 2)
    with pytest.raises(
        ValueError, match=r"40 identities cannot .* 0\.05 .* 0\.95: 118 are needed; 40 can promise 0\.14 at"
    ):
        promised_score(x, labels, fpr=0.05, confidence=0.95)
    assert promised_score(x, labels, fpr=0.14, confidence=0.95) < 1
    assert "2 can promise 0.95" in too_few(2, 0.05, 0.95)
    # Identities without an item do not count.
    prepared = triune.prepare(*items(118, 2))
    with pytest.raises(ValueError, match="117 identities cannot"):
        promised_score(prepared.take(np.flatnonzero(prepared.codes != 5)), fpr=0.05, confidence=0.95)


def test_budgets_and_confidences_lie_between_0_and_1():
    x, labels = items(4, 2)
    for fpr, confidence in ((0, 0.9), (1, 0.9), (0.1, 0), (0.1, 1), (math.nan, 0.9), (5, 0.9)):
        with pytest.raises(ValueError, match="a number between 0 and 1"):
            promised_score(x, labels, fpr=fpr, confidence=confidence)


@pytest.mark.parametrize(("identities", "fpr", "confidence"), [(6, 0.5, 0.8), (9, 0.45, 0.85), (24, 0.2, 0.9)])
def test_it_is_the_lowest_score_with_evidence_enough(identities, fpr, confidence):
    for seed in range(3):
        x, labels = items(identities, 3, seed)
        found = promised_score(x, labels, fpr=fpr, confidence=confidence)
        bet = best_bet(identities // 2, fpr, confidence)
        # The order of the draw decides who meets whom in one round, and so the mean of products a little.
        order = np.random.default_rng(0).permutation(identities)

        def evidence(threshold):
            h = rates_between(x, labels, threshold)
            return np.mean([np.prod(1 + bet * (fpr - h[order[pairs[:, 0]], order[pairs[:, 1]]])) for pairs in rounds])

        rounds = list(round_robin(identities))
        unit = torch.nn.functional.normalize(x.float()).double().numpy()
        scores = np.unique((unit @ unit.T)[labels[:, None] != labels[None, :]].astype(np.float32))
        enough = [score for score in scores if evidence(score) >= 1 / (1 - confidence)]
        if enough:
            assert enough[0] < found < enough[0] + 4e-6  # as much as scores may differ in two ways to compute them
        else:
            assert found > scores[-1]


def test_the_evidence_reaches_its_mark_wherever_hoeffding_s_bound_does():
    def kl(u, a):
        return (u * math.log(u / a) if u else 0) + (1 - u) * math.log((1 - u) / (1 - a))

    x, labels = items(130, 2)
    found = promised_score(x, labels, fpr=0.05, confidence=0.95)
    scores = triune.verify_embeddings(x, labels)
    # The highest rate at which the bound would do, and so the lowest score.
    rate = max(u for u in np.linspace(0, 0.05, 5001) if 65 * kl(u, 0.05) >= math.log(20))
    assert scores.threshold_at_fpr(rate) > found
    assert scores.confusion_at(found).fpr > 2 * rate


def test_the_bet_is_the_best_against_rates_of_0_and_1():
    pairs, fpr, confidence = 100, 0.05, 0.95
    bet = best_bet(pairs, fpr, confidence)
    rate = fpr - bet * fpr * (1 - fpr)  # the rate at which it just wins enough

    def won(bet):
        return pairs * (rate * math.log(1 + bet * (fpr - 1)) + (1 - rate) * math.log(1 + bet * fpr))

    assert won(bet) == pytest.approx(math.log(20))
    assert won(bet) > max(won(bet * 0.9), won(bet * 1.1))
    assert best_bet(59, fpr, confidence) <= 1 / (1 - fpr)  # nobody loses more than everything
    assert best_bet(10, fpr, confidence) == 1 / (1 - fpr)


def test_the_worst_population_breaks_the_promise_as_seldom_as_was_said_and_hardly_more_seldom():
    """A share of the identities matches everyone, so that the rate is a little over the budget below their score."""
    fpr, confidence = 0.2, 0.8
    count = identities_needed(fpr, confidence)
    wolves = 1 - math.sqrt(1 - fpr) + 1e-6
    g = np.random.default_rng(0)
    wrong = 0
    for _ in range(250):
        x = torch.eye(count)
        x[torch.from_numpy(g.random(count) < wolves)] = count**-0.5
        wrong += promised_score(x, np.arange(count), fpr=fpr, confidence=confidence) <= count**-0.5
    chance = (1 - wolves) ** count  # nothing but luck: no such identity was drawn
    error = math.sqrt(chance * (1 - chance) / 250)
    assert chance < 1 - confidence
    assert abs(wrong / 250 - chance) < 3 * error


def test_only_some_images_and_meetings_are_looked_at_where_there_are_many(monkeypatch):
    x, labels = items(30, 12)
    full = promised_score(x, labels, fpr=0.2, confidence=0.9)
    monkeypatch.setattr("triune.verification.promise.IMAGES", 4)
    monkeypatch.setattr("triune.verification.promise.MEETINGS", 40)
    fewer = promised_score(x, labels, fpr=0.2, confidence=0.9)
    assert fewer != full
    assert abs(fewer - full) < 0.2
    assert promised_score(x, labels, fpr=0.2, confidence=0.9, seed=1) != fewer
    assert promised_score(x, labels, fpr=0.2, confidence=0.9) == fewer


def test_pairs_within_a_group_are_left_out():
    x, labels = items(12, 4)
    groups = np.tile([0, 1], 24)
    found = promised_score(x, labels, fpr=0.4, confidence=0.9, groups=groups)
    kept = triune.verify_embeddings(x, labels, groups=groups)
    assert kept.confusion_at(found).fpr < 0.4
    # With everything in one group no pair is left, so nothing speaks for any threshold.
    with pytest.raises(ValueError, match="too few pairs of identities lie in different groups"):
        promised_score(x, labels, fpr=0.4, confidence=0.9, groups=np.zeros(48, dtype=int))


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
@pytest.mark.parametrize(("dimensions", "images"), [(8, 3), (17, 2), (64, 2), (64, 5), (128, 2), (512, 3)])
def test_identities_of_one_and_the_same_embedding_are_on_one_side_however_their_scores_are_rounded(
    dimensions, images, metric
):
    """With 118 identities not one wrong pair may be accepted; the score of twenty equal ones is rounded in two ways."""
    x = torch.randn(118, dimensions, generator=torch.Generator().manual_seed(dimensions))
    x[:20] = x[0]
    embeddings, labels = x.repeat_interleave(images, 0), np.repeat(np.arange(118), images)
    prepared = triune.prepare(embeddings, labels, metric=metric)
    pairs = triune.verify_embeddings(prepared)
    promised = triune.fit_threshold(pairs, 0.05, prepared=prepared, confidence=0.95)
    assert promised.apply(pairs).fp == promised.fpr == promised.expected.estimate == 0
    assert not promised.accepts(paired_scores(x[:1], x[1:2], metric)).any()


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_scores_just_below_the_least_one_are_kept_off_by_the_same_margin(metric):
    """Scores that lie below ``at_least`` by rounding alone may lie above it where they are computed in another way."""
    prepared = triune.prepare(*items(118, 2), metric=metric)
    highest = max(scores_between(prepared.x[: 2 * k], prepared.x[2 * k :], metric).max().item() for k in range(1, 118))
    for at_least in (np.nextafter(np.float32(highest), np.float32(np.inf)).item(), highest + 1e-3):
        score = promised_score(prepared, fpr=0.05, confidence=0.95, at_least=at_least)
        assert at_least + rounding_of(prepared) < score < at_least + 3 * rounding_of(prepared)


def test_what_no_number_of_identities_can_promise_is_refused():
    with pytest.raises(ValueError, match="no number of identities can promise a rate of 1e-310"):
        identities_needed(1e-310, 0.95)
    assert identities_needed(0.05, 5e-324) == 2
    x, labels = items(118, 1)
    with pytest.raises(ValueError, match="at_least is NaN"):
        promised_score(x, labels, fpr=0.05, confidence=0.95, at_least=math.nan)
    with pytest.raises(ValueError, match="seed is -1"):
        promised_score(x, labels, fpr=0.05, confidence=0.95, seed=-1)
    with pytest.raises(ValueError, match=r"fpr is '0\.05'"):
        identities_needed("0.05", 0.95)
