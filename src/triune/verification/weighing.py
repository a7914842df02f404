"""Histograms of scores, each pair weighed by how often a resample draws its identities.

A histogram has ``2K + 1`` bins for K knots: bin 2k + 1 holds the scores equal to knot k, bin 2k those between knots
k − 1 and k.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy import sparse

from triune.kernels import resampling_cpu
from triune.pairs.prepared import PreparedEmbeddings
from triune.pairs.scores import scores_between
from triune.verification.pair_noise import BLOCK_CELLS, ROWS, as_knot

Array: TypeAlias = np.ndarray[Any, Any]


KNOTS = 2000
"""Up to so many distinct match scores the resampled figures are exact. Of more, so many are chosen, evenly."""


WIDE = 64
"""Resamples whose weights are float64 at a time."""


def draw_weights(identities: int, resamples: int, seed: int) -> Array:
    """How often each identity is drawn in each resample, uint8 ``(G, R + 1)``; column 0 is the sample: all ones.

    Args:
        identities: G.
        resamples: R; each draws G identities with replacement.
        seed: of the drawing.
    """
    rng = np.random.default_rng(seed)
    weights = np.ones((identities, resamples + 1), np.uint8)
    for r in range(1, resamples + 1):
        # An identity drawn more than 255 times would need as many identities, and luck beyond 1 in 10^500.
        weights[:, r] = np.bincount(rng.integers(0, identities, identities), minlength=identities)
    return weights


def choose_knots(match_scores: Array, thresholds: Sequence[float]) -> Array:
    """Scores at which the figures are known exactly, ascending: match scores, and the thresholds."""
    knots = np.unique(match_scores)
    if len(knots) > KNOTS:
        knots = np.unique(match_scores[np.linspace(0, len(match_scores) - 1, KNOTS).round().astype(np.int64)])
    extra = np.array([as_knot(t, match_scores.dtype) for t in thresholds], dtype=knots.dtype)
    return np.union1d(knots, extra)


def bins_of(knots: Array, scores: Array) -> Array:
    """Bin 2k + 1 for a score equal to knot k, bin 2k between knots k − 1 and k."""
    result: Array = np.searchsorted(knots, scores, side="left") + np.searchsorted(knots, scores, side="right")
    return result


def match_scores_by_identity(items: PreparedEmbeddings) -> list[tuple[Array, int]]:
    """The scores of each identity's matching pairs, and which identity it is."""
    found = []
    ends = np.append(np.flatnonzero(np.diff(items.codes)) + 1, len(items.codes))
    start = 0
    for end in ends.tolist():
        for row in range(start, end, 1024):
            rows = slice(row, min(row + 1024, end))
            if end - row < 2:
                continue
            scores = _block_scores(items, rows, slice(row, end))
            kept = np.triu(np.ones(scores.shape, bool), 1)
            if len(items.groups):
                kept &= items.groups[rows][:, None] != items.groups[row:end][None, :]
            found.append((scores[kept], int(items.codes[start])))
        start = end
    return found


