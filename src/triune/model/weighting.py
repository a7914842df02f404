"""How the three terms of the loss are weighed against each other: by fixed weights, or by learnt uncertainties."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from triune.ranges import is_number

Weighting: TypeAlias = Literal["fixed", "uncertainty"]
"""The weights as they are, or each term further weighted by exp(-s) and s added, with a learnt s a term."""

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
        raise ValueError(f"weighting is {weighting!r}: it is {' or '.join(map(repr, get_args(Weighting)))}")
