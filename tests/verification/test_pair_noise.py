"""Accepted pairs counted by identity, and the variance that pairs of resampled identities have of their own."""

import itertools

import numpy as np
import pytest

from examples import score
from triune.pairs.prepared import prepare
from triune.verification import pair_noise
from triune.verification.pair_noise import accepted_by_identity, as_knot, identity_turns, without_pair_noise
from triune.verification.weighing import draw_weights


def example(n=40, identities=7, seed=0):
    """Whole numbers, whose squared distances are exact in every type."""
    g = np.random.default_rng(seed)
    return g.integers(-2, 3, (n, 3)).astype(np.float32), g.integers(0, identities, n), g.integers(0, 3, n)


def collected(parts, shape):
    """The counts of all turns as two matrices (G, G)."""
    accepted, pairs = np.full((2, *shape), np.nan)
    for own, a, n in parts:
        assert np.isnan(accepted[own]).all(), "each identity in one turn"
        accepted[own], pairs[own] = a, n
    return accepted, pairs


@pytest.mark.parametrize("cells", [7, 1 << 20])
@pytest.mark.parametrize("grouped", [False, True])
def test_pairs_of_one_set_are_counted_once_the_lower_identity_first(monkeypatch, cells, grouped):
    monkeypatch.setattr(pair_noise, "BLOCK_CELLS", cells)
    x, labels, groups = example()
    items = prepare(x, labels, metric="squared_euclidean", groups=groups if grouped else None)
    expected = np.zeros((2, 7, 7))
    for i, j in itertools.combinations(range(len(x)), 2):
        if not (grouped and groups[i] == groups[j]):
            place = min(labels[i], labels[j]), max(labels[i], labels[j])
            expected[1][place] += 1
            expected[0][place] += score(x[i], x[j], "squared_euclidean") >= -4
    parts = accepted_by_identity(items, items, -4.0, identity_turns(7, 0, None))
    np.testing.assert_array_equal(collected(parts, (7, 7)), expected)


@pytest.mark.parametrize("cells", [7, 1 << 20])
def test_pairs_between_two_parts_of_a_set_are_counted_by_both_identities(monkeypatch, cells):
    monkeypatch.setattr(pair_noise, "BLOCK_CELLS", cells)
    x, labels, _ = example()
    items = prepare(x, labels, metric="squared_euclidean")
    rows, columns = np.flatnonzero(items.codes != 3)[::2], np.flatnonzero(items.codes > 0)[1::2]
    one, other = items.take(rows), items.take(columns)  # both lack an identity that the other has
    expected = np.zeros((2, 7, 7))
    for i, j in itertools.product(items.order[rows], items.order[columns]):
        expected[1][labels[i], labels[j]] += 1
        expected[0][labels[i], labels[j]] += score(x[i], x[j], "squared_euclidean") >= -4
    parts = accepted_by_identity(one, other, -4.0, identity_turns(7, 0, None))
    np.testing.assert_array_equal(collected(parts, (7, 7)), expected)


@pytest.mark.parametrize("identities", [1, 5, 64, 1000])
@pytest.mark.parametrize("processes", [1, 3])
def test_turns_of_all_processes_hold_every_identity_once(monkeypatch, identities, processes):
    for turn in (0, 1, 5):
        held = []
        for rank in range(processes):
            monkeypatch.setattr(pair_noise, "rank_and_size", lambda group, rank=rank: (rank, processes))
            own = identity_turns(identities, turn, None)
            held += [identity for run in own for identity in range(identities)[run]]
            if rank == turn % processes:
                assert own[0].start == 0
        assert sorted(held) == list(range(identities))


def test_a_turn_holds_no_more_cells_than_fit(monkeypatch):
    monkeypatch.setattr(pair_noise, "BLOCK_CELLS", 3000)
    assert max(run.stop - run.start for run in identity_turns(1000, 0, None)) == 3


def test_where_every_pair_of_identities_has_its_own_chance_the_spread_is_that_of_a_sample_of_pairs():
    """Resampled rates vary three times as much as such a sample does; without the noise of pairs they do not."""
    g = np.random.default_rng(0)
    identities, chance = 80, 0.2
    first, second = np.triu_indices(identities, 1)
    truth = chance * (1 - chance) / len(first)
    plain, mended = [], []
    for seed in range(10):
        accepted = g.random(len(first)) < chance
        weights = draw_weights(identities, 400, seed).astype(np.float64)
        both = weights[first] * weights[second]
        rates = (both * accepted[:, None]).sum(0) / both.sum(0)
        noise = np.square(accepted - accepted.mean()).sum() / len(first) ** 2
        found = without_pair_noise(rates, noise)
        assert found[0] == rates[0] == accepted.mean()
        plain.append(rates[1:].var() / truth)
        mended.append(found[1:].var() / truth)
    assert np.mean(plain) == pytest.approx(3, rel=0.15)
    assert np.mean(mended) == pytest.approx(1, rel=0.15)


def test_the_spread_is_drawn_in_by_twice_the_noise_but_never_below_the_noise():
    rates = np.array([0.3, 0.1, 0.2, 0.5, 0.4])
    spread = rates[1:].var()
    for share, left in ((0.0, 1.0), (0.1, 0.8), (1 / 3, 1 / 3), (0.45, 0.45), (5.0, 1.0)):
        found = without_pair_noise(rates, share * spread)
        assert found[1:].var() == pytest.approx(left * spread)
        assert found[0] == 0.3


def test_rates_that_do_not_vary_or_are_not_defined_stay():
    for rates in (np.array([0.2, 0.2, 0.2]), np.array([0.2, np.nan, np.nan]), np.array([0.2])):
        np.testing.assert_array_equal(without_pair_noise(rates, 0.01), rates)
    assert np.isnan(without_pair_noise(np.array([0.2, np.nan, 0.1, 0.3]), 1e-4)).tolist() == [False, True, False, False]


@pytest.mark.parametrize("threshold", [0.1, 0.3, -0.7, 1 / 3, 0.5, 1e-46, -1e-46, np.inf, -np.inf])
def test_a_knot_is_the_least_score_that_the_threshold_accepts(threshold):
    knot = as_knot(threshold, np.float32)
    assert knot.dtype == np.float32
    assert float(knot) >= threshold
    assert float(np.nextafter(knot, np.float32(-np.inf))) < threshold or threshold == -np.inf
    assert as_knot(threshold, np.float64) == threshold
