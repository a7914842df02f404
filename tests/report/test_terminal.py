"""The table for the terminal: each figure under its own head, each level and threshold from the results."""

import re

import numpy as np
import pytest

from report.building import changed, run_results
from triune.evaluation.judge import Candidate, KnownItems, Questions, Resampling, empty_results, judge
from triune.evaluation.results import (
    AppliedThreshold,
    ClassResult,
    Comparison,
    ConditionResult,
    ConditionsResult,
    Confusion,
    Curve,
    DataSummary,
    Difference,
    Estimate,
    FoldRates,
    FoldsResult,
    Interval,
    MaskResult,
    ModelResult,
    OperatingPoint,
    Rate,
    RetrievalResult,
    SearchRoles,
    SplitCounts,
    Unavailable,
    Uncertainty,
    VerificationResult,
)
from triune.report.terminal import summary
from triune.verification.all_pairs import verify_embeddings
from triune.verification.thresholds import fit_threshold


def embeddings(seed, noise):
    g = np.random.default_rng(seed)
    y = np.repeat(np.arange(12), 5)
    return (np.random.default_rng(9).normal(size=(12, 6)).repeat(5, 0) + noise * g.normal(size=(60, 6))), y


def judged(*, resamples=0, level=0.95, reranked=False, threshold=None, metric="cosine"):
    ours, y = embeddings(0, 0.8)
    other, _ = embeddings(1, 1.4)
    candidates = [
        Candidate("this model", "model", metric, {"test": ours.astype(np.float32)}, "x"),
        Candidate("rival", "against", metric, {"test": other.astype(np.float32)}, "y"),
    ]
    items = {"test": KnownItems(y, {"camera": np.array(["left", "right"])[np.arange(60) % 2]})}
    questions = Questions(Resampling(resamples, level, 0), reranked=reranked, threshold=threshold)
    return judge(candidates, items, questions, empty_results("n", DataSummary(source="x"), metric)).results


def columns(line, head):
    """The words of a line by the heads above them: each column ends where its head ends."""
    ends = [(match.group(), match.end()) for match in re.finditer(r"\S+", head)]
    cells, start = {}, 0
    for name, end in ends:
        words = line[start : end + 1].split()  # a doubt stands one place farther right
        cells[name] = words[-1] if words else ""
        start = end + 1
    return cells


def test_every_figure_stands_under_its_head():
    found = judged()
    lines = summary(found).splitlines()
    for place, model in enumerate(found.models, start=1):
        test = model.judged()[1]
        cells = columns(lines[place], lines[0])
        assert lines[place].startswith(model.name)
        assert float(cells["AUC"]) == pytest.approx(test.auc, abs=5e-4)
        assert float(cells["EER"]) == pytest.approx(test.eer, abs=5e-4)
        assert abs(test.auc - test.eer) > 0.1  # so that they cannot be taken for each other
        for head, fpr in (("TPR@5%", 0.05), ("@1%", 0.01), ("@0.1%", 0.001)):
            assert float(cells[head].rstrip("?")) == pytest.approx(test.at(fpr).tpr, abs=5e-4)
            assert cells[head].endswith("?") == (not test.at(fpr).reliable)
        assert float(cells["R@1"]) == pytest.approx(model.retrieval.recall_at[1], abs=5e-4)
        assert float(cells["MAP@R"]) == pytest.approx(model.retrieval.map_at_r, abs=5e-4)


def test_intervals_say_the_level_that_they_were_made_with():
    found = judged(resamples=50, level=0.8)
    text = summary(found)
    assert "  80% interval" in text
    assert "this model minus rival, with 80% interval" in text
    assert "with 80% intervals" in text  # of the conditions
    assert "95" not in re.sub(r"\d\.\d+", "", text)
    ours = found.models[0].judged()[1]
    lines = text.splitlines()
    cells = columns(lines[2], lines[0])
    assert cells["AUC"] == f"{ours.auc_interval.low:.3f}-{ours.auc_interval.high:.3f}"
    assert cells["EER"] == f"{ours.eer_interval.low:.3f}-{ours.eer_interval.high:.3f}"
    point = ours.at(0.01).interval
    assert cells["@1%"] == f"{point.low:.3f}-{point.high:.3f}"
    assert "intervals resample the 12 identities 50 times" in text


