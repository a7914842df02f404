"""Freed memory goes back to the system: measured in processes of their own, where the C library is glibc."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what was freed")

MEASURE = """
import numpy as np
from triune.evaluation import freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20
"""


def printed(program):
    command = [sys.executable, "-c", MEASURE + program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return [float(word) for word in done.stdout.split()]


def test_what_lies_free_below_something_in_use_is_given_back():
    # Blocks below 128 KiB come from the heap, whose end the last block holds on to.
    kept, returned = printed("""
blocks = [np.ones(100_000, np.uint8) for _ in range(2000)]
last = np.ones(100_000, np.uint8)
before = resident()
del blocks
kept = before - resident()
freed_memory.return_freed_memory()
print(kept, before - resident())
""")
    assert kept < 50, "what this test is about: glibc kept the 190 MiB"
    assert returned > 150


def test_large_arrays_are_given_back_when_they_are_freed_whatever_was_freed_before():
    program = """
np.ones(30 << 20, np.uint8)  # freed: arrays up to this size come from the heap from now on
array = np.ones(20 << 20, np.uint8)
last = np.ones(100_000, np.uint8)
before = resident()
del array
print(before - resident())
"""
    assert printed(program)[0] < 5, "what this test is about: glibc kept the 20 MiB"
    assert printed("freed_memory.return_large_arrays()" + program)[0] > 15


def test_what_lies_free_at_the_end_is_given_back_as_well():
    kept, returned = printed("""
np.ones(30 << 20, np.uint8)  # freed: from now on glibc keeps up to 60 MiB at the end of the heap
array = np.ones(20 << 20, np.uint8)
before = resident()
del array
kept = before - resident()
freed_memory.return_freed_memory()
print(kept, before - resident())
""")
    assert kept < 5, "what this test is about: glibc kept the 20 MiB"
    assert returned > 15


@pytest.mark.parametrize(("size", "given_back"), [(1_500_000, True), (800_000, False), (300_000, False)])
def test_large_arrays_are_those_of_a_mebibyte(size, given_back):
    """Smaller ones come and go so often that asking the system for each would cost more than it gives back."""
    blocks = max(1, 60_000_000 // size)
    [returned] = printed(f"""
freed_memory.return_large_arrays()
blocks = [np.ones({size}, np.uint8) for _ in range({blocks})]
last = np.ones(100_000, np.uint8)
before = resident()
del blocks
print(before - resident())
""")
    assert returned > 45 if given_back else returned < 10
