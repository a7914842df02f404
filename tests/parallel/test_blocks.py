"""Blocks of rows: each row is in one block of one process, and no block is larger than it may be."""

import pytest

from triune.parallel import blocks
from triune.parallel.blocks import own_blocks, own_row_blocks


@pytest.mark.parametrize(("rows", "height"), [(0, 3), (1, 3), (9, 3), (10, 3), (2, 1)])
def test_every_row_is_in_one_block(rows, height, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 40 * height + 39)
    found = list(own_row_blocks(rows, 40, None))
    assert [row for part in found for row in range(part.start, part.stop)] == list(range(rows))
    assert all(0 < part.stop - part.start <= height for part in found)


def test_a_block_has_a_row_however_large_it_is():
    assert list(own_row_blocks(2, 1 << 40, None)) == [slice(0, 1), slice(1, 2)]
    assert list(own_row_blocks(3, 0, None)) == [slice(0, 3)]


def test_processes_take_turns(monkeypatch):
    shares = []
    for rank in range(3):
        monkeypatch.setattr(blocks, "rank_and_size", lambda group, rank=rank: (rank, 3))
        shares.append(list(own_blocks(range(0, 70, 10), None)))
    assert shares == [[0, 30, 60], [10, 40], [20, 50]]
