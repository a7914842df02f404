"""Heads: what is left out in turn is as if the head had been fitted without it."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from triune.recognition.heads import fit_head, left_out_scores, similarities


def examples(seed=0, sizes=(4, 3, 5), dims=6):
    g = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(sizes)), sizes)
    x = g.normal(size=(len(sizes), dims))[codes] + 0.5 * g.normal(size=(len(codes), dims))
    return x / np.linalg.norm(x, axis=1, keepdims=True), codes


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
@pytest.mark.parametrize(
    ("head", "penalty"), [("prototype", None), ("nearest", None), ("ridge", 0.1), ("ridge", 10.0), ("logistic", 1.0)]
)
def test_left_out_scores_are_those_of_a_head_that_never_saw_the_example(head, penalty, metric):
    x, codes = examples()
    found = left_out_scores(head, x, codes, metric, penalty)
    for k in range(len(x)):
        rest = np.arange(len(x)) != k
        expected = fit_head(head, x[rest], codes[rest], metric, penalty)(x[k : k + 1])[0]
        np.testing.assert_allclose(found[k] - found[k].mean(), expected - expected.mean(), atol=2e-4)


def test_a_class_of_one_example_is_gone_when_it_is_left_out():
    x, codes = examples(sizes=(3, 1, 2))
    for head in ("prototype", "nearest", "ridge", "logistic"):
        found = left_out_scores(head, x, codes, "cosine", 1.0)
        assert found[3, 1] == -np.inf, head
        assert np.isfinite(np.delete(found, 3, axis=0)).all(), head


def test_heads_are_what_their_names_say():
    x, codes = examples()
    asked, _ = examples(seed=1)
    means = np.stack([x[codes == c].mean(axis=0) for c in range(3)])
    directions = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(fit_head("prototype", x, codes, "cosine")(asked), asked @ directions.T)
    squared = ((asked[:, None] - means) ** 2).sum(axis=2)
    np.testing.assert_allclose(fit_head("prototype", x, codes, "squared_euclidean")(asked), -squared, atol=1e-12)
    nearest = np.stack([(asked @ x[codes == c].T).max(axis=1) for c in range(3)], axis=1)
    np.testing.assert_allclose(fit_head("nearest", x, codes, "cosine")(asked), nearest)
    targets = np.where(codes[:, None] == np.arange(3), 1, -1)
    ridge = Ridge(alpha=0.1).fit(x, targets).predict(asked)
    np.testing.assert_allclose(fit_head("ridge", x, codes, "cosine", 0.1)(asked), ridge)


def test_logistic_of_two_classes_has_a_score_for_each_and_many_are_left_out_in_parts():
    x, codes = examples(sizes=(4, 4))
    scores = fit_head("logistic", x, codes, "cosine", 0.1)(x)
    assert scores.shape == (8, 2)
    assert (scores.argmax(axis=1) == codes).all()
    x, codes = examples(sizes=(150, 150))
    found = left_out_scores("logistic", x, codes, "cosine", 1.0)
    assert np.isfinite(found).all()
    assert (found.argmax(axis=1) == codes).mean() > 0.9


def test_similarities_are_scores_of_pairs():
    x, _ = examples()
    np.testing.assert_allclose(similarities(x, x[:2], "cosine"), x @ x[:2].T)
    apart = np.linalg.norm(x[:, None] - x[None, :2], axis=2)
    np.testing.assert_allclose(similarities(x, x[:2], "euclidean"), -apart, atol=1e-7)
    np.testing.assert_allclose(similarities(x, x[:2], "squared_euclidean"), -(apart**2), atol=1e-12)
