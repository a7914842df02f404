"""A command in several processes: torchrun starts them, they share the work, the first one prints, all end together."""

import contextlib
import datetime
import os
import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch.distributed as dist
from torch.distributed import ProcessGroup

from triune.errors import InputError
from triune.parallel.divide import all_gather

Array: TypeAlias = np.ndarray[Any, Any]


T = TypeVar("T")


PATIENCE = datetime.timedelta(days=1)
"""How long a process waits for the others. When one dies, torchrun ends them all at once."""


def run_in_processes(command: Callable[[], int]) -> int:
    """Run a command in every process that torchrun started. Only the first one prints.

    Args:
        command: what each does; gives an exit code.

    Returns:
        The largest exit code of all. No process leaves before all are done: torchrun would end the others.
    """
    # Its functions keep the processes that there are when it is imported, as defaults of their arguments. Imported by
    # the command it would keep them beyond their end, and threads that outlive the interpreter abort it.
    import_module("torch.distributed.nn")
    # Gloo also where there are GPUs: what is exchanged lies in the host's memory, where NCCL takes nothing from.
    dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        with contextlib.ExitStack() as quiet:
            if not is_first():
                nowhere = quiet.enter_context(open(os.devnull, "w"))
                quiet.enter_context(contextlib.redirect_stdout(nowhere))
                quiet.enter_context(contextlib.redirect_stderr(nowhere))
            code = command()
        return max(all_gather([code], sharing()))
    finally:
        dist.destroy_process_group()


def sharing() -> ProcessGroup | None:
    """The processes that share this command's work; ``None`` where there is one."""
    return dist.group.WORLD if dist.is_available() and dist.is_initialized() else None


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return sharing() is None or dist.get_rank() == 0


def done_by_first(step: Callable[[], T]) -> T | None:
    """What the first process does for all; where it cannot, all raise what it raised.

    Returns:
        What ``step`` returned, in the first process; ``None`` in the others.

    Raises:
        InputError: ``step`` did so.
        OSError: likewise.
    """
    done: T | None = None
    error: InputError | OSError | None = None
    if is_first():
        try:
            done = step()
        except (InputError, OSError) as failed:
            error = failed
    error = all_gather([error], sharing())[0]
    if error is not None:
        raise error
    return done


def read_by_all(read: Callable[[], T], divide_over: ProcessGroup | None) -> T:
    """What every process reads for itself. Where one of them cannot, all of them raise what it has to say.

    Else the others would go on, and wait for it.

    Raises:
        InputError: ``read`` did so in one of the processes.
    """
    if divide_over is None:
        return read()
    found: T | None = None
    says = None
    try:
        found = read()
    except InputError as error:
        says = str(error)
    except OSError as error:
        says = f"{error.filename or 'a file'} cannot be read: {error.strerror or error}"
    first = next((each for each in all_gather([says], divide_over) if each is not None), None)
    if first is not None:
        raise InputError(first)
    return found  # type: ignore[return-value]


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
