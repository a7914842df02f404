"""The nearest neighbours against full rankings in float64, at ties and in blocks of any size."""

import numpy as np
import pytest
import torch

from examples import count_preparations
from oracles import brute_rankings, brute_scores
from triune.pairs.prepared import prepare
from triune.parallel import blocks
from triune.retrieval.neighbours import as_rows, top_k

METRICS = ["cosine", "euclidean", "squared_euclidean"]


def points(count, seed, dims=6):
    return np.random.default_rng(seed).normal(size=(count, dims)).astype(np.float32)


def nearest(x, g, k, metric, *, itself=True):
    """The first k of each full ranking, and the scores."""
    scores = brute_scores(x, g, metric)
    left_out = np.zeros(scores.shape, dtype=bool) if itself else np.eye(len(x), dtype=bool)
    return scores, np.array([ranking[:k] for ranking in brute_rankings(scores, left_out)])


@pytest.mark.parametrize("block", [7, 700, 1 << 24])
@pytest.mark.parametrize("metric", METRICS)
def test_top_k_is_the_start_of_the_full_ranking(metric, block, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block)
    x, g = points(60, 0), points(40, 1)
    found, rows = top_k(x, g, 7, metric)
    scores, expected = nearest(x, g, 7, metric)
    np.testing.assert_array_equal(rows.numpy(), expected)
    np.testing.assert_allclose(found.numpy(), np.take_along_axis(scores, expected, 1), rtol=1e-4, atol=1e-5)
    _, rows = top_k(x, x, 7, metric, exclude_self=True)
    np.testing.assert_array_equal(rows.numpy(), nearest(x, x, 7, metric, itself=False)[1])


def test_an_item_is_its_own_nearest_neighbour_unless_it_is_left_out():
    x = points(20, 2)
    assert top_k(x, x, 1)[1][:, 0].tolist() == list(range(20))
    assert not (top_k(x, x, 19, exclude_self=True)[1] == torch.arange(20)[:, None]).any()


def test_ties_go_to_the_lower_row_and_an_item_is_not_its_own_neighbour():
    x = np.ones((4, 3), np.float32)
    assert top_k(x, x, 3)[1].tolist() == [[0, 1, 2]] * 4
    assert top_k(x, x, 9, exclude_self=True)[1].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


@pytest.mark.parametrize("k", [1, 2, 50, 199])
def test_ties_at_the_end_of_top_k_go_to_the_lower_row(k):
    g = np.random.default_rng(0).integers(0, 2, (200, 2)).astype(np.float32)
    np.testing.assert_array_equal(
        top_k(g, g, k, "squared_euclidean")[1].numpy(), nearest(g, g, k, "squared_euclidean")[1]
    )


def test_no_more_neighbours_are_given_than_there_are():
    x, g = points(3, 0), points(5, 1)
    for k, expected in ((0, 0), (-1, 0), (5, 5), (9, 5)):
        scores, rows = top_k(x, g, k)
        assert scores.shape == rows.shape == (3, expected)
        assert (scores.dtype, rows.dtype) == (torch.float32, torch.int64)
    assert top_k(x, x, 9, exclude_self=True)[1].shape == (3, 2)
    assert top_k(x[:0], g, 2)[1].shape == (0, 2)
    assert top_k(x, g[:0], 2)[1].shape == (3, 0)


@pytest.mark.parametrize("metric", METRICS)
def test_prepared_embeddings_keep_the_numbers_they_were_given_with(metric, monkeypatch):
    g = np.random.default_rng(0)
    x, y = np.round(points(30, 0) * 2), np.round(points(20, 1) * 2)  # with ties, which go to the lower row as given
    prepared = prepare(x, g.integers(0, 4, 30), metric=metric), prepare(y, g.integers(0, 4, 20), metric=metric)
    expected = top_k(x, y, 6, metric), top_k(x, x, 6, metric, exclude_self=True)
    steps = count_preparations(monkeypatch)
    found = top_k(*prepared, 6), top_k(prepared[0], prepared[0], 6, exclude_self=True)
    assert steps == []
    for (scores, rows), (expected_scores, expected_rows) in zip(found, expected):
        assert torch.equal(rows, expected_rows)
        assert torch.equal(scores, expected_scores)
    top_k(x, prepared[1], 6, metric)
    assert steps == ["_prepare", "check_finite", "sorted_rows"]


def test_rows_are_float32_without_a_gradient_and_of_unit_length_for_the_cosine():
    x = torch.tensor([[3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    for metric, expected, squares in ((None, [[0.6, 0.8]], []), ("euclidean", [[3.0, 4.0]], [25.0])):
        found = as_rows(x, metric, "queries")
        assert found.x.dtype == torch.float32
        assert not found.x.requires_grad
        torch.testing.assert_close(found.x, torch.tensor(expected))
        torch.testing.assert_close(found.squares, torch.tensor(squares))
        assert found.metric == (metric or "cosine")


def test_half_precision_is_ranked_in_float32():
    x = torch.from_numpy(points(30, 3)).half()
    scores, rows = top_k(x, x, 5)
    expected, expected_rows = top_k(x.float(), x.float(), 5)
    assert torch.equal(scores, expected)
    assert torch.equal(rows, expected_rows)


def test_what_cannot_be_searched_says_why():
    x = points(4, 0)
    with pytest.raises(ValueError, match="gallery holds NaN or infinity in 1 of 4 rows"):
        top_k(x, np.where(np.arange(4)[:, None] == 2, np.nan, x), 1)
    with pytest.raises(ValueError, match="metric is 'dot'"):
        top_k(x, x, 1, "dot")
    with pytest.raises(ValueError, match=r"queries has shape \(6,\)"):
        top_k(x[0], x, 1)
    with pytest.raises(ValueError, match="6 dimensions but the gallery 5"):
        top_k(x, x[:, :5], 1)
    with pytest.raises(ValueError, match="metric is 'cosine', but gallery was prepared for 'euclidean'"):
        top_k(x, prepare(x, range(4), metric="euclidean"), 1)
