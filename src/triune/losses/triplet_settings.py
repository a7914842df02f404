"""The settings of a triplet loss: which triplets are mined, by which distance, and what they cost."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

from triune.distances.metric import Metric, check_metric
from triune.ranges import is_number

Strategy: TypeAlias = Literal["all", "hard", "batch_hard", "semihard", "random"]
"""Which triplets are mined, see :func:`triune.losses.mining.mine_triplets`."""

Margin: TypeAlias = float | Literal["soft"]
"""A number ≥ 0 for the hinge max(0, d(a,p) − d(a,n) + margin), ``"soft"`` for softplus(d(a,p) − d(a,n))."""

Gap: TypeAlias = tuple[float, float]
"""(low, high): of the mined triplets, those with low < d(a,n) − d(a,p) ≤ high are kept."""


class TripletSettings(NamedTuple):
    """What the triplet losses and miners hand on to each other."""

    margin: Margin = 0.2
    metric: Metric = "euclidean"
    mining: Strategy = "all"
    gap: Gap | None = None
    swap: bool = False
    """Whether the negative's distance is that to the positive, where this is the smaller."""
    smooth: bool = False
    """Whether the hinge is softplus(d(a,p) − d(a,n) + margin)."""


def check_settings(settings: TripletSettings) -> None:
    """Raise ValueError, naming it, if a setting is unknown or out of range."""
    margin, metric, mining, gap, _, smooth = settings
    if mining not in get_args(Strategy):
        raise ValueError(f"mining strategy is {mining!r}; known are {', '.join(map(repr, get_args(Strategy)))}")
    check_metric(metric)
    check_margin(margin)
    if smooth and isinstance(margin, str):
        raise ValueError("margin='soft' is smooth without a margin: give smooth=True a number")
    if gap is not None and not (len(gap) == 2 and gap[0] < gap[1]):
        raise ValueError(
            f"gap is {gap!r}; give (low, high), low < high, to keep triplets with low < d(a,n) − d(a,p) ≤ high"
        )


def check_margin(margin: Margin) -> None:
    """Raise ValueError unless the margin is a finite number ≥ 0 or ``"soft"``."""
    if isinstance(margin, str):
        if margin != "soft":
            raise ValueError(f"margin is {margin!r}; give a number or 'soft'")
    elif not (is_number(margin) and 0 <= margin < float("inf")):
        raise ValueError(f"margin is {margin}; give a finite number that is 0 or more, or 'soft'")
