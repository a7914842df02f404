"""Rows worked on in blocks, of which each of several processes has its share; which needs no torch."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from triune.parallel.group import rank_and_size

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

BLOCK_BYTES = 1 << 24
"""Size of the largest array of a block of rows that is worked on at a time: 16 MiB."""


def own_blocks(blocks: range, divide_over: "ProcessGroup | None") -> range:
    """Which of all blocks are this process's: every W-th of W processes."""
    share, processes = rank_and_size(divide_over)
    return blocks[share::processes]


def own_row_blocks(rows: int, bytes_a_row: int, divide_over: "ProcessGroup | None") -> Iterator[slice]:
    """This process's blocks of rows: every W-th of W processes, each block of about :data:`BLOCK_BYTES`.

    Args:
        rows: how many rows all processes have together.
        bytes_a_row: what a row takes in the largest array made of a block; a block has one row at least.
        divide_over: the processes.
    """
    height = max(1, BLOCK_BYTES // max(1, bytes_a_row))
    for start in own_blocks(range(0, rows, height), divide_over):
        yield slice(start, min(start + height, rows))
