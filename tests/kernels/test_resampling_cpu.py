"""The kernel that weighs a block of scores, against weighing by hand."""

import numpy as np

from triune.kernels import resampling_cpu


def test_the_kernel_weighs_in_64_bits_as_in_32():
    g = np.random.default_rng(13)
    scores = g.integers(0, 5, (6, 6)).astype(np.float32)
    codes, knots = np.array([0, 0, 1, 2, 2, 2], np.int32), np.array([1.0, 3.0], np.float32)
    weights = g.integers(0, 4, (3, 7)).astype(np.uint8)
    by_hand = np.zeros((5, 7), np.int64)
    for i in range(6):
        for j in range(i + 1, 6):
            if codes[i] != codes[j]:
                b = (knots < scores[i, j]).sum() + (knots <= scores[i, j]).sum()
                by_hand[b] += weights[codes[i]].astype(int) * weights[codes[j]]
    by_hand[1] = 0
    for dtype in (np.uint32, np.int64):
        histogram = np.zeros((5, 7), dtype)
        room = resampling_cpu.scratch(36, 5, 7)
        resampling_cpu.weigh_block(scores, 0, codes, np.empty(0, np.int64), knots, weights, 1, histogram, room)
        np.testing.assert_array_equal(histogram, by_hand)