def test_rankings_stand_below_the_model_they_are_of():
    found = judged(reranked=True)
    names = [line.split("  ")[0].strip() or line.split()[0] for line in summary(found).splitlines()[1:5]]
    assert names == ["this model", "expanded", "re-ranked", "rival"]
    line = summary(found).splitlines()[3]
    assert f"{found.models[0].rankings['re-ranked'].map_at_r:.3f}" == line.split()[-1]


def test_one_threshold_has_one_form_the_distance():
    ours, y = embeddings(0, 0.8)
    fitted = fit_threshold(verify_embeddings(ours, y), 0.1, metric="cosine", fitted_on="other pairs")
    found = judged(threshold=fitted)
    text = summary(found)
    assert f"threshold: accept at cosine distance <= {fitted.distance:.4f}, chosen on other pairs for FPR 10" in text
    assert f"by camera, all at distance <= {fitted.distance:.4f} fitted on other data" in text
    assert f"{fitted.threshold:.4f}" not in text
    counts = found.threshold.on_test
    assert f"on test pairs: TPR {counts.tpr:.3f}  FPR {counts.fpr:.3f}  precision {counts.precision:.3f}" in text
    assert f"TP {counts.tp}  FP {counts.fp}  TN {counts.tn}  FN {counts.fn}" in text


def test_conditions_have_their_rates():
    found = judged(resamples=40)
    lines = summary(found).splitlines()
    [table] = found.conditions
    assert any(line.startswith("by camera, all at distance <= ") and "fitted on these pairs" in line for line in lines)
    for row in table.rows:
        [line] = [line for line in lines if line.startswith(f"  {row.condition} ")]
        assert line.split()[1:3] == [str(row.matches), str(row.impostors)]
        assert line.split()[3:] == [
            f"{row.tpr.estimate:.3f}", f"({row.tpr.low:.3f}-{row.tpr.high:.3f})",
            f"{row.fpr.estimate:.4f}", f"({row.fpr.low:.4f}-{row.fpr.high:.4f})",
        ]  # fmt: skip


def test_heads_and_folds_and_what_is_missing():
    empty = empty_results("n", DataSummary(source="x"), "cosine")
    assert summary(empty) == ""
    rates = FoldRates(
        tpr=Estimate(mean=0.5, standard_error=0.01), fpr=Estimate(mean=0.04, standard_error=0), reliable=False
    )
    folds = FoldsResult(
        names=["a", "b"], accuracy=Estimate(mean=0.75, standard_error=0.1), accuracies=[0.7, 0.8],
        tpr_at_fpr={0.05: rates},
    )  # fmt: skip
    classes = ClassResult(split="test", items=7, accuracy=0.6, classes=["a"], confusion=[[7]])
    masks = MaskResult(split="val", items=5, iou=0.4, dice=0.5, per_channel=[0.4])
    changes = {"folds": folds, "classification": classes, "segmentation": masks}
    changes |= {"threshold": Unavailable(unavailable="no validation split")}
    text = summary(empty.model_copy(update=changes))
    assert "over 2 folds, thresholds from the others: accuracy 0.7500 +/- 0.1000" in text
    assert "TPR@5%?  0.5000 +/- 0.0100 at FPR 0.0400" in text
    assert "class accuracy 0.600 on 7 test images" in text
    assert "mask IoU 0.400, Dice 0.500 on 5 val images" in text
    assert "no threshold: no validation split" in text
    none = ModelResult(name="m", role="model", verification={"test": Unavailable(unavailable="one identity")})
    assert "m" not in summary(empty.model_copy(update={"models": [none]}))


MADE = Uncertainty(level=0.975, resamples=40, identities=12, seed=0)


