"""Processes that share work, as one of them sees it that works alone, and as two do."""

import subprocess
import sys

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

from triune.errors import InputError
from triune.parallel.group import (
    all_gather,
    done_by_first,
    done_in_turn,
    is_first,
    rank_and_size,
    read_by_all,
    sharing,
    told_by_first,
)


def test_alone_everything_is_done_here():
    assert sharing() is None
    assert is_first()
    assert rank_and_size(None) == (0, 1)
    assert all_gather((1, 2), None) == [1, 2]
    assert [step(lambda: 7) for step in (done_by_first, told_by_first, done_in_turn)] == [7, 7, 7]
    assert read_by_all(lambda: 8, None) == 8
    with pytest.raises(InputError, match="no such"):
        done_by_first(lambda: _fail())


def _fail():
    raise InputError("no such thing")


def test_alone_it_takes_no_torch():
    code = (
        "import sys; from triune.parallel.group import is_first; assert is_first(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _two(rank, place):
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
    group = sharing()
    assert rank_and_size(group) == (rank, 2)
    assert is_first() == (rank == 0)
    assert all_gather([rank, 10 * rank], group) == [0, 0, 1, 10]
    assert done_by_first(lambda: "first") == ("first" if rank == 0 else None)
    assert told_by_first(lambda: "told") == "told"
    with pytest.raises(InputError, match="only in 1"):
        read_by_all(lambda: _fail_in(rank), group)
    dist.destroy_process_group()


def _fail_in(rank):
    if rank == 1:
        raise InputError("only in 1")


def test_two_see_each_other(tmp_path):
    mp.start_processes(_two, args=(tmp_path / "store",), nprocs=2, start_method="fork")
