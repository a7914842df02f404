from evaluation.conftest import untrained_run, write_items
from triune.cli import main


def test_a_folder_without_results_is_named(tmp_path, capsys):
    run = tmp_path / "run"
    untrained_run(run, write_items(tmp_path))
    assert main(["report", str(run)]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert str(run / "metrics.json") in said.err
