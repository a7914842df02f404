"""Parquet files through polars, whose compiled reader may panic at a damaged one instead of raising an error."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from triune.errors import InputError
from triune.files import on_one_line, regular_file


def read_frame(path: str | Path) -> pl.DataFrame:
    """The table of a Parquet file; the path is a path, never a pattern.

    Raises:
        InputError: there is no such file, or it is no whole Parquet file.
        OSError: the machine cannot read it.
    """
    path = regular_file(path)
    try:
        with _panics_unsaid():
            return pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = on_one_line(next(iter(str(error).splitlines()), type(error).__name__))
        raise InputError(f"{path} cannot be read as a table ({reason}): mend the file or save it again") from error


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
