"""Scores of a tile of pairs on the GPU, in Triton: full float32 products, and distances that near-duplicates keep.

The README beside this file says where they are used.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

import torch
import triton
import triton.language as tl
from torch import Tensor

CLOSE = tl.constexpr(1e-3)


PRODUCT = {"BR": 64, "BC": 64, "BD": 32}


DISTANCES = {"BR": 32, "BC": 64}


def multiply(x: Tensor, y: Tensor, out: Tensor) -> None:
    """x·yᵀ with float32 products and sums, never TF32; for where torch is told that its own may be TF32.

    Args:
        x: rows (R, D), float32, contiguous.
        y: columns (C, D) likewise.
        out: (R, C), overwritten.
    """
    grid = (triton.cdiv(len(y), PRODUCT["BC"]), triton.cdiv(len(x), PRODUCT["BR"]))
    with torch.cuda.device_of(x):  # Triton runs on the current device
        _product_kernel[grid](x, y, out, len(x), len(y), x.shape[1], **PRODUCT)


def distances_in_place(gram: Tensor, x: Tensor, y: Tensor, squares: tuple[Tensor, Tensor], square: bool) -> None:
    """Turn x·yᵀ into minus the (squared) distance; the host does not wait for how many pairs are close.

    Args:
        gram: the tile (R, C), contiguous, overwritten.
        x: its rows (R, D), contiguous.
        y: its columns (C, D), contiguous.
        squares: ‖x‖² (R,) and ‖y‖² (C,).
        square: whether the distance is squared.
    """
    grid = (triton.cdiv(len(y), DISTANCES["BC"]), triton.cdiv(len(x), DISTANCES["BR"]))
    with torch.cuda.device_of(gram):
        _distance_kernel[grid](gram, x, y, *squares, len(x), len(y), x.shape[1], SQUARE=square, **DISTANCES)


@triton.jit
def _product_kernel(x, y, out, R, C, D, BR: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr):
    i = (tl.program_id(1) * BR + tl.arange(0, BR)).to(tl.int64)
    j = (tl.program_id(0) * BC + tl.arange(0, BC)).to(tl.int64)
    gram = tl.zeros((BR, BC), dtype=tl.float32)
    for left in range(0, D, BD):
        k = left + tl.arange(0, BD)
        a = tl.load(x + i[:, None] * D + k[None, :], mask=(i < R)[:, None] & (k < D)[None, :], other=0.0)
        b = tl.load(y + j[:, None] * D + k[None, :], mask=(j < C)[:, None] & (k < D)[None, :], other=0.0)
        gram += tl.dot(a, tl.trans(b), input_precision="ieee")
    tl.store(out + i[:, None] * C + j[None, :], gram, mask=(i < R)[:, None] & (j < C)[None, :])


@triton.jit
def _distance_kernel(
    gram, x, y, x_squares, y_squares, R, C, D, SQUARE: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr
):
    i = (tl.program_id(1) * BR + tl.arange(0, BR)).to(tl.int64)
    j = (tl.program_id(0) * BC + tl.arange(0, BC)).to(tl.int64)
    is_row, is_column = i < R, j < C
    inside = is_row[:, None] & is_column[None, :]
    here = gram + i[:, None] * C + j[None, :]
    both = tl.load(x_squares + i, mask=is_row, other=0.0)[:, None]
    both += tl.load(y_squares + j, mask=is_column, other=0.0)[None, :]
    squared = both - 2 * tl.load(here, mask=inside, other=0.0)
    close = inside & (squared < CLOSE * both)
    # Near-duplicates have lost their digits. A block that has one computes all of its differences: loads are shared.
    if tl.sum(tl.sum(close.to(tl.int32), axis=1), axis=0) > 0:
        exact = tl.zeros((BR, BC), dtype=tl.float32)
        for k in range(D):
            u = tl.load(x + i * D + k, mask=is_row, other=0.0)
            v = tl.load(y + j * D + k, mask=is_column, other=0.0)
            difference = u[:, None] - v[None, :]
            exact += difference * difference
        squared = tl.where(close, exact, squared)
    if SQUARE:
        score = -squared
    else:
        # A pair that is not close is at least CLOSE·both apart: nothing negative is left. Rounded as torch rounds it.
        score = -tl.sqrt_rn(squared)
    tl.store(here, score, mask=inside)
