"""More like these, less like those: how well each item of a collection fits several liked and disliked ones.

What a collection has in common says nothing about taste: embeddings of one collection share a mean, and a few
directions in which all of it varies. So items are compared after that is taken away. With μ the mean and Σ the
covariance of the collection, and v = tr Σ / D its mean variance,

    z(x) = unit((Σ + shrinkage · v · I)^−½ (x − μ))

and an item scores, with m the smooth maximum m(s) = log(mean e^(β·s)) / β of cosine similarities,

    m(z · z(liked)) − weight · m(z · z(disliked))

For β → 0 this is Rocchio's formula on z (1971, "Relevance feedback in information retrieval"), for β → ∞ the closest
liked item; in between, things of two kinds may be liked, and items like one of them are found rather than those in the
middle. (Σ + …)^−1 (liked − μ) is the exemplar LDA of Hariharan, Malik & Ramanan (2012, "Discriminative decorrelation
for clustering and classification"), to which the unit length of both sides adds that no item is ranked high or low for
being far from the mean. benchmarks/recommendation.py compares it with these on the embeddings themselves, and with a
logistic head.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from triune.distances.embeddings import Embeddings, as_embeddings, check_finite, unit, widest
from triune.ranges import is_number

SHRINKAGE: Final = 10.0
"""Of the covariance, in units of the mean variance. Features of a backbone that never saw the collection's kind gain
most by 3 to 5; trained embeddings, whose variance is what tells items apart already, by none; 10 serves both."""

DISLIKED: Final = 0.25
"""The weight of the disliked items beside the liked ones: from 0.2 to 0.4 little changes."""

SHARPNESS: Final = 3.0
"""β. Where one kind of thing is liked, the mean finds as much; where two are, this finds more."""

SAMPLE: Final = 1 << 14
"""Rows of which mean and covariance are taken, evenly spaced, where there are more."""


@dataclass(frozen=True, eq=False)
class Background:
    """What the items of a collection have in common. Made by :func:`background`.

    Args:
        mean: ``(D,)`` float32, μ.
        whitening: ``(D, D)`` float32, symmetric: (Σ + shrinkage · v · I)^−½.
    """

    mean: Tensor
    whitening: Tensor

    def without(self, embeddings: Embeddings, name: str = "embeddings") -> Tensor:
        """z of each row: ``(N, D)`` float32 of unit length; of an item that lies on the mean, zeros.

        Args:
            embeddings: ``(N, D)``.
            name: how errors call them.

        Raises:
            ValueError: they have another width, or are not finite.
        """
        x = as_embeddings(embeddings, name).detach()
        if x.shape[1] != len(self.mean):
            raise ValueError(f"{name} has {x.shape[1]} dimensions but the collection {len(self.mean)}")
        check_finite(x, name)
        centred = unit(x).float() - self.mean.to(x.device)
        # The mean itself, which rounding moves a little, is no direction.
        centred = torch.where(centred.norm(dim=1, keepdim=True) < 1e-6, 0.0, centred)
        return unit(centred @ self.whitening.to(x.device))


def background(embeddings: Embeddings, *, shrinkage: float = SHRINKAGE) -> Background:
    """Mean and covariance of a collection's embeddings, each scaled to unit length first.

    Args:
        embeddings: ``(N, D)`` of the collection.
        shrinkage: what is added to the covariance, in units of its mean variance; the larger, the less it says.

    Returns:
        The background; where all rows are equal, or there is one only, one that changes nothing.

    Raises:
        ValueError: there is no row, an embedding is not finite, or ``shrinkage`` is not positive.
    """
    if not (is_number(shrinkage) and 0 < shrinkage < float("inf")):
        raise ValueError(f"shrinkage is {shrinkage!r}: a number above 0 is needed")
    given = as_embeddings(embeddings).detach()
    if not len(given):
        raise ValueError("embeddings has no rows: a collection of at least one item is needed")
    # Every row counts where all are taken; else every so-many-th.
    places = torch.linspace(0, len(given) - 1, min(len(given), SAMPLE), device=given.device).round().long()
    sample = given[places]
    check_finite(sample)
    x = unit(sample.to(widest(sample)))
    mean = x.mean(0)
    centred = x - mean
    covariance = centred.T @ centred / len(x)
    variance = covariance.diagonal().mean()
    dimensions = x.shape[1]
    if not variance > 1e-12:
        return Background(torch.zeros_like(mean).float(), torch.eye(dimensions, device=x.device))
    # In units of the mean variance: only directions count, and numbers stay near 1.
    values, vectors = torch.linalg.eigh(covariance / variance)
    scale = (values.clamp(min=0) + shrinkage).rsqrt()
    return Background(mean.float(), ((vectors * scale) @ vectors.T).float())


def taste_scores(
    rows: Embeddings,
    liked: Embeddings,
    disliked: Embeddings | None = None,
    *,
    weight: float = DISLIKED,
    sharpness: float = SHARPNESS,
) -> Tensor:
    """How well each item fits what is liked and what is not.

    >>> rows = background(embeddings).without(embeddings)
    >>> scores = taste_scores(rows, rows[[3, 5]], rows[[8]])

    Args:
        rows: ``(N, D)`` of unit length: what :meth:`Background.without` gives, or embeddings as they are.
        liked: ``(L, D)`` the same of one or more items.
        disliked: ``(U, D)``; none where not given.
        weight: of the disliked items, from 0 to 1; the liked ones have 1.
        sharpness: β, above 0: how much the closest of several items counts before the others.

    Returns:
        ``(N,)`` float32: the cosine similarity where one item is liked and none disliked; from −1 − weight to
        1 + weight.

    Raises:
        ValueError: nothing is liked, widths differ, a number is not finite, or a setting is out of its range.
    """
    if not (is_number(weight) and 0 <= weight <= 1):
        raise ValueError(f"weight is {weight!r}: a number from 0 to 1 is needed")
    if not (is_number(sharpness) and 0 < sharpness < float("inf")):
        raise ValueError(f"sharpness is {sharpness!r}: a number above 0 is needed")
    x = as_embeddings(rows, "rows").detach()
    check_finite(x, "rows")
    if not len(as_embeddings(liked, "liked")):
        raise ValueError("nothing is liked: give at least one item to look for")
    scores = _smooth_maximum(x, liked, sharpness, "liked")
    if disliked is not None and len(as_embeddings(disliked, "disliked")):
        scores = scores - weight * _smooth_maximum(x, disliked, sharpness, "disliked")
    return scores


def _smooth_maximum(rows: Tensor, items: Embeddings, sharpness: float, name: str) -> Tensor:
    """log(mean e^(β·s)) / β of each row's products with some items, ``(N,)``."""
    given = as_embeddings(items, name).detach().to(rows)
    if given.shape[1] != rows.shape[1]:
        raise ValueError(f"rows have {rows.shape[1]} dimensions but {name} {given.shape[1]}")
    check_finite(given, name)
    products = sharpness * (rows @ given.T)
    return ((products.logsumexp(dim=1) - math.log(len(given))) / sharpness).float()
