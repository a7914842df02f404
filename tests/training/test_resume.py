"""A run that was stopped in the middle of an epoch ends, once resumed, as the unbroken run does: bit for bit."""

import csv
import json
import shutil
import signal

import pytest
import torch

from conftest import digests
from training.test_train import TINY, train_only, write_items
from triune.errors import InputError
from triune.run.parser import parse_train
from triune.training import callbacks
from triune.training.module import TrainingModule
from triune.training.resume import FREE, flat, without_downloads

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


@pytest.fixture(scope="module")
def whole(table, tmp_path_factory):
    """The unbroken run of three epochs."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train_only(["--data", str(table), *TINY, *STEADY, "--output", str(run)])
    return run


CASES = {
    "plain": [],
    "memory": ["--loss.memory", "20"],
    "memory of pairs": ["--loss.memory", "20", "--metric_loss", "sup-con"],
    "random triplets and dropout": ["--mining", "random", "--model.dropout", "0.5"],
    "one loader process": ["--images.workers", "1"],
    "margin auto": ["--margin", "auto"],
    "last weights": ["--optimizer.average", "0"],
    "dynamic weight average": ["--loss.weighting", "dwa"],
    "GradNorm": ["--loss.weighting", "gradnorm"],
    "aggregated gradients": ["--loss.weighting", "pcgrad", "--loss.conflicts_every", "2"],
    "no identities": None,
    "a backbone that learns from the middle of an epoch on": ["--model.freeze", "3", "--optimizer.layer_decay", "0.7"],
    "features computed once": ["--model.freeze", "all", "--model.cache_features", "--beta", "0"],
    "adapters, in chunks": [
        *("--model.backbone", "test_vit", "--model.adapter_rank", "2", "--optimizer.layer_decay", "0.7"),
        *("--optimizer.chunk", "5", "--model.grad_checkpointing", "--model.drop_path", "0.2"),
    ],
}

QUICK = (
    *("memory", "one loader process", "no identities", "a backbone that learns from the middle of an epoch on"),
    *("features computed once", "GradNorm"),
)
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
    table, whole, tmp_path, stopped_at, capsys
):
    base, parts = ["--data", str(table), *TINY, *STEADY], tmp_path / "parts"
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


@pytest.fixture(scope="module")
def begun(table, tmp_path_factory):
    """A run of one epoch whose data can be moved and changed: the folder that holds both."""
    folder = tmp_path_factory.mktemp("begun")
    shutil.copytree(table.parent, folder / "items")
    data = folder / "items" / "items.csv"
    train_only(["--data", str(data), *TINY, *STEADY, "--epochs", "1", "--output", str(folder / "run")])
    return folder


@pytest.fixture
def copied(begun, tmp_path):
    """The same, to be changed. The run still says where its data lay at first; those are gone."""
    shutil.copytree(begun, tmp_path / "copy")
    (begun / "items").rename(begun / "gone")
    yield tmp_path / "copy"
    (begun / "gone").rename(begun / "items")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--seed", "4"], r"--seed was 3 when .* was begun, and is 4 now"),
        (["--optimizer.lr", "0.1"], r"--optimizer\.lr was 0\.001"),
        (["--model.embedding_dim", "8"], r"--model\.embedding_dim was 16"),
        (["--model.backbone", "resnet18"], r"--model\.backbone was test_resnet"),
        (["--gamma", "0"], r"--gamma was 1\.0"),
        (["--margin", "auto"], r"--margin was 0\.2 .* is auto now"),
        (["--metric_loss", "contrastive"], r"--metric_loss was triplet"),
        (["--metric_loss_options", "{margin: 1.0}"], r"--metric_loss_options was {}"),
        (["--split", "open-set"], r"--split was auto"),
        (["--optimizer.average", "0"], r"--optimizer\.average was 0\.98"),
        (["--target_fpr", "0.1"], r"--target_fpr was 0\.05"),
    ],
)
def test_other_settings_are_refused_by_name_and_the_run_stays_as_it_is(flags, said, copied):
    before = digests(copied / "run")
    with pytest.raises(InputError, match=said) as refused:
        train_only(["--resume", str(copied / "run"), *flags])
    assert "--config" in str(refused.value)  # the way out
    assert "\n" not in str(refused.value)
    assert digests(copied / "run") == before


def test_every_setting_that_is_free_is_one():
    assert set(flat(vars_of(parse_train([])))) >= FREE


def vars_of(config):
    from triune.run.settings import as_plain

    return as_plain(config)


def test_fewer_epochs_than_are_done_are_refused_and_more_go_on_elsewhere_and_moved(copied, monkeypatch):
    run = copied / "run"
    train_only(["--resume", str(run), "--epochs", "2"])
    before = digests(run)
    with pytest.raises(InputError, match=r"1 epoch asked for, but .* has 2 already"):
        train_only(["--resume", str(run), "--epochs", "1"])
    assert digests(run) == before
    moved = copied.rename(copied.parent / "moved")
    monkeypatch.chdir(moved / "items")
    facts = train_only(["--resume", "../run", "--epochs", "3"])
    assert facts.epochs == 3
    stored = json.loads((moved / "run" / "data.json").read_text())
    assert stored["paths"]["data"] == {"absolute": str(moved / "items" / "items.csv"), "relative": "../items/items.csv"}


def test_a_run_that_was_moved_ends_as_one_that_was_not(table, whole, tmp_path, stopped_at):
    shutil.copytree(table.parent, tmp_path / "here" / "items")
    flags = ["--data", str(tmp_path / "here" / "items" / "items.csv"), *TINY, *STEADY]
    parts = tmp_path / "here" / "parts"
    stopped_at([*flags, "--output", str(parts)], at=(2, 0))
    (tmp_path / "here").rename(tmp_path / "there")
    stopped_at(["--resume", str(tmp_path / "there" / "parts")])
    assert_same_run(whole, tmp_path / "there" / "parts")


def test_renamed_classes_and_a_shorter_table_are_refused_and_leave_the_run_as_it_is(copied):
    items = copied / "items" / "items.csv"
    text = items.read_text()
    before = digests(copied / "run")
    for changed, said in (
        (text.replace("square", "box"), "the label of 24 rows changed .*square before, box now"),
        ("\n".join(text.splitlines()[:-6]), "6 rows removed"),
    ):
        items.write_text(changed)
        with pytest.raises(InputError, match=said):
            train_only(["--resume", str(copied / "run")])
        assert digests(copied / "run") == before


def test_a_run_goes_on_with_fewer_identities_where_that_is_allowed_and_keeps_split_and_codes(copied):
    items, run = copied / "items" / "items.csv", copied / "run"
    lines = items.read_text().splitlines()
    items.write_text("\n".join(line.rpartition(",")[0] for line in lines if ",id1," not in line))  # and no split column
    before = {row["image"][-7:]: row["split"] for row in csv.DictReader((run / "split.csv").open())}
    facts = train_only(["--resume", str(run), "--resume_with_changes", "--epochs", "2"])
    assert facts.epochs == 2
    after = {row["image"][-7:]: row["split"] for row in csv.DictReader((run / "split.csv").open())}
    assert after == {image: split for image, split in before.items() if not image.startswith("1-")}
    assert json.loads((run / "data.json").read_text())["identities"] == ["id0", "id1", "id2", "id3"]
    train_only(["--resume", str(run)])  # what changed is what holds from now on


def test_changes_are_allowed_only_of_a_run_that_goes_on():
    with pytest.raises(InputError, match="resume_with_changes is for a run that goes on"):
        parse_train(["--resume_with_changes"])


def test_the_seconds_of_all_parts_add_up(copied, monkeypatch):
    """By a clock that only a step moves, ten seconds each: an epoch is two."""
    run, now, step = copied / "run", [0.0], TrainingModule.training_step

    def slow(self, batch, index):
        now[0] += 10
        return step(self, batch, index)

    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(TrainingModule, "training_step", slow)
    before = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]["Clock"]["seconds"]
    parts = [train_only(["--resume", str(run), "--epochs", str(epochs)]).seconds for epochs in (1, 2, 2)]
    assert before > 0
    assert parts == pytest.approx([before, before + 20, before + 20])  # in the last, nothing was trained any more


def test_a_checkpoint_of_another_run_is_passed_over_and_one_of_another_network_refused(copied, table, tmp_path, capsys):
    run, other = copied / "run", tmp_path / "other"
    train_only(["--data", str(table), *TINY, *STEADY, "--epochs", "1", "--output", str(other)])
    train_only(["--resume", str(run), "--epochs", "2"])
    shutil.copy(other / "checkpoints" / "last.ckpt", run / "checkpoints" / "last.ckpt")
    assert train_only(["--resume", str(run)]).epochs == 2
    assert "last.ckpt is a checkpoint of another run: going on from" in capsys.readouterr().err
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["state_dict"]["model.embedding_head.bias"] = torch.zeros(8)
    for name in ("last.ckpt", "previous.ckpt"):
        torch.save(checkpoint, run / "checkpoints" / name)
    with pytest.raises(InputError, match=r"its weights model\.embedding_head\.bias are 8, those of .* 16"):
        train_only(["--resume", str(run)])


def test_a_network_whose_weights_come_from_a_checkpoint_needs_no_others():
    config = without_downloads(parse_train(["--model.weights", "w.safetensors"]))
    assert (config.model.pretrained, config.model.weights) == (False, None)


def test_a_table_too_short_for_new_splits_goes_on_with_those_of_the_run(table, tmp_path):
    """An open-set split was drawn anew before the stored one was put in its place, and refused the table."""
    shutil.copytree(table.parent, tmp_path / "items")
    items, run = tmp_path / "items" / "items.csv", tmp_path / "run"
    lines = [line.rpartition(",")[0] for line in items.read_text().splitlines()]  # no split column
    items.write_text("\n".join(lines))
    train_only(["--data", str(items), *TINY, *STEADY, "--epochs", "1", "--output", str(run)])
    before = {row["image"]: row["split"] for row in csv.DictReader((run / "split.csv").open())}
    tested = sorted({row["identity"] for row in csv.DictReader((run / "split.csv").open()) if row["split"] == "test"})
    kept = [line for line in lines[1:] if line.split(",")[3] not in [*tested[1:], "id0", "id1"]]
    items.write_text("\n".join([lines[0], *kept]))
    train_only(["--resume", str(run), "--resume_with_changes", "--epochs", "2"])
    after = {row["image"]: row["split"] for row in csv.DictReader((run / "split.csv").open())}
    assert len(after) == len(kept) < len(before)
    assert after.items() <= before.items()
