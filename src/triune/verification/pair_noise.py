"""What pairs of resampled identities share, and the part of a variance that is theirs alone."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from torch.distributed import ProcessGroup

from triune.pairs.prepared import PreparedEmbeddings
from triune.pairs.scores import scores_between
from triune.parallel.group import rank_and_size

Array: TypeAlias = np.ndarray[Any, Any]


BLOCK_CELLS = 1 << 20


ROWS = 64


COLUMNS = 256
"""Resamples weighed at a time."""


TURNS = 64
"""Runs of identities that processes take turns in, at least."""


def without_pair_noise(rates: Array, noise: Array | float) -> Array:
    """Resampled false-positive rates ``(R + 1,)``, scaled about the sample's own to the spread they should have.

    Of θ = Σ_g<h a_gh / Σ_g<h n_gh (a_gh of n_gh pairs accepted), let e_gh = a_gh − θ·n_gh. To first order the variance
    of θ is V = (Σ_g e_g·² − D) / (Σ n)², D = Σ_g<h e_gh², but weights w_g·w_h have V + 2·D / (Σ n)²: what is peculiar
    to a pair of identities counts three times. (Put δ_g = w_g − 1 into Σ e_gh·w_g·w_h.) Where that dominates, as at a
    low FPR, plain resampling would give intervals √3 times too wide.

    Args:
        rates: the first is the sample's own.
        noise: D / (Σ n)².
    """
    spread = float(np.nanvar(rates[1:])) if np.isfinite(rates[1:]).any() else 0.0
    if not spread > 0:
        return rates
    factor = math.sqrt(min(1.0, max(spread - 2 * float(noise), float(noise)) / spread))
    result: Array = rates[0] + factor * (rates - rates[0])
    return result


def identity_turns(identities: int, turn: int, divide_over: ProcessGroup | None) -> list[slice]:
    """The runs of identities that this process looks at.

    Args:
        identities: G; they are numbered 0 … G−1.
        turn: the process that has the first run is that of this number (modulo their count): with many small tasks of
            this kind, give each another one, so that not always the same process has the most work.
        divide_over: the processes; ``None`` for one.
    """
    width = max(1, min(BLOCK_CELLS // max(identities, 1), math.ceil(identities / TURNS)))
    share, processes = rank_and_size(divide_over)
    starts = range(0, identities, width)[(share - turn) % processes :: processes]
    return [slice(first, min(first + width, identities)) for first in starts]


def accepted_by_identity(
    rows: PreparedEmbeddings, columns: PreparedEmbeddings, threshold: float, turns: Sequence[slice]
) -> Iterator[tuple[slice, Array, Array]]:
    """Accepted and all pairs between some identities of ``rows`` and every identity of ``columns``.

    Both know the same identities, some perhaps without an item. Where ``rows`` is ``columns`` every pair is counted
    once, its lower identity first.

    Args:
        rows: prepared embeddings in the host's memory.
        columns: others, or the same object.
        threshold: scores from here are accepted.
        turns: which identities of the rows, a part of :func:`identity_turns`.

    Returns:
        For each turn the turn, and two float64 counts ``(identities of the turn, G)``.
    """
    identities = columns.identities
    limit = as_knot(threshold, np.float32)
    height = max(1, BLOCK_CELLS // max(len(columns.codes), 1))
    for turn in turns:
        first, last = turn.start, turn.stop
        begin, end = np.searchsorted(rows.codes, [first, last]).tolist()
        accepted, pairs = np.zeros((2, last - first, identities))
        for row in range(begin, end, height):
            block = slice(row, min(row + height, end))
            others = slice(row if rows is columns else 0, len(columns.codes))
            scores = scores_between(rows.x[block], columns.x[others], columns.metric).numpy()
            taken = scores >= limit
            known = np.ones_like(taken)
            if rows is columns:
                known = np.triu(known, 1)
            if len(columns.groups):
                known &= rows.groups[block][:, None] != columns.groups[others][None, :]
            taken &= known
            starts, present = _runs(columns.codes[others])
            row_starts, row_present = _runs(rows.codes[block])
            for counts, mask in ((accepted, taken), (pairs, known)):
                summed = np.add.reduceat(np.add.reduceat(mask, starts, axis=1, dtype=np.int32), row_starts, axis=0)
                counts[np.ix_(row_present - first, present)] += summed
        yield turn, accepted, pairs


def add_by_identity(totals: Array, turn: slice, accepted: Array, pairs: Array) -> None:
    """Add the pairs of different identities of one turn to the counts of each identity; a pair counts for both.

    Args:
        totals: ``(2, G)``, written: accepted and all pairs of each identity.
        turn: which identities the rows are.
        accepted: ``(identities of the turn, G)`` accepted pairs, 0 for an identity with itself.
        pairs: all pairs, likewise.
    """
    for total, part in zip(totals, (accepted, pairs), strict=True):
        total[turn] += part.sum(1)
        total += part.sum(0)


def _runs(codes: Array) -> tuple[Array, Array]:
    """Where each run of equal codes begins, and its code."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1])[: len(codes)]
    return starts, codes[starts]


def as_knot(threshold: float, dtype: Any) -> Any:
    """The least score of the type that is accepted: rounding down would accept a score below the threshold."""
    with np.errstate(over="ignore"):  # beyond the type's range: ±∞
        value = np.asarray(threshold, dtype=dtype)[()]
    return value if float(value) >= threshold else np.nextafter(value, np.asarray(np.inf, dtype=dtype)[()])
