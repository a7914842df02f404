"""``thresholds.json``: what a run stores, reads back and applies."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from triune.errors import InputError
from triune.files import write_record
from triune.run.thresholds import StoredThresholds, read_thresholds
from triune.verification.decision import ExpectedFPR
from triune.verification.roc import verify_scores
from triune.verification.thresholds import fit_threshold

FORMAT1 = Path(__file__).parent / "format1"


def fitted(fpr, scores=(0.9, 0.8, 0.3, 0.2), metric="cosine"):
    return fit_threshold(verify_scores(scores, [1, 1, 0, 0]), fpr, metric=metric, fitted_on="validation pairs")


def test_thresholds_are_read_back_also_where_nothing_or_everything_is_accepted(tmp_path):
    several = [dataclasses.replace(fitted(0.05), threshold=t) for t in (0.5, math.inf, -math.inf)]
    stored = StoredThresholds(metric="cosine", target_fpr=0.05, thresholds=several)
    write_record(tmp_path / "thresholds.json", stored)
    assert read_thresholds(tmp_path / "thresholds.json") == stored


def test_the_threshold_of_a_budget_is_found_and_those_there_are_listed():
    stored = StoredThresholds(metric="cosine", target_fpr=0.5, thresholds=[fitted(0.5), fitted(0.01)])
    assert stored.own("f").target_fpr == 0.5
    assert stored.at(0.01, "f").target_fpr == 0.01
    with pytest.raises(InputError, match=r"^f holds no threshold for FPR 0\.2; it has them for 0\.5, 0\.01$"):
        stored.at(0.2, "f")
    none = StoredThresholds(metric="cosine", target_fpr=0.5, thresholds=[], unavailable="one identity")
    with pytest.raises(InputError, match="f holds no threshold: one identity"):
        none.own("f")


def test_what_version_0_1_0_wrote_is_read():
    stored, old = read_thresholds(FORMAT1 / "thresholds.json"), json.loads((FORMAT1 / "thresholds.json").read_text())
    assert [each.target_fpr for each in stored.thresholds] == [0.05, 0.01, 0.001]
    for threshold, before in zip(stored.thresholds, old["all"].values(), strict=True):
        assert (threshold.threshold, threshold.fpr) == (before["threshold"], before["fpr"])
        assert threshold.distance == before["distance"]
        assert threshold.lowest_accepted == before["threshold"]
    assert stored.own("f").fitted_on == "validation pairs"


def test_one_threshold_alone_is_read_too(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(fitted(0.05, metric="euclidean").as_dict()))
    assert read_thresholds(path).own("f") == fitted(0.05, metric="euclidean")


def test_a_run_of_version_0_1_0_without_a_threshold_says_why(tmp_path):
    path = tmp_path / "t.json"
    path.write_text('{"unavailable": "there is no validation split"}')
    with pytest.raises(InputError, match="there is no validation split"):
        read_thresholds(path).own("f")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"thresholds": [{"threshold": "high"}]}, r"field thresholds\.0\.threshold: Input should be a valid number"),
        ({"metric": "manhattan"}, r"field metric: Input should be 'euclidean'"),
        ({"thresholds": None}, r"field thresholds: Input should be a valid list"),
    ],
)
def test_damage_is_one_line_that_names_file_and_field(tmp_path, change, says):
    path = tmp_path / "t.json"
    stored = StoredThresholds(metric="cosine", target_fpr=0.05, thresholds=[fitted(0.05)])
    path.write_text(json.dumps({**json.loads(stored.model_dump_json()), **change}))
    with pytest.raises(InputError, match=rf"t\.json, {says}"):
        read_thresholds(path)


def test_a_threshold_that_is_no_number_is_refused(tmp_path):
    several = [dataclasses.replace(fitted(0.05), threshold=t) for t in (0.5, math.nan)]
    stored = StoredThresholds.model_construct(metric="cosine", target_fpr=0.05, thresholds=several)
    write_record(tmp_path / "thresholds.json", stored)
    assert "NaN" in (tmp_path / "thresholds.json").read_text()
    with pytest.raises(InputError, match=r"thresholds\.json, field thresholds: .*not a number"):
        read_thresholds(tmp_path / "thresholds.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"confidence": 7.5}, "confidence 7.5"),
        ({"confidence": 0.0}, "confidence 0"),
        ({"expected": ExpectedFPR(0.05, 0.9, 0.01, 0.95, 8, 100)}, "does not lie in its interval"),
        ({"expected": ExpectedFPR(0.05, 0.01, 1.2, 0.95, 8, 100)}, "does not lie in its interval"),
    ],
)
def test_a_promise_that_cannot_be_is_refused(tmp_path, change, said):
    fitted = fit_threshold(verify_scores([0.9, 0.8, 0.3, 0.2], [1, 1, 0, 0]), 0.1, metric="cosine")
    stored = StoredThresholds(metric="cosine", target_fpr=0.1, thresholds=[fitted])
    broken = stored.model_copy(update={"thresholds": [dataclasses.replace(fitted, **change)]})
    write_record(tmp_path / "thresholds.json", broken)
    with pytest.raises(InputError, match=said):
        read_thresholds(tmp_path / "thresholds.json")


def test_reading_thresholds_loads_nothing_that_only_fitting_needs():
    code = (
        "import sys, triune.run.thresholds; print([m for m in ('scipy.special', 'scipy.optimize') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
