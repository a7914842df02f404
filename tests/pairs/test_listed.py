"""Scores of listed pairs against a loop in float64."""

import math

import numpy as np
import pytest
import torch

from examples import score
from triune.pairs.listed import score_pairs
from triune.parallel import blocks
from triune.verification.all_pairs import verify_embeddings
from triune.verification.roc import verify_scores

METRICS = ["cosine", "euclidean", "squared_euclidean"]


@pytest.mark.parametrize("metric", METRICS)
def test_listed_pairs_are_scored_as_by_a_loop_whatever_the_block(metric, monkeypatch):
    x = torch.randn(30, 7, generator=torch.Generator().manual_seed(0))
    g = np.random.default_rng(0)
    first, second = g.integers(0, 30, 101), g.integers(0, 30, 101)
    expected = [score(x[i], x[j], metric) for i, j in zip(first, second)]
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4 * 70)  # ten pairs a block
    for rows in ((first, second), (torch.as_tensor(first), torch.as_tensor(second))):
        np.testing.assert_allclose(score_pairs(x, *rows, metric), expected, rtol=1e-5, atol=1e-6)


def test_all_pairs_listed_give_the_figures_of_all_pairs():
    g = torch.Generator().manual_seed(1)
    x, labels = torch.randn(40, 8, generator=g), torch.arange(40) % 5
    first, second = torch.triu_indices(40, 40, 1)
    listed = verify_scores(score_pairs(x, first, second), labels[first] == labels[second])
    assert listed.auc == pytest.approx(verify_embeddings(x, labels).auc, abs=1e-6)


def test_scores_of_half_precision_are_float32_and_none_at_all_are_none():
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    half = score_pairs(x.bfloat16(), np.array([0]), np.array([1]))
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(score(x[0].bfloat16().float(), x[1].bfloat16().float(), "cosine"), abs=1e-6)
    assert score_pairs(x, np.array([], int), np.array([], int)).shape == (0,)


def test_rows_that_do_not_exist_are_named():
    x = torch.ones(3, 2)
    with pytest.raises(ValueError, match=r"second\[1\] is row 3, but embeddings has rows 0 to 2"):
        score_pairs(x, np.array([0, 1]), np.array([1, 3]))
    with pytest.raises(ValueError, match="first lists 1 rows and second 2"):
        score_pairs(x, np.array([0]), np.array([1, 2]))
    with pytest.raises(ValueError, match="row 1"):
        score_pairs(torch.tensor([[1.0], [math.nan]]), np.array([0]), np.array([0]))
