"""Clustering quality against its formulas over pairs and counts, certainty and chance."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from examples import count_preparations
from triune.pairs.prepared import prepare
from triune.recognition.clustering import assignment_quality, clustering_quality


def separated(identities=5, items=8, dims=16, seed=0):
    g = np.random.default_rng(seed)
    x = g.normal(size=(identities, 1, dims)) + 1e-2 * g.normal(size=(identities, items, dims))
    return x.reshape(-1, dims).astype(np.float32), np.repeat(np.arange(identities), items)


def entropy(counts):
    p = np.asarray([c for c in counts if c]) / sum(counts)
    return -(p * np.log(p)).sum()


@pytest.mark.parametrize("seed", range(5))
def test_the_measures_equal_their_definitions(seed):
    g = np.random.default_rng(seed)
    labels, found = g.integers(0, 4, 40), g.integers(0, 6, 40)
    labels[:25] = found[:25] % 4  # some agreement
    result = assignment_quality(found, labels)
    joint = entropy(np.unique(np.stack([labels, found]), axis=1, return_counts=True)[1])
    h, k = entropy(np.bincount(labels)), entropy(np.bincount(found))
    assert result.nmi == pytest.approx((h + k - joint) / ((h + k) / 2))
    pairs = list(combinations(range(40), 2))
    same = np.array([labels[i] == labels[j] for i, j in pairs])
    together = np.array([found[i] == found[j] for i, j in pairs])
    expected = same.sum() * together.sum() / len(pairs)
    most = (same.sum() + together.sum()) / 2
    assert result.adjusted_rand == pytest.approx(((same & together).sum() - expected) / (most - expected))
    information = [
        h + k - entropy(np.unique(np.stack([labels, g.permutation(found)]), axis=1, return_counts=True)[1])
        for _ in range(4000)
    ]
    chance = np.mean(information)  # adjusted mutual information subtracts that of shuffled clusters
    assert result.ami == pytest.approx((h + k - joint - chance) / ((h + k) / 2 - chance), abs=0.01)
    assert result.clusters == len(set(found.tolist()))


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_separated_identities_are_found(metric):
    x, labels = separated()
    result = clustering_quality(x, [f"p{code}" for code in labels], metric=metric)
    assert (result.nmi, result.ami, result.adjusted_rand) == pytest.approx((1, 1, 1))
    assert result.clusters == 5


def test_cosine_sees_directions_and_euclidean_lengths():
    angle = np.repeat([0.0, math.pi / 2], 10)
    length = np.tile([1.0, 100.0], 10)
    x = length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) + np.linspace(0, 1e-3, 20)[:, None]
    by_direction = np.repeat([0, 1], 10)
    assert clustering_quality(x, by_direction, metric="cosine").adjusted_rand == pytest.approx(1)
    assert clustering_quality(x, by_direction, metric="euclidean").adjusted_rand < 0.9


def test_random_embeddings_agree_by_chance_only():
    g = np.random.default_rng(0)
    result = clustering_quality(g.normal(size=(600, 8)), np.repeat(np.arange(30), 20), restarts=1)
    assert abs(result.ami) < 0.05
    assert abs(result.adjusted_rand) < 0.02
    assert result.nmi > 0.2  # not adjusted, as its documentation says


def test_the_number_of_clusters_can_be_given_and_a_seed_repeats():
    x, labels = separated()
    assert clustering_quality(x, labels, clusters=3).clusters == 3
    noise = np.random.default_rng(0).normal(size=(200, 8))
    first, again, other = (clustering_quality(noise, np.arange(200) % 9, seed=s, restarts=1) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_half_precision_tensors_with_gradients_are_taken():
    x, labels = separated()
    assert clustering_quality(torch.as_tensor(x).half().requires_grad_(), torch.as_tensor(labels)).ami == pytest.approx(
        1
    )


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_prepared_embeddings_give_the_same_and_are_not_prepared_again(metric, monkeypatch):
    x, labels = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32), np.arange(200) % 9
    expected = clustering_quality(x, labels, metric=metric, restarts=1)
    prepared = prepare(x, labels, metric=metric)
    steps = count_preparations(monkeypatch)
    assert clustering_quality(prepared, restarts=1) == expected
    assert steps == []
    clustering_quality(x, labels, metric=metric, restarts=1)
    assert steps == ["_prepare", "check_finite", "sorted_rows"]


def test_what_cannot_be_compared_is_refused():
    x, labels = separated(2, 3)
    with pytest.raises(ValueError, match="embeddings is empty"):
        clustering_quality(x[:0], [])
    with pytest.raises(ValueError, match="assignments is empty"):
        assignment_quality([], [])
    with pytest.raises(ValueError, match="all 6 items have one identity"):
        clustering_quality(x, [1] * 6)
    with pytest.raises(ValueError, match="each of the 6 items has an identity of its own"):
        clustering_quality(x, range(6))
    for clusters in (0, 1, 6, 7):
        with pytest.raises(ValueError, match=f"clusters is {clusters}: with 6 items it must be from 2 to 5"):
            clustering_quality(x, labels, clusters=clusters)
    with pytest.raises(ValueError, match="restarts is 0"):
        clustering_quality(x, labels, restarts=0)
    with pytest.raises(ValueError, match="metric is 'dot'"):
        clustering_quality(x, labels, metric="dot")
    with pytest.raises(ValueError, match="labels has 5 entries but assignments has 6 rows"):
        assignment_quality(labels, labels[1:])
    x[2] = np.inf
    with pytest.raises(ValueError, match="row 2"):
        clustering_quality(x, labels)
