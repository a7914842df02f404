"""Which of several processes this is: torchrun, srun and their like say so in environment variables."""

import os
import re
import signal
import threading
import time
from typing import Final, NamedTuple

from triune.errors import InputError

TOLD: Final = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun, and whatever starts processes as it does, tells each of them."""


STARTER: Final = "TRIUNE_STARTED_BY"
"""The variable that names the process which started this one."""

GRACE: Final = 20
"""Seconds between asking a process to end and ending it."""


class Place(NamedTuple):
    """A process among those that share some work.

    Args:
        rank: which of all it is.
        processes: how many there are, two or more.
        local_rank: which of those on its host it is.
        on_host: how many its host has.
        by: who started them, in words.
    """

    rank: int
    processes: int
    local_rank: int
    on_host: int
    by: str


def started_place() -> Place | None:
    """This process's place among those that were started together; ``None`` where it works alone.

    What srun says is written down in torchrun's words, for torch.

    Raises:
        InputError: the variables contradict each other, or some are missing.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ and _is_task_of_srun():
        _in_words_of_torchrun()
        return _place("srun")
    if _number("WORLD_SIZE", 1) < 2:
        return None
    return _place("torchrun" if "TORCHELASTIC_RUN_ID" in os.environ else "whoever set WORLD_SIZE")


def _place(by: str) -> Place:
    missing = [name for name in TOLD if name not in os.environ]
    processes = _number("WORLD_SIZE", 1)
    if missing:
        raise InputError(
            f"WORLD_SIZE is {processes}, but {', '.join(missing)} is not set: start several processes with "
            "`torchrun … -m triune …` or srun, or take WORLD_SIZE out of the environment for one"
        )
    # Where nobody says which process of its host it is (a pod a process), there is one a host.
    local_rank, on_host = _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", 1)
    place = Place(_number("RANK", 0), processes, local_rank, max(on_host, local_rank + 1), by)
    if place.rank >= processes:
        raise InputError(f"RANK is {place.rank} and WORLD_SIZE {processes}: ranks count from 0 to below the size")
    return place


def _is_task_of_srun() -> bool:
    """Whether srun started this process beside others. A batch script itself, and a shell, are no such task."""
    return (
        "SLURM_STEP_ID" in os.environ
        and "SLURM_PROCID" in os.environ
        and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
        and _number("SLURM_NTASKS", 1) > 1
    )


def _in_words_of_torchrun() -> None:
    """Say in torchrun's variables what srun said in its own; what is set already stays."""
    hosts = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST") or "127.0.0.1"
    sizes = _tasks_by_host(os.environ.get("SLURM_STEP_TASKS_PER_NODE") or os.environ.get("SLURM_TASKS_PER_NODE") or "1")
    job = re.sub(r"\D", "", os.environ.get("SLURM_JOB_ID", ""))[-4:] or "0"
    said = {
        "RANK": os.environ["SLURM_PROCID"],
        "WORLD_SIZE": os.environ["SLURM_NTASKS"],
        "LOCAL_RANK": os.environ.get("SLURM_LOCALID", "0"),
        "LOCAL_WORLD_SIZE": str(sizes[min(_number("SLURM_NODEID", 0), len(sizes) - 1)]),
        "MASTER_ADDR": first_host(hosts),
        # Every task knows the job, so that all agree on a port without a word; two jobs of a host rarely meet.
        "MASTER_PORT": str(15000 + int(job)),
    }
    for name, value in said.items():
        os.environ.setdefault(name, value)


def first_host(hosts: str) -> str:
    """The first of SLURM's list of hosts, which writes ``n[003-005,9],m1`` for n003, n004, n005, n9 and m1."""
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", hosts).split(",")[0].strip()


def _tasks_by_host(said: str) -> list[int]:
    """Tasks of each host, of which SLURM says ``2(x3),1`` for 2, 2, 2 and 1."""
    sizes: list[int] = []
    for size, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", said):
        sizes += [int(size)] * int(times or 1)
    return sizes or [1]


def _number(name: str, otherwise: int) -> int:
    """A variable that is a whole number.

    Raises:
        InputError: it is something else.
    """
    said = os.environ.get(name, str(otherwise))
    if not said.isdecimal():
        raise InputError(f"the environment variable {name} is {said!r}: it is a whole number, or is not set")
    return int(said)


def end_with_starter() -> None:
    """From now on this process ends when the one that started it is gone, however that ended."""
    starter = os.environ.get(STARTER, "")
    if starter.isdecimal():
        threading.Thread(target=_watch, args=(int(starter),), daemon=True).start()


def _watch(starter: int) -> None:
    while os.getppid() == starter:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)
