"""Runs of version 0.1.0 keep loading: files that it wrote are read as today's results."""

import json
import math
from pathlib import Path

import pytest

from triune.errors import InputError
from triune.evaluation.earlier import migrated
from triune.evaluation.results import Results

FORMAT1 = Path(__file__).parent / "format1"


def read(name):
    return Results.read(FORMAT1 / f"{name}.json"), json.loads((FORMAT1 / f"{name}.json").read_text())


def test_a_run_keeps_every_figure():
    found, stored = read("run")
    assert [(model.name, model.role) for model in found.models] == [
        ("this model", "model"), ("raw pixels", "pixels"), ("untrained backbone", "untrained")
    ]  # fmt: skip
    for model, name in zip(found.models, ("trained", "pixels", "untrained"), strict=True):
        for split in ("val", "test"):
            old, new = stored["verification"][name][split], model.verification[split]
            assert (new.auc, new.eer, new.matches) == (old["auc"], old["eer"], old["matches"])
            assert [point.tpr for point in new.points] == [p["tpr"] for p in old["tpr_at_fpr"].values()]
            assert [point.target_fpr for point in new.points] == [0.05, 0.01, 0.001]
            assert new.roc.threshold[0] == math.inf
            assert new.uncertainty is None
        assert model.retrieval.recall_at == {int(k): v for k, v in stored["retrieval"][name]["recall_at"].items()}
    point = stored["operating_point"]
    assert (found.threshold.distance, found.threshold.fitted_on) == (point["distance"], "validation pairs")
    assert found.threshold.on_fitted.tp == point["val"]["tp"]
    assert found.threshold.on_test.fp == point["test"]["fp"]
    assert found.classification.confusion == stored["classification"]["confusion"]
    assert found.segmentation.iou == stored["segmentation"]["iou"]
    assert found.training.epochs == 2


def test_intervals_conditions_and_the_comparison_keep_their_level():
    found, stored = read("embeddings")
    old = stored["verification"]["trained"]["test"]
    new = found.models[0].judged()[1]
    assert [new.auc_interval.low, new.auc_interval.high] == old["interval"]["auc"]
    assert [new.at(0.01).interval.low, new.at(0.01).interval.high] == old["interval"]["0.01"]
    assert (new.uncertainty.level, new.uncertainty.resamples) == (0.8, 50)
    assert found.models[1].role == "against"
    assert (found.comparison.against, found.comparison.uncertainty.level) == ("other", 0.8)
    assert found.comparison.auc.p_value == stored["comparison"]["auc"]["p_value"]
    [table], [before] = found.conditions, stored["conditions"]
    assert table.distance == pytest.approx(1 - before["threshold"])
    assert [row.tpr.high for row in table.rows] == [row["tpr"][2] for row in before["rows"]]
    assert (table.uncertainty.level, table.fitted_here) == (0.8, False)
    assert math.isnan(found.threshold.on_test.precision)  # which format 1 wrote as null


def test_rankings_stand_with_the_model_they_are_of():
    found, stored = read("reranked")
    assert list(found.models[0].rankings) == ["expanded", "re-ranked"]
    assert found.models[0].rankings["re-ranked"].map_at_r == stored["retrieval"]["re-ranked"]["map_at_r"]


def test_lists_keep_their_folds():
    found, stored = read("scores")
    assert found.metric == "score"
    assert found.folds.tpr_at_fpr[0.05].tpr.mean == stored["folds"]["tpr_at_fpr"]["0.05"]["tpr"]["mean"]


def test_what_is_migrated_is_written_as_today(tmp_path):
    for name in ("run", "embeddings", "reranked", "scores"):
        found, _ = read(name)
        found.write(tmp_path / "metrics.json")
        assert Results.read(tmp_path / "metrics.json").model_dump_json() == found.model_dump_json()


def test_today_s_files_are_left_alone():
    today = {"format": 2, "verification": "x"}
    assert migrated(today) is today


def test_damage_in_an_old_file_is_one_line(tmp_path):
    path = tmp_path / "metrics.json"
    stored = json.loads((FORMAT1 / "run.json").read_text())
    del stored["verification"]["trained"]["test"]["auc"]
    path.write_text(json.dumps(stored))
    with pytest.raises(InputError, match=r"metrics\.json is damaged or another file: KeyError 'auc'"):
        Results.read(path)
    stored["verification"]["trained"]["test"]["auc"] = "high"
    path.write_text(json.dumps(stored))
    with pytest.raises(InputError, match=r"metrics\.json, field models\.0\.verification\.test\.auc: "):
        Results.read(path)


def run_of(changes):
    stored = json.loads((FORMAT1 / "embeddings.json").read_text())
    changes(stored)
    return migrated(stored), stored


def test_the_judged_model_comes_first_whatever_others_are_called():
    def rename(stored):  # "a" stands before "trained" in the alphabet, and before it in the file
        for part in ("verification", "retrieval"):
            stored[part] = {"a": stored[part].pop("other"), **stored[part]}
        stored["comparison"]["against"] = "a"

    found, _ = run_of(rename)
    assert [(model["name"], model["role"]) for model in found["models"]] == [("this model", "model"), ("a", "against")]


def test_a_model_that_is_called_as_a_baseline_is_still_the_one_that_is_compared_with():
    def rename(stored):
        for part in ("verification", "retrieval"):
            stored[part]["pixels"] = stored[part].pop("other")
        stored["comparison"]["against"] = "pixels"

    found, _ = run_of(rename)
    assert [model["role"] for model in found["models"]] == ["model", "against"]
    without = run_of(lambda stored: (rename(stored), stored.pop("comparison")))[0]
    assert [model["role"] for model in without["models"]] == ["model", "pixels"]


def test_what_was_not_said_of_intervals_is_nothing():
    def forget(stored):
        for splits in stored["verification"].values():
            splits["test"].pop("uncertainty", None)

    found, _ = run_of(forget)
    assert found["comparison"]["uncertainty"] == {"level": 0.8, "resamples": 0, "identities": 0, "seed": 0}
    said = json.loads((FORMAT1 / "embeddings.json").read_text())["verification"]["trained"]["test"]["uncertainty"]
    assert run_of(lambda stored: None)[0]["comparison"]["uncertainty"] == {**said, "level": 0.8}
    # A run without a test split says nothing either; one without its model is still read.
    assert (
        run_of(lambda stored: stored["verification"]["trained"].pop("test"))[0]["comparison"]["uncertainty"]["seed"]
        == 0
    )
    assert run_of(lambda stored: stored["verification"].pop("trained"))[0]["comparison"]["uncertainty"]["level"] == 0.8


def test_the_distance_of_another_metric_is_minus_the_score_and_the_worst_condition_keeps_its_name():
    def change(stored):
        stored["metric"] = "euclidean"
        stored["conditions"][0]["threshold"] = -0.75
        stored["conditions"][0]["inequity"]["fpr"]["worst"] = None
        stored["conditions"][0]["inequity"]["fnr"]["worst"] = 7

    [table] = run_of(change)[0]["conditions"]
    assert (table["threshold"], table["distance"]) == (-0.75, 0.75)
    assert (table["inequity"]["fpr"]["worst"], table["inequity"]["fnr"]["worst"]) == (None, "7")
