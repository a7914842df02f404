from report.building import run_results
from triune.commands import train
from triune.report.terminal import summary
from triune.run.settings import TrainConfig


def test_a_training_prints_its_figures_and_last_where_run_and_report_lie(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("triune.experiment.train_and_evaluate", lambda config: (tmp_path, run_results()))
    monkeypatch.setattr("triune.report.page.write_report", lambda run: run / "report.html")
    assert train.trained(TrainConfig()) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[: len(summary(run_results()).splitlines())] == summary(run_results()).splitlines()
    assert printed[-2:] == [f"run     {tmp_path}", f"report  {tmp_path / 'report.html'}"]
