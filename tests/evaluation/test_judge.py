"""The one way from embeddings to results: what is prepared and visited, and how the two splits share the work."""

import json
from collections import Counter
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from triune.errors import InputError
from triune.evaluation.judge import (
    Candidate,
    Judgement,
    KnownItems,
    Questions,
    Resampling,
    empty_results,
    judge,
    judged_split,
)
from triune.evaluation.judge_files import EmbeddingFiles, evaluate_embeddings
from triune.evaluation.results import AppliedThreshold, DataSummary, Unavailable
from triune.pairs import prepared
from triune.pairs.tiles import PairTiles
from triune.retrieval.metrics import retrieval_metrics
from triune.verification import all_pairs
from triune.verification.all_pairs import verify_embeddings
from triune.verification.new_identities import expected_fpr
from triune.verification.promise import promised_score
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
    evaluate_embeddings(given, resampling=Resampling(40))
    assert counts == {"prepared": 1, "visits": RETRIEVAL + VERIFICATION}


def test_validation_and_test_pairs_are_counted_once_each_though_a_threshold_is_fitted_and_applied(counts):
    val, test = items(1), items(2)
    candidate = Candidate("this model", "model", "cosine", {"val": val[0], "test": test[0]}, "x")
    known = {"val": KnownItems(val[1]), "test": KnownItems(test[1])}
    found = judge([candidate], known, Questions(Resampling(40), target_fpr=0.2), SUMMARY)
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
    found = judge(candidates, known, Questions(Resampling(40), target_fpr=0.05), SUMMARY)
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
    x, y = items(2)
    for candidates, known in (([], {}), ([], {"test": KnownItems(y)}), ([model(test=x)], {})):
        assert judge(candidates, known, Questions(), SUMMARY) == Judgement(SUMMARY, {})


def model(**embeddings):
    return Candidate("this model", "model", "cosine", embeddings, "x.npy")


def asked(val=None, test=None, conditions=None, calibration=None, **questions):
    """The judged model alone, on splits given as embeddings and labels, without intervals."""
    given = (("val", val), ("calibration", calibration), ("test", test))
    splits = {split: items for split, items in given if items is not None}
    known = {split: KnownItems(y, conditions or {}) for split, (_, y) in splits.items()}
    one = model(**{split: x for split, (x, _) in splits.items()})
    return judge([one], known, Questions(Resampling(0), **questions), SUMMARY)


def alone(seed):
    """One image of each identity: nothing matches."""
    return items(seed, identities=10, each=1)


def test_unless_asked_otherwise_there_are_1000_resamples_for_95_percent_and_nothing_more():
    assert Questions() == Questions(Resampling(1000, 0.95, 0), False, None, False, None)


@pytest.mark.parametrize(
    "record", [Resampling(), KnownItems(np.array(["a"])), model(), Questions(), Judgement(SUMMARY, {})]
)
def test_records_cannot_be_changed(record):
    name = next(iter(vars(record)))
    with pytest.raises(FrozenInstanceError):
        setattr(record, name, None)


