"""`triune evaluate` in several processes: the result of one, written and printed once; all end with one code."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import torchrun
from forked import free_ports, run_forked
from triune.cli import main
from triune.pairs.tiles import PairTiles

N = 120


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    g = np.random.default_rng(0)
    y = np.repeat(np.arange(N // 6), 6)
    centres = g.normal(size=(N // 6, 8))
    for name, noise in (("x", 0.7), ("other", 1.2)):
        np.save(folder / f"{name}.npy", (centres[y] + noise * g.normal(size=(N, 8))).astype(np.float32))
    (folder / "y.txt").write_text("".join(f"person {label:02d}\n" for label in y))
    rows = "".join(f"{'left' if i % 2 else 'right'},{i // 2}\n" for i in range(N))
    (folder / "groups.csv").write_text(f"camera,session\n{rows}")
    (folder / "s.csv").write_text("score,match\n0.9,1\n0.8,1\n0.3,0\n0.2,0\n")
    (folder / "taken").write_text("a file, no folder")
    return folder


def flags(folder, *more, labels="y.txt", output="out"):
    given = ["evaluate", "--embeddings", folder / "x.npy", "--labels", folder / labels, "--resamples", "40"]
    return [*map(str, [*given, "--groups", folder / "groups.csv", *more, "--json", "--output", folder / output])]


def without_date(printed):
    found = json.loads(printed)
    del found["created"]
    return found


@pytest.mark.usefixtures("one_thread")
def test_torchrun_gives_the_json_and_the_files_of_one_process(files, capsys):
    more = ["--against", files / "other.npy", "--rerank"]
    assert main(flags(files, *more, output="one")) == 0
    one = capsys.readouterr().out
    two = torchrun(*flags(files, *more, output="two"))
    assert two.returncode == 0, two.stderr
    assert without_date(two.stdout) == without_date(one)
    assert two.stderr.count("report.html") == 1
    written = [sorted(path.relative_to(files / out) for path in (files / out).rglob("*")) for out in ("one", "two")]
    assert written[0] == written[1]
    assert json.loads((files / "two" / "metrics.json").read_text()) == json.loads(two.stdout)


CASES = ["whole", "labels missing in process 1", "labels unlike in process 1", "no such option", "scores", "no folder"]


def case_flags(case, rank, folder):
    return {
        "whole": flags(folder, "--exclude", "session"),
        "labels missing in process 1": flags(folder, labels="y.txt" if rank != 1 else "none.txt"),
        "labels unlike in process 1": flags(folder, labels="y.txt" if rank != 1 else "shifted/y.txt"),
        "no such option": flags(folder, "--no_such_option"),
        "scores": ["evaluate", "--scores", f"{folder}/s.csv", "--json", "--output", f"{folder}/scores"],
        "no folder": flags(folder, output="taken/out"),
    }[case]


def work(rank, ports, folder):
    torch.set_num_threads(1)
    os.environ |= {"TORCHELASTIC_RUN_ID": "test", "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    written, divided, visit = [], [], PairTiles.visit
    make = tempfile.mkstemp
    tempfile.mkstemp = lambda *given, **named: written.append(str(named.get("dir"))) or make(*given, **named)
    PairTiles.visit = lambda self, *given: divided.append(self.divide_over is not None) or visit(self, *given)
    answers = {}
    for case, port in zip(CASES, ports, strict=True):
        os.environ["MASTER_PORT"] = str(port)
        written.clear()
        divided.clear()
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(case_flags(case, rank, folder))
        ours = [place for place in written if place.startswith(str(folder))]
        answers[case] = code, out.getvalue(), err.getvalue(), len(ours), all(divided) and len(divided)
    (folder / f"{rank}.json").write_text(json.dumps(answers))


@pytest.fixture(scope="module")
def answers(files):
    """By case what each of two processes did: code, stdout, stderr, files written, visits of pairs, all divided."""
    (files / "shifted").mkdir()
    (files / "shifted" / "y.txt").write_text("person 00\n" + (files / "y.txt").read_text().rsplit("\n", 2)[0] + "\n")
    run_forked(work, (free_ports(len(CASES)), files), 2)
    first, second = (json.loads((files / f"{rank}.json").read_text()) for rank in (0, 1))
    return {case: (first[case], second[case]) for case in CASES}


@pytest.mark.usefixtures("one_thread")
def test_both_share_the_pairs_and_the_first_writes_and_prints(files, answers, capsys):
    assert main(flags(files, "--exclude", "session", output="alone")) == 0
    first, second = answers["whole"]
    assert without_date(first[1]) == without_date(capsys.readouterr().out)
    assert first[3] == 12  # metrics, report, five figures of two kinds
    assert first[4] == second[4] > 2
    assert second[:4] == [0, "", "", 0]


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("labels missing in process 1", "none.txt does not exist"),
        ("labels unlike in process 1", "y.txt is not the same in process 1 as in process 0"),
        ("no such option", "--no_such_option"),
    ],
)
def test_what_one_cannot_read_ends_all_with_code_2_and_one_line(answers, case, says):
    first, second = answers[case]
    assert first[:2] == [2, ""]
    assert says in first[2]
    assert len(first[2].splitlines()) == 1
    assert second[:4] == [2, "", "", 0]


def test_lists_are_judged_by_the_first_process_alone(answers):
    first, second = answers["scores"]
    assert json.loads(first[1])["models"][0]["verification"]["test"]["auc"] == 1
    assert second == [0, "", "", 0, 0]


def test_what_cannot_be_written_ends_all(files, answers):
    first, second = answers["no folder"]
    assert (first[0], second[0]) == (1, 1)
    assert str(Path(files) / "taken") in first[2]


LEFT = """
import os
from importlib import import_module
from triune.parallel.command import run_in_processes

def command():
    for name in ("torch.distributed.nn.functional", "torch._dynamo", "lightning", "triune.experiment"):
        import_module(name)
    return 0

code = run_in_processes(command)
names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
print(code, [name for name in names if "gloo" in name])
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="threads are counted as Linux lists them")
def test_what_a_command_imports_late_does_not_keep_the_threads_of_the_processes(tmp_path):
    # They would go on while the interpreter ends, and abort it now and then.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": "0", "WORLD_SIZE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LEFT], env={**os.environ, **place}, capture_output=True, text=True, check=False
    )
    assert done.stdout == "0 []\n", done.stderr
