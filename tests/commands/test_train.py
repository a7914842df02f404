import pytest

from data.sources.layouts import cub200, market1501
from report.building import run_results
from triune.commands import train
from triune.evaluation.results import Results
from triune.report.terminal import summary
from triune.run.parser import parse_train
from triune.run.settings import TrainConfig
from triune.training.train import load_items


def test_a_training_prints_its_figures_and_last_where_run_and_report_lie(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("triune.experiment.train_and_evaluate", lambda config: (tmp_path, run_results()))
    monkeypatch.setattr("triune.report.page.write_report", lambda run: run / "report.html")
    assert train.trained(TrainConfig()) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[: len(summary(run_results()).splitlines())] == summary(run_results()).splitlines()
    assert printed[-2:] == [f"run     {tmp_path}", f"report  {tmp_path / 'report.html'}"]


SMALL = [
    *("--model.backbone", "test_resnet", "--model.pretrained", "false", "--model.embedding_dim", "8", "--epochs", "1"),
    *("--images.size", "32", "--batch_size", "8", "--trainer.accelerator", "cpu"),
]


@pytest.mark.parametrize("name", ["cub200", "market1501"])
def test_a_benchmark_is_trained_by_its_name_with_its_recipe(name, tmp_path, monkeypatch, capsys):
    if name == "cub200":
        cub200(tmp_path / "root")
    else:
        market1501(tmp_path / "root", people=6)
    monkeypatch.setenv("TRIUNE_CACHE", str(tmp_path / "cache"))
    given = ["--data", name, "--root", str(tmp_path / "root"), "--output", str(tmp_path / "run"), *SMALL]
    assert train.run(given) == 0
    printed = capsys.readouterr()
    assert f"{name}: its settings are those of a published recipe but for what flags and --config say" in printed.err
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert ("metric_loss: proxy-anchor" if name == "cub200" else "mining: batch_hard") in config
    assert "epochs: 1\n" in config
    retrieval = Results.read(tmp_path / "run" / "metrics.json").models[0].retrieval
    if name == "cub200":
        assert (retrieval.queries, retrieval.roles) == (9, None)
    else:
        # Each query's two pictures by its own camera are left out, and its one by the other is looked for.
        assert retrieval.roles.model_dump() == {"queries": 6, "gallery": 20, "distractors": 2, "same_camera": True}
        assert (retrieval.queries, retrieval.left_out) == (6, 0)
        assert retrieval.r_precision == retrieval.recall_at[1]
        assert "6 queries (is_query) in a gallery of 20 (is_gallery), 2 of them nobody's match" in printed.out


def test_masks_of_birds_are_read_by_the_votes_for_them(tmp_path):
    cub200(tmp_path / "root", masks=True)
    given = ["--data", "cub200", "--root", str(tmp_path / "root"), *SMALL]
    assert load_items(parse_train([*given, "--beta", "1"])).reading.mask_values == (0, 255)
    asked = ["--beta", "1", "--images.mask_values", "[0, 51, 102, 153, 204, 255]"]
    assert load_items(parse_train([*given, *asked])).reading.mask_values == (0, 51, 102, 153, 204, 255)
