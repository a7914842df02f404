"""Exact search gives what sorting all scores gives, ties to the lower row, however many rows tie."""

import numpy as np
import pytest
import torch

from triune.retrieval.neighbours import top_k
from triune.serving.gallery.exact import Candidates, ExactSearch, nearest, rescored


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def by_sorting(x, queries, k, metric):
    """All scores in float64, rounded to float32, sorted stably."""
    a, b = queries.astype(np.float64), x.astype(np.float64)
    squared = np.square(a[:, None] - b[None]).sum(2)
    scores = {"cosine": a @ b.T, "squared_euclidean": -squared, "euclidean": -np.sqrt(squared)}[metric]
    rows = np.argsort(-scores.astype(np.float32), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, rows, 1), rows


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
@pytest.mark.parametrize(("n", "k"), [(500, 10), (500, 1), (30, 30), (7, 20), (1, 1)])
def test_it_finds_what_sorting_finds(metric, n, k):
    g = np.random.default_rng(n + k)
    x, queries = unit(g.normal(size=(n, 24))), unit(g.normal(size=(40, 24)))
    scores, rows = nearest(x, queries, k, metric)
    expected_scores, expected_rows = by_sorting(x, queries, k, metric)
    assert rows.shape == (40, min(n, k))
    np.testing.assert_allclose(scores, expected_scores, atol=3e-6)
    assert (rows == expected_rows).mean() > 0.999  # but for scores that agree to the last bits


@pytest.mark.parametrize("copies", [3, 30, 400])
def test_of_rows_that_tie_the_lowest_are_found_as_by_the_neighbours_of_the_measures(copies):
    g = np.random.default_rng(copies)
    x = unit(g.normal(size=(12, 16))).repeat(copies, 0)[g.permutation(12 * copies)]
    queries = unit(g.normal(size=(9, 16)))
    _, rows = nearest(x, queries, 10, "cosine")
    _, expected = top_k(torch.from_numpy(queries), torch.from_numpy(x), 10)
    assert (rows == expected.numpy()).all()


def test_an_empty_gallery_has_no_neighbours():
    scores, rows = nearest(np.empty((0, 5), np.float32), np.ones((3, 5), np.float32), 4, "cosine")
    assert scores.shape == rows.shape == (3, 0)


def test_a_near_duplicate_keeps_its_distance():
    x = unit(np.random.default_rng(1).normal(size=(50, 32)))
    close = x[7].astype(np.float64)
    close[0] += 1e-4
    scores, rows = nearest(x, unit(close[None]), 1, "euclidean")
    assert rows[0, 0] == 7
    assert -scores[0, 0] == pytest.approx(np.linalg.norm(unit(close[None])[0].astype(float) - x[7]), rel=1e-3)


def test_candidates_that_are_not_there_come_last_with_no_score():
    x = unit(np.random.default_rng(2).normal(size=(6, 8)))
    scores, rows = rescored(Candidates(np.zeros((1, 4)), np.array([[3, -1, 0, -1]]), x), x[:1], 3, "cosine")
    assert rows[0, 0] == 0
    assert scores[0, 0] == pytest.approx(1)
    assert rows[0].tolist()[1:] == [3, -1]
    assert scores[0, 2] == -np.inf


def test_among_some_rows_the_best_of_these_are_found():
    g = np.random.default_rng(3)
    x, queries, some = unit(g.normal(size=(90, 8))), unit(g.normal(size=(5, 8))), np.array([3, 4, 50, 70, 71, 89])
    scores, rows = ExactSearch(x, "cosine").nearest(queries, 4, some)
    for query, of_scores, of_rows in zip(queries, scores, rows):
        expected = some[np.argsort(-(x[some].astype(np.float64) @ query), kind="stable")[:4]]
        assert of_rows.tolist() == expected.tolist()
        np.testing.assert_allclose(of_scores, x[expected] @ query, atol=1e-6)
    assert ExactSearch(x, "cosine").nearest(queries, 4, some[:0])[1].shape == (5, 0)


def test_of_many_queries_those_in_doubt_alone_are_searched_for_again():
    """Queries beyond one block, some of them before a crowd of equal rows: as each of them finds alone."""
    g = np.random.default_rng(5)
    x = unit(g.normal(size=(300, 8)))
    x[100:] = x[100]
    queries = np.concatenate([unit(g.normal(size=(1100, 8))), x[[100, 3, 100]]])
    scores, rows = nearest(x, queries, 5, "cosine")
    assert rows[-1].tolist() == [100, 101, 102, 103, 104]
    for k in (0, 1023, 1024, 1099, 1100, 1101, 1102):
        alone = nearest(x, queries[k : k + 1], 5, "cosine")
        assert (rows[k] == alone[1][0]).all()
        assert (scores[k] == alone[0][0]).all()
