"""What torchrun, srun and a bare environment say of a process, and what is refused."""

import os
import signal
import subprocess
import sys
import time

import pytest

from triune.errors import InputError
from triune.parallel.started import STARTER, Place, first_host, started_place

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "host0",
    "MASTER_PORT": "29500",
}
SRUN = {
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "4",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_STEP_NODELIST": "n[003-004]",
    "SLURM_JOB_ID": "123456",
    "SLURM_JOB_NAME": "train",
}


@pytest.fixture
def environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("SLURM", "TORCHELASTIC", "MASTER_")) or name.endswith(("RANK", "WORLD_SIZE")):
            monkeypatch.delenv(name)
    names = {*TORCHRUN, *SRUN}

    def say(**said):
        for name in names:
            monkeypatch.delenv(name, raising=False)
        for name, value in said.items():
            monkeypatch.setenv(name, value)

    return say


def test_torchrun_says_which_process_this_is(environment):
    environment(**TORCHRUN)
    assert started_place() == Place(3, 4, 1, 2, "torchrun")


def test_a_process_a_pod_is_one_a_host(environment):
    environment(RANK="1", WORLD_SIZE="2", MASTER_ADDR="host0", MASTER_PORT="1")
    place = started_place()
    assert place[:4] == (1, 2, 0, 1)


@pytest.mark.parametrize("said", [{}, {"WORLD_SIZE": "1"}, {**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"}])
def test_one_process_works_alone(environment, said):
    environment(**said)
    assert started_place() is None


def test_a_task_of_srun_is_a_process_and_says_so_to_torch_too(environment):
    environment(**SRUN)
    assert started_place() == Place(3, 4, 1, 2, "srun")
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("n003", "18456")
    assert (os.environ["RANK"], os.environ["WORLD_SIZE"], os.environ["LOCAL_RANK"]) == ("3", "4", "1")


def test_hosts_may_have_unlike_numbers_of_tasks(environment):
    environment(**SRUN | {"SLURM_STEP_TASKS_PER_NODE": "3,1", "SLURM_LOCALID": "0"})
    assert started_place()[:4] == (3, 4, 0, 1)


@pytest.mark.parametrize(
    "said",
    [
        {name: value for name, value in SRUN.items() if name != "SLURM_STEP_ID"},  # the batch script itself
        SRUN | {"SLURM_JOB_NAME": "interactive"},
        SRUN | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
    ],
)
def test_a_batch_script_a_shell_and_a_single_task_work_alone(environment, said):
    environment(**said)
    assert started_place() is None


def test_torchrun_within_srun_goes_before_it(environment):
    environment(**SRUN | TORCHRUN)
    assert started_place().by == "torchrun"


@pytest.mark.parametrize(
    ("hosts", "first"),
    [("n1", "n1"), ("n[003-005,9],m1", "n003"), ("gpu-a[7,9]", "gpu-a7"), ("a,b", "a"), ("r[1-2]c[3-4]", "r1c3")],
)
def test_the_first_host_of_a_list(hosts, first):
    assert first_host(hosts) == first


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK, MASTER_ADDR, MASTER_PORT is not set: start several"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two': it is a whole number"),
        (TORCHRUN | {"RANK": "4"}, "RANK is 4 and WORLD_SIZE 4: ranks count from 0"),
        (TORCHRUN | {"RANK": "-1"}, "RANK is '-1'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(environment, said, told):
    environment(**said)
    with pytest.raises(InputError, match=told) as refused:
        started_place()
    assert "\n" not in str(refused.value)


def test_a_process_ends_when_the_one_that_started_it_is_gone():
    child = "import time; from triune.parallel.started import end_with_starter; end_with_starter(); time.sleep(60)"
    parent = (
        f"import os, subprocess, sys, time; os.environ[{STARTER!r}] = str(os.getpid())\n"
        f"print(subprocess.Popen([sys.executable, '-c', {child!r}]).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as started:
        pid = int(started.stdout.readline())
        time.sleep(1)
        os.kill(pid, 0)
        started.send_signal(signal.SIGKILL)
        until = time.monotonic() + 20
        while time.monotonic() < until and _is_there(pid):
            time.sleep(0.1)
        assert not _is_there(pid)


def _is_there(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
