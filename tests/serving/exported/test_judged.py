"""An exported file is judged as its run is: the same figures on the same table, at the same threshold."""

import pytest

from triune.errors import InputError
from triune.evaluation.judge import Resampling
from triune.evaluation.judge_run import RunQuestions, evaluate_again
from triune.serving.exported.judged import evaluate_exported


def test_the_figures_are_those_of_the_run_on_the_same_table(exported, tmp_path):
    folder, _ = exported
    asked = RunQuestions(data=str(folder / "items.csv"), resampling=Resampling(0, 0.95, 1))
    ours = evaluate_again(folder / "run", tmp_path / "ours", asked).results
    theirs = evaluate_exported(folder / "run.onnx", tmp_path / "theirs", asked).results
    assert theirs.classification.accuracy == ours.classification.accuracy
    assert theirs.segmentation.iou == pytest.approx(ours.segmentation.iou, abs=1e-3)
    assert theirs.threshold.threshold == ours.threshold.threshold
    one, other = (each.models[0].verification["test"] for each in (ours, theirs))
    assert other.auc == pytest.approx(one.auc, abs=1e-3)
    assert (tmp_path / "theirs" / "embeddings.parquet").is_file()


def test_without_data_there_is_nothing_to_judge(exported, tmp_path):
    with pytest.raises(InputError, match="holds no data: name a table to judge it on with --data"):
        evaluate_exported(exported[0] / "run.onnx", tmp_path, RunQuestions())
