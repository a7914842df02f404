"""The kernels behind ranks, one by one, against full sorting of small tiles."""

import itertools

import numpy as np
import pytest

from triune.kernels import ranking_cpu
from triune.kernels.ranking_cpu import EXCLUDED, FEW, key_of


def bits_of(scores):
    return np.asarray(scores, np.float32).view(np.int32)


def test_a_key_stands_higher_for_the_better_score_and_of_equal_ones_for_the_lower_row():
    scores = np.array([-np.inf, -3e38, -1.5, -1e-45, -0.0, 0.0, 1e-45, 0.25, 1.0, 3e38, np.inf], np.float32)
    pairs = list(itertools.product(range(len(scores)), (0, 1, 2**31)))
    keys = {pair: int(key_of(bits_of(scores)[pair[0]], pair[1])) for pair in pairs}
    for (i, row), (j, other) in itertools.combinations(pairs, 2):
        if scores[i] == scores[j] and row == other:
            assert keys[i, row] == keys[j, other]  # -0 and 0
        else:
            first_is_better = (scores[i], -row) > (scores[j], -other)
            assert (keys[i, row] > keys[j, other]) == first_is_better
    assert max(keys.values()) < EXCLUDED


class Example:
    """Queries and items sorted by label, some pairs within a group, many scores tied."""

    def __init__(self, *, one_set, grouped, classes=4, seed=0):
        g = np.random.default_rng(seed)
        self.labels = np.sort(g.integers(0, classes, 23))
        self.items = self.labels if one_set else np.sort(g.integers(0, classes + 1, 31))
        scores = g.integers(-3, 4, (len(self.labels), len(self.items))).astype(np.float32)
        self.scores = np.triu(scores) + np.triu(scores, 1).T if one_set else scores
        self.orders = (g.permutation(len(self.labels)), g.permutation(len(self.items)))
        if one_set:
            self.orders = (self.orders[0], self.orders[0])
        empty = np.empty(0, np.int64)
        self.groups = (np.arange(len(self.labels)) % 3, np.arange(len(self.items)) % 3) if grouped else (empty, empty)
        self.one_set = one_set
        self.runs = np.stack([np.searchsorted(self.items, self.labels, side=side) for side in ("left", "right")], 1)
        sizes = self.runs[:, 1] - self.runs[:, 0] - one_set
        self.begin = np.concatenate([[0], np.cumsum(sizes)])

    def counts(self, query, item):
        """Whether an item stands in the ranking of a query."""
        if self.one_set and item == query:
            return False
        return not len(self.groups[0]) or self.groups[0][query] != self.groups[1][item]

    def expected(self):
        """Of each query the ranks of its relevant items, by sorting all of its items."""
        found = []
        for query in range(len(self.labels)):
            listed = [item for item in range(len(self.items)) if self.counts(query, item)]
            listed.sort(key=lambda item: (-self.scores[query, item], self.orders[1][item]))
            same = [self.items[item] == self.labels[query] for item in listed]
            found.append([rank for rank, hit in enumerate(same, start=1) if hit])
        return found

    def ranks(self, *, symmetric, tile=(7, 9)):
        """The same by the kernels, tile by tile."""
        count = len(self.labels)
        keys = np.zeros(self.begin[-1], np.int64)
        ahead = np.zeros(self.begin[-1], np.uint32)
        counts, worst = np.zeros(count, np.int64), np.zeros(count, np.float32)
        tiles = [
            (row, column, np.ascontiguousarray(self.scores[row : row + tile[0], column : column + tile[1]]))
            for row in range(0, count, tile[0])
            for column in range(0, len(self.items), tile[1])
        ]
        place = (self.runs, self.groups, self.orders)
        for row, column, scores in tiles:
            bits = scores.view(np.int32)
            ranking_cpu.relevant_keys(bits, row, column, *place, self.one_set, symmetric, self.begin, keys)
        ranking_cpu.sort_keys(self.begin, keys, 0, counts, worst)
        chosen = np.empty(tile[1], np.uint32)
        for row, column, scores in tiles:
            if symmetric and column + scores.shape[1] <= row:
                continue  # below the diagonal
            found = (scores, scores.view(np.int32), row, column, *place, symmetric, self.begin, keys)
            ranking_cpu.count_ahead(*found, counts, worst, ahead, chosen)
        ranks = np.zeros(counts.sum(), np.int64)
        ranking_cpu.to_ranks(self.begin, 0, counts, ahead, ranks)
        return [part.tolist() for part in np.split(ranks, np.cumsum(counts)[:-1])], worst


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("one_set", "symmetric"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("classes", [1, 2, 6])  # with few classes, more relevant items than are counted one by one
def test_ranks_are_those_of_sorting_every_item(one_set, symmetric, grouped, classes):
    example = Example(one_set=one_set, grouped=grouped, classes=classes)
    assert example.ranks(symmetric=symmetric)[0] == example.expected()


def test_the_worst_relevant_score_is_noted_and_is_infinite_where_nothing_is_relevant():
    example = Example(one_set=True, grouped=False, classes=9)
    worst = example.ranks(symmetric=False)[1]
    for query, label in enumerate(example.labels):
        own = [example.scores[query, i] for i, other in enumerate(example.items) if other == label and i != query]
        assert worst[query] == min(own, default=np.inf)


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 100])
def test_an_item_is_counted_ahead_of_as_many_relevant_ones_as_score_less(count):
    """One query, whose relevant items come first; the others between them, on them and outside."""
    relevant = np.arange(count, dtype=np.float32)
    others = np.concatenate([[-1.0, count + 1.0], relevant, relevant + 0.5]).astype(np.float32)
    scores = np.concatenate([relevant, others])[None, :]
    begin, keys, counts = np.array([0, count]), np.zeros(count, np.int64), np.zeros(1, np.int64)
    place = (np.array([[0, count]]), (np.empty(0, np.int64),) * 2, (np.arange(1), np.arange(scores.shape[1])))
    worst, ahead = np.zeros(1, np.float32), np.zeros(count, np.uint32)
    ranking_cpu.relevant_keys(scores.view(np.int32), 0, 0, *place, False, False, begin, keys)
    ranking_cpu.sort_keys(begin, keys, 0, counts, worst)
    chosen = np.empty(scores.shape[1], np.uint32)
    ranking_cpu.count_ahead(
        scores, scores.view(np.int32), 0, 0, *place, False, begin, keys, counts, worst, ahead, chosen
    )
    # Of equal scores the relevant item stands ahead: its row is lower.
    passed = [(relevant < score).sum() for score in others]
    assert ahead.tolist() == [passed.count(u) for u in range(1, count + 1)]


def test_shared_weight_is_the_sum_of_the_smaller_weights():
    g = np.random.default_rng(3)
    queries, gallery = (g.random((n, 12)) * (g.random((n, 12)) < 0.4) for n in (5, 8))
    begin = np.concatenate([[0], np.cumsum((queries > 0).sum(1))])
    top = np.concatenate([[0], np.cumsum((gallery > 0).sum(0))])
    rows = np.nonzero(gallery.T)[1]
    shared = np.zeros((5, 8))
    ranking_cpu.shared_weight(
        begin, np.nonzero(queries)[1], queries[queries > 0], top, rows, gallery.T[gallery.T > 0], shared
    )
    expected = np.minimum(queries[:, None], gallery[None]).sum(2)
    np.testing.assert_allclose(shared, expected, rtol=1e-12)
