"""Maximal marginal relevance against its definition, word for word."""

import numpy as np
import pytest
import torch

from triune.retrieval.diversity import maximal_marginal_relevance


def word_for_word(scores, rows, k, diversity):
    """Carbonell & Goldstein's formula, one candidate at a time."""
    cosine = lambda a, b: float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))  # noqa: E731
    chosen = [int(np.argmax(scores))]
    while len(chosen) < k:
        left = [row for row in range(len(rows)) if row not in chosen]
        value = {
            row: (1 - diversity) * scores[row] - diversity * max(cosine(rows[row], rows[other]) for other in chosen)
            for row in left
        }
        chosen.append(max(left, key=lambda row: value[row]))
    return chosen


@pytest.mark.parametrize("diversity", [0.0, 0.3, 0.7, 1.0])
def test_it_equals_the_formula_word_for_word(diversity):
    g = np.random.default_rng(3)
    rows = g.normal(size=(40, 6))
    scores = rows[:, 0] / np.linalg.norm(rows, axis=1)
    found = maximal_marginal_relevance(scores, rows, 12, diversity)
    assert found.dtype == np.int64
    assert found.tolist() == word_for_word(scores, rows, 12, diversity)


def test_without_diversity_it_is_the_order_of_the_scores_and_ties_go_to_the_lower_row():
    scores = np.array([0.5, 0.9, 0.5, 0.9, 0.1])
    assert maximal_marginal_relevance(scores, np.eye(5), 5, 0).tolist() == [1, 3, 0, 2, 4]


def test_copies_of_what_was_chosen_come_last():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    scores = rows[:, 0]
    assert maximal_marginal_relevance(scores, rows, 3, 0.0).tolist() == [0, 1, 2]
    assert maximal_marginal_relevance(scores, rows, 5, 0.6).tolist() == [0, 4, 3, 1, 2]


def test_more_than_there_are_gives_all_of_them_once_and_none_gives_none():
    rows = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float16)
    assert sorted(maximal_marginal_relevance(rows[:, 0], rows, 99, 1.0).tolist()) == list(range(7))
    assert maximal_marginal_relevance(rows[:, 0], rows, 0, 0.5).shape == (0,)
    assert maximal_marginal_relevance(np.zeros(0), np.zeros((0, 3)), 4, 0.5).shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diversity": 1.5}, "diversity is 1.5: a number from 0 to 1"),
        ({"diversity": float("nan")}, "diversity is nan"),
        ({"diversity": "0.3"}, "diversity is '0.3'"),
        ({"k": -1}, "k is -1: a whole number"),
        ({"k": 2.5}, "k is 2.5: a whole number"),
        ({"query_scores": np.zeros(3)}, "query_scores has shape .3,. but embeddings has 4 rows"),
        ({"query_scores": np.array([0, np.nan, 0, 0])}, "query_scores holds NaN or infinity in 1 of 4 rows .row 1"),
        ({"embeddings": np.full((4, 2), np.inf)}, "embeddings holds NaN or infinity"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(change, message):
    given = {"query_scores": np.zeros(4), "embeddings": np.ones((4, 2)), "k": 2, "diversity": 0.3} | change
    with pytest.raises(ValueError, match=message):
        maximal_marginal_relevance(**given)
