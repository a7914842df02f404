"""A command in several processes: torchrun starts them, they share the work, the first one prints, all end together."""

import contextlib
import datetime
import errno
import io
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final, TypeAlias

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, ProcessGroup, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from triune.errors import InputError
from triune.parallel.group import all_gather, is_first, sharing
from triune.signals import held_back, leave_in_silence

Array: TypeAlias = np.ndarray[Any, Any]


PATIENCE: Final = datetime.timedelta(days=1)
"""How long a process waits for the others. When one dies, torchrun ends them all at once."""

LAST_WORDS: Final = 2.0
"""Seconds that a process which failed waits for the others, which mostly fail likewise: then all end by themselves."""


def run_in_processes(
    command: Callable[[], int], ended: Callable[[Callable[[], int]], int] | None = None, *, on_gpus: bool = False
) -> int:
    """Run a command in every process that torchrun started. Only the first one prints.

    Where one fails, by itself or like the others, what is wrong is said once.

    Args:
        command: what each does; gives an exit code.
        ended: runs the command, and makes an exit code and a line on standard error of what it raises; where it is not
            given, exceptions come out.
        on_gpus: processes exchange what lies on GPUs, too.

    Returns:
        The largest exit code of all; of a command that failed its own. No process leaves before all are done: torchrun
        would end the others.
    """
    said = io.StringIO()
    errors, output = sys.stderr, sys.stdout
    with joined_processes(on_gpus=on_gpus) as store:

        def work() -> int:
            with contextlib.ExitStack() as shown, peers_awaited():
                nowhere = None if is_first() else shown.enter_context(open(os.devnull, "w"))
                shown.enter_context(contextlib.redirect_stdout(nowhere or output))
                shown.enter_context(contextlib.redirect_stderr(nowhere or errors))
                return max(all_gather([command()], sharing()))

        with contextlib.redirect_stderr(said):
            code = work() if ended is None else ended(work)
        if said.getvalue():
            leave_in_silence()
            with held_back():  # whoever started the processes may be ending this one already
                if _is_first_to_speak(store):
                    with contextlib.suppress(OSError, ValueError):
                        print(said.getvalue(), end="", file=errors, flush=True)
            _wait_for_others_to_fail(store)
    return code


@contextmanager
def joined_processes(*, on_gpus: bool = False) -> Iterator[Store]:
    """Within the block the processes that were started together are one group, see :func:`sharing`.

    Args:
        on_gpus: they exchange what lies on GPUs, too.

    Returns:
        What all of them can write to and read from.

    Raises:
        ChildProcessError: the others cannot be reached.
    """
    # Its functions keep the processes that there are when it is imported, as defaults of their arguments. Imported by
    # the command it would keep them beyond their end, and threads that outlive the interpreter abort it.
    import_module("torch.distributed.nn")
    with peers_awaited():
        store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
        store.set_timeout(PATIENCE)
        # Gloo also where there are GPUs: NCCL takes nothing that lies in the host's memory.
        backend = "cpu:gloo,cuda:nccl" if on_gpus and torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield PrefixStore("triune", store)
    finally:
        dist.destroy_process_group()


@contextmanager
def peers_awaited() -> Iterator[None]:
    """Within the block the end of another process is an error that says so.

    Raises:
        ChildProcessError: another process ended while this one waited for it.
    """
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise ChildProcessError(errno.ECHILD, "another of the processes ended, so this one cannot go on") from error


def _is_first_to_speak(store: Store) -> bool:
    """Whether no other process has said what is wrong; also where nobody can be asked any more.

    The first process speaks where it failed, too; the others wait a moment for that.
    """
    until = time.monotonic() + (0 if is_first() else LAST_WORDS / 2)
    try:
        while store.add("speaking", 0) == 0 and time.monotonic() < until:
            time.sleep(0.02)
        return store.add("speaking", 1) == 1
    except RuntimeError:
        return True


def _wait_for_others_to_fail(store: Store) -> None:
    """Wait, for a moment, until all have failed: whoever started the processes ends those that have not."""
    until = time.monotonic() + LAST_WORDS
    with contextlib.suppress(RuntimeError):
        failed = store.add("failed", 1)
        while failed < dist.get_world_size() and time.monotonic() < until:
            time.sleep(0.02)
            failed = store.add("failed", 0)


def check_same(arrays: Mapping[str, Array], divide_over: ProcessGroup | None) -> None:
    """Refuse arrays, named after their files, that differ between processes: hosts may hold unlike copies.

    Raises:
        InputError: in all processes, naming the first file that differs.
    """
    if divide_over is None:
        return
    sums = {
        name: zlib.crc32(np.ascontiguousarray(each).reshape(-1).view(np.uint8).data) for name, each in arrays.items()
    }
    everywhere = all_gather([sums], divide_over)
    for place, theirs in enumerate(everywhere):
        for name, value in everywhere[0].items():
            if theirs.get(name) != value:
                raise InputError(f"{name} is not the same in process {place} as in process 0: give all the same file")
