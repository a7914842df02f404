"""A run that is killed at any moment ends, once resumed, as the unbroken run does: every file of it, bit for bit."""

import json
import random
import signal
from time import monotonic

import polars
import pytest
import torch

from conftest import digests
from training.killing import Commands
from training.test_resume import without_names
from training.test_train import TINY, write_items

SEED = 20240229
"""Of the moments of the kills. They are printed, so that a failure can be tried again."""

STEADY = ["--seed", "3", "--optimizer.schedule", "constant", "--optimizer.warmup", "0", "--epochs", "4"]

CASES = {
    "memory and margin auto": ["--loss.memory", "20", "--margin", "auto"],
    "two loader processes": ["--images.workers", "2"],
    "all of it, without averaged weights": [
        *("--images.workers", "2", "--loss.memory", "20", "--margin", "auto", "--optimizer.average", "0"),
    ],
    "a backbone that learns later": ["--model.freeze", "5", "--optimizer.layer_decay", "0.7", "--optimizer.chunk", "6"],
    "features computed once": ["--model.freeze", "all", "--model.cache_features", "--beta", "0"],
    "without identities": None,
    "without identities, two loader processes": None,
}

SIGNALS = {signal.SIGKILL: 8, signal.SIGTERM: 2, signal.SIGINT: 2}
"""How often each comes in each of the cases."""


@pytest.fixture(scope="module")
def commands():
    with Commands() as running:
        yield running


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_items(tmp_path_factory.mktemp("items"))


def flags_of(case, table):
    extra = CASES[case]
    if extra is None:
        extra = ["--images.workers", "2"] if "loader" in case else []
        table = without_names(table)
    return ["train", "--data", table, *TINY, *STEADY, *extra]


def content(run):
    """All that a run says, but for the times that it took."""
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["training"].pop("seconds")
    metrics.pop("created", None)
    files = {name: (run / name).read_bytes() for name in ("model.safetensors", "history.csv", "thresholds.json")
             if (run / name).exists()}  # fmt: skip
    for name in ("last.ckpt", "best.ckpt"):
        state = torch.load(run / "checkpoints" / name, weights_only=True)["state_dict"]
        files[name] = {key: value.numpy().tobytes() for key, value in state.items()}
    items = run / "embeddings.parquet"
    files["embeddings"] = polars.read_parquet(items).to_dicts() if items.exists() else None
    return files | {"metrics": metrics, "split": (run / "split.csv").read_bytes()}


def end(commands, run, command, log):
    """Let a killed run go on to its end."""
    begun = (run / "config.yaml").exists()
    epochs = command[-2:] if command[-2] == "--epochs" else []
    code, said = commands.run(["train", "--resume", run, *epochs] if begun else [*command, "--output", run], log)
    assert code == 0, said


def check_said(code, said, number):
    """A signal that can be answered ends in one line after the epochs' and the exit code that shells give it."""
    if number == signal.SIGKILL or code == 0:  # it may have been through before
        assert code in (0, -signal.SIGKILL), said
        return
    assert code == 128 + number, said
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"triune: {'interrupted' if number == signal.SIGINT else 'terminated'}"), said
    assert "Traceback" not in said


def killed(commands, command, kills, unbroken, folder):
    """A run that gets signals after some seconds, and the same seconds after it went on, and so on; then its end.

    Args:
        commands: the processes.
        command: the training.
        kills: (signal, seconds) one after the other.
        unbroken: what the run must come to.
        folder: where it may write.
    """
    run, log = folder / "run", folder / "log"
    folder.mkdir()
    for number, seconds in kills:
        begun = (run / "config.yaml").exists()
        again = ["train", "--resume", run] if begun else [*command, "--output", run]
        code, said = commands.stop(again, log, seconds, number)
        check_said(code, said, number)
    end(commands, run, command, log)
    found = content(run)
    for name, value in unbroken.items():
        assert found[name] == value, (name, kills)
    assert [path.name for path in run.rglob(".*")] == []


def whole_run(commands, command, folder, times=2):
    """The unbroken run: what it comes to, every time, and how long it takes the last time, when all is warm."""
    found = []
    for time in range(times):
        (folder / f"whole-{time}").mkdir()
        began = monotonic()
        code, said = commands.run([*command, "--output", folder / f"whole-{time}" / "run"], folder / "log")
        seconds = monotonic() - began
        assert code == 0, said
        found.append(content(folder / f"whole-{time}" / "run"))
    assert all(each == found[0] for each in found)
    return found[0], seconds


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_killed_at_any_moment_ends_as_the_unbroken_one(case, commands, table, tmp_path):
    command = flags_of(case, table)
    unbroken, seconds = whole_run(commands, command, tmp_path)
    draw = random.Random(f"{SEED} {case}")
    turns = [number for number, count in SIGNALS.items() for _ in range(count)]
    for turn, number in enumerate(turns):
        kills = [(number, draw.uniform(0, seconds))]
        if turn % 2:  # and once more while it goes on
            kills.append((number, draw.uniform(0, seconds - kills[0][1] / 2)))
        print(f"{case}: {', '.join(f'{n.name} after {s:.3f} s' for n, s in kills)}", flush=True)
        killed(commands, command, kills, unbroken, tmp_path / f"{turn}")


@pytest.fixture(scope="module")
def short(commands, table, tmp_path_factory):
    """A training of two epochs: its command, what it comes to, and how long it takes."""
    command = [*flags_of("all of it, without averaged weights", table), "--epochs", "2"]
    return command, *whole_run(commands, command, tmp_path_factory.mktemp("short"), times=1)


def test_a_few_kills(commands, short, tmp_path):
    """The test above in short: killed, killed once more while it goes on, and stopped by each other signal."""
    command, unbroken, seconds = short
    draw = random.Random(SEED)
    turns = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
    kills = [(number, draw.uniform(0.05, 0.35) * seconds) for number in turns]
    print(kills)
    killed(commands, command, kills, unbroken, tmp_path / "parts")


def test_a_disk_that_is_full_while_a_checkpoint_is_written_loses_nothing(commands, short, tmp_path):
    command, unbroken, _ = short
    run, log = tmp_path / "run", tmp_path / "log"
    assert commands.run([*command, "--output", run, "--epochs", "1"], log)[0] == 0
    before = digests(run / "checkpoints")
    code, said = commands.run(["train", "--resume", run, "--epochs", "2"], log, largest=1_000_000)
    assert code == 1, said
    full = [f"triune: File too large: {run}/checkpoints/{name}.ckpt" for name in ("best", "last")]
    assert said.strip().splitlines()[-1] in full
    assert "Traceback" not in said
    assert digests(run / "checkpoints") == before
    end(commands, run, command, log)
    assert {name for name, value in content(run).items() if unbroken[name] != value} == set()
