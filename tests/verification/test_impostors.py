"""Counted impostors know what their knots and kept intervals tell, and visit the pairs for nothing else."""

import math

import numpy as np
import pytest

from triune.verification.impostors import Counted, Kept, Listed, NoMoreVisits, Place, first_float32_from


class AsksNothing:
    def below(self, scores):
        pytest.fail(f"a visit for what lies below {scores}")

    def select(self, place):
        pytest.fail(f"a visit for the score at {place}")


def counted(scores, knots, intervals, visits=None):
    """What counting would find of sorted float32 scores."""
    knots = np.unique(np.asarray(knots, np.float32))
    kept = []
    for low, high in intervals:
        first, last = np.searchsorted(scores, low, "left"), np.searchsorted(scores, high, "right")
        kept.append(Kept(low, high, int(first), scores[first:last]))
    edges = np.array([scores[0], np.nextafter(scores[-1], np.float32(9))])
    return Counted(
        knots=knots,
        knots_below=np.searchsorted(scores, knots, "left"),
        knots_up_to=np.searchsorted(scores, knots, "right"),
        count=len(scores),
        kept=kept,
        visits=visits or AsksNothing(),
        bin_edges=edges,
        bin_counts=np.array([len(scores)]),
    )


@pytest.mark.parametrize("tied", [False, True])
def test_what_lies_in_a_kept_interval_is_known_as_from_the_list(tied):
    for seed in range(30):
        g = np.random.default_rng(seed)
        scores = g.normal(size=200)
        scores = np.sort((np.round(scores * 4) / 4 if tied else scores).astype(np.float32))
        listed = Listed(scores)
        known = counted(scores, g.choice(scores, 5), [(float(scores[50]), float(scores[150]))])
        asked = np.concatenate([scores[50:151], np.linspace(scores[50], scores[150], 77)])
        np.testing.assert_array_equal(known.below(asked), listed.below(asked))
        np.testing.assert_array_equal(known.up_to(asked), listed.up_to(asked))
        for place in range(50, 150):
            assert known.at(place) == listed.at(place)
            if listed.around(place).above <= scores[150]:
                assert known.around(place) == listed.around(place)


def test_between_an_interval_and_the_next_knot_nothing_is_asked_where_no_score_lies():
    scores = np.array([0.1, 0.2, 0.3, 0.5, 0.9], np.float32)
    known = counted(scores, [0.1, 0.5], [(0.15, 0.35)])
    assert known.below(np.array([0.4, 0.499])).tolist() == [3, 3]
    assert known.up_to(np.array([0.4, 0.499])).tolist() == [3, 3]
    assert known.below(np.array([0.12])).tolist() == [1]
    with pytest.raises(pytest.fail.Exception, match="a visit"):
        known.below(np.array([0.7]))


def test_what_is_around_a_place_includes_ties_and_ends_in_infinity():
    listed = Listed(np.array([1.0, 2.0, 2.0, 3.0], np.float32))
    assert listed.around(1) == Place(2.0, 3, 3.0)
    assert listed.around(3) == Place(3.0, 4, math.inf)
    known = counted(listed.scores, [2.0], [(1.0, 3.0)])
    assert [known.around(place) for place in range(4)] == [listed.around(place) for place in range(4)]


def test_without_the_embeddings_another_visit_is_refused():
    known = counted(np.array([1.0, 2.0, 3.0], np.float32), [1.0], [], NoMoreVisits())
    for ask in (lambda: known.at(1), lambda: known.around(2), lambda: known.below(np.array([2.5]))):
        with pytest.raises(ValueError, match="the embeddings were let go"):
            ask()


def test_the_first_float32_that_reaches_a_limit():
    lower = np.float32(0.1)
    upper = np.nextafter(lower, np.float32(1))
    between = (float(lower) + float(upper)) / 2
    assert first_float32_from([float(lower), between, float(upper)]).tolist() == [lower, upper, upper]
    assert first_float32_from([1e39, -1e39, -math.inf]).tolist() == [math.inf, -np.finfo(np.float32).max, -math.inf]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_listed_scores_fall_into_the_bins_that_numpy_makes(kind):
    for seed in range(20):
        g = np.random.default_rng(seed)
        scores = np.sort(np.round(g.normal(size=500), 1 + seed % 3).astype(kind))
        low, high = float(scores[0]) - (seed % 2), float(scores[-1]) + (seed % 2)
        edges, counts = Listed(scores).histogram(low, high, 10 + seed)
        expected, at = np.histogram(scores, 10 + seed, (low, high))
        np.testing.assert_array_equal(counts, expected)
        np.testing.assert_array_equal(edges, at)


@pytest.mark.parametrize(
    "ends", [(-1e308, 1e308), (1e308, np.nextafter(1e308, np.inf)), (0.0, 5e-324), (-1.7e308, 0.0)]
)
def test_ends_at_the_limits_of_float64_have_a_histogram(ends):
    scores = np.sort(np.array([ends[0], ends[0], ends[1]]))
    edges, counts = Listed(scores).histogram(*ends, 8)
    assert (edges[0], edges[-1]) == ends
    assert (np.diff(edges) >= 0).all()
    assert counts.sum() == 3
    assert counts[-1] >= 1
