"""The score of a pair without torch, for who has embeddings as arrays and little else: an exported file in use."""

from typing import Any, Final, TypeAlias

import numpy as np

from triune.distances.metric import Metric, check_metric

Array: TypeAlias = np.ndarray[Any, Any]

UNIT_ROUNDOFF: Final = 2.0**-24
"""u of float32."""


def row_scores(x: Array, y: Array, metric: Metric = "cosine") -> Array:
    """The score of each row of x with the same row of y, as :func:`~triune.pairs.scores.paired_scores` has it.

    Rows are taken in float32, of unit length for the cosine; products and sums are in float64 and rounded to float32
    once. Where two sums in another order fall on either side of a middle between two float32, the two functions are one
    float32 apart.

    >>> row_scores(np.array([[0.6, 0.8, 0.0]]), np.array([[0.8, 0.6, 0.0]]))
    array([0.96], dtype=float32)

    Args:
        x: ``(P, D)`` floating-point numbers.
        y: ``(P, D)``.
        metric: the distance.

    Returns:
        ``(P,)`` float32.

    Raises:
        ValueError: the shapes differ, or the metric is unknown.
    """
    check_metric(metric)
    if x.shape != y.shape or x.ndim != 2:
        raise ValueError(f"x has shape {x.shape} but y has {y.shape}: they must be equal, and of two dimensions")
    a, b = ((unit_rows(each) if metric == "cosine" else each).astype(np.float32).astype(np.float64) for each in (x, y))
    if metric == "cosine":
        found: Array = (a * b).sum(1)
        return found.astype(np.float32)
    squared = np.square(a - b).sum(1)
    distances: Array = squared if metric == "squared_euclidean" else np.sqrt(squared)
    return -distances.astype(np.float32)


def row_scores_between(x: Array, y: Array, metric: Metric = "cosine") -> Array:
    """Scores of all rows of ``x`` with all of ``y``, as :func:`~triune.pairs.scores.scores_between` has them.

    Args:
        x: ``(N, D)`` float32, of unit length for the cosine.
        y: ``(M, D)``, likewise.
        metric: the distance.

    Returns:
        ``(N, M)`` float32.
    """
    scores: Array = x @ y.T
    if metric != "cosine":
        from triune.kernels.scores_cpu import distances_in_place  # Numba, which a single pair does without

        squares = (np.square(each).sum(1) for each in (x, y))
        distances_in_place(scores, x, y, *squares, metric == "squared_euclidean")
    return scores


def unit_rows(x: Array) -> Array:
    """Rows ``(N, D)`` divided by their Euclidean length, at least in float32; zero rows stay zero.

    As :func:`~triune.distances.embeddings.unit` it neither overflows nor underflows.
    """
    x = x.astype(np.promote_types(x.dtype, np.float32))
    if not x.shape[1]:
        return x
    scale = np.abs(x).max(1, keepdims=True)
    scaled = x / np.where(scale == 0, 1, scale)
    length = np.sqrt(np.square(scaled).sum(1, keepdims=True))
    found: Array = np.where(scale == 0, 0, scaled / np.where(scale == 0, 1, length)).astype(x.dtype)
    return found
