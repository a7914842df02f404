"""The distances by their names."""

from typing import Literal, TypeAlias, get_args

Metric: TypeAlias = Literal["euclidean", "squared_euclidean", "cosine"]


def check_metric(metric: str) -> None:
    """Raise ValueError, listing the known ones, if the metric is none of them."""
    if metric not in get_args(Metric):
        raise ValueError(f"metric is {metric!r}; known are {', '.join(map(repr, get_args(Metric)))}")


def to_distance(score: float, metric: Metric) -> float:
    """The distance that a score stands for: 1 − similarity for the cosine, minus the score otherwise; 0 at least."""
    return max(0.0, 1.0 - score if metric == "cosine" else -score)