def verified(tprs, auc, eer, reliable=True, ends=None):
    """Figures of pairs as they are given; ``ends`` are those of every interval."""
    points = [
        OperatingPoint(target_fpr=fpr, threshold=0, tpr=tpr, fpr=0, reliable=reliable or fpr > 0.01, interval=ends)
        for fpr, tpr in zip((0.05, 0.01), tprs)
    ]
    return VerificationResult(
        matches=9, impostors=99, auc=auc, eer=eer, points=points, roc=Curve(fpr=[], tpr=[], threshold=[]),
        auc_interval=ends, eer_interval=ends, uncertainty=None if ends is None else MADE,
    )  # fmt: skip


def retrieved(recall, map_at_r):
    return RetrievalResult(
        queries=9, left_out=0, recall_at={1: recall, 2: 0.999}, precision_at={}, r_precision=0, map_at_r=map_at_r,
        mrr=0, map=0,
    )  # fmt: skip


def table(*models):
    empty = empty_results("n", DataSummary(source="x"), "cosine")
    return summary(empty.model_copy(update={"models": list(models)}))


def test_a_table_without_intervals_has_narrow_columns():
    ours = ModelResult(
        name="this model", role="model", verification={"test": verified((0.9, 0.8), 0.95, 0.07)},
        retrieval=retrieved(0.6, 0.5), rankings={"expanded": retrieved(0.7, 0.4)},
    )  # fmt: skip
    other = ModelResult(
        name="a name of twenty-four ch", role="against", verification={"test": verified((0.3, 0.2), 0.85, 0.17, False)}
    )
    assert table(ours).splitlines() == [
        "                     TPR@5%     @1%     AUC     EER     R@1   MAP@R",
        "this model            0.900   0.800   0.950   0.070   0.600   0.500",
        "  expanded                                            0.700   0.400",
    ]
    assert table(ours, other).splitlines() == [
        "                          TPR@5%     @1%     AUC     EER     R@1   MAP@R",
        "this model                 0.900   0.800   0.950   0.070   0.600   0.500",
        "  expanded                                                 0.700   0.400",
        "a name of twenty-four ch   0.300   0.200?  0.850   0.170       -       -",
        "? too few non-matching pairs for a figure to lean on (fewer than 30 false positives expected)",
    ]


def test_a_table_with_intervals_has_room_for_them():
    ends = Interval(low=0.1234, high=0.5678)
    ours = ModelResult(
        name="this model", role="model", verification={"test": verified((0.9, 0.8), 0.95, 0.07, ends=ends)},
        retrieval=retrieved(0.6, 0.5),
    )  # fmt: skip
    assert table(ours).splitlines() == [
        "                           TPR@5%           @1%           AUC           EER     R@1   MAP@R",
        "this model                  0.900         0.800         0.950         0.070   0.600   0.500",
        "  97.5% interval      0.123-0.568   0.123-0.568   0.123-0.568   0.123-0.568",
        "intervals resample the 12 identities 40 times",
    ]


