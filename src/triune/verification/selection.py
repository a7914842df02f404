"""The impostor score at a place of the ascending order, without a list: a radix selection on the bits of the floats."""

import math
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from triune.pairs.tiles import PairTiles, Tile
from triune.verification.impostors import Place

Array: TypeAlias = np.ndarray[Any, Any]


def select_impostor(pairs: PairTiles, place: int) -> Place:
    """The impostor score at a place of the ascending order, from 0, and the next higher one: two visits of all pairs.

    The first counts the upper halves of the scores' bits, the second the lower halves of those with the upper half
    that the place has. A third visit is made only where the next higher score has another upper half.
    """
    uppers = _count_halves(pairs, None)
    ends = np.cumsum(uppers)
    half = int(np.searchsorted(ends, place, side="right"))
    lowers = _count_halves(pairs, half)
    before = int(ends[half - 1]) if half else 0
    low = int(np.searchsorted(np.cumsum(lowers), place - before, side="right"))
    up_to = before + int(lowers[: low + 1].sum())
    higher = np.flatnonzero(lowers[low + 1 :])
    if len(higher):
        above = float_of_key((half << 16) | (low + 1 + int(higher[0])))
    elif up_to < ends[-1]:
        next_half = half + 1 + int(np.flatnonzero(uppers[half + 1 :])[0])
        above = float_of_key((next_half << 16) | int(np.flatnonzero(_count_halves(pairs, next_half))[0]))
    else:
        above = math.inf
    return Place(float_of_key((half << 16) | low), up_to, above)


def keys_of(scores: Tensor) -> Tensor:
    """int64 from 0 to 2³² − 1 in the order of the floats; −0 and 0 are one."""
    bits = (scores + 0.0).view(torch.int32).long()
    return torch.where(bits >= 0, bits + (1 << 31), (1 << 31) - 1 - (bits & 0x7FFFFFFF))


def float_of_key(key: int) -> float:
    """The float with this key."""
    bits = key - (1 << 31) if key >= 1 << 31 else ((1 << 31) - 1 - key) | (1 << 31)
    return float(np.array([bits], dtype=np.uint32).view(np.float32)[0])


def _count_halves(pairs: PairTiles, upper: int | None) -> Array:
    """How many impostor scores have each upper half of their key, or each lower half after the upper one given.

    A visit of all pairs; int64 ``(2¹⁶,)``.
    """
    count = _count_halves_by_triton if pairs.path == "triton" else _count_halves_by_torch
    total: Array = pairs.all_reduce(count(pairs, upper)).numpy()
    return total


def _count_halves_by_torch(pairs: PairTiles, upper: int | None) -> Tensor:
    def count(tile: Tile, counts: Tensor) -> None:
        keys = keys_of(tile.scores[pairs.impostors(tile)])
        halves = keys >> 16 if upper is None else keys[keys >> 16 == upper] & 0xFFFF
        counts += torch.bincount(halves, minlength=1 << 16)

    start = partial(torch.zeros, 1 << 16, dtype=torch.int64, device=pairs.x.device)
    return torch.stack(pairs.visit(pairs.holds_impostors, count, start)).sum(0)


def _count_halves_by_triton(pairs: PairTiles, upper: int | None) -> Tensor:
    from triune.kernels import counting_gpu

    spans, groups = pairs.spans_on_device()

    def count(tile: Tile, counts: Tensor) -> None:
        counting_gpu.count_halves(tile.scores, tile.row, tile.column, spans, groups, upper, counts)

    (counts,) = pairs.visit(pairs.holds_impostors, count, partial(counting_gpu.fresh_halves, pairs.x.device))
    return counts.sum(0)
