"""Work divided over processes, with the answers of one process to the last bit.

Blocks are the same whatever the number of processes, since the shape of a product changes its last bits. Whole numbers
are summed, and rows that another process fills are zero here, so that no sum rounds.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.parallel.group import all_gather, rank_and_size

Array: TypeAlias = np.ndarray[Any, Any]


T = TypeVar("T")


def all_reduce(counts: Tensor, divide_over: ProcessGroup | None) -> Tensor:
    """The sum over processes of whole numbers, in every one of them; any shape. ``counts`` may be overwritten."""
    if divide_over is None or not counts.numel():
        return counts
    # NCCL takes nothing that is in the host's memory.
    host_only = counts.device.type == "cpu" and "cpu:" not in dist.get_backend_config(divide_over)
    there = counts.to("cuda" if host_only else counts.device).contiguous()
    dist.all_reduce(there, group=divide_over)
    return there.to(counts.device)


def gather_rows(part: Tensor, divide_over: ProcessGroup | None) -> Tensor:
    """An answer of which each process has filled its own rows and left the others zero: whole, in every process.

    Args:
        part: of 4 or 8 bytes a number, any shape. May be overwritten.
        divide_over: the processes.
    """
    # As whole numbers the bits stay as they are, those of -0 and of NaN as well.
    return all_reduce(part.view(torch.int32 if part.itemsize == 4 else torch.int64), divide_over).view(part.dtype)


def exact_sums(rows: Sequence[Sequence[tuple[float, ...]]], width: int, divide_over: ProcessGroup | None) -> Array:
    """Sums of numbers whose sum may round: rounded once, so that no order of adding them shows.

    Args:
        rows: for each of S sums the rows of ``width`` numbers that this process adds to it.
        width: how many numbers a row has.
        divide_over: the processes.

    Returns:
        ``(S, width)`` float64.
    """
    gathered = all_gather([rows], divide_over)
    columns = [zip((0.0,) * width, *(row for theirs in gathered for row in theirs[k])) for k in range(len(rows))]
    return np.array([[math.fsum(column) for column in each] for each in columns]).reshape(-1, width)


def gather_in_order(results: Sequence[T], divide_over: ProcessGroup | None) -> list[T]:
    """What came of all blocks, in their order, from what came of each process's :func:`own_blocks`."""
    share, processes = rank_and_size(divide_over)
    numbered = all_gather([(share + k * processes, each) for k, each in enumerate(results)], divide_over)
    return [each for _, each in sorted(numbered, key=lambda pair: pair[0])]
