"""The scores of the non-matching pairs, listed in full or only counted: how many lie below, which is the k-th."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]


ASKED = 1 << 16
"""Scores looked up at a time: a dozen arrays as long as a curve are not needed at once."""


class Place(NamedTuple):
    """A place of the ascending order of impostor scores.

    Args:
        score: the score there.
        up_to: how many score no more.
        above: the next higher score; +∞ if there is none.
    """

    score: float
    up_to: int
    above: float


class Impostors(Protocol):
    """What a :class:`~triune.verification.roc.Verification` asks of the non-matching pairs."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def lowest(self) -> float:
        """The lowest score."""

    def below(self, scores: Array) -> Array:
        """How many impostors score less than each of the given scores, int64."""

    def up_to(self, scores: Array) -> Array:
        """How many score no more than each, int64."""

    def at(self, place: int) -> float:
        """The score at a place of the ascending order, from 0."""

    def around(self, place: int) -> Place:
        """The score at a place of the ascending order, how many score no more, and the next higher score."""

    def corners(self, knots: Array) -> Array:
        """Scores, ascending, that hold a corner of the ROC whose true-positive rate changes at ``knots``."""

    def histogram(self, low: float, high: float, bins: int) -> tuple[Array, Array]:
        """Edges ``(B + 1,)`` of about equal bins, and how many impostors score in each, ``(B,)`` int64.

        Args:
            low: the first edge; no score is below.
            high: the last edge; no score is above.
            bins: about how many bins.
        """

    def detached(self) -> "Impostors":
        """The same, holding no embeddings."""


@dataclass(frozen=True)
class Listed:
    """Every impostor score, ascending."""

    scores: Array

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.scores)

    @property
    def lowest(self) -> float:
        """The lowest score."""
        return float(self.scores[0])

    def detached(self) -> "Listed":
        """The same: the list holds no embeddings."""
        return self

    def below(self, scores: Array) -> Array:
        """How many score less than each of the given scores."""
        return np.searchsorted(self.scores, scores, side="left")

    def up_to(self, scores: Array) -> Array:
        """How many score no more than each."""
        return np.searchsorted(self.scores, scores, side="right")

    def at(self, place: int) -> float:
        """The score at a place of the ascending order."""
        return float(self.scores[place])

    def around(self, place: int) -> Place:
        """The score at a place, how many score no more, and the next higher score."""
        up_to = int(np.searchsorted(self.scores, self.scores[place], side="right"))
        return Place(self.at(place), up_to, self.at(up_to) if up_to < len(self.scores) else math.inf)

    def corners(self, knots: Array) -> Array:
        """All observed scores."""
        return np.union1d(knots, self.scores)

    def histogram(self, low: float, high: float, bins: int) -> tuple[Array, Array]:
        """Edges of equal bins, and how many score in each.

        Args:
            low: the first edge.
            high: the last edge.
            bins: how many bins.
        """
        # As np.histogram's, which refuses ends whose difference is no number, or leaves no room between two edges.
        shares = np.linspace(0, 1, bins + 1)
        exact = np.linspace(low, high, bins + 1) if np.isfinite(high - low) else low * (1 - shares) + high * shares
        edges = exact.astype(self.scores.dtype)
        below = np.searchsorted(self.scores, edges[1:-1], side="left")
        return edges, np.diff(np.concatenate([[0], below, [len(self.scores)]]))


class Kept(NamedTuple):
    """Every impostor score from ``low`` to ``high``, ascending, and how many lie below ``low``."""

    low: float
    high: float
    below: int
    scores: Array


class Visits(Protocol):
    """Visits every pair again, for what was not counted the first time."""

    def below(self, scores: Array) -> Array:
        """How many impostors score less than each."""

    def select(self, place: int) -> Place:
        """The score at a place of the ascending order, and what is around it."""


class NoMoreVisits:
    """Stands where the pairs were that could be visited again."""

    def below(self, scores: Array) -> Array:
        """Refuse."""
        raise ValueError(self._why)

    def select(self, place: int) -> Place:
        """Refuse."""
        raise ValueError(self._why)

    _why = "this takes another visit of all pairs, but the embeddings were let go: ask before detached()"


