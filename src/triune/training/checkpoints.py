"""Checkpoints: written whole, checked when they are read, and the one before the last is kept until the next."""

import errno
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from triune.errors import InputError
from triune.files import written_whole

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
"""After the latest epoch, after the one before, and of the best validation; in a run's folder ``checkpoints``."""


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints written whole or not at all, and read without running code in them."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write to a temporary file, then move it into place; the last one becomes the previous one."""
        path = Path(path)
        # Through a file of Python's: where the disk is full torch's own writer ends in an error that does not say so.
        with written_whole(path) as temporary:
            with open(temporary, "wb") as file:
                torch.save(checkpoint, file)
            if path.name == LAST and path.is_file():
                path.replace(path.with_name(PREVIOUS))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Tensors and plain values only."""
        return read_checkpoint(Path(path), map_location or "cpu")


def read_checkpoint(path: Path, device: Any = "cpu") -> dict[str, Any]:
    """The content of a checkpoint whose bytes are those that were written.

    Raises:
        InputError: it is missing, cut short, changed or of another kind.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums that its files hold
            changed = archive.testzip()
        if changed is not None:
            raise InputError(f"{path} is damaged: the checksum of {changed} is wrong")
        checkpoint: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except InputError:
        raise
    except Exception as error:  # a damaged archive raises whatever its reader trips over, of a dozen kinds
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL: a place before the file
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path} is damaged or no checkpoint: {reason}") from error
    if not isinstance(checkpoint, dict) or not {"state_dict", "epoch"} <= set(checkpoint):
        raise InputError(f"{path} is no checkpoint of a training run")
    return checkpoint


def resumable(folder: Path) -> Path | None:
    """The latest whole checkpoint to go on from; ``None`` where no epoch was finished yet.

    Args:
        folder: a run's folder ``checkpoints``.

    Raises:
        InputError: there are checkpoints, but all of them are damaged.
    """
    said = []
    for name in (LAST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            read_checkpoint(path)
        except InputError as error:
            said.append(str(error))
            continue
        if said:
            print(f"warning: {'; '.join(said)}: going on from {path}, one epoch earlier", file=sys.stderr, flush=True)
        return path
    if said:
        raise InputError(f"{'; '.join(said)}: train again, into another folder")
    return None