def test_the_judged_model_is_the_first_and_differences_are_its_figures_less_the_other_s():
    x, y = items(2)
    rival, worse = items(3)[0], np.random.default_rng(5).normal(size=x.shape).astype(np.float32)
    candidates = [
        model(test=x),
        Candidate("pixels", "pixels", "cosine", {"test": worse}, "y"),
        Candidate("rival", "against", "cosine", {"test": rival}, "z"),
    ]
    known = {"test": KnownItems(y, {"half": np.arange(50) // 25})}
    found = judge(candidates, known, Questions(Resampling(40, seed=3)), SUMMARY)
    aucs = [verify_embeddings(each, y, metric="cosine").auc for each in (x, worse, rival)]
    assert [each.judged()[1].auc for each in found.results.models] == aucs
    assert found.results.comparison.against == "rival"
    assert found.results.comparison.auc.estimate == pytest.approx(aucs[0] - aucs[2])
    assert found.results.comparison.uncertainty.seed == 3
    assert [each.judged()[1].uncertainty.resamples for each in found.results.models] == [40] * 3
    assert found.items[0].tolist() == x.tolist()
    assert {name: pairs.auc for name, pairs in found.curves.items()} == dict(
        zip(("this model", "pixels", "rival"), aucs, strict=True)
    )
    without = judge(candidates, known, Questions(Resampling(0)), SUMMARY).results
    assert without.comparison is None
    assert without.models[0].judged()[1].uncertainty is None
    assert judge(candidates[:2], known, Questions(Resampling(40)), SUMMARY).results.comparison is None


def test_what_is_no_judged_model_has_neither_threshold_nor_conditions_nor_other_rankings():
    x, y = items(2)
    known = {split: KnownItems(y, {"half": np.arange(50) // 25}) for split in ("val", "test")}
    for questions in (
        Questions(Resampling(0), reranked=True, target_fpr=0.05),
        Questions(Resampling(0), threshold=fit_threshold(verify_embeddings(x, y), 0.1, metric="cosine")),
    ):
        other = Candidate("rival", "against", "cosine", {"val": x, "test": x}, "y")
        found = judge([other], known, questions, SUMMARY)
        assert (found.results.threshold, found.results.conditions, found.fitted) == (None, [], ())
        assert found.results.models[0].rankings == {}


def test_conditions_are_judged_at_the_threshold_that_is_applied():
    val, test, halves = items(1), items(2), {"half": np.arange(50) // 25}
    fitted = fit_threshold(verify_embeddings(*val), 0.2, metric="cosine")
    [table] = asked(val, test, halves, target_fpr=0.2).results.conditions
    assert (table.threshold, table.fitted_here) == (fitted.threshold, False)
    [table] = asked(val, test, halves, threshold=fitted).results.conditions
    assert (table.threshold, table.fitted_here) == (fitted.threshold, False)
    [table] = asked(val, None, halves, threshold=fitted).results.conditions
    assert (table.threshold, table.fitted_here) == (fitted.threshold, False)
    [table] = asked(val, None, halves, target_fpr=0.2).results.conditions
    assert (table.threshold, table.fitted_here) == (fitted.threshold, True)


def test_conditions_without_a_threshold_are_judged_at_that_of_five_percent_of_these_very_pairs():
    test = items(2)
    [table] = asked(None, test, {"half": np.arange(50) // 25}).results.conditions
    assert table.threshold == verify_embeddings(*test, metric="cosine").threshold_at_fpr(0.05)
    assert table.fitted_here
    assert [row.items for row in table.rows] == [25, 25]


def test_validation_pairs_that_cannot_be_verified_are_the_reason_in_place_of_a_threshold():
    found = asked(alone(1), items(2), target_fpr=0.05).results
    assert found.threshold.unavailable.startswith("validation split: ")
    assert found.models[0].verification["val"].unavailable in found.threshold.unavailable
    assert list(found.models[0].verification) == ["val", "test"]


def counted(pairs, threshold):
    return pairs.confusion_at(threshold)._asdict()


def as_counts(confusion):
    return confusion.model_dump(include={"tp", "fp", "tn", "fn"})


def test_a_threshold_from_elsewhere_is_applied_and_told_of_its_own_pairs_only_where_they_are_these():
    val, test = items(1), items(2)
    on_val, on_test = (verify_embeddings(*each, metric="cosine") for each in (val, test))
    given = fit_threshold(on_val, 0.3, metric="cosine", fitted_on="pairs from elsewhere")
    for here in (True, False):
        found = asked(val, test, threshold=given, target_fpr=0.05, fitted_here=here)
        applied = found.results.threshold
        assert (applied.threshold, applied.fitted_on) == (given.threshold, "pairs from elsewhere")
        assert as_counts(applied.on_test) == counted(on_test, given.threshold)
        assert (applied.on_fitted is not None) == here
        assert found.fitted == ()  # none is needed beside it
    assert as_counts(
        asked(val, test, threshold=given, target_fpr=0.05, fitted_here=True).results.threshold.on_fitted
    ) == (counted(on_val, given.threshold))
    for splits in ({"test": test}, {"val": val, "test": test}):
        found = asked(**splits, threshold=given)
        assert isinstance(found.results.threshold, AppliedThreshold)
        assert as_counts(found.results.threshold.on_test) == counted(on_test, given.threshold)
        assert found.fitted == ()


def test_retrieval_needs_two_images_of_somebody_and_is_told_for_so_many_ranks_as_there_are():
    nobody = asked(None, alone(2)).results.models[0]
    assert nobody.retrieval == Unavailable(unavailable="no identity has two images")
    assert asked(None, alone(2), reranked=True).results.models[0].rankings == {}
    for identities, ranks in ((7, 13), (25, 49), (26, 50)):
        x, y = items(2, identities=identities, each=2)
        found = asked(None, (x, y), reranked=True).results.models[0]
        assert found.retrieval.recall_at == retrieval_metrics(x, y, metric="cosine").recall_at
        assert len(found.retrieval.cmc) == ranks
        assert found.retrieval.cmc[0] == found.retrieval.recall_at[1]
        assert list(found.rankings) == ["expanded", "re-ranked"]
    assert asked(None, (x, y)).results.models[0].rankings == {}


def test_a_map_shows_all_of_2000_items_in_their_order_and_2000_of_more():
    x = np.random.default_rng(0).normal(size=(2001, 2)).astype(np.float32)
    y = np.arange(2001) // 3
    shown = asked(None, (x[:2000], y[:2000])).items
    assert shown[0].tolist() == x[:2000].tolist()
    rows, labels = asked(None, (x, y)).items
    assert len({tuple(row) for row in rows.tolist()}) == len(labels) == 2000
    of = dict(zip(map(tuple, x.tolist()), y.tolist(), strict=True))
    assert [of[tuple(row)] for row in rows.tolist()] == labels.tolist()


def test_embeddings_that_cannot_be_judged_are_named_by_their_source():
    x, y = items(2)
    x[3, 2] = np.nan
    with pytest.raises(InputError, match=r"x\.npy: "):
        asked(None, (x, y))


def test_thresholds_are_fitted_on_calibration_identities_where_there_are_any():
    val, test, calibration = items(1), items(2), items(3, identities=12)
    found = asked(val, test, calibration=calibration, target_fpr=0.1)
    pairs = verify_embeddings(*calibration, metric="cosine")
    assert [each.fitted_on for each in found.fitted] == ["calibration pairs"] * 4
    assert [each.lowest_accepted for each in found.fitted] == [
        pairs.threshold_at_fpr(fpr) for fpr in (0.1, 0.05, 0.01, 0.001)
    ]
    applied = found.results.threshold
    assert as_counts(applied.on_fitted) == counted(pairs, applied.threshold)
    assert as_counts(applied.on_test) == counted(verify_embeddings(*test, metric="cosine"), applied.threshold)
    assert list(found.results.models[0].verification) == ["calibration", "val", "test"]
    # Where test can say nothing, validation is judged at the threshold of the calibration pairs.
    on_val = asked(val, calibration=calibration, target_fpr=0.1).results.threshold
    assert as_counts(on_val.on_test) == counted(verify_embeddings(*val, metric="cosine"), applied.threshold)


def test_every_fitted_threshold_says_what_new_identities_can_expect():
    val, test = items(1), items(2)
    found = asked(val, test, target_fpr=0.1)
    for each in found.fitted:
        assert each.expected == expected_fpr(*val, threshold=each.threshold)
        assert (each.expected.identities, each.confidence) == (10, None)
    assert found.results.threshold.expected == found.fitted[0].expected


def test_a_budget_is_promised_where_it_was_asked_for_and_stricter_ones_where_identities_are_enough():
    calibration, test = items(3, identities=60, each=3), items(2)
    found = asked(test=test, calibration=calibration, target_fpr=0.1, fpr_confidence=0.9)
    plain = asked(test=test, calibration=calibration, target_fpr=0.1)
    # 44 identities are needed for 10% at 90%, 90 for 5%.
    assert [(each.target_fpr, each.confidence) for each in found.fitted] == [
        (0.1, 0.9), (0.05, None), (0.01, None), (0.001, None)
    ]  # fmt: skip
    score = promised_score(*calibration, fpr=0.1, confidence=0.9)
    applied = found.results.threshold
    assert applied.confidence == 0.9
    pairs = verify_embeddings(*calibration)
    assert found.fitted[0].lowest_accepted >= found.fitted[0].threshold >= score
    assert pairs.confusion_at(score) == pairs.confusion_at(found.fitted[0].threshold)
    assert found.fitted[0].fpr < plain.fitted[0].fpr <= 0.1
    # Whoever asks for fewer false positives does not get more than were promised.
    assert found.fitted[1].fpr <= found.fitted[0].fpr < plain.fitted[1].fpr
    assert found.fitted[2:] == plain.fitted[2:]
    with pytest.raises(InputError, match=r"60 identities cannot promise a false-positive rate of 0\.01"):
        asked(test=test, calibration=calibration, target_fpr=0.01, fpr_confidence=0.9)
