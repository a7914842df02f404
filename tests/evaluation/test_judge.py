"""The one way from embeddings to results: what is prepared and visited, and how the two splits share the work."""

import json
from collections import Counter

import numpy as np
import pytest

from triune.evaluation.judge import (
    Candidate,
    KnownItems,
    Questions,
    Resampling,
    empty_results,
    judge,
    judged_split,
)
from triune.evaluation.judge_files import EmbeddingFiles, evaluate_embeddings
from triune.evaluation.results import DataSummary, Unavailable
from triune.pairs import prepared
from triune.pairs.tiles import PairTiles
from triune.verification import all_pairs
from triune.verification.all_pairs import verify_embeddings
from triune.verification.thresholds import fit_threshold

SUMMARY = empty_results("n", DataSummary(source="memory"), "cosine")


def items(seed, identities=10, each=5):
    g = np.random.default_rng(seed)
    y = np.repeat([f"p{seed}-{i}" for i in range(identities)], each)
    centres = g.normal(size=(identities, 6)).repeat(each, 0)
    return (centres + 0.8 * g.normal(size=(len(y), 6))).astype(np.float32), y


@pytest.fixture
def counts(monkeypatch):
    """How often embeddings are prepared and pairs visited, where there are as many as must be counted, not listed."""
    counted = Counter()
    order_rows, visit = prepared.sorted_rows, PairTiles.visit

    def counting_order(*arguments, **options):
        counted["prepared"] += 1
        return order_rows(*arguments, **options)

    def counting_visit(*arguments, **options):
        counted["visits"] += 1
        return visit(*arguments, **options)

    monkeypatch.setattr(prepared, "sorted_rows", counting_order)
    monkeypatch.setattr(PairTiles, "visit", counting_visit)
    monkeypatch.setattr(all_pairs, "LISTED_PAIRS", 0)
    return counted


VERIFICATION = 2
"""Visits: of matching pairs alone, then of all impostors."""
RETRIEVAL = 2
"""Visits: of matching pairs alone, then all, to count who ranks before them."""


def test_embeddings_of_a_file_are_prepared_once_and_their_pairs_counted_in_one_visit(files, counts):
    """With intervals, conditions and a threshold from elsewhere, which lies between two observed scores."""
    folder, x, _, y, *_ = files
    fitted = fit_threshold(verify_embeddings(x[::2], y[::2]), 0.1, metric="cosine")
    counts.clear()
    (folder / "t.json").write_text(json.dumps({**fitted.as_dict(), "threshold": 0.61234567}))
    given = EmbeddingFiles(
        folder / "x.npy", folder / "y.txt", folder / "groups.csv", "session", threshold=folder / "t.json"
    )
    evaluate_embeddings(given, resampling=Resampling(20))
    assert counts == {"prepared": 1, "visits": RETRIEVAL + VERIFICATION}


def test_validation_and_test_pairs_are_counted_once_each_though_a_threshold_is_fitted_and_applied(counts):
    val, test = items(1), items(2)
    candidate = Candidate("this model", "model", "cosine", {"val": val[0], "test": test[0]}, "x")
    known = {"val": KnownItems(val[1]), "test": KnownItems(test[1])}
    found = judge([candidate], known, Questions(Resampling(20), target_fpr=0.2), SUMMARY)
    assert counts == {"prepared": 2, "visits": VERIFICATION + RETRIEVAL + VERIFICATION}
    expected = fit_threshold(verify_embeddings(*val), 0.2, metric="cosine")
    assert found.results.threshold.threshold == pytest.approx(expected.threshold)
    assert found.results.threshold.on_test.fp == expected.apply(verify_embeddings(*test)).fp
    assert found.results.threshold.on_fitted.tp == expected.apply(verify_embeddings(*val)).tp
    assert [each.target_fpr for each in found.fitted] == [0.2, 0.05, 0.01, 0.001]


def test_only_the_judged_model_has_a_threshold_and_conditions():
    val, test = items(1), items(2)
    rival = items(3)[0]
    known = {"val": KnownItems(val[1]), "test": KnownItems(test[1], {"half": np.arange(50) // 25})}
    candidates = [
        Candidate("this model", "model", "cosine", {"val": val[0], "test": test[0]}, "x"),
        Candidate("rival", "against", "euclidean", {"val": rival, "test": rival}, "y"),
    ]
    found = judge(candidates, known, Questions(Resampling(15), target_fpr=0.05), SUMMARY)
    assert found.results.models[1].judged()[1].auc == verify_embeddings(rival, test[1], metric="euclidean").auc
    assert found.results.comparison.against == "rival"
    assert len(found.results.conditions) == 1
    assert set(found.curves) == {"this model", "rival"}
    assert found.items[0].shape == (50, 6)
    assert found.items[1].tolist() == test[1].tolist()


def test_the_judged_split_is_validation_where_test_makes_no_pairs():
    one, two = KnownItems(np.array(["a", "a"])), KnownItems(np.array(["a", "a", "b"]))
    assert judged_split({"val": two, "test": two}) == "test"
    assert judged_split({"val": two, "test": one}) == "val"
    assert judged_split({"val": one, "test": one}) == "test"
    assert judged_split({"val": one}) == "val"
    assert judged_split({}) is None


def test_where_only_validation_can_be_judged_the_threshold_is_fitted_there_and_applied_to_nothing():
    val = items(1)
    candidate = Candidate("this model", "model", "cosine", {"val": val[0]}, "x")
    known = {"val": KnownItems(val[1], {"half": np.arange(50) % 2})}
    found = judge([candidate], known, Questions(Resampling(0), target_fpr=0.05), SUMMARY).results
    assert found.models[0].judged()[0] == "val"
    assert found.models[0].retrieval.queries == 50
    assert (found.threshold.on_fitted.fpr <= 0.05, found.threshold.on_test) == (True, None)
    assert found.conditions[0].fitted_here


def test_without_a_validation_split_there_is_a_reason_in_place_of_a_threshold():
    test = items(2)
    candidate = Candidate("this model", "model", "cosine", {"test": test[0]}, "x")
    found = judge([candidate], {"test": KnownItems(test[1])}, Questions(Resampling(0), target_fpr=0.05), SUMMARY)
    reason = "there is no validation split to choose a threshold on"
    assert found.results.threshold == Unavailable(unavailable=reason)
    assert (
        judge([candidate], {"test": KnownItems(test[1])}, Questions(Resampling(0)), SUMMARY).results.threshold is None
    )


def test_nothing_to_judge_leaves_the_summary_as_it_is():
    assert judge([], {}, Questions(), SUMMARY).results == SUMMARY
