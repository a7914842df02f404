import os
import signal
import subprocess
import sys
import time

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


def shell(line):
    """Exit code and standard error of a line of bash in which $T is the command."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        capture_output=True,
        text=True,
        env=os.environ | {"T": f"{sys.executable} -m triune"},
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("command", ["--help", "train --help_all"])
def test_output_that_nobody_takes_ends_in_one_line(command, buffered):
    unbuffered = f"PYTHONUNBUFFERED={buffered}"
    assert shell(f"{unbuffered} $T {command} > /dev/full") == (1, "triune: No space left on device: standard output\n")
    code, said = shell(f"{unbuffered} $T {command} | true")
    assert (code, said) == (1, "triune: whoever read the output went away (a closed pipe)\n")
    assert shell(f"{unbuffered} $T {command} | head -c 1 > /dev/null")[1].count("\n") <= 1
    assert shell(f"{unbuffered} $T {command} >&-") == (0, "")


IMPORTING = """
import sys, time
from triune import cli
def slow(arguments):
    import lightning, triune.experiment
    time.sleep(60)
cli.COMMANDS["report"] = slow
sys.argv = ["triune", "report"]
print("begun", flush=True)
sys.exit(cli.main())
"""


@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGINT, 0.1), (signal.SIGTERM, 0.7), (signal.SIGINT, 1.5)])
def test_a_signal_while_modules_are_imported_ends_in_one_line_and_its_exit_code(number, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORTING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(number)
    word = "interrupted" if number == signal.SIGINT else "terminated"
    assert process.communicate()[1] == f"triune: {word}\n"
    assert process.returncode == 128 + number