def weigh_impostors(items: PreparedEmbeddings, knots: Array, weights: Array, histograms: Array) -> None:
    """Add the scores of all impostor pairs to their histograms.

    Args:
        items: prepared embeddings, in the host's memory.
        knots: ``(K,)`` float32, ascending.
        weights: ``(G, R)`` uint8, how often each resample draws each identity.
        histograms: ``(2K + 1, R)`` float64, added to.
    """
    bins, resamples = 2 * len(knots) + 1, weights.shape[1]
    total = _impostor_weight(items, weights)
    skip = _fullest_bin(items, knots)
    # Whole numbers, in 32 bits where they fit: the sum over all bins is known.
    dtype = np.uint32 if total.max(initial=0) < 2**32 else np.int64
    count = len(items.codes)
    rows = max(1, min(ROWS, BLOCK_CELLS // max(count, 1)))
    starts = iter(range(0, count, rows))

    def run(_: int) -> Array:
        histogram = np.zeros((bins, resamples), dtype)
        room = resampling_cpu.scratch(rows * count, bins, resamples)
        for row in starts:
            scores = _block_scores(items, slice(row, row + rows), slice(row, count))
            resampling_cpu.weigh_block(scores, row, items.codes, items.groups, knots, weights, skip, histogram, room)
        return histogram

    threads = torch.get_num_threads()
    try:  # each thread multiplies by itself: see :meth:`triune.pairs.tiles.PairTiles.visit`
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            left = total
            for part in pool.map(run, range(threads)):
                histograms += part
                left -= part.sum(0, dtype=np.float64)
    finally:
        torch.set_num_threads(threads)
    histograms[skip] += left


def weigh_matches(parts: Iterable[tuple[Array, Array]], knots: int, weights: Array) -> Array:
    """Histograms ``(2K + 1, R)`` of matching pairs.

    Args:
        parts: the bins of some pairs' scores, and these pairs' identities, both ``(P,)``; one part after the other.
        knots: K.
        weights: ``(G, R)`` uint8.
    """
    shape = (2 * knots + 1, len(weights))
    counts = sparse.csr_array(shape, dtype=np.float64)
    waiting: list[tuple[Array, Array]] = []

    def added() -> Any:
        bins, codes = (np.concatenate(each) for each in zip(*waiting))
        return counts + sparse.csr_array((np.ones(len(bins)), (bins, codes)), shape=shape)

    for part in parts:
        waiting.append(part)
        if sum(len(bins) for bins, _ in waiting[-1:]) > 1 << 20 or len(waiting) >= 4096:
            counts = added()
            waiting = []
    if waiting:
        counts = added()
    result = np.empty((shape[0], weights.shape[1]))
    for first in range(0, weights.shape[1], 64):
        result[:, first : first + 64] = counts @ weights[:, first : first + 64].astype(np.float64)
    return result


def weigh_list(bins: Array, first: Array, second: Array, knots: int, weights: Array) -> Array:
    """Histograms ``(2K + 1, R)`` of listed impostor pairs.

    Args:
        bins: ``(P,)`` the bin of each pair's score.
        first: ``(P,)`` the identity of one side.
        second: ``(P,)`` that of the other.
        knots: K.
        weights: ``(G, R)`` uint8.
    """
    order = np.argsort(bins, kind="stable")
    arrays = [np.ascontiguousarray(each[order]) for each in (bins, first, second)]
    shares = np.array_split(np.arange(len(bins)), torch.get_num_threads())

    def run(share: Array) -> Array:
        histogram = np.zeros((2 * knots + 1, weights.shape[1]), np.int64)
        if len(share):
            part = slice(int(share[0]), int(share[-1]) + 1)
            resampling_cpu.weigh_list(*(each[part] for each in arrays), weights, histogram)
        return histogram

    with ThreadPoolExecutor(len(shares)) as pool:
        return np.asarray(np.sum(list(pool.map(run, shares)), axis=0, dtype=np.float64))


def _block_scores(items: PreparedEmbeddings, rows: slice, columns: slice) -> Array:
    """Scores ``(rows, columns)`` float32."""
    array: Array = scores_between(items.x[rows], items.x[columns], items.metric).numpy()
    return array


def _fullest_bin(items: PreparedEmbeddings, knots: Array) -> int:
    """The bin that holds most scores of a few rows."""
    rows = np.linspace(0, len(items.codes) - 1, min(16, len(items.codes))).astype(np.int64)
    counts = np.zeros(2 * len(knots) + 1, np.int64)
    for row in np.unique(rows).tolist():
        scores = _block_scores(items, slice(row, row + 1), slice(0, len(items.codes)))[0]
        counts += np.bincount(bins_of(knots, scores), minlength=len(counts))
    return int(counts.argmax())


def _impostor_weight(items: PreparedEmbeddings, weights: Array) -> Array:
    """The weight of all impostor pairs, for each weighting ``(R,)``: exact, in float64.

    Half of (Σ_g a_g w_g)² − Σ_g (a_g w_g)², a_g items each, less the same within every group.
    """
    total = _cross_weight(np.bincount(items.codes, minlength=len(weights))[None, :], weights)
    if len(items.groups):
        kinds = np.unique(items.groups, return_inverse=True)[1]
        shape = (int(kinds.max()) + 1, len(weights))
        counts = sparse.csr_array((np.ones(len(kinds)), (kinds, items.codes)), shape=shape)
        for first in range(0, shape[0], 1024):
            total -= _cross_weight(counts[first : first + 1024], weights)
    return total


def _cross_weight(counts: Any, weights: Array) -> Array:
    """Σ over the rows of ``counts (S, G)`` of half of (Σ_g a w)² − Σ_g (a w)², shape (R,)."""
    counts = sparse.csr_array(counts, dtype=np.float64)
    squared = counts.power(2)
    sums = []
    for first in range(0, weights.shape[1], WIDE):
        wide = weights[:, first : first + WIDE].astype(np.float64)
        both = np.square(counts @ wide) - squared @ np.square(wide)
        sums.append(np.asarray(both.sum(0) / 2))
    return np.concatenate(sums)
