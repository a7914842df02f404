"""A run that was stopped in the middle of an epoch ends, once resumed, as the unbroken run does: bit for bit."""

import csv
import signal

import pytest
import torch

from training.test_train import TINY, train_only, write_items
from triune.errors import InputError
from triune.training.module import TrainingModule

EPOCHS = 3
STEADY = ["--seed", "3", "--optimizer.schedule", "constant", "--optimizer.warmup", "0", "--epochs", str(EPOCHS)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_items(tmp_path_factory.mktemp("items"))


@pytest.fixture(scope="module")
def nameless(table):
    return without_names(table)


def without_names(table):
    """The same pictures without class and identity: masks alone are learnt."""
    path = table.with_name("nameless.csv")
    rows = list(csv.DictReader(table.open()))
    lines = [f"{row['image']},{row['mask']},{row['split']}" for row in rows]
    path.write_text("\n".join(["image,mask,split", *lines]) + "\n")
    return path


@pytest.fixture
def stopped_at(monkeypatch):
    """Trains, stopped as by Ctrl-C before a step where asked, and tells which rows each step of which epoch saw."""
    seen, stop, step = [], [], TrainingModule.training_step

    def watched(self, batch, index):
        if (self.current_epoch, index) in stop:
            raise KeyboardInterrupt
        seen.append((self.current_epoch, index, tuple(batch.rows.tolist())))
        return step(self, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", watched)

    def train(flags, at=None):
        stop[:] = [at]
        seen.clear()
        handler = signal.getsignal(signal.SIGINT)
        try:
            if at is None:
                train_only(flags)
            else:
                with pytest.raises(KeyboardInterrupt):
                    train_only(flags)
        finally:
            signal.signal(signal.SIGINT, handler)  # Lightning switches it off while it shuts down
        return list(seen)

    return train


CASES = {
    "plain": [],
    "memory": ["--loss.memory", "20"],
    "random triplets and dropout": ["--mining", "random", "--model.dropout", "0.5"],
    "one loader process": ["--images.workers", "1"],
    "margin auto": ["--margin", "auto"],
    "last weights": ["--optimizer.average", "0"],
    "no identities": None,
}

QUICK = ("memory", "one loader process", "no identities")
"""The others take minutes together, and run with the slow tests."""


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case in QUICK else pytest.mark.slow) for case in CASES]
)
def test_a_resumed_run_ends_where_an_unbroken_one_does(case, table, nameless, tmp_path, stopped_at):
    extra = CASES[case]
    base = ["--data", str(nameless if extra is None else table), *TINY, *STEADY, *(extra or [])]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    unbroken = stopped_at([*base, "--output", str(whole)])
    # Stopped in the middle of the second epoch, and once more in the middle of the third.
    stopped_at([*base, "--output", str(parts)], at=(1, 1))
    stopped_at(["--resume", str(parts)], at=(2, 1))
    resumed = stopped_at(["--resume", str(parts)])
    assert resumed == [each for each in unbroken if each[0] == 2]
    orders = [[rows for epoch, _, rows in unbroken if epoch == e] for e in range(EPOCHS)]
    assert orders[0] != orders[1] != orders[2]
    assert_same_run(whole, parts)


def assert_same_run(whole, parts):
    for name in ("last.ckpt", "best.ckpt"):
        one, two = (torch.load(r / "checkpoints" / name, weights_only=True)["state_dict"] for r in (whole, parts))
        assert one.keys() == two.keys()
        for key in one:
            assert torch.equal(one[key], two[key]), (name, key)
    histories = [(r / "history.csv").read_text() for r in (whole, parts)]
    assert histories[0] == histories[1]


def test_killed_in_the_first_epoch_or_with_a_damaged_checkpoint_it_still_ends_as_the_unbroken_run(
    table, tmp_path, stopped_at, capsys
):
    base = ["--data", str(table), *TINY, *STEADY]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    stopped_at([*base, "--output", str(whole)])
    stopped_at([*base, "--output", str(parts)], at=(0, 1))
    stopped_at(["--resume", str(parts)], at=(2, 1))
    assert "begins anew" in capsys.readouterr().err
    last = parts / "checkpoints" / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    seen = stopped_at(["--resume", str(parts)])
    assert seen[0][:2] == (1, 0)  # one epoch earlier than the damaged checkpoint
    assert "previous.ckpt, one epoch earlier" in capsys.readouterr().err
    assert_same_run(whole, parts)


def test_a_finished_run_without_checkpoints_is_not_trained_anew(table, tmp_path, stopped_at):
    run = tmp_path / "run"
    stopped_at(["--data", str(table), *TINY, *STEADY, "--epochs", "1", "--output", str(run)])
    weights = (run / "model.safetensors").read_bytes()
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="nothing to resume"):
        train_only(["--resume", str(run)])
    assert (run / "model.safetensors").read_bytes() == weights