@dataclass(frozen=True)
class Counted:
    """Impostors counted around the knots (the distinct match scores), with a few intervals kept in full.

    Everything about the ROC changes at knots only, so it is exact. What lies strictly between two knots, such as the
    threshold of a budget, comes from the kept intervals; else from another visit of all pairs.

    Args:
        knots: ``(U,)`` ascending.
        knots_below: ``(U,)`` int64, how many impostors score less than each knot.
        knots_up_to: ``(U,)`` int64, how many score no more.
        count: how many there are.
        kept: intervals known in full.
        visits: what visits every pair again.
        bin_edges: of a fine histogram, ``(B + 1,)``.
        bin_counts: ``(B,)`` int64; the outermost bins hold what lies beyond them as well.
    """

    knots: Array
    knots_below: Array
    knots_up_to: Array
    count: int
    kept: Sequence[Kept]
    visits: Visits
    bin_edges: Array
    bin_counts: Array

    @property
    def lowest(self) -> float:
        """The lowest score."""
        return self.at(0)

    def detached(self) -> "Counted":
        """The same without the pairs: what would take another visit of them is refused."""
        return replace(self, visits=NoMoreVisits())

    def below(self, scores: Array) -> Array:
        """How many score less than each of the given scores; visits the pairs again for what is not known."""
        return self._counts(first_float32_from(scores), self.knots_below, "left")

    def up_to(self, scores: Array) -> Array:
        """How many score no more than each."""
        return self._counts(np.asarray(scores), self.knots_up_to, "right")

    def at(self, place: int) -> float:
        """The score at a place of the ascending order."""
        known = self._known_at(place)
        return self.visits.select(place).score if known is None else known[0]

    def around(self, place: int) -> Place:
        """The score at a place, how many score no more, and the next higher score."""
        known = self._known_at(place)
        if known is None:
            return self.visits.select(place)
        score, up_to = known
        return Place(score, up_to, self.at(up_to) if up_to < self.count else math.inf)

    def corners(self, knots: Array) -> Array:
        """The knots, the next float above each, and the lowest score: points between them lie on straight lines."""
        return np.unique(np.concatenate([[np.float32(self.lowest)], knots, np.nextafter(knots, np.float32(np.inf))]))

    def histogram(self, low: float, high: float, bins: int) -> tuple[Array, Array]:
        """Edges of bins of about one width, and how many score in each.

        Args:
            low: the first edge.
            high: the last edge; each one between is the score nearest to an equal division below which the number of
                impostors is known.
            bins: how many bins, or fewer where that number is known at fewer scores.
        """
        wanted = np.linspace(low, high, bins + 1)[1:-1].astype(np.float32)
        known = [(self.bin_edges[1:-1], np.cumsum(self.bin_counts)[:-1]), (self.knots, self.knots_below)]
        for kept in self.kept:
            inside = wanted[(kept.low <= wanted) & (wanted <= kept.high)]
            known.append((inside, kept.below + np.searchsorted(kept.scores, inside)))
        places, below = (np.concatenate(parts) for parts in zip(*known, strict=True))
        places, first = np.unique(np.append(places, [-np.inf, np.inf]), return_index=True)
        after = np.searchsorted(places, wanted)
        chosen = np.unique(after - (wanted - places[after - 1] < places[after] - wanted))
        chosen = chosen[(low < places[chosen]) & (places[chosen] < high)]
        edges = np.concatenate([[low], places[chosen], [high]])
        return edges, np.diff(np.concatenate([[0], below[first[chosen]], [self.count]]))

    def _known_at(self, place: int) -> tuple[float, int] | None:
        """The score at a place and how many score no more, from knots and kept intervals; ``None`` if neither knows."""
        # A knot that impostors tie with may be the score itself.
        knot = int(np.searchsorted(self.knots_up_to, place, side="right"))
        if knot < len(self.knots) and self.knots_below[knot] <= place:
            return float(self.knots[knot]), int(self.knots_up_to[knot])
        for kept in self.kept:
            if kept.below <= place < kept.below + len(kept.scores):
                score = kept.scores[place - kept.below]
                return float(score), kept.below + int(np.searchsorted(kept.scores, score, side="right"))
        return None

    def _counts(self, scores: Array, known: Array, side: str) -> Array:
        """Counts of impostors on one side of each score, some at a time, and what is not known by another visit."""
        parts = [scores[start : start + ASKED] for start in range(0, len(scores), ASKED)]
        counts = np.concatenate([np.empty(0, np.int64), *(self._known_counts(part, known, side) for part in parts)])
        left = counts < 0
        if left.any():
            asked = scores[left] if side == "left" else np.nextafter(scores[left].astype(np.float64), np.inf)
            counts[left] = self.visits.below(asked)
        return counts

    def _known_counts(self, scores: Array, known: Array, side: str) -> Array:
        """The same from knots, from gaps between them, from kept intervals; −1 where none of these knows."""
        counts = np.full(len(scores), -1, dtype=np.int64)
        place = np.searchsorted(self.knots, scores, side="left")
        inside = np.minimum(place, len(self.knots) - 1)
        is_knot = self.knots[inside] == scores
        counts[is_knot] = known[inside[is_knot]]
        # Between two knots that no impostor lies between, the count is known as well.
        before = np.where(place > 0, self.knots_up_to[np.maximum(place - 1, 0)], 0)
        after = np.where(place < len(self.knots), self.knots_below[inside], self.count)
        empty = (counts < 0) & (before == after)
        counts[empty] = before[empty]
        # So is it next to a knot, where no float lies between.
        lower = np.where(place > 0, self.knots[np.maximum(place - 1, 0)], -np.inf)
        adjacent = (
            (counts < 0) & (np.nextafter(lower.astype(np.float32), np.float32(np.inf)) == scores) & (side == "left")
        )
        counts[adjacent] = before[adjacent]
        for kept in self.kept:
            unknown = counts < 0
            known_here = unknown & (scores >= kept.low) & (scores <= kept.high)
            counts[known_here] = kept.below + np.searchsorted(kept.scores, scores[known_here], side=side)  # type: ignore[call-overload]
            # Between an interval and the next knot, too, where no impostor lies between these two.
            end = kept.below + len(kept.scores)
            counts[unknown & (scores > kept.high) & (after == end)] = end
            counts[unknown & (scores < kept.low) & (before == kept.below)] = kept.below
        return counts


def first_float32_from(limits: Any) -> Array:
    """The first float32 that reaches each limit: a float32 lies below the one where it lies below the other."""
    exact = np.asarray(limits, dtype=np.float64)
    with np.errstate(over="ignore"):
        single = exact.astype(np.float32)
    reached: Array = np.where(single < exact, np.nextafter(single, np.float32(np.inf)), single)
    return reached