def test_what_follows_the_table_is_written_in_full():
    def difference(estimate):
        return Difference(estimate=estimate, low=-0.25, high=0.5, p_value=0.125)

    def rates(name, matches, low):
        return ConditionResult(
            condition=name, items=4, identities=2, matches=matches, impostors=54321,
            tpr=Rate(estimate=0.91234, low=low, high=0.97), fpr=Rate(estimate=0.04567, low=low, high=0.06),
        )  # fmt: skip

    counts = Confusion(tp=3, fp=1, tn=5, fn=2, tpr=0.6, fpr=0.167, precision=0.75, accuracy=0.727)
    by = ConditionsResult(
        column="camera", threshold=0.6, distance=0.4, fitted_here=False, uncertainty=MADE,
        rows=[rates("front side", 1234, 0.85), rates("back", 7, float("nan"))], inequity={},
    )  # fmt: skip
    by_age = by.model_copy(
        update={"column": "age", "fitted_here": True, "uncertainty": MADE.model_copy(update={"resamples": 0})}
    )
    found = empty_results("n", DataSummary(source="x"), "cosine").model_copy(
        update={
            "comparison": Comparison(
                against="theirs", uncertainty=MADE, auc=difference(0.0625), eer=difference(-0.0625),
                tpr_at_fpr={0.05: difference(0.1)},
            ),
            "threshold": AppliedThreshold(
                metric="cosine", target_fpr=0.05, threshold=0.6, distance=0.4, fitted_on="validation pairs",
                on_fitted=counts, on_test=None,
            ),
            "conditions": [by, by_age],
        }
    )  # fmt: skip
    assert summary(found).splitlines() == [
        "this model minus theirs, with 97.5% interval",
        "  TPR@5%     +0.100  -0.250 to +0.500  p = 0.125",
        "  AUC        +0.062  -0.250 to +0.500  p = 0.125",
        "  EER        -0.062  -0.250 to +0.500  p = 0.125",
        "",
        "threshold: accept at cosine distance <= 0.4000, chosen on validation pairs for FPR 5.0%",
        "  there: TPR 0.600  FPR 0.167  precision 0.750  TP 3  FP 1  TN 5  FN 2",
        "  no promise for new identities: their false-positive rate may be above 5%",
        "by camera, all at distance <= 0.4000 fitted on other data, with 97.5% intervals",
        "  camera            same    different  TPR                   FPR",
        "  front side       1,234       54,321  0.912 (0.850-0.970)   0.0457 (0.8500-0.0600)",
        "  back                 7       54,321  0.912                 0.0457",
        "",
        "by age, all at distance <= 0.4000 fitted on these pairs",
        "  age               same    different  TPR                   FPR",
        "  front side       1,234       54,321  0.912 (0.850-0.970)   0.0457 (0.8500-0.0600)",
        "  back                 7       54,321  0.912                 0.0457",
    ]


def test_intervals_of_few_identities_are_marked_at_each_and_said_once():
    y = np.repeat([0, 1], 6)
    rows = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    candidates = [Candidate(name, role, "cosine", {"test": rows + place}, name)
                  for place, (name, role) in enumerate([("this model", "model"), ("rival", "against")])]  # fmt: skip
    items = {"test": KnownItems(y, {"camera": np.array(["left", "right"])[np.arange(12) % 2]})}
    questions = Questions(Resampling(40, 0.95, 0))
    results = judge(candidates, items, questions, empty_results("n", DataSummary(source="x"), "cosine")).results
    lines = summary(results).splitlines()
    reason = "2 identities are resampled, and intervals of fewer than 10 are too narrow"
    assert f"? these intervals are not to be leaned on: {reason}" in lines
    shown = next(line for line in lines if "95% interval" in line)
    assert shown.count("?") == shown.count("-") == 5
    assert any(line == f"this model minus rival, with 95% interval, not to be leaned on: {reason}" for line in lines)
    for name in ("left", "right"):
        assert next(line for line in lines if line.startswith(f"  {name}")).count("?)") == 2
    assert "? fewer than 10 identities: these intervals are not to be leaned on" in lines
    figures = results.models[0].verification["test"]
    assert (figures.uncertainty.reliable, figures.uncertainty.reason) == (False, reason)


def test_what_no_figure_holds_is_said():
    counts = SplitCounts(images=9, identities=3, classes=2, nameless=4)
    data = DataSummary(source="x", splits={"train": counts, "test": counts})
    classes = ClassResult(split="test", items=7, accuracy=0.6, classes=["a"], confusion=[[7]], untrained={"b": 2})
    text = summary(empty_results("n", data, "cosine").model_copy(update={"classification": classes}))
    assert "class accuracy 0.600 on 7 test images\n  2 more test images are left out: their class was never" in text
    assert text.count("4 of 9 test images have no identity: no pair holds them") == 1
    assert "train" not in text.replace("trained", "")


def test_who_asked_and_who_answered_in_retrieval_is_said_where_the_table_says_it():
    retrieval = run_results().models[0].retrieval
    assert "is_query" not in summary(run_results())
    roles = SearchRoles(queries=72, gallery=600)
    text = summary(changed(run_results(), {"retrieval": retrieval.model_copy(update={"roles": roles, "map": 0.5})}))
    assert "retrieval: 72 queries (is_query) in a gallery of 600 (is_gallery)\n  mAP 0.500 of this model\n" in text
