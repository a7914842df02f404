"""Checkpoints are whole or refused, and the one before the last steps in."""

import pytest
import torch

from conftest import digests
from triune.errors import InputError
from triune.training.checkpoints import KeptCheckpoint, WholeCheckpoints, best_checkpoint, read_checkpoint, resumable


def checkpoint(epoch):
    return {"state_dict": {"weight": torch.arange(1000.0)}, "epoch": epoch}


@pytest.fixture
def folder(tmp_path):
    for epoch in range(3):
        WholeCheckpoints().save_checkpoint(checkpoint(epoch), tmp_path / "last.ckpt")
    return tmp_path


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def beheaded(path):
    """What is left of a copy that began too late: its directory points to places before the file."""
    path.write_bytes(path.read_bytes()[1000:])


def empty(path):
    path.write_bytes(b"")


def foreign(path):
    path.write_text("epoch: 3")


def other(path):
    torch.save([1, 2], path)


DAMAGES = [flip, cut, beheaded, empty, foreign, other]


def test_the_last_and_the_one_before_are_kept(folder):
    assert [read_checkpoint(folder / name)["epoch"] for name in ("last.ckpt", "previous.ckpt")] == [2, 1]
    assert {path.name for path in folder.iterdir()} == {"last.ckpt", "previous.ckpt"}
    assert resumable(folder).path == folder / "last.ckpt"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_last_checkpoint_is_named_and_the_one_before_taken(folder, damage, capsys):
    damage(folder / "last.ckpt")
    with pytest.raises(InputError, match=r"last\.ckpt"):
        read_checkpoint(folder / "last.ckpt")
    assert resumable(folder).path == folder / "previous.ckpt"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "last.ckpt" in said
    assert "going on from" in said


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_all_are_damaged_that_is_said(folder, damage):
    damage(folder / "last.ckpt")
    damage(folder / "previous.ckpt")
    with pytest.raises(InputError, match="train again") as refused:
        resumable(folder)
    assert "\n" not in str(refused.value)


def test_between_the_move_and_the_new_file_the_previous_one_is_there(folder):
    (folder / "last.ckpt").unlink()
    assert resumable(folder).path == folder / "previous.ckpt"


def test_without_a_finished_epoch_there_is_none(tmp_path):
    assert resumable(tmp_path / "checkpoints") is None


def test_a_full_disk_leaves_the_last_checkpoint_as_it_is(folder, monkeypatch):
    before = digests(folder)
    save = torch.save

    def full(content, file):
        save(content, file)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        WholeCheckpoints().save_checkpoint(checkpoint(3), folder / "last.ckpt")
    assert digests(folder) == before


def test_a_checkpoint_carries_its_run_and_another_run_s_is_refused(tmp_path):
    WholeCheckpoints("mine").save_checkpoint(checkpoint(0), tmp_path / "last.ckpt")
    assert read_checkpoint(tmp_path / "last.ckpt", run="mine")["epoch"] == 0
    with pytest.raises(InputError, match=r"last\.ckpt is a checkpoint of another run"):
        read_checkpoint(tmp_path / "last.ckpt", run="yours")
    WholeCheckpoints().save_checkpoint(checkpoint(0), tmp_path / "old.ckpt")
    assert read_checkpoint(tmp_path / "old.ckpt", run="mine")["epoch"] == 0  # version 0.1.0 wrote no run


def test_what_was_read_to_be_checked_is_not_read_again(folder, monkeypatch):
    found = resumable(folder)
    files = WholeCheckpoints(None, found)
    found.path.unlink()
    assert files.load_checkpoint(str(found.path)) is found.content
    with pytest.raises(InputError, match="does not exist"):  # once: the memory is not kept
        files.load_checkpoint(str(found.path))


def test_where_the_best_is_damaged_the_last_stands_in_and_that_is_said(folder, capsys):
    WholeCheckpoints().save_checkpoint(checkpoint(1), folder / "best.ckpt")
    assert best_checkpoint(folder).content["epoch"] == 1
    flip(folder / "best.ckpt")
    assert best_checkpoint(folder).content["epoch"] == 2
    assert "the weights of the best validation are lost" in capsys.readouterr().err
    with pytest.raises(InputError, match="holds no checkpoint"):
        best_checkpoint(folder / "none")


def test_the_best_is_known_after_the_run_was_moved(tmp_path):
    def callback(place):
        return KeptCheckpoint(tmp_path / place / "checkpoints", filename="best", monitor="x")

    before, after = callback("here"), callback("there")
    path = str(tmp_path / "here" / "checkpoints" / "best.ckpt")
    before.best_model_path = before.kth_best_model_path = path
    before.best_model_score = before.kth_value = torch.tensor(0.5)
    before.best_k_models = {path: torch.tensor(0.5)}
    after.load_state_dict(before.state_dict())
    moved = str(tmp_path / "there" / "checkpoints" / "best.ckpt")
    assert (after.best_model_path, after.kth_best_model_path, list(after.best_k_models)) == (moved, moved, [moved])
    assert after.best_model_score == 0.5
