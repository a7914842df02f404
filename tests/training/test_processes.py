"""Training in two processes is that of one process, whose batches are shared out: curve, run folder, report, resume."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from forked import in_processes
from triune.cli import main
from triune.errors import InputError
from triune.evaluation.results import Results
from triune.run.folder import load_model
from triune.run.history import read_history
from triune.run.parser import parse_train
from triune.run.settings import TrainConfig, TrainerConfig
from triune.training.opened import opened_run
from triune.training.processes import has_unused, processes_to_start, training_processes
from triune.training.train import fit, shared_data

FILES = {
    *("config.yaml", "data.json", "split.csv", "history.csv", "model.safetensors", "thresholds.json", "metrics.json"),
    *("embeddings.parquet", "report.html", "checksums.json", "checkpoints", "training.lock", "familiar.safetensors"),
}

AUGMENT = ["crop=1", "aspect=1", "flip=0", "degrees=0", "zoom=0", "brightness=0", "contrast=0", "saturation=0"]

EXACT = [
    *("--trainer.precision", "64-true", "--trainer.accelerator", "cpu", "--model.pretrained", "false"),
    # Layer normalisation: what batch normalisation does depends on the batch that a process sees.
    *("--model.backbone", "test_convnext", "--images.size", "32", "--model.embedding_dim", "16", "--beta", "0"),
    *("--batch_size", "24", "--samples_per_class", "3", "--optimizer.lr", "3e-4", "--optimizer.proxy_lr", "1e-3"),
    *(word for each in AUGMENT for word in (f"--images.augment.{each.split('=')[0]}", each.split("=")[1])),
]

METRIC_LOSSES = {
    "all": ["--mining", "all"],
    "hard": ["--mining", "hard"],
    "batch_hard": ["--mining", "batch_hard", "--margin", "soft"],
    "semihard": ["--mining", "semihard"],
    "random": ["--mining", "random"],
    "memory": ["--mining", "semihard", "--loss.memory", "40", "--loss.memory_start", "2"],
    "nt-xent": ["--metric_loss", "nt-xent"],
    "arcface": ["--metric_loss", "arcface", "--metric_loss_options", "{scale: 16}"],
    "chunks": ["--mining", "semihard", "--optimizer.chunk", "8"],
    "frozen for two steps": ["--mining", "semihard", "--model.freeze", "2"],
    "pml": ["--metric_loss", "pml:TripletMarginLoss"],
    "pml proxies": ["--metric_loss", "pml:ProxyAnchorLoss"],
}
"""What a training's metric term may be, in flags."""

SHORT = ("random", "memory", "pml proxies")


def write_items(folder, images=6, identities=12):
    """Stripes of one slant and colour an identity, in noise; a class for every third; splits of 8, 2 and 2."""
    g = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    lines = ["image,label,identity,split"]
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(identities):
        split = "train" if i < 8 else "val" if i < 10 else "test"
        colour = g.integers(60, 255, 3)
        for k in range(images):
            wave = np.sin((x * np.cos(i) + y * np.sin(i)) / 2 + g.uniform(0, 6))[..., None]
            image = np.where(wave > 0, colour, 40) + g.normal(0, 20, (32, 32, 3))
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{i}-{k}.png")
            # One item in ten has no class, so that the processes do not have as many.
            lines.append(f"{i}-{k}.png,{'' if (i + k) % 10 == 0 else i % 3},{i},{split}")
    table = folder / "items.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def train_only(arguments):
    """Train as the command does; nothing is judged."""
    config = parse_train(arguments[1:])
    with training_processes(config), opened_run(config) as run:
        fit(config, shared_data(config, run), run)
    return 0


