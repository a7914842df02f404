"""Checkpoints: written whole, checked when they are read, and the one before the last is kept until the next."""

import os
import pickle
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from triune.errors import InputError
from triune.files import written_whole

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
"""After the latest epoch, after the one before, and of the best validation; in a run's folder ``checkpoints``."""


class Resumable(NamedTuple):
    """A checkpoint to go on from.

    Args:
        path: where it lies.
        content: what it holds.
    """

    path: Path
    content: dict[str, Any]


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints written whole or not at all, and read without running code in them.

    Args:
        run: the name of the run that they belong to, which they carry.
        read: one that was read already, so that it is not read twice.
    """

    def __init__(self, run: str | None = None, read: Resumable | None = None) -> None:
        super().__init__()
        self.run = run
        self._read = read

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write to a temporary file, then move it into place; the last one becomes the previous one."""
        path = Path(path)
        # Through a file of Python's: where the disk is full torch's own writer ends in an error that does not say so.
        with written_whole(path) as temporary:
            with open(temporary, "wb") as file:
                torch.save(checkpoint if self.run is None else checkpoint | {"run": self.run}, file)
            if path.name == LAST and path.is_file():
                path.replace(path.with_name(PREVIOUS))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Tensors and plain values only."""
        read, self._read = self._read, None
        if read is not None and read.path == Path(path):
            return read.content
        return read_checkpoint(Path(path), map_location or "cpu", run=self.run)


class KeptCheckpoint(ModelCheckpoint):
    """Lightning's callback; it goes on keeping the best checkpoint of a run that was moved to another folder."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What it knew when a checkpoint was written, with the files where they lie now."""
        before, now = state_dict.get("dirpath"), self.dirpath
        if not before or not now:
            return super().load_state_dict(state_dict)

        def moved(path: str) -> str:
            return os.path.join(now, os.path.relpath(path, before)) if path else path

        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        paths = {name: moved(state_dict[name]) for name in names}
        best = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        return super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": now})


def read_checkpoint(path: Path, device: Any = "cpu", *, run: str | None = None) -> dict[str, Any]:
    """The content of a checkpoint whose bytes are those that were written.

    Args:
        path: the file.
        device: where its tensors go.
        run: the name of the run that it must belong to; any where not given.

    Raises:
        InputError: it is missing, cut short, changed, of another kind or of another run.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums that its files hold
            changed = archive.testzip()
        if changed is not None:
            raise InputError(f"{path} is damaged: the checksum of {changed} is wrong")
        checkpoint: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{path} is damaged or no checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(checkpoint, dict) or not {"state_dict", "epoch"} <= set(checkpoint):
        raise InputError(f"{path} is no checkpoint of a training run")
    if run is not None and checkpoint.get("run", run) != run:
        raise InputError(f"{path} is a checkpoint of another run")
    return checkpoint


def resumable(folder: Path, run: str | None = None) -> Resumable | None:
    """The latest whole checkpoint to go on from; ``None`` where no epoch was finished yet.

    Args:
        folder: a run's folder ``checkpoints``.
        run: the name of the run that it must belong to.

    Raises:
        InputError: there are checkpoints, but all of them are damaged.
    """
    return _first_whole(folder, (LAST, PREVIOUS), run, "one epoch earlier")


def best_checkpoint(folder: Path, run: str | None = None) -> Resumable:
    """The checkpoint of the best validation; the last one where none was chosen, or where it is damaged.

    Args:
        folder: a run's folder ``checkpoints``.
        run: the name of the run that it must belong to.

    Raises:
        InputError: there is none that is whole.
    """
    found = _first_whole(folder, (BEST, LAST, PREVIOUS), run, "the weights of the best validation are lost")
    if found is None:
        raise InputError(f"{folder} holds no checkpoint: the training ended before its first epoch did")
    return found


def _first_whole(folder: Path, names: Sequence[str], run: str | None, instead: str) -> Resumable | None:
    """The first of some checkpoints that is there and whole; what is wrong with those before it is printed."""
    said = []
    for name in names:
        path = folder / name
        if not path.exists():
            continue
        try:
            content = read_checkpoint(path, run=run)
        except InputError as error:
            said.append(str(error))
            continue
        if said:
            print(f"warning: {'; '.join(said)}: going on from {path}, {instead}", file=sys.stderr, flush=True)
        return Resumable(path, content)
    if said:
        raise InputError(f"{'; '.join(said)}: train again, into another folder")
    return None
