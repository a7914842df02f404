"""Impostor scores drawn evenly, and the intervals of scores that they say will hold the thresholds."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import torch

from triune.kernels import scores_cpu
from triune.kernels.threads import sort_in_threads
from triune.pairs import on_device
from triune.pairs.tiles import PairTiles

Array: TypeAlias = np.ndarray[Any, Any]


SAMPLE = (1 << 15, 1 << 22)
"""Fewest and most pairs drawn."""


DEVICE_SAMPLE = 1 << 26
"""Most pairs drawn on other devices than the CPU."""


SAMPLED = 1 << 14
"""Pairs drawn at a time."""


def sample_impostors(pairs: PairTiles) -> Array:
    """Some impostor scores, drawn evenly, ascending; to plan the counting by, not to report."""
    count = min(max(pairs.total >> 10, SAMPLE[0]), SAMPLE[1] if pairs.on_cpu else DEVICE_SAMPLE)
    if not pairs.on_cpu:
        return on_device.sampled_scores(pairs.x, pairs.y, *pairs.spans_on_device(), pairs.metric, count)
    parts = -(-count // SAMPLED)
    # Places that no score is written to sort last.
    scores = np.full((parts, SAMPLED), np.nan, dtype=np.float32)

    def draw(part: int) -> int:
        found = _sampled_part(pairs, part)
        scores[part, : len(found)] = found
        return len(found)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        found = sum(pool.map(draw, range(parts)))
    flat = scores.reshape(-1)
    sort_in_threads(flat)
    return flat[:found]


def _sampled_part(pairs: PairTiles, part: int) -> Array:
    """The scores of a part of the sample, as far as its pairs are impostors."""
    g = np.random.default_rng(part)
    rows = g.integers(0, len(pairs.x), SAMPLED)
    columns = g.integers(0, len(pairs.y), SAMPLED)
    if pairs.one_set:
        rows, columns = np.minimum(rows, columns), np.maximum(rows, columns)
    spans = pairs.spans[rows]
    kept = (columns >= spans[:, 0]) & ((columns < spans[:, 1]) | (columns >= spans[:, 2]))
    groups = pairs.impostor_groups()
    if len(groups[0]):
        kept &= groups[0][rows] != groups[1][columns]
    dot = pairs.metric == "cosine"
    scores: Array = scores_cpu.scores_of_pairs(pairs.x.numpy(), pairs.y.numpy(), rows[kept], columns[kept], dot)
    return scores if pairs.metric != "euclidean" else -np.sqrt(-scores)


def threshold_intervals(
    sample: Array, total: int, fprs: Sequence[float], most: int
) -> tuple[list[tuple[float, float]], int]:
    """Intervals of scores that almost surely hold the thresholds of ``fprs``, the lowest and the highest score.

    Args:
        sample: scores drawn evenly, ascending.
        total: how many scores there are in all.
        fprs: false-positive rates.
        most: with more scores than these there is no interval.

    Returns:
        The intervals, disjoint, ascending, and about how many scores they hold in all.
    """
    count = len(sample)
    if count == 0:
        return [], 0
    spans = []
    for fpr in (*fprs, 0.0, 1.0):
        if not 0 <= fpr <= 1:
            raise ValueError(f"fprs holds {fpr}: rates from 0 to 1 are needed")
        middle = (1 - fpr) * count
        # Four standard deviations of a binomial count, and a few places for the far ends.
        slack = 4 * np.sqrt(count * fpr * (1 - fpr)) + 20
        low, high = int(middle - slack), int(np.ceil(middle + slack))
        spans.append((low, high))
    spans.sort()
    merged = [spans[0]]
    for low, high in spans[1:]:
        if low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    share = sum(min(high, count) - max(low, 0) for low, high in merged) / count
    expected = int(share * total * 1.1) + 1000
    if expected > most:
        return [], 0
    ends = [
        (float(sample[low]) if low >= 0 else -np.inf, float(sample[high]) if high < count else np.inf)
        for low, high in merged
    ]
    # Intervals that touch in tied scores are one.
    joined = [ends[0]]
    for bottom, top in ends[1:]:
        if bottom <= joined[-1][1]:
            joined[-1] = (joined[-1][0], top)
        else:
            joined.append((bottom, top))
    return joined, expected
