"""Thresholds fitted on one set and applied to another."""

import json
import math

import numpy as np
import pytest
import torch

import triune
from triune.pairs import tiles
from triune.pairs.tiles import PairTiles
from triune.verification import all_pairs, sampling
from triune.verification.all_pairs import verify_embeddings
from triune.verification.decision import Threshold
from triune.verification.roc import from_scores, verify_scores
from triune.verification.thresholds import fit_threshold


def sets(seed=0, n=60):
    g = np.random.default_rng(seed)
    y = g.integers(0, 8, n)
    return (g.normal(size=(8, 4))[y] + 0.5 * g.normal(size=(n, 4))).astype(np.float32), y


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_a_threshold_is_applied_as_a_score_and_as_a_distance(metric):
    fitted = fit_threshold(verify_embeddings(*sets(0), metric=metric), 0.05, metric=metric, fitted_on="val")
    test = verify_embeddings(*sets(1), metric=metric)
    counts = fitted.apply(test)
    assert counts.tp == fitted.accepts(test.match_scores).sum()
    assert counts.fp == fitted.accepts(test.impostor_scores).sum()
    sign = (lambda s: 1 - s.astype(np.float64)) if metric == "cosine" else (lambda s: -s.astype(np.float64))
    assert fitted.accepts_distance(sign(test.match_scores)).sum() == counts.tp
    assert fitted.fpr <= 0.05
    assert not fitted.reliable or fitted.impostors * 0.05 >= 30


def test_it_survives_json_even_where_it_accepts_nothing():
    nothing = fit_threshold(verify_scores([1.0, 1.0, 0.0], [True, False, False]), 0.0, fitted_on="three pairs")
    assert nothing.threshold == math.inf
    stored = json.loads(json.dumps(nothing.as_dict()), parse_constant=str)  # infinity as a word
    assert Threshold.from_dict(stored) == nothing
    assert not nothing.accepts(1e300)
    with pytest.raises(ValueError, match="accepts"):
        nothing.accepts_distance(0.1)
    del stored["fpr"]
    with pytest.raises(ValueError, match="lacks fpr"):
        Threshold.from_dict(stored)


@pytest.mark.parametrize("tied", [False, True])
def test_it_lies_in_the_middle_between_the_lowest_accepted_score_and_the_next_lower_one(tied):
    for seed in range(60):
        g = np.random.default_rng(seed)
        scores, match = g.normal(size=80), g.random(80) < 0.4
        scores = np.round(scores * 2) / 2 if tied else scores
        verification = verify_scores(scores, match)
        for fpr in (0.02, 0.1, 0.5, 0.9):
            fitted = fit_threshold(verification, fpr)
            kept = [t for t in scores if (scores[~match] >= t).mean() <= fpr]
            assert fitted.lowest_accepted == min(kept, default=math.inf) == verification.threshold_at_fpr(fpr)
            lower = max((t for t in scores if t < fitted.lowest_accepted), default=-math.inf)
            assert verification.bracket_at_fpr(fpr)[:2] == (lower, fitted.lowest_accepted)
            if kept:
                assert fitted.threshold == pytest.approx((lower + fitted.lowest_accepted) / 2, abs=1e-15)
                assert lower < fitted.threshold <= fitted.lowest_accepted
            counts = fitted.apply(verification)
            assert (counts.tpr, counts.fpr) == (fitted.tpr, fitted.fpr)
            assert fitted.fpr <= fpr


def test_of_neighbouring_floats_the_lower_one_is_rejected():
    lower = np.float32(0.1)
    upper = np.nextafter(lower, np.float32(1))
    match, others = np.array([upper, 0.9], np.float32), np.array([0.0, lower], np.float32)
    fitted = fit_threshold(from_scores(match, others), 0.0)
    assert float(lower) < fitted.threshold < float(upper)  # in float64 there is room between two float32
    for scores in (np.array([lower, upper]), [float(lower), float(upper)]):
        assert fitted.accepts(scores).tolist() == [False, True]
    wide = np.array([0.1, np.nextafter(0.1, 1)])
    fitted = fit_threshold(from_scores(wide[1:], wide[:1]), 0.0)  # between two float64 there is none
    assert fitted.threshold == wide[1]
    assert fitted.accepts(wide).tolist() == [False, True]


