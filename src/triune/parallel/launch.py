"""A command started in several processes on this host, by torch's own agent: one that dies ends all."""

import errno
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from triune.parallel.started import GRACE, STARTER


def start_in_processes(count: int, arguments: Sequence[str]) -> int:
    """Run ``triune ARGUMENTS`` in several processes on this host, as ``torchrun --standalone`` does.

    Args:
        count: how many.
        arguments: of the command line, its first word the command.

    Returns:
        The exit code: the processes' own, or 128 and the number of the signal that this process got.

    Raises:
        ChildProcessError: one of them was killed; the others were ended.
    """
    with _agent_is_quiet(), _variables(count), tempfile.TemporaryDirectory(prefix="triune-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=f"triune-{os.getpid()}",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
            shutdown_timeout=GRACE,
        )
        try:
            elastic_launch(config, sys.executable)("-m", "triune", *arguments)
        except ChildFailedError as error:
            return _code_of(error, count)
        except SignalException as ended:
            return 128 + int(ended.sigval)
    return 0


def _code_of(error: ChildFailedError, count: int) -> int:
    """The exit code of processes that failed and said why; one that was killed could not say so.

    The agent lists what failed first, and then those that it ended for that: at once, or by force after half a minute.
    """
    failures = list(error.failures.items())
    first = failures[0][1]
    for rank, failure in failures:
        ended = failure is not first and (
            failure.exitcode == -signal.SIGTERM or failure.timestamp - first.timestamp > 5
        )
        if failure.exitcode < 0 and not ended:
            name = signal.Signals(-failure.exitcode).name
            raise ChildProcessError(errno.ECHILD, f"process {rank} of {count} was killed by {name}, which ended all")
    return int(first.exitcode)


@contextmanager
def _variables(count: int) -> Iterator[None]:
    """What the processes find in their environment: who started them, and each its part of the processor's cores."""
    before = dict(os.environ)
    os.environ[STARTER] = str(os.getpid())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // count)))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _agent_is_quiet() -> Iterator[None]:
    """Keep the agent's own account of failures off the terminal, and its signal handlers to the block."""
    # Each of its modules has a logger with a level of its own.
    names = [name for name in logging.root.manager.loggerDict if name.startswith("torch.distributed.")]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)
