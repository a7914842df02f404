"""Parquet files through polars, whose compiled reader may panic at a damaged one, or end the process.

Where a damaged length asks for more memory than there is, the reader does not raise an error: it aborts, and nothing
can be said any more. So a file that nobody vouches for is first read by a process of its own (a quarter of a second).
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import polars as pl

from triune.errors import InputError
from triune.files import on_one_line, regular_file

READ: Final = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
    "import polars; polars.read_parquet(sys.argv[1], glob=False)"
)
"""What the process runs; it leaves no core file behind."""

CRASHES: Final = {
    *(signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGTRAP, signal.SIGFPE, signal.SIGKILL),
}
"""SIGKILL is what Linux ends a process with that takes too much memory."""


def read_frame(path: str | Path, *, vouched: bool = False) -> pl.DataFrame:
    """The table of a Parquet file; the path is a path, never a pattern.

    Args:
        path: the file.
        vouched: its bytes are known to be those that were written.

    Raises:
        InputError: there is no such file, or it is no whole Parquet file.
        OSError: the machine cannot read it.
    """
    path = regular_file(path)
    if not vouched:
        _require_survivable(path)
    try:
        with _panics_unsaid():
            return pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = on_one_line(next(iter(str(error).splitlines()), type(error).__name__))
        raise InputError(f"{path} cannot be read as a table ({reason}): mend the file or save it again") from error


def _require_survivable(path: Path) -> None:
    """Refuse a file that ends the process that reads it."""
    if not sys.executable or getattr(sys, "frozen", False):  # Python is part of another program
        return
    # -P: no module of the working folder is taken for polars.
    command = [sys.executable, "-P", "-c", READ, os.path.abspath(path)]
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        ended = subprocess.run(command, check=False, **quiet).returncode
    except OSError:  # no other process can be started here
        return
    if -ended in CRASHES:
        name = signal.Signals(-ended).name
        raise InputError(
            f"{path} cannot be read as a table (its reader ended with {name}): it is damaged, or larger than the "
            "memory of this machine; save it again"
        )


@contextmanager
def _panics_unsaid() -> Iterator[None]:
    """Keep what a panic writes to the process's error stream from being shown; everything else is shown afterwards.

    The text does not pass through Python's streams: the stream itself leads to a file meanwhile.
    """
    with contextlib.ExitStack() as opened:
        try:
            before = os.dup(2)
        except OSError:  # there is no such stream
            yield
            return
        opened.callback(os.close, before)
        said = opened.enter_context(tempfile.TemporaryFile())
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()
        os.dup2(said.fileno(), 2)
        panicked = False
        try:
            yield
        except pl.exceptions.PanicException:
            panicked = True
            raise
        finally:
            os.dup2(before, 2)
            said.seek(0)
            if not panicked and (text := said.read()):
                os.write(2, text)
