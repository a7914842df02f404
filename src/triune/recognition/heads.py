"""Small heads on frozen embeddings: prototypes, nearest examples, ridge and logistic classifiers."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np

from triune.distances.metric import Metric

Array: TypeAlias = np.ndarray[Any, Any]
Head: TypeAlias = Literal["prototype", "nearest", "ridge", "logistic"]
HeadScores: TypeAlias = Callable[[Array], Array]
"""From embeddings ``(N, D)`` to scores ``(N, C)``."""

PENALTIES = (0.01, 0.1, 1.0, 10.0)
"""Weights of the squared coefficients that are tried."""

FITS = 200
"""With more examples than this, logistic regression leaves out a twentieth of them at a time, not one."""


def fit_head(head: Head, x: Array, codes: Array, metric: Metric, penalty: float | None = None) -> HeadScores:
    """A head, fitted on n examples of C classes.

    Args:
        head: which.
        x: ``(n, D)`` float64, of unit length for the cosine.
        codes: ``(n,)`` int, 0 to C − 1.
        metric: the distance of ``"prototype"`` and ``"nearest"``.
        penalty: of ``"ridge"`` and ``"logistic"``.
    """
    classes = int(codes.max()) + 1
    if head == "prototype":
        means = np.stack([x[codes == each].mean(axis=0) for each in range(classes)])
        return lambda rows: _to_means(rows, means, metric)
    if head == "nearest":
        return lambda rows: _best(similarities(rows, x, metric), codes, classes)
    return _fitted(head, x, codes, penalty)


def left_out_scores(head: Head, x: Array, codes: Array, metric: Metric, penalty: float | None = None) -> Array:
    """The scores ``(n, C)`` of each example by a head fitted on all others; −∞ of a class that has none then.

    Args:
        head: which.
        x: ``(n, D)`` float64, of unit length for the cosine.
        codes: ``(n,)`` int, 0 to C − 1.
        metric: the distance of ``"prototype"`` and ``"nearest"``.
        penalty: of ``"ridge"`` and ``"logistic"``.
    """
    classes, own = int(codes.max()) + 1, np.arange(len(x))
    if head == "prototype":
        sizes = np.bincount(codes, minlength=classes)
        sums = np.stack([x[codes == each].sum(axis=0) for each in range(classes)])
        scores = _to_means(x, sums / sizes[:, None], metric)
        rest = np.maximum(sizes[codes] - 1, 1)
        without = (sums[codes] - x) / rest[:, None]
        scores[own, codes] = [float(_to_means(x[k : k + 1], without[k : k + 1], metric)[0, 0]) for k in own]
        return _absent(scores, codes)
    if head == "nearest":
        all_scores = similarities(x, x, metric)
        np.fill_diagonal(all_scores, -np.inf)
        return _best(all_scores, codes, classes)
    if head == "ridge":
        return _absent(_ridge_left_out(x, codes, 1.0 if penalty is None else penalty), codes)
    return _absent(_refitted(x, codes, penalty), codes)


def _absent(scores: Array, codes: Array) -> Array:
    """−∞ for the class of an example that is its only one."""
    alone = np.bincount(codes)[codes] == 1
    scores[alone, codes[alone]] = -np.inf
    return scores


def similarities(x: Array, y: Array, metric: Metric) -> Array:
    """Scores ``(N, M)`` of rows: cosine similarity (of unit rows), or minus the distance.

    Args:
        x: ``(N, D)`` float64, of unit length for the cosine.
        y: ``(M, D)``, likewise.
        metric: the distance.
    """
    products: Array = x @ y.T
    if metric == "cosine":
        return products
    squared: Array = np.maximum((x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * products, 0)
    return -squared if metric == "squared_euclidean" else -np.sqrt(squared)


def _to_means(x: Array, means: Array, metric: Metric) -> Array:
    if metric != "cosine":
        return similarities(x, means, metric)
    size = np.linalg.norm(means, axis=1, keepdims=True)
    return similarities(x, means / np.where(size > 0, size, 1), metric)


def _best(scores: Array, codes: Array, classes: int) -> Array:
    """The highest score with an example of each class."""
    return np.stack([scores[:, codes == each].max(axis=1) for each in range(classes)], axis=1)


def _targets(codes: Array) -> Array:
    return np.where(codes[:, None] == np.arange(codes.max() + 1), 1.0, -1.0)


def _fitted(head: Head, x: Array, codes: Array, penalty: float | None) -> HeadScores:
    from sklearn.linear_model import LogisticRegression, Ridge

    weight = 1.0 if penalty is None else penalty
    if head == "ridge":
        model = Ridge(alpha=weight).fit(x, _targets(codes))
        return lambda rows: np.asarray(model.predict(rows), dtype=np.float64)
    logistic = LogisticRegression(C=1 / weight, max_iter=1000).fit(x, codes)
    return lambda rows: _decision(logistic, rows, int(codes.max()) + 1)


def _decision(model: Any, rows: Array, classes: int) -> Array:
    """Log-probabilities of all classes up to a constant; −∞ of those that the model has not seen."""
    scores = np.full((len(rows), classes), -np.inf)
    if len(model.classes_) == 2:
        # One number says both: the log-odds.
        odds = model.decision_function(rows)
        scores[:, model.classes_] = np.stack([-odds / 2, odds / 2], axis=1)
    else:
        scores[:, model.classes_] = model.decision_function(rows)
    return scores


def _ridge_left_out(x: Array, codes: Array, penalty: float) -> Array:
    """Exact without refitting: ŷ₋ᵢ = (ŷᵢ − hᵢᵢ yᵢ) / (1 − hᵢᵢ) with the hat matrix h."""
    targets, count = _targets(codes), len(x)
    # h = 1/n for the intercept, which is not penalised, and the rest of the centred examples.
    left, singular, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    kept = left * np.sqrt(singular**2 / (singular**2 + penalty))
    fitted = targets.mean(axis=0) + kept @ (kept.T @ (targets - targets.mean(axis=0)))
    lever = (1 / count + (kept**2).sum(axis=1))[:, None]
    left_out: Array = (fitted - lever * targets) / (1 - lever)
    return left_out


def _refitted(x: Array, codes: Array, penalty: float | None) -> Array:
    """Logistic regression, fitted anew without each example, or of many without a twentieth at a time."""
    count = len(x)
    parts = np.arange(count) if count <= FITS else np.random.default_rng(0).permutation(count) % 20
    scores = np.empty((count, int(codes.max()) + 1))
    for part in np.unique(parts):
        out = parts == part
        if len(np.unique(codes[~out])) < 2:
            scores[out] = np.where(np.isin(np.arange(scores.shape[1]), codes[~out]), 0.0, -np.inf)
            continue
        present, inner = np.unique(codes[~out], return_inverse=True)
        scores[out] = -np.inf
        scores[np.ix_(out, present)] = _fitted("logistic", x[~out], inner, penalty)(x[out])
    return scores