def test_a_budget_of_one_accepts_everything_and_infinite_scores_are_scores():
    everything = fit_threshold(verify_scores([3.0, 1.0, 2.0], [True, False, False]), 1.0)
    assert (everything.threshold, everything.lowest_accepted, everything.distance) == (-math.inf, 1.0, math.inf)
    assert everything.accepts([-1e300, -math.inf]).all()
    fitted = fit_threshold(verify_scores([5.0, 1.0, -math.inf, -math.inf], [True, False, False, False]), 0.4)
    assert (fitted.threshold, fitted.lowest_accepted, fitted.fpr) == (1.0, 1.0, 1 / 3)
    assert not fitted.accepts(-math.inf)
    fitted = fit_threshold(verify_scores([math.inf, 1.0], [True, False]), 0.0)
    assert fitted.lowest_accepted == math.inf
    assert fitted.accepts([math.inf, 1e300]).tolist() == [True, False]


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_fitting_and_applying_it_to_the_same_pairs_takes_no_further_visit(metric, monkeypatch):
    monkeypatch.setattr(all_pairs, "LISTED_PAIRS", -1)
    monkeypatch.setattr(sampling, "SAMPLE", (2000, 2000))
    monkeypatch.setattr(tiles, "ROWS", 64)
    monkeypatch.setattr(tiles, "COLUMNS", 64)
    for seed in range(20):
        x, y = sets(seed, n=300)
        verification = verify_embeddings(x, y, metric=metric, fprs=(0.05, 0.01))
        with monkeypatch.context() as refusing:
            refusing.setattr(PairTiles, "visit", lambda *_: pytest.fail("another visit of the pairs"))
            for fpr in (0.05, 0.01, 0.0, 1.0):
                fitted = fit_threshold(verification, fpr, metric=metric)
                counts = fitted.apply(verification)
                assert (counts.tpr, counts.fpr) == (fitted.tpr, fitted.fpr)


def test_with_the_embeddings_it_carries_what_new_identities_can_expect_and_reads_back():
    x, labels = torch.randn(60, 5, generator=torch.Generator().manual_seed(2)), np.repeat(np.arange(20), 3)
    prepared = triune.prepare(x, labels)
    pairs = triune.verify_embeddings(prepared)
    plain = triune.fit_threshold(pairs, 0.3, metric="cosine")
    assert plain.expected is None
    assert plain.confidence is None
    fitted = triune.fit_threshold(pairs, 0.3, prepared=prepared, level=0.8)
    assert fitted.expected == triune.expected_fpr(x, labels, threshold=fitted.threshold, level=0.8)
    assert (fitted.threshold, fitted.fpr, fitted.metric) == (plain.threshold, plain.fpr, "cosine")
    promised = triune.fit_threshold(pairs, 0.3, prepared=prepared, confidence=0.9)
    assert promised.threshold > fitted.threshold
    assert promised.fpr < fitted.fpr
    assert promised.apply(pairs).fpr == promised.fpr == promised.expected.estimate
    assert promised.apply(pairs).tpr == promised.tpr
    for each in (plain, fitted, promised, triune.fit_threshold(pairs, 1.0, prepared=prepared)):
        assert Threshold.from_dict(json.loads(json.dumps(each.as_dict()))) == each


def test_a_promise_needs_the_embeddings_that_the_pairs_were_made_of():
    x, labels = torch.randn(40, 5, generator=torch.Generator().manual_seed(2)), np.repeat(np.arange(20), 2)
    pairs = triune.verify_embeddings(x, labels)
    with pytest.raises(ValueError, match="confidence needs prepared"):
        triune.fit_threshold(pairs, 0.3, confidence=0.9)
    with pytest.raises(ValueError, match="prepared makes 612 non-matching pairs but verification has 760"):
        triune.fit_threshold(pairs, 0.3, prepared=triune.prepare(x[:36], labels[:36]))
    with pytest.raises(ValueError, match=r"20 identities cannot promise a false-positive rate of 0\.05"):
        triune.fit_threshold(pairs, 0.05, prepared=triune.prepare(x, labels), confidence=0.9)


def test_a_promise_never_lets_more_through_than_the_budget_on_the_pairs_at_hand():
    """One identity of many images resembles all others: by pairs of images it weighs far more than by identities."""
    x = torch.eye(61)[torch.arange(60).repeat_interleave(2)]
    wolf = (torch.ones(1, 61) / 61**0.5).repeat(60, 1)
    embeddings, labels = torch.cat([x, wolf]), np.concatenate([np.repeat(np.arange(60), 2), np.full(60, 60)])
    prepared = triune.prepare(embeddings, labels)
    pairs = triune.verify_embeddings(prepared)
    promised = triune.fit_threshold(pairs, 0.3, prepared=prepared, confidence=0.9)
    assert triune.promised_score(prepared, fpr=0.3, confidence=0.9) < 61**-0.5 + 1e-4  # it counts as one of 61
    assert promised.fpr <= 0.3
    assert promised.threshold > 61**-0.5


def test_a_metric_that_is_not_that_of_the_embeddings_is_refused():
    x, labels = torch.randn(40, 5, generator=torch.Generator().manual_seed(2)), np.repeat(np.arange(20), 2)
    prepared = triune.prepare(x, labels)
    with pytest.raises(ValueError, match="metric is 'euclidean', but prepared is for 'cosine'"):
        triune.fit_threshold(triune.verify_embeddings(prepared), 0.3, metric="euclidean", prepared=prepared)