def flags(table, name, *more, steps=3, output=None):
    """A training of so many epochs of two steps: 48 training items in batches of 24."""
    given = ["train", "--data", str(table), *EXACT, *METRIC_LOSSES[name], "--epochs", str(-(-steps // 2))]
    return [*given, "--output", str(output), *more]


def curve(run):
    frame = read_history(run / "history.csv")
    names = ("train_total", "train_classification", "train_triplet", "train_collapse", "lr")
    return frame.select(names).to_numpy()


def assert_same_curves(table, folder, names, steps, command=train_only):
    cases = [flags(table, name, steps=steps, output=folder / name / "two") for name in names]
    two = in_processes(cases, folder, command=command)
    for name, answers in zip(names, two, strict=True):
        assert [code for code, *_ in answers] == [0, 0], answers
        assert command(flags(table, name, steps=steps, output=folder / name / "one")) == 0
        one, both = (curve(folder / name / each) for each in ("one", "two"))
        assert len(one) >= steps
        assert one[-1, 0] != one[0, 0]
        np.testing.assert_allclose(both, one, rtol=1e-5, atol=1e-6, err_msg=name)
    return two


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_items(tmp_path_factory.mktemp("items"))


@pytest.mark.usefixtures("one_thread")
def test_two_processes_have_the_loss_curve_of_one(table, tmp_path):
    two = assert_same_curves(table, tmp_path, SHORT[:1], 6, main)
    assert_same_curves(table, tmp_path, SHORT[1:], 6)
    run = tmp_path / "random" / "two"
    assert {path.name for path in run.iterdir()} >= FILES
    assert not list(run.glob("*.check"))
    first, second = two[0]
    assert f"report  {run / 'report.html'}" in first[1]
    assert first[2].count("epoch 1/3") == 1
    assert second[1:] == ["", ""]
    results = [Results.read(tmp_path / "random" / each / "metrics.json") for each in ("one", "two")]
    assert results[0].training.steps == results[1].training.steps == 6
    networks = [load_model(tmp_path / "random" / each)[0].state_dict() for each in ("one", "two")]
    for name, weights in networks[0].items():
        torch.testing.assert_close(networks[1][name], weights, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_fifty_steps_of_every_kind_have_the_loss_curve_of_one_process(table, tmp_path):
    assert_same_curves(table, tmp_path, METRIC_LOSSES, 50)


def started(arguments, folder, **environment):
    """`triune` as a process of its own, with the lines that it has said so far."""
    return subprocess.Popen(
        [sys.executable, "-m", "triune", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_said(process, words):
    """What a process says on standard error up to a line with some words."""
    said = []
    for line in process.stderr:
        said.append(line)
        if words in line:
            return said
    raise AssertionError("".join(said))


def children_of(process):
    """The processes that it started and that are still there, by their rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = path.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1]
            variables = path.joinpath("environ").read_text().split("\0")
            rank = [each for each in variables if each.startswith("RANK=")]
            if int(parent) == process.pid and rank:
                found[int(rank[0].removeprefix("RANK="))] = int(path.name)
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are listed as Linux lists them")
@pytest.mark.usefixtures("one_thread")
def test_a_killed_process_ends_all_and_the_run_goes_on_in_another_number_of_processes(table, tmp_path, capsys):
    run = tmp_path / "two"
    process = started(flags(table, "random", "--trainer.devices", "2", steps=10, output=run), tmp_path)
    until_said(process, "epoch 2/5")
    began = time.monotonic()
    os.kill(children_of(process)[1], signal.SIGKILL)
    output, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 60
    assert process.returncode == 1
    assert output == ""
    told = [line for line in said.splitlines() if line.startswith("triune: ")]
    assert f"go on after its last epoch with `triune train --resume {run}`" in told[0]
    assert told[1:] == ["triune: process 1 of 2 was killed by SIGKILL, which ended all"]
    assert "Traceback" not in said
    assert children_of(process) == {}

    assert main(["train", "--resume", str(run), "--trainer.devices", "1", "--epochs", "5"]) == 0
    assert "begun in 2 processes, goes on in 1: batches, learning rate and order stay" in capsys.readouterr().err
    assert main(flags(table, "random", steps=10, output=tmp_path / "one")) == 0
    np.testing.assert_allclose(curve(run), curve(tmp_path / "one"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("gpus", "accelerator", "devices", "count"),
    [
        (0, "auto", "auto", 1),
        (0, "auto", 2, 2),
        (1, "auto", "auto", 1),
        (4, "auto", "auto", 4),
        (4, "gpu", 2, 2),
        (4, "cpu", "auto", 1),
        (4, "cpu", 8, 8),
    ],
)
def test_a_process_is_started_for_each_device(monkeypatch, gpus, accelerator, devices, count, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    asked = TrainConfig(trainer=TrainerConfig(accelerator=accelerator, devices=devices))
    assert processes_to_start(asked) == count
    told = capsys.readouterr().err
    assert told == ("training on 4 GPUs; --trainer.devices 1 takes one\n" if (count, devices) == (4, "auto") else "")


def test_more_gpus_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(InputError, match=r"--trainer\.devices is 2, but this machine has 1 GPU$"):
        processes_to_start(TrainConfig(trainer=TrainerConfig(devices=2)))


def test_one_of_started_processes_starts_none_and_holds_others_to_their_number(monkeypatch):
    told = {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    for name, value in {**told, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    asked = TrainConfig(trainer=TrainerConfig(devices=3))
    assert processes_to_start(asked) == 1
    with pytest.raises(InputError, match=r"--trainer\.devices is 3, but torchrun started 2 on this host: leave it at"):
        training_processes(asked).__enter__()


def test_a_program_of_one_process_is_told_how_to_be_two():
    asked = TrainConfig(trainer=TrainerConfig(devices=2))
    with pytest.raises(InputError, match="start it with `torchrun --nproc_per_node 2`"):
        training_processes(asked).__enter__()
    with training_processes(TrainConfig()):
        pass


class Answers(torch.nn.Module):
    """A network with a layer that answers, and one that may be idle."""

    def __init__(self, idle):
        super().__init__()
        self.used, self.other = torch.nn.Conv2d(3, 2, 1), torch.nn.Conv2d(3, 2, 1)
        self.idle = idle

    def forward(self, images):
        return self.used(images), None if self.idle else self.other(images)


def test_weights_that_no_answer_depends_on_are_noticed():
    assert has_unused(Answers(idle=True), (4, 6), 3)
    assert not has_unused(Answers(idle=False), (4, 6), 3)
    frozen = Answers(idle=True)
    frozen.other.requires_grad_(False)
    assert not has_unused(frozen, (4, 6), 3)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_one_that_started_them_ends_all_in_a_line(table, tmp_path, number):
    run = tmp_path / "two"
    process = started(flags(table, "semihard", "--trainer.devices", "2", steps=2000, output=run), tmp_path)
    until_said(process, "epoch 2/")
    process.send_signal(number)
    output, said = process.communicate(timeout=60)
    assert (process.returncode, output) == (128 + number, "")
    word = "terminated" if number == signal.SIGTERM else "interrupted"
    told = [line for line in said.splitlines() if not line.startswith(("epoch", "about"))]
    assert told == [f"triune: {word}; go on after its last epoch with `triune train --resume {run}`"]
