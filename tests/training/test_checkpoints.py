"""Checkpoints are whole or refused, and the one before the last steps in."""

import pytest
import torch

from triune.errors import InputError
from triune.training.checkpoints import WholeCheckpoints, read_checkpoint, resumable


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
    assert resumable(folder) == folder / "last.ckpt"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_last_checkpoint_is_named_and_the_one_before_taken(folder, damage, capsys):
    damage(folder / "last.ckpt")
    with pytest.raises(InputError, match=r"last\.ckpt"):
        read_checkpoint(folder / "last.ckpt")
    assert resumable(folder) == folder / "previous.ckpt"
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
    assert resumable(folder) == folder / "previous.ckpt"


def test_without_a_finished_epoch_there_is_none(tmp_path):
    assert resumable(tmp_path / "checkpoints") is None


def test_a_full_disk_leaves_the_last_checkpoint_as_it_is(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    save = torch.save

    def full(content, file):
        save(content, file)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        WholeCheckpoints().save_checkpoint(checkpoint(3), folder / "last.ckpt")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
