"""One training a run folder: a lock that ends with the process that holds it, however that ends."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import filelock

from triune.errors import InputError

NAME: Final = "training.lock"
"""The file that is locked. It stays, since a lock on a file that was removed is none."""

PATIENCE: Final = 1.0
"""Seconds to wait: a killed process is gone at once, but one that it was just starting may hold the lock a moment."""


@contextmanager
def training_lock(run: Path) -> Iterator[None]:
    """Be the only training of a run folder within the block.

    The system frees the lock of a process that was killed, so a file that stayed behind blocks nothing. Judging and
    using a run take no lock: every file of a run appears whole.

    Raises:
        InputError: another process trains into the folder; the message names it.
        OSError: the lock cannot be written.
    """
    path = run / NAME
    lock = filelock.FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=PATIENCE)
    except filelock.Timeout as error:
        raise InputError(
            f"{run} is being trained into by {_holder(path)}: wait for it, or choose another folder"
        ) from error
    try:
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    """Who wrote the lock file, in words."""
    try:
        said = path.read_bytes()[:200].decode("utf-8", errors="replace").strip()
    except OSError:
        said = ""
    return said if re.fullmatch(r"process \d+ on \S+", said) else "another process"
