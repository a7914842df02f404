"""How the three terms of the loss are weighed against each other: by fixed weights or learnt ones, or by gradients."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, get_args

import torch
from torch import Tensor, nn

from triune.model.aggregation import NEEDS, Aggregation
from triune.model.conflicts import Reduce, SharedAndRest
from triune.model.dwa import DynamicWeightAverage
from triune.model.gradnorm import GradNorm
from triune.ranges import is_number

Weighting: TypeAlias = Literal[
    "fixed", "uncertainty", "dwa", "gradnorm", "upgrad", "pcgrad", "cagrad", "mgda", "nash-mtl"
]
"""The weights as they are; each term further weighted by exp(-s) and s added, with a learnt s a term; by how fast each
falls (:mod:`triune.model.dwa`); by how much each moves the shared layer (:mod:`triune.model.gradnorm`); or one gradient
made of all (:mod:`triune.model.aggregation`)."""

TERMS = ("classification", "segmentation", "triplet")
"""The terms, in the order of alpha, beta and gamma."""


def weighted_terms(
    terms: Mapping[str, Tensor], weights: Mapping[str, float], log_variances: Tensor | None = None
) -> dict[str, Tensor]:
    """Each term times its weight, by name; a term whose weight is 0 is left out, so that not even NaN gets through.

    With uncertainties a term becomes weight · (exp(-s) · term + s), s = log σ² (Kendall, Gal and Cipolla 2018).

    Args:
        terms: scalars by the names of :data:`TERMS`.
        weights: of each.
        log_variances: s of each term, shape (3,); fixed weighting where not given.
    """
    kept = [(place, name) for place, name in enumerate(TERMS) if weights[name]]
    if log_variances is None:
        return {name: weights[name] * terms[name] for _, name in kept}
    s = log_variances
    return {name: weights[name] * (torch.exp(-s[place]) * terms[name] + s[place]) for place, name in kept}


class Balance(Protocol):
    """A weighting that changes while training, or that makes gradients of its own."""

    @property
    def factors(self) -> dict[str, float]:
        """What each term is multiplied with now, beside its weight."""

    @property
    def shown(self) -> dict[str, float]:
        """The weight of each task in the step, for the log."""

    def loss(self, total: Tensor, terms: Mapping[str, Tensor], weights: SharedAndRest, reduce: Reduce) -> Tensor:
        """What a step's backward pass begins with.

        Args:
            total: the sum of the terms, each times its factor.
            terms: by task, without the factors.
            weights: of the network.
            reduce: the mean over processes.
        """

    def end_epoch(self) -> None:
        """An epoch of training is over."""

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on from here begins with."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with what a checkpoint says."""


def balance_of(weighting: Weighting, tasks: Sequence[str]) -> Balance | None:
    """The object of a weighting; ``None`` where the terms are summed and no more.

    Args:
        weighting: its name.
        tasks: those whose weight is not 0.

    Raises:
        InputError: what it needs is not installed.
    """
    if weighting in NEEDS:
        return Aggregation(weighting, tasks)
    if weighting == "dwa":
        return DynamicWeightAverage(tasks)
    return GradNorm(tasks) if weighting == "gradnorm" else None


def gradient_norm(term: Tensor, parameters: Sequence[nn.Parameter]) -> float:
    """The norm of a term's gradient with respect to some parameters; the graph is kept."""
    gradients = torch.autograd.grad(term, list(parameters), retain_graph=True, allow_unused=True)
    squares = [g.float().square().sum() for g in gradients if g is not None]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def check_weighting(weighting: str, **weights: float) -> None:
    """Raise ValueError, naming it, if the weighting is not known or a weight is no finite number of at least 0."""
    for name, weight in weights.items():
        if not (is_number(weight) and 0 <= weight < float("inf")):
            raise ValueError(f"{name} is {weight}: a weight is a finite number, at least 0")
    if weighting not in get_args(Weighting):
        raise ValueError(f"weighting is {weighting!r}: it is one of {', '.join(get_args(Weighting))}")
