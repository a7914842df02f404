"""Tables of the counting kernels, in which larger scores never land in earlier cells, and the kernels themselves."""

import itertools

import numpy as np
import pytest

from triune.kernels import counting_cpu

SPANS = ((-1.0, 1.0), (-0.3, 0.9), (0.5, 0.5), (-1e-38, 1e-38), (-3e38, 3e38), (1.0, 1.0 + 1e-6), (-1e4, 0.0))


def scores_of_a_span(low, high, g):
    """Scores on, beside and between evenly spaced places, and far outside; ascending."""
    places = np.linspace(low, high, 1025)
    values = np.concatenate(
        [places, g.uniform(low, high, 5000), [low - 1, high + 1, -3e38, 3e38, -np.inf, np.inf, 0.0]]
    )
    near = values.astype(np.float32)
    beside = [np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf)]
    return np.sort(np.concatenate([near, *beside]))


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("knots", ["few", "many", "in one place"])
@pytest.mark.parametrize("keeping", [False, True])
def test_larger_scores_never_lie_in_earlier_cells(span, knots, keeping):
    low, high = span
    g = np.random.default_rng(0)
    among = {
        "few": g.uniform(low, high, 3),
        "many": g.uniform(low, high, 200_000),
        "in one place": g.uniform(low, low + (high - low) / 1000, 50_000),
    }[knots]
    scores = scores_of_a_span(low, high, g)
    keep = [(low, float(np.float32((low + high) / 2)))] if keeping else []
    table = counting_cpu.tables(np.unique(among.astype(np.float32)), low, high, keep, among.astype(np.float32))
    assert np.isfinite(table.pieces).all()
    cells = counting_cpu.cells_of(scores, table)
    assert (np.diff(cells) >= 0).all()
    assert cells[0] == 0
    assert cells[-1] == len(table.kept) - 1 <= counting_cpu.CELLS[1] + counting_cpu.EVEN_CELLS + 2 * counting_cpu.PIECES
    # Whatever lies in an earlier cell is smaller: the knots before a cell are below all its scores.
    knots_before = table.before[cells]
    assert (table.knots[np.maximum(knots_before - 1, 0)][knots_before > 0] < scores[knots_before > 0]).all()
    if keeping:
        inside = (scores >= np.float32(keep[0][0])) & (scores <= np.float32(keep[0][1]))
        assert table.kept[cells[inside]].all()


@pytest.mark.parametrize("span", SPANS)
def test_the_lowest_score_of_a_cell(span):
    g = np.random.default_rng(0)
    low, high = span
    knots = np.unique(g.uniform(low, high, 5000).astype(np.float32))
    table = counting_cpu.tables(knots, low, high, [], knots)
    cells = np.unique(counting_cpu.cells_of(scores_of_a_span(low, high, g), table))[1:]
    lowest = counting_cpu.lowest_of(cells, table)
    assert (counting_cpu.cells_of(lowest, table) >= cells).all()
    assert (counting_cpu.cells_of(np.nextafter(lowest, np.float32(-np.inf)), table) < cells).all()


def test_the_outline_is_a_histogram():
    g = np.random.default_rng(0)
    scores = g.normal(size=20_000).astype(np.float32)
    table = counting_cpu.tables(np.sort(scores[:50]), -3.0, 3.0, [], scores)
    counts = np.bincount(counting_cpu.cells_of(scores, table), minlength=len(table.kept))
    edges, outlined = counting_cpu.outline(table, counts)
    wide = np.concatenate([[-np.inf], edges[1:-1], [np.inf]])
    np.testing.assert_array_equal(outlined, np.histogram(scores, wide)[0])
    assert 800 < len(outlined) <= counting_cpu.EVEN_CELLS
    assert np.diff(edges)[1:-1].max() < 3 * np.diff(edges)[1:-1].min()


def test_pieces_are_the_best_there_are():
    g = np.random.default_rng(0)
    joints, crowd = np.cumsum(g.uniform(0.1, 1, 12)), g.uniform(0, 1, 11) ** 8

    def cost(*starts):
        ends = [*starts[1:], 11]
        return sum(np.sqrt(crowd[a:b].sum() * (joints[b] - joints[a])) for a, b in zip(starts, ends, strict=True))

    best = min(cost(0, *rest) for rest in itertools.combinations(range(1, 11), counting_cpu.PIECES - 1))
    assert cost(*counting_cpu._pieces(joints, crowd)) == pytest.approx(best)
    assert list(counting_cpu._pieces(joints[:3], crowd[:2])) == [0, 1]


def test_few_scores_meet_a_knot_in_their_cell():
    """Both crowd in one place of a long range, where hardly a cell of even width would be without a knot."""
    g = np.random.default_rng(1)
    knots = np.unique(g.normal(0, 0.01, 20_000).astype(np.float32))
    scores = g.normal(0, 0.01, 100_000).astype(np.float32)
    table = counting_cpu.tables(knots, -5.0, 5.0, [], scores[:10_000])
    met = table.marked()[counting_cpu.cells_of(scores, table)].mean()
    evenly = np.floor(knots * len(table.kept) / 10), np.floor(scores * len(table.kept) / 10)
    assert met < 0.12
    assert np.isin(evenly[1], evenly[0]).mean() > 0.9


