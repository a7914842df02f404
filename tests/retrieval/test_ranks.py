"""Ranks of relevant items against full rankings, on each of the ways in which they are found."""

import numpy as np
import pytest

from examples import tiles_of
from oracles import brute_rankings, brute_scores, left_out_of_rankings
from triune.pairs import tiles
from triune.retrieval import ranks
from triune.retrieval.ranks import cumulative_match, identity_runs, ranks_by_sorting, relevant_ranks


@pytest.fixture(params=["all at once", "by slabs", "sorted by torch"])
def find(request, monkeypatch):
    """The three ways that ranks are found, in tiles so small that there are many."""
    monkeypatch.setattr(tiles, "ROWS", 8)
    monkeypatch.setattr(tiles, "COLUMNS", 12)
    if request.param == "sorted by torch":
        monkeypatch.setattr(ranks, "SORTED", 200)
        return lambda pairs: ranks_by_sorting(pairs, identity_runs(pairs))
    if request.param == "by slabs":
        monkeypatch.setattr(ranks, "LISTED", 40)
    return relevant_ranks


def example(n=60, d=6, classes=8, seed=0):
    g = np.random.default_rng(seed)
    y = g.integers(0, classes, n)
    return (g.normal(size=(n, d)) + 0.8 * np.eye(classes, d)[y]).astype(np.float32), y


def listed(parts, count):
    """Of each query, the ranks of its relevant items; every query once."""
    found = {}
    for part in parts:
        assert part.relevant.tolist() == part.found.tolist()
        assert len(part.rank) == part.found.sum()
        for query, own in zip(part.query.tolist(), np.split(part.rank, np.cumsum(part.found)[:-1])):
            assert query not in found
            found[query] = own.tolist()
    assert sorted(found) == list(range(count))
    return found


def by_definition(x, y, g, gy, metric, *, one_set, **rule):
    rankings = brute_rankings(brute_scores(x, g, metric), left_out_of_rankings(y, gy, one_set=one_set, **rule))
    return {i: [rank for rank, j in enumerate(ranking, start=1) if gy[j] == y[i]] for i, ranking in enumerate(rankings)}


@pytest.mark.parametrize("grouped", [None, "matches", "pairs"])
@pytest.mark.parametrize("one_set", [True, False])
@pytest.mark.parametrize(("metric", "tied"), [("cosine", False), ("euclidean", False), ("squared_euclidean", True)])
def test_ranks_are_those_of_the_full_ranking(find, one_set, grouped, metric, tied):
    x, y = example()
    y[5] = 77  # an identity of its own: nothing to find
    g, gy = (x, y) if one_set else example(45, classes=6, seed=1)
    if tied:
        x, g = np.round(x), np.round(g)
    given = {"metric": metric} | ({} if one_set else {"gallery": g, "gallery_labels": gy})
    rule = {}
    if grouped:
        cameras, theirs = np.arange(len(x)) % 3, np.arange(len(g)) % 3
        given |= {"groups": cameras, "exclude": grouped} | ({} if one_set else {"gallery_groups": theirs})
        rule = {"groups": cameras, "gallery_groups": theirs, "exclude": grouped}
    expected = by_definition(x, y, g, gy, metric, one_set=one_set, **rule)
    assert listed(find(tiles_of(x, y, **given)), len(x)) == expected


@pytest.mark.parametrize("seed", range(8))
def test_ranks_of_odd_sets_are_those_of_the_full_ranking(find, seed):
    """Few or many items, classes of very unequal sizes, duplicates, all scores tied."""
    g = np.random.default_rng(seed)
    n = int(g.integers(2, 70))
    y = np.sort(g.geometric(0.3, n)) if seed % 2 else g.integers(0, 3, n)
    y[: 1 + n // 4] = 0
    x = g.integers(-1, 2, (n, 3)).astype(np.float32) if seed % 4 else np.ones((n, 3), np.float32)
    expected = by_definition(x, y, x, y, "squared_euclidean", one_set=True)
    assert listed(find(tiles_of(x, y, metric="squared_euclidean")), n) == expected


def test_many_relevant_items_are_searched_by_halves():
    x, y = example(300, classes=2)
    assert listed(relevant_ranks(tiles_of(x, y)), 300) == by_definition(x, y, x, y, "cosine", one_set=True)


def test_slabs_of_queries_are_whole_tiles_and_hold_about_so_many_relevant_pairs(monkeypatch):
    monkeypatch.setattr(tiles, "ROWS", 8)
    monkeypatch.setattr(ranks, "LISTED", 200)
    x, y = example(90, classes=9)
    parts = list(relevant_ranks(tiles_of(x, y)))
    assert len(parts) > 3
    assert all(len(part.query) % 8 == 0 for part in parts[:-1])
    assert all(len(part.rank) <= 200 for part in parts)


def test_the_cumulative_match_curve_counts_first_ranks():
    first_rank = np.array([1, 3, 3, 7, 1 << 62])
    assert cumulative_match(first_rank, 4).tolist() == [0.2, 0.2, 0.6, 0.6]
    assert cumulative_match(first_rank, 8).tolist() == [0.2, 0.2, 0.6, 0.6, 0.6, 0.6, 0.8, 0.8]
    assert cumulative_match(first_rank, 1).tolist() == [0.2]
    with pytest.raises(ValueError, match="depth of the curve is 0: ranks start at 1"):
        cumulative_match(first_rank, 0)
