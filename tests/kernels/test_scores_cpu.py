"""Scores by the CPU kernels against loops in float64."""

import numpy as np
import pytest

from triune.kernels import scores_cpu


def rows(seed, n, d=7):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize("dot", [False, True])
def test_listed_pairs_are_products_or_minus_squared_distances(dot):
    x, y = rows(0, 20), rows(1, 30)
    g = np.random.default_rng(2)
    i, j = g.integers(0, 20, 50), g.integers(0, 30, 50)
    a, b = x[i].astype(np.float64), y[j].astype(np.float64)
    expected = (a * b).sum(1) if dot else -np.square(a - b).sum(1)
    np.testing.assert_allclose(scores_cpu.scores_of_pairs(x, y, i, j, dot), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dot", "root"), [(True, False), (False, False), (False, True)])
@pytest.mark.parametrize("k", [1, 5, 8])
def test_candidates_of_a_query_are_scored_as_pairs_the_best_first_and_what_is_none_below_all(dot, root, k):
    x, queries = rows(0, 20), rows(1, 5)
    places = np.stack([np.random.default_rng(seed).permutation(20)[:8] for seed in range(5)])
    places[2, 3:] = -1
    names = np.where(places < 0, -1, 1000 + places)
    scores, found = scores_cpu.best_candidates(x, queries, places, names, k, dot, root)
    for query, of_places, of_names, of_scores, its in zip(queries.astype(np.float64), places, names, scores, found):
        a = x[of_places].astype(np.float64)
        squares = np.square(a - query).sum(1)
        expected = np.where(of_places < 0, -np.inf, a @ query if dot else -np.sqrt(squares) if root else -squares)
        order = np.argsort(-expected, kind="stable")[:k]
        np.testing.assert_allclose(of_scores, expected[order], rtol=1e-5, atol=1e-6)
        assert its.tolist() == of_names[order].tolist()


def test_of_candidates_that_are_as_good_the_lower_row_comes_first():
    x = np.repeat(rows(4, 3), 200, axis=0)
    places = np.random.default_rng(5).permutation(600)[None]
    _, found = scores_cpu.best_candidates(x, x[250:251], places, places, 200, False, True)
    assert found[0].tolist() == list(range(200, 400))
    _, found = scores_cpu.best_candidates(x, -x[250:251] * 0, places, places, 600, True, False)
    assert found[0].tolist() == list(range(600))


@pytest.mark.parametrize(("dot", "root"), [(True, False), (False, False), (False, True)])
def test_a_query_is_in_doubt_where_one_left_out_could_be_as_good_as_its_worst(dot, root):
    worst = np.array([0.5, 0.5, 0.5, -0.25])  # as products of unit rows
    last = np.array([0.4, 0.5 - 2e-3, 0.5 - 5e-4, -0.25])
    scores = worst if dot else -np.sqrt(2 - 2 * worst) if root else 2 * worst - 2
    best = np.stack([scores + 1, scores], axis=1).astype(np.float32)
    products = np.stack([last + 1, last], axis=1).astype(np.float32)
    assert scores_cpu.queries_in_doubt(best, products, 1e-3, dot, root).tolist() == [2, 3]
    assert scores_cpu.queries_in_doubt(best[:2], products[:2], 1e-3, dot, root).tolist() == []


@pytest.mark.parametrize("square", [False, True])
def test_a_tile_of_products_becomes_distances_that_near_duplicates_keep(square):
    x, y = rows(0, 20), rows(1, 30)
    y[3] = x[5] + np.float32(1e-4)
    y[7] = x[2]
    gram = x @ y.T
    scores_cpu.distances_in_place(gram, x, y, np.square(x).sum(1), np.square(y).sum(1), square)
    squared = np.square(x[:, None].astype(np.float64) - y[None]).sum(2)
    np.testing.assert_allclose(gram, -squared if square else -np.sqrt(squared), rtol=1e-4)
    assert gram[2, 7] == 0


@pytest.mark.parametrize("grouped", [False, True])
def test_matching_pairs_of_a_tile_are_those_of_the_runs_without_those_within_a_group(grouped):
    scores = rows(3, 6, 9)
    spans = np.array([[r + 5, max(r + 5, 4 + r // 2), 12 - r % 3] for r in range(10)], dtype=np.int64)
    kinds = np.arange(20) % 3 if grouped else np.empty(0, np.int64)
    room = np.empty(100, np.float32)
    count = scores_cpu.match_rows(scores, 2, 4, spans, (kinds, kinds), room)
    expected = [
        scores[i, j]
        for i in range(6)
        for j in range(9)
        if max(spans[2 + i, :2]) <= 4 + j < spans[2 + i, 2] and not (grouped and (2 + i) % 3 == (4 + j) % 3)
    ]
    assert room[:count].tolist() == [float(each) for each in expected]
