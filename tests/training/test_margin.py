"""``--margin auto``, and the warning when triplets stop teaching."""

import pytest
import torch

from training.test_train import TINY, write_items
from triune.cli import main
from triune.evaluation.results import Results
from triune.losses.outcome import TripletOutcome
from triune.losses.triplet import TripletLoss
from triune.model.objective import MultiTaskObjective
from triune.run.settings import OptimizerConfig
from triune.training.module import LoopSettings, TrainingModule, pooled


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_items(tmp_path_factory.mktemp("items"))


def test_the_margin_is_chosen_on_validation_images_and_survives_a_resume(table, tmp_path, capsys):
    run, flags = tmp_path / "run", [*TINY, "--model.backbone", "resnet10t"]  # that of TINY has collapsed by then
    assert main(["train", "--data", str(table), "--output", str(run), "--epochs", "2", "--margin", "auto", *flags]) == 0
    margin = Results.read(run / "metrics.json").training.margin
    assert 0 < margin < 2
    assert margin != 0.2
    assert capsys.readouterr().err.count(f"margin {margin:.3f}, chosen") == 1
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["chosen_margin"] == margin
    assert main(["train", "--resume", str(run), "--epochs", "3"]) == 0
    assert Results.read(run / "metrics.json").training.margin == margin


def test_auto_needs_the_triplet_loss_and_validation_identities(table, tmp_path, capsys):
    flags = ["--data", str(table), "--margin", "auto", *TINY]
    assert main(["train", *flags, "--output", str(tmp_path / "a"), "--metric_loss", "circle"]) == 2
    assert "not circle" in capsys.readouterr().err
    lines = [line for line in table.read_text().splitlines() if not line.endswith("id5,val")]
    few = table.parent / "few.csv"
    few.write_text("\n".join(lines) + "\n")
    assert main(["train", "--data", str(few), "--margin", "auto", "--output", str(tmp_path / "b"), *TINY]) == 2
    assert "margin auto needs validation images" in capsys.readouterr().err


@pytest.mark.parametrize(("spread", "collapsed"), [(1e-3, True), (1.0, False)])
def test_a_margin_is_not_fitted_to_a_collapse(spread, collapsed, capsys):
    trained = module()
    x = torch.ones(32, 8) + spread * torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    trained.fit_margin(torch.nn.functional.normalize(x), torch.arange(32) // 4)
    assert (trained.objective.triplet.margin == 0.2) == collapsed
    assert ("all but collapsed" in capsys.readouterr().err) == collapsed


def outcome(triplets, active, negative):
    numbers = (0.2, triplets, active, 0.1, negative)
    return TripletOutcome(*(torch.tensor(float(number)) for number in numbers))


def module(mining="hard"):
    objective = MultiTaskObjective(triplet=TripletLoss(mining=mining, metric="cosine"))
    return TrainingModule(torch.nn.Linear(2, 2), objective, LoopSettings(OptimizerConfig(), "cosine", 0.05, 10))


@pytest.mark.parametrize(
    ("outcomes", "mining", "words"),
    [
        ([outcome(100, 100, 0.001)] * 3, "hard", "collapsed"),
        ([outcome(1000, 2, 0.9)] * 3, "all", "still cost something"),
        ([outcome(0, 0, float("nan"))] * 30, "semihard", "held no semihard triplet"),
    ],
)
def test_a_run_that_stops_teaching_is_told_what_to_do_once(outcomes, mining, words, capsys):
    trained = module(mining)
    for _ in range(3):
        trained._outcomes = list(outcomes)
        trained.on_train_epoch_end()
    said = capsys.readouterr().err
    assert said.count("warning: epoch") == 1
    assert words in said
    trained._outcomes = [outcome(100, 50, 0.8)]
    trained.on_train_epoch_end()
    assert trained.advice is None
    assert not capsys.readouterr().err


def test_outcomes_are_pooled_over_the_batches_that_had_triplets():
    both = pooled([outcome(10, 5, 0.4), outcome(0, 0, float("nan")), outcome(30, 5, 0.8)])
    assert (both.triplets, both.active) == (40, 10)
    assert both.negative_distance == pytest.approx(0.6)
