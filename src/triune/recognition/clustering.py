"""Clustering quality: do groups found without labels agree with the identities? NMI, AMI and adjusted Rand."""

from dataclasses import dataclass

import numpy as np

from triune.distances.embeddings import Embeddings, Metric, as_embeddings, check_finite, check_metric, unit
from triune.labels import Labels, encode_labels


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
    embeddings: Embeddings,
    labels: Labels,
    *,
    clusters: int | None = None,
    metric: Metric = "cosine",
    seed: int = 0,
    restarts: int = 10,
) -> ClusteringQuality:
    """Cluster the embeddings by k-means, with as many clusters as identities, and compare with the labels.

    k-means (scikit-learn's, k-means++ starts) minimises squared Euclidean distances; for cosine it sees unit vectors.
    The best of ``restarts`` runs is kept. Where fewer distinct embeddings than clusters exist, scikit-learn warns.

    Memory: O(N·(D + clusters)), on the CPU.

    Args:
        embeddings: ``(N, D)``.
        labels: ``(N,)`` identities.
        clusters: how many, from 2 to N − 1; the number of identities when left out.
        metric: the distance. Euclidean and squared Euclidean are the same here.
        seed: of the starts.
        restarts: how many starts, at least 1.

    Raises:
        ValueError: an embedding is not finite, counts differ, there is no item, one identity only, or as many
            identities or clusters as items.
    """
    from sklearn.cluster import KMeans

    check_metric(metric)
    x = as_embeddings(embeddings).detach()
    check_finite(x)
    identities = _check_identities(labels, len(x))
    clusters = identities if clusters is None else clusters
    if not 2 <= clusters < len(x):
        raise ValueError(
            f"clusters is {clusters}: with {len(x)} items it must be from 2 to {len(x) - 1}, "
            f"for one cluster, or one an item, agrees with any labels alike"
        )
    if restarts < 1:
        raise ValueError(f"restarts is {restarts}: k-means must be started at least once")
    points = (unit(x) if metric == "cosine" else x).cpu().numpy()
    assignments = KMeans(clusters, n_init=restarts, random_state=seed).fit_predict(points)
    return assignment_quality(assignments, labels)


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
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

    found = encode_labels(assignments, name="assignments", device="cpu")
    _check_identities(labels, len(found), "assignments")
    truth, given = encode_labels(labels, device="cpu").numpy(), found.numpy()
    return ClusteringQuality(
        nmi=float(normalized_mutual_info_score(truth, given)),
        ami=float(adjusted_mutual_info_score(truth, given)),
        adjusted_rand=float(adjusted_rand_score(truth, given)),
        clusters=len(np.unique(given)),
    )


def _check_identities(labels: Labels, count: int, against: str = "embeddings") -> int:
    """The number of identities, if clusters can be compared with them."""
    codes = encode_labels(labels, count=count, device="cpu", against=against).numpy()
    identities = len(np.unique(codes))
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
