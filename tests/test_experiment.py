"""A whole experiment in one call: train, then judge the best network."""

import gc
import weakref

import polars
import pytest
import torch

from training.test_train import TINY, write_items
from triune import experiment
from triune.evaluation.results import Results
from triune.experiment import train_and_evaluate
from triune.losses.triplet import TripletLoss
from triune.run.folder import load_model
from triune.run.parser import parse_train
from triune.training.module import TrainingModule


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_items(tmp_path_factory.mktemp("items"))


class Criterion(torch.nn.Module):
    """A metric loss of somebody else, which notes what it is called with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, embeddings, labels):
        self.seen.append((embeddings.shape, labels.unique().tolist()))
        return TripletLoss(margin=0.3)(embeddings, labels)


def test_a_loss_of_ones_own_takes_the_place_of_the_one_in_the_settings(table, tmp_path):
    criterion = Criterion()
    flags = ["--data", str(table), *TINY, "--epochs", "1", "--output", str(tmp_path / "run"), "--metric_loss", "circle"]
    run, found = train_and_evaluate(parse_train(flags), criterion)
    assert run == tmp_path / "run"
    assert len(criterion.seen) == found.training.steps > 0
    assert all(shape[1] == 16 and len(labels) == 4 for shape, labels in criterion.seen)  # P identities, 16 numbers
    assert found.training.margin is None  # a loss of another kind has none that is known
    assert Results.read(run / "metrics.json") == found
    assert found.data.splits["test"].images == 12
    assert load_model(run)[1].classes == ["disc", "square"]


@pytest.mark.parametrize(("left_out", "word"), [("alpha", "class"), ("beta", "mask"), ("gamma", "triplet")])
def test_each_task_can_be_left_out(left_out, word, table, tmp_path, capsys):
    flags = ["--data", str(table), *TINY, "--epochs", "1", f"--{left_out}", "0", "--output", str(tmp_path / "run")]
    _, found = train_and_evaluate(parse_train(flags))
    (line,) = (each for each in capsys.readouterr().err.splitlines() if each.startswith("epoch 1/1"))
    assert {each for each in ("class", "mask", "triplet") if f"  {each} 0." in line or f"  {each} 1." in line} == {
        *("class", "mask", "triplet")
    } - {word}
    assert (found.classification is None) == (left_out == "alpha")
    assert (found.segmentation is None) == (left_out == "beta")
    assert found.models[0].verification["test"].auc >= 0


def test_labels_alone_are_enough(table, tmp_path):
    bare = tmp_path / "bare.csv"
    frame = polars.read_csv(table).select("image", polars.col("identity").alias("label"))
    frame.with_columns(polars.concat_str(polars.lit(str(table.parent) + "/"), "image").alias("image")).write_csv(bare)
    flags = ["--data", str(bare), *TINY, "--epochs", "1", "--output", str(tmp_path / "run"), "--margin", "soft"]
    _, found = train_and_evaluate(parse_train([*flags, "--mining", "batch_hard", "--metric", "euclidean"]))
    assert found.data.split == "open-set"
    assert found.segmentation is None


def test_what_the_training_held_is_let_go_before_the_judgement(table, tmp_path, monkeypatch):
    """Several experiments in one program, or a network that fills a GPU, must not wait for Python to look."""
    trained, alive, judge = [], [], experiment.evaluate_run

    def begun(self):
        trained.append(weakref.ref(self))

    def judged(*arguments, **options):
        alive.extend(each() for each in trained)
        return judge(*arguments, **options)

    monkeypatch.setattr(TrainingModule, "on_fit_start", begun)
    monkeypatch.setattr(experiment, "evaluate_run", judged)
    gc.disable()
    try:
        train_and_evaluate(
            parse_train(["--data", str(table), *TINY, "--epochs", "1", "--output", str(tmp_path / "run")])
        )
    finally:
        gc.enable()
    assert alive == [None]
