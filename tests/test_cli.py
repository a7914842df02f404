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
    ],
)
def test_bad_input_exits_2_with_one_line_and_no_traceback(arguments, named, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert named in captured.err
    assert len(captured.err.strip().splitlines()) == 1
