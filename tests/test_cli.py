import subprocess
import sys

import pytest

from triune.cli import COMMANDS, main


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in COMMANDS)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from triune.cli import main; main(['--help']); "
        "print([m for m in ('torch', 'numpy', 'lightning', 'polars', 'jsonargparse') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_exits_0_and_waits_for_nothing_heavy(name):
    code = (
        f"import sys; from triune.cli import main; code = main(['{name}', '--help']); "
        "print(code, [m for m in ('torch', 'numpy', 'lightning', 'polars') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith(f"usage: triune {name}")
    assert run.stdout.splitlines()[-1] == "0 []"


def test_a_demo_shows_its_own_settings(capsys):
    assert main(["demo", "--epochs", "3", "--print_config"]) == 0
    shown = capsys.readouterr().out
    assert "epochs: 3\n" in shown
    assert "backbone: resnet10t\n" in shown


def test_an_unknown_command_exits_2_and_lists_the_known_ones(capsys):
    assert main(["trian"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "'trian'" in captured.err
    assert "train" in captured.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train", "--data", "no-such.csv"], "no-such.csv"),
        (["train", "--alpha", "x"], "alpha"),
        (["evaluate"], "RUN"),
        (["evaluate", "--embeddings", "e.npy"], "--labels"),
        (["evaluate", "--scores", "no-such.csv"], "no-such.csv"),
        (["evaluate", "no-such-run"], "no-such-run"),
        (["verify", "no-such-run", "a.jpg", "b.jpg"], "no-such-run"),
        (["verify", "run"], "first"),
        (["report", "no-such-run"], "no-such-run"),
        (["report"], "run"),
        (["train", "--epochs", "0"], "--epochs"),
        (["demo", "--target_fpr", "5"], "--target_fpr"),
        (["evaluate", "run", "--scores", "s.csv"], "name one thing"),
        (["evaluate", "--level", "95", "--scores", "s.csv"], "--level"),
        (["evaluate", "--scores", "s.csv", "--groups", "g.csv"], "--groups needs a RUN or --embeddings and --labels"),
        (["evaluate", "--scores", "s.csv", "--templates", "t.csv"], "--templates needs --embeddings and --labels or"),
        (["evaluate", "--scores", "s.csv", "--metric", "euclidean"], "--metric"),
        (["evaluate", "--embeddings", "e.npy", "--pairs", "p.csv", "--labels", "l.npy"], "--labels"),
        (["evaluate", "--embeddings", "e.npy", "--pairs", "p.csv", "--rerank"], "--rerank"),
        (["evaluate", "--embeddings", "e.npy", "--labels", "l.npy", "--data", "d.csv"], "--data needs a RUN"),
        (["evaluate", "--embeddings", "e.npy", "--labels", "l.npy", "--names", "n.txt"], "--names"),
        (["evaluate", "--pairs", "p.csv"], "name one thing"),
        (["verify", "run", "a.jpg", "b.jpg", "--fpr", "1"], "--fpr"),
    ],
)
def test_bad_input_exits_2_with_one_line_and_no_traceback(arguments, named, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert named in captured.err
    assert len(captured.err.strip().splitlines()) == 1


def test_a_folder_that_is_no_run_is_refused_and_stays_as_it_is(tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "nosuch"):
        assert main(["evaluate", str(folder)]) == 2
        assert "name a run folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
