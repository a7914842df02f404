"""One training a run folder; the lock of a killed process blocks nobody."""

import os
import signal
import subprocess
import sys

import pytest

from triune.errors import InputError
from triune.run.lock import NAME, training_lock

HOLDING = """
import os, sys, time
from pathlib import Path
from triune.run.lock import training_lock
with training_lock(Path(sys.argv[1])):
    child = os.fork()  # as a loader process: it outlives its parent for a while
    if not child:
        os.close(1)
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that trains into the folder, and its loader process."""
    process = subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    yield process
    os.kill(child, signal.SIGKILL)
    process.kill()
    process.wait()


def test_a_second_training_is_refused_and_the_first_is_named(holder, tmp_path):
    with pytest.raises(InputError, match=f"is being trained into by process {holder.pid} on ") as refused:
        training_lock(tmp_path).__enter__()
    assert "\n" not in str(refused.value)


def test_the_lock_of_a_killed_process_is_free_at_once_though_its_loaders_live_on(holder, tmp_path):
    holder.kill()
    holder.wait()
    with training_lock(tmp_path):
        assert (tmp_path / NAME).read_text().startswith(f"process {os.getpid()} on ")


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"process of another kind", b"process 1 on a\nand more"])
def test_whatever_the_lock_file_holds_the_message_is_one_line(holder, tmp_path, text):
    (tmp_path / NAME).write_bytes(text)
    with pytest.raises(InputError, match="by another process: wait for it") as refused:
        training_lock(tmp_path).__enter__()
    assert "\n" not in str(refused.value)


def test_it_is_free_after_the_block_also_where_that_failed(tmp_path):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="failed"), training_lock(tmp_path):
            raise RuntimeError("failed")
