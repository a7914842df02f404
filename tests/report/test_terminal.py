"""The table for the terminal: each figure under its own head, each level and threshold from the results."""

import re

import numpy as np
import pytest

from triune.evaluation.judge import Candidate, KnownItems, Questions, Resampling, empty_results, judge
from triune.evaluation.results import (
    ClassResult,
    DataSummary,
    Estimate,
    FoldRates,
    FoldsResult,
    MaskResult,
    ModelResult,
    Unavailable,
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
    found = judged(resamples=30)
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
