"""More like these, less like those: several liked and disliked items combined into one query.

What a collection has in common says nothing about taste: embeddings of one collection share a mean, and a few
directions in which all of it varies. So items are compared after that is taken away. With μ the mean and Σ the
covariance of the collection, and v = tr Σ / D its mean variance,

    z(x) = unit((Σ + shrinkage · v · I)^−½ (x − μ))

and the query is the mean z of the liked items minus a share of the mean z of the disliked ones. Its score with an item
is its product with z of the item. On z this is Rocchio's formula (1971, "Relevance feedback in information
retrieval"). (Σ + …)^−1 (liked − μ) is the exemplar LDA of Hariharan, Malik & Ramanan (2012, "Discriminative
decorrelation for clustering and classification"), to which the unit length of both sides adds that no item is ranked
high or low for being far from the mean. benchmarks/recommendation.py compares it with Rocchio's formula on the
embeddings themselves, with the closest liked item, with smooth maxima and with a logistic head.
"""

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


def combined_query(
    liked: Embeddings, disliked: Embeddings | None = None, *, known: Background | None = None, weight: float = DISLIKED
) -> Tensor:
    """One query from several liked and disliked items.

    >>> known = background(gallery)
    >>> scores = known.without(gallery) @ combined_query(gallery[[3, 5]], gallery[[8]], known=known)

    Args:
        liked: ``(L, D)``, one or more.
        disliked: ``(U, D)``; none where not given.
        known: what is common to the collection that is searched, which is taken away first; without it this is
            Rocchio's formula on the embeddings at unit length.
        weight: of the disliked items, from 0 to 1; the liked ones have 1.

    Returns:
        ``(D,)`` float32 of unit length; its products with rows of :meth:`Background.without` (or with embeddings of
        unit length) are cosine similarities. Zeros where likes and dislikes cancel each other.

    Raises:
        ValueError: nothing is liked, widths differ, an embedding is not finite, or the weight is not from 0 to 1.
    """
    if not (is_number(weight) and 0 <= weight <= 1):
        raise ValueError(f"weight is {weight!r}: a number from 0 to 1 is needed")
    if not len(as_embeddings(liked, "liked")):
        raise ValueError("nothing is liked: give at least one item to look for")
    query = _freed(liked, known, "liked").mean(0)
    if disliked is not None and len(as_embeddings(disliked, "disliked")):
        apart = _freed(disliked, known, "disliked").mean(0)
        if len(apart) != len(query):
            raise ValueError(f"liked has {len(query)} dimensions but disliked {len(apart)}")
        query = query - weight * apart
    return unit(query[None])[0]


def _freed(items: Embeddings, known: Background | None, name: str) -> Tensor:
    if known is not None:
        return known.without(items, name)
    x = as_embeddings(items, name).detach()
    check_finite(x, name)
    return unit(x).float()
