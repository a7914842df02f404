import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from triune.cli import main
from triune.commands import COMMANDS


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


def test_names_with_line_breaks_and_escapes_stay_on_one_line(capsys):
    assert main(["report", "no\nsuch\x1b[2Jrun"]) == 2
    assert (
        capsys.readouterr().err
        == "triune: no\\nsuch\\x1b[2Jrun does not exist, or is no folder: name one that triune wrote\n"
    )


def test_all_problems_of_a_table_are_told_a_line_each(tmp_path, capsys):
    (tmp_path / "s.csv").write_text("score,match\nhigh,1\nlow,0\n1,1\n")
    assert main(["evaluate", "--scores", str(tmp_path / "s.csv")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("s.csv, ")[2][:5] for line in lines] == ["row 2", "row 3"]


def test_what_the_machine_refuses_exits_1_and_names_the_file(tmp_path, monkeypatch, capsys):
    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    (tmp_path / "s.csv").write_text("score,match\n1,1\n0,0\n")
    monkeypatch.setattr("triune.data.tables.regular_file", refused)
    assert main(["evaluate", "--scores", str(tmp_path / "s.csv")]) == 1
    assert capsys.readouterr().err == f"triune: Permission denied: {tmp_path / 's.csv'}\n"


def test_too_little_memory_exits_1_in_a_line(tmp_path, monkeypatch, capsys):
    def all_taken(*_):
        raise MemoryError

    monkeypatch.setattr("triune.data.tables.read_text", all_taken)
    assert main(["evaluate", "--scores", str(tmp_path / "s.csv")]) == 1
    assert capsys.readouterr().err.startswith("triune: there is not enough memory")


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
from triune.commands import report
def slow(arguments):
    import lightning, triune.experiment
    time.sleep(60)
report.run = slow
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