@pytest.mark.parametrize("scale", [0.25, 1e-3])
def test_no_more_is_kept_than_is_worth_it(scale):
    """Bands of a thousandth of the scores, among scores that fill the range and in a narrow peak of it."""
    g = np.random.default_rng(2)
    scores = (scale * g.normal(size=1_000_000)).astype(np.float32)
    sample, keep = scores[:100_000], []
    for place in (0.5, 0.95, 0.99):
        low, high = np.quantile(sample, [place - 0.0005, place + 0.0005])
        keep.append((float(low), float(high)))
    for knots in (np.float32([0.5]), np.unique(scores[:5000])):
        table = counting_cpu.tables(knots, -1.0, 1.0, keep, sample)
        kept = table.kept[counting_cpu.cells_of(scores, table)].mean()
        assert 0.0025 < kept < 0.006


def test_cells_grow_in_number_where_scores_meet_knots():
    g = np.random.default_rng(1)
    knots = np.unique(g.normal(0, 1, 20_000).astype(np.float32))
    apart, meeting = g.normal(-20, 1, 10_000).astype(np.float32), g.normal(0, 1, 10_000).astype(np.float32)
    few = counting_cpu.tables(knots, -25, 5, [], apart)
    many = counting_cpu.tables(knots, -25, 5, [], meeting)
    assert len(few.kept) <= 2 * counting_cpu.CELLS[0] + counting_cpu.EVEN_CELLS
    assert len(many.kept) > 8 * len(few.kept)


def test_the_kernel_and_the_tables_agree_on_every_cell():
    g = np.random.default_rng(2)
    knots = np.unique(g.normal(size=300).astype(np.float32))
    scores = g.normal(size=(4, 700)).astype(np.float32)
    scores[0, :300] = np.resize(knots, 300)
    table = counting_cpu.tables(knots, -2.0, 2.0, [(0.5, 1.0)], scores.ravel())
    state = counting_cpu.fresh_state(table, 700, scores.size)
    spans = np.zeros((4, 3), np.int64)
    none = np.empty(0, np.int64)
    counting_cpu.count_rows(scores, 0, 0, spans, (none, none), table, state)
    counting_cpu.finish(table, state)
    expected = np.bincount(counting_cpu.cells_of(scores.ravel(), table), minlength=len(table.kept))
    np.testing.assert_array_equal(counting_cpu.emptied_cells(table, state), expected)
    assert not counting_cpu.emptied_cells(table, state).any()
    marked = scores.ravel()[table.marked()[counting_cpu.cells_of(scores.ravel(), table)]]
    np.testing.assert_array_equal(state.rank, np.bincount(np.searchsorted(knots, marked), minlength=len(table.knots)))
    kept = scores.ravel()[table.kept[counting_cpu.cells_of(scores.ravel(), table)]]
    np.testing.assert_array_equal(np.sort(state.kept[: state.kept_count[0]]), np.sort(kept))
    assert state.tied.sum() == np.isin(scores, knots).sum()


@pytest.mark.parametrize("rows", [1, 40, 70, 150])
@pytest.mark.parametrize("value", [0.25, 0.5, 0.75])
def test_counters_of_16_bits_do_not_lose_scores_that_all_fall_into_one_cell(rows, value):
    """Up to 150 · 1,000 equal scores: in a cell with a knot (0.5), in one without, and in one that is kept."""
    knots = np.array([0.5], np.float32)
    table = counting_cpu.tables(knots, 0.0, 1.0, [(0.7, 0.8)], np.linspace(0, 1, 1000, dtype=np.float32))
    state = counting_cpu.fresh_state(table, 1000, rows * 1000)
    scores = np.full((rows, 1000), value, np.float32)
    scores[:, 500] = 0.1
    none = np.empty(0, np.int64)
    counting_cpu.count_rows(scores, 0, 0, np.zeros((rows, 3), np.int64), (none, none), table, state)
    counting_cpu.finish(table, state)
    counts = counting_cpu.emptied_cells(table, state)
    first, second = counting_cpu.cells_of(np.array([0.1, value], np.float32), table)
    assert (counts[first], counts[second], counts.sum()) == (rows, rows * 999, rows * 1000)
    assert state.tied[0] == state.rank[0] == (rows * 999 if value == 0.5 else 0)
    assert state.kept_count[0] == (rows * 999 if value == 0.75 else 0)


def test_scores_that_wait_are_ranked_in_the_middle_of_a_row():
    """Scores crowd in a few bins, whose waiting rooms fill up many times, mostly within a row."""
    g = np.random.default_rng(3)
    knots = np.unique(g.uniform(0.4, 0.41, 20_000).astype(np.float32))
    scores = g.uniform(0.4, 0.4001, size=(120, 1000)).astype(np.float32)
    scores[:, ::2] = g.choice(knots[knots < 0.4001], size=(120, 500))
    table = counting_cpu.tables(knots, 0.0, 1.0, [], g.uniform(0.4, 0.41, 10_000).astype(np.float32))
    state = counting_cpu.fresh_state(table, 1000, 0)
    none = np.empty(0, np.int64)
    counting_cpu.count_rows(scores, 0, 0, np.zeros((120, 3), np.int64), (none, none), table, state)
    counting_cpu.finish(table, state)
    cells = counting_cpu.cells_of(scores.ravel(), table)
    marked = scores.ravel()[table.marked()[cells]]
    assert np.bincount(cells[table.marked()[cells]] >> table.shift).max() > 3 * counting_cpu.WAITING
    np.testing.assert_array_equal(
        counting_cpu.emptied_cells(table, state), np.bincount(cells, minlength=len(table.kept))
    )
    np.testing.assert_array_equal(state.rank, np.bincount(np.searchsorted(knots, marked), minlength=len(table.knots)))
    equal = marked[np.isin(marked, knots)]
    np.testing.assert_array_equal(state.tied, np.bincount(np.searchsorted(knots, equal), minlength=len(table.knots)))
