"""Clustering quality: do groups found without labels agree with the identities? NMI, AMI and adjusted Rand."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.labels import Labels, encode_labels
from triune.pairs.prepared import PreparedEmbeddings, as_prepared

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ClusteringQuality:
    """How well clusters agree with identities; 1 is perfect for all three.

    Args:
        nmi: mutual information over the arithmetic mean of both entropies. Grows with the number of clusters even
            for random ones, so compare it at equal numbers only.
        ami: the same adjusted for chance (Vinh, Epps & Bailey 2010): random clusters give 0 on average.
        adjusted_rand: agreement over pairs of items, adjusted for chance (Hubert & Arabie 1985).
        clusters: how many clusters were found, empty ones not counted.
    """

    nmi: float
    ami: float
    adjusted_rand: float
    clusters: int


def clustering_quality(
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels | None = None,
    *,
    clusters: int | None = None,
    metric: Metric | None = None,
    seed: int = 0,
    restarts: int = 10,
) -> ClusteringQuality:
    """Cluster the embeddings by k-means, with as many clusters as identities, and compare with the labels.

    k-means (scikit-learn's, k-means++ starts) minimises squared Euclidean distances; for cosine it sees unit vectors.
    The best of ``restarts`` runs is kept. Where fewer distinct embeddings than clusters exist, scikit-learn warns.

    Memory: O(N·(D + clusters)), on the CPU.

    Args:
        embeddings: ``(N, D)``, or what :func:`~triune.pairs.prepared.prepare` made of them, without labels and metric.
        labels: ``(N,)`` identities.
        clusters: how many, from 2 to N − 1; the number of identities when left out.
        metric: the distance; the cosine where not given. Euclidean and squared Euclidean are the same here.
        seed: of the starts.
        restarts: how many starts, at least 1.

    Raises:
        ValueError: an embedding is not finite, counts differ, there is no item, one identity only, or as many
            identities or clusters as items.
    """
    from sklearn.cluster import KMeans

    prepared = as_prepared(embeddings, labels, metric)
    count = len(prepared)
    identities = _check_identities(prepared.codes, "embeddings")
    clusters = identities if clusters is None else clusters
    if not 2 <= clusters < count:
        raise ValueError(
            f"clusters is {clusters}: with {count} items it must be from 2 to {count - 1}, "
            f"for one cluster, or one an item, agrees with any labels alike"
        )
    if restarts < 1:
        raise ValueError(f"restarts is {restarts}: k-means must be started at least once")
    # In the order given: a seed draws the same starts whatever the labels are.
    points, codes = np.empty(prepared.x.shape, dtype=np.float32), np.empty_like(prepared.codes)
    points[prepared.order], codes[prepared.order] = prepared.x.cpu().numpy(), prepared.codes
    assignments = KMeans(clusters, n_init=restarts, random_state=seed).fit_predict(points)
    return _quality(assignments, codes)


def assignment_quality(assignments: Labels, labels: Labels) -> ClusteringQuality:
    """Compare clusters found in any way with the labels.

    >>> assignment_quality([7, 7, 3, 3], ["a", "a", "b", "b"]).ami
    1.0

    Args:
        assignments: ``(N,)`` cluster of each item. A value that stands for noise, such as −1, is a cluster like any.
        labels: ``(N,)`` identities.

    Raises:
        ValueError: counts differ, there is no item, one identity only, or as many identities as items.
    """
    found = encode_labels(assignments, name="assignments", device="cpu").numpy()
    truth = encode_labels(labels, count=len(found), device="cpu", against="assignments").numpy()
    _check_identities(truth, "assignments")
    return _quality(found, truth)


def _quality(found: Array, truth: Array) -> ClusteringQuality:
    """The agreement of two codings ``(N,)`` of the same items."""
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

    return ClusteringQuality(
        nmi=float(normalized_mutual_info_score(truth, found)),
        ami=float(adjusted_mutual_info_score(truth, found)),
        adjusted_rand=float(adjusted_rand_score(truth, found)),
        clusters=len(np.unique(found)),
    )


def _check_identities(codes: Array, against: str) -> int:
    """The number of identities among ``codes (N,)``, if clusters can be compared with them."""
    count, identities = len(codes), len(np.unique(codes))
    if count == 0:
        raise ValueError(f"{against} is empty: there is nothing to compare; give items of at least two identities")
    if identities == 1:
        raise ValueError(f"all {count} items have one identity, which any cluster agrees with: add items of another")
    if identities == count:
        raise ValueError(
            f"each of the {count} items has an identity of its own, so no two belong together: "
            f"add further items of the same identities"
        )
    return identities
