"""How often embeddings are prepared and pairs are visited: docs/guide/evaluation.md has the table these tests hold."""

import numpy as np
import pytest

import triune
from triune.pairs import prepared as preparing, tiles
from triune.pairs.tiles import PairTiles
from triune.verification import all_pairs, pair_noise, sampling, weighing
from triune.verification.bootstrap import bootstrap_verification
from triune.verification.hardest import hardest_pairs, score_histograms


@pytest.fixture
def seen(monkeypatch):
    """How often embeddings were prepared, how often all tiles were visited, and how many scores resampling computed."""
    counts = {"prepared": 0, "visits": 0, "resampled": 0.0}
    prepare, visit = preparing._prepare, PairTiles.visit

    def prepared(*given):
        counts["prepared"] += 1
        return prepare(*given)

    def visited(self, wanted, work, state):
        tiles_seen, pairs_seen = [0], [0]

        def counted(tile, own):
            tiles_seen[0] += 1
            pairs_seen[0] += tile.scores.numel()
            return work(tile, own)

        result = visit(self, wanted, counted, state)
        # Tiles along the diagonal hold every pair twice: a visit of all pairs computes a little more than all.
        counts["visits"] += int(pairs_seen[0] >= self.total)
        return result

    monkeypatch.setattr(preparing, "_prepare", prepared)
    monkeypatch.setattr(PairTiles, "visit", visited)
    monkeypatch.setattr(all_pairs, "LISTED_PAIRS", -1)
    monkeypatch.setattr(sampling, "SAMPLE", (3000, 3000))
    monkeypatch.setattr(tiles, "ROWS", 32)
    monkeypatch.setattr(tiles, "COLUMNS", 32)
    for module in (weighing, pair_noise):
        between = module.scores_between

        def scored(x, y, metric, between=between):
            counts["resampled"] += len(x) * len(y)
            return between(x, y, metric)

        monkeypatch.setattr(module, "scores_between", scored)
    return counts


def items(identities=120, each=5):
    g = np.random.default_rng(0)
    y = np.repeat(np.arange(identities), each)
    return (g.normal(size=(identities, 8))[y] + 0.6 * g.normal(size=(len(y), 8))).astype(np.float32), y


def test_one_preparation_serves_everything_that_a_judgement_asks(seen):
    x, y = items()
    prepared = triune.prepare(x, y)
    verification = triune.verify_embeddings(prepared, thresholds=(0.31,))
    for fpr in (0.05, 0.01, 0.001):
        verification.operating_point(fpr)
        triune.fit_threshold(verification, fpr, metric="cosine").apply(verification)
    _ = verification.auc, verification.eer, verification.roc(), verification.histogram(80)
    verification.confusion_at(0.31)
    assert seen["visits"] == 1
    bootstrap_verification(prepared, verification=verification, resamples=255)
    score_histograms(prepared, range=(-1, 1))
    hardest_pairs(prepared)
    assert seen["visits"] == 3  # intervals take none of their own
    triune.rates_by_condition(prepared, None, np.arange(len(x)) % 2, 0.31, resamples=40)
    assert seen["visits"] == 3
    assert seen["prepared"] == 1


@pytest.mark.parametrize(
    ("asked", "visits"),
    [
        (lambda v: v.auc, 1),
        (lambda v: v.tpr_at_fpr(0.2), 1),  # changes at match scores alone
        (lambda v: v.threshold_at_fpr(0.2), 3),  # a budget that was not named: by selection
        (lambda v: v.operating_point(0.2), 3),
        (lambda v: triune.fit_threshold(v, 0.2), 3),
        (lambda v: v.confusion_at(0.123), 2),  # a threshold that was not named
    ],
)
def test_what_was_not_named_beforehand_costs_further_visits(seen, asked, visits):
    asked(triune.verify_embeddings(*items()))
    assert seen["visits"] == visits


def test_few_pairs_are_visited_once_and_listed(seen, monkeypatch):
    monkeypatch.setattr(all_pairs, "LISTED_PAIRS", 1 << 23)
    verification = triune.verify_embeddings(*items())
    verification.threshold_at_fpr(0.2)
    verification.confusion_at(0.123)
    assert seen["visits"] == 1


def test_histograms_without_a_range_look_for_it_first(seen):
    score_histograms(*items())
    assert seen["visits"] == 2


def test_intervals_score_every_pair_once_for_256_columns_of_weights_and_once_a_threshold(seen):
    x, y = items()
    prepared = triune.prepare(x, y)
    verification = triune.verify_embeddings(prepared)
    pairs = len(x) * len(x) / 2
    once = 1.2  # blocks along the diagonal, matching pairs, and a few rows by which the fullest bin is found
    bootstrap_verification(prepared, verification=verification, resamples=255)
    assert 1 <= seen["resampled"] / pairs < once
    seen["resampled"] = 0.0
    bootstrap_verification(prepared, verification=verification, resamples=511)
    assert 2 <= seen["resampled"] / pairs < 2 * once
    seen["resampled"] = 0.0
    bootstrap_verification(prepared, verification=verification, resamples=255, thresholds=(0.1,))
    assert 2 <= seen["resampled"] / pairs < 2 * once
    seen["resampled"] = 0.0
    triune.rates_by_condition(prepared, None, np.arange(len(x)) % 3, 0.1, resamples=2000)
    assert 1 / 3 * 0.99 <= seen["resampled"] / pairs < 1 / 3 * once  # of three conditions the pairs within each
