"""Tables of the counting kernels: a score lands in a cell of its own bin, and larger scores never in earlier cells."""

import numpy as np
import pytest

from triune.functional.kernels import counting

SPANS = ((-1.0, 1.0), (-0.3, 0.9), (0.5, 0.5), (-1e-38, 1e-38), (-3e38, 3e38), (1.0, 1.0 + 1e-6), (-1e4, 0.0))


def edges_and_between(low, high, g):
    """Scores on, beside and between the edges of all bins, and far outside."""
    edges = np.linspace(low, high, counting.BINS + 1)
    values = np.concatenate([edges, g.uniform(low, high, 5000), [low - 1, high + 1, -3e38, 3e38, -np.inf, np.inf, 0.0]])
    near = values.astype(np.float32)
    beside = [np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf)]
    return np.sort(np.concatenate([near, *beside]))


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("knots", ["few", "many", "in one bin"])
@pytest.mark.parametrize("keeping", [False, True])
def test_scores_stay_in_their_bins(span, knots, keeping):
    low, high = span
    g = np.random.default_rng(0)
    among = {
        "few": g.uniform(low, high, 3),
        "many": g.uniform(low, high, 200_000),
        "in one bin": g.uniform(low, low + (high - low) / counting.BINS, 50_000),
    }[knots]
    scores = edges_and_between(low, high, g)
    keep = [(low, float(np.float32((low + high) / 2)))] if keeping else []
    table = counting.tables(np.unique(among.astype(np.float32)), low, high, keep, among.astype(np.float32))
    cells = counting.cells_of(scores, table)
    bins = np.searchsorted(table.begin, cells, side="right") - 1
    own = np.minimum(
        np.clip(scores - table.low, np.float32(0), table.top) * table.scale, np.float32(counting.BINS - 1)
    ).astype(int)
    np.testing.assert_array_equal(bins, own)
    assert (np.diff(cells) >= 0).all()
    # Whatever lies in an earlier cell is smaller: the knots before a cell are below all its scores.
    knots_before = table.before[cells]
    assert (table.knots[np.maximum(knots_before - 1, 0)][knots_before > 0] < scores[knots_before > 0]).all()
    assert table.begin[-1] <= counting.CELLS[1] + counting.BINS * counting.KEPT_BIN_CELLS
    if keeping:
        inside = (scores >= np.float32(keep[0][0])) & (scores <= np.float32(keep[0][1]))
        assert table.kept[cells[inside]].all()


def test_cells_grow_in_number_where_scores_meet_knots():
    g = np.random.default_rng(1)
    knots = np.unique(g.normal(0, 1, 20_000).astype(np.float32))
    apart, meeting = g.normal(-20, 1, 10_000).astype(np.float32), g.normal(0, 1, 10_000).astype(np.float32)
    few = counting.tables(knots, -25, 5, [], apart)
    many = counting.tables(knots, -25, 5, [], meeting)
    assert len(few.kept) <= 2 * counting.CELLS[0] + counting.BINS
    assert len(many.kept) > 8 * len(few.kept)


def test_the_kernel_and_the_tables_agree_on_every_cell():
    g = np.random.default_rng(2)
    knots = np.unique(g.normal(size=300).astype(np.float32))
    scores = g.normal(size=(4, 700)).astype(np.float32)
    scores[0, :300] = np.resize(knots, 300)
    table = counting.tables(knots, -2.0, 2.0, [(0.5, 1.0)], scores.ravel())
    state = counting.fresh_state(table, 700, scores.size)
    spans = np.zeros((4, 3), np.int64)
    none = np.empty(0, np.int64)
    counting.count_rows(scores, 0, 0, spans, (none, none), table, state)
    counting.finish(table, state)
    expected = np.bincount(counting.cells_of(scores.ravel(), table), minlength=len(table.kept))
    np.testing.assert_array_equal(counting.emptied_cells(table, state), expected)
    assert not counting.emptied_cells(table, state).any()
    marked = scores.ravel()[table.marked()[counting.cells_of(scores.ravel(), table)]]
    np.testing.assert_array_equal(state.rank, np.bincount(np.searchsorted(knots, marked), minlength=len(table.knots)))
    kept = scores.ravel()[table.kept[counting.cells_of(scores.ravel(), table)]]
    np.testing.assert_array_equal(np.sort(state.kept[: state.kept_count[0]]), np.sort(kept))
    assert state.tied.sum() == np.isin(scores, knots).sum()


@pytest.mark.parametrize("rows", [1, 40, 70, 150])
@pytest.mark.parametrize("value", [0.25, 0.5, 0.75])
def test_counters_of_16_bits_do_not_lose_scores_that_all_fall_into_one_cell(rows, value):
    """Up to 150 · 1,000 equal scores: in a cell with a knot (0.5), in one without, and in one that is kept."""
    knots = np.array([0.5], np.float32)
    table = counting.tables(knots, 0.0, 1.0, [(0.7, 0.8)], np.linspace(0, 1, 1000, dtype=np.float32))
    state = counting.fresh_state(table, 1000, rows * 1000)
    scores = np.full((rows, 1000), value, np.float32)
    scores[:, 500] = 0.1
    none = np.empty(0, np.int64)
    counting.count_rows(scores, 0, 0, np.zeros((rows, 3), np.int64), (none, none), table, state)
    counting.finish(table, state)
    counts = counting.emptied_cells(table, state)
    first, second = counting.cells_of(np.array([0.1, value], np.float32), table)
    assert (counts[first], counts[second], counts.sum()) == (rows, rows * 999, rows * 1000)
    assert state.tied[0] == state.rank[0] == (rows * 999 if value == 0.5 else 0)
    assert state.kept_count[0] == (rows * 999 if value == 0.75 else 0)


def test_scores_that_wait_are_ranked_in_the_middle_of_a_row():
    """Every cell is marked, and a bin's waiting room fills up many times, mostly within a row."""
    g = np.random.default_rng(3)
    knots = np.unique(g.uniform(0.4, 0.41, 20_000).astype(np.float32))
    scores = g.uniform(0.4, 0.41, size=(60, 1000)).astype(np.float32)
    scores[:, ::7] = g.choice(knots, size=(60, 143))
    table = counting.tables(knots, 0.0, 1.0, [], scores.ravel())
    state = counting.fresh_state(table, 1000, 0)
    none = np.empty(0, np.int64)
    counting.count_rows(scores, 0, 0, np.zeros((60, 3), np.int64), (none, none), table, state)
    counting.finish(table, state)
    cells = counting.cells_of(scores.ravel(), table)
    marked = scores.ravel()[table.marked()[cells]]
    assert len(marked) > 40 * counting.WAITING
    np.testing.assert_array_equal(counting.emptied_cells(table, state), np.bincount(cells, minlength=len(table.kept)))
    np.testing.assert_array_equal(state.rank, np.bincount(np.searchsorted(knots, marked), minlength=len(table.knots)))
    equal = marked[np.isin(marked, knots)]
    np.testing.assert_array_equal(state.tied, np.bincount(np.searchsorted(knots, equal), minlength=len(table.knots)))
