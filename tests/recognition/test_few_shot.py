"""Few-shot episodes against plain loops in float64, chance and certainty."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from examples import count_preparations
from triune.pairs.prepared import prepare
from triune.parallel import blocks
from triune.recognition.episodes import draw_episodes
from triune.recognition.few_shot import few_shot

METRICS = ["cosine", "euclidean", "squared_euclidean"]


def sample(classes=8, items=12, dims=6, noise=1.0, seed=0):
    g = np.random.default_rng(seed)
    x = g.normal(size=(classes, 1, dims)) + noise * g.normal(size=(classes, items, dims))
    return x.reshape(-1, dims).astype(np.float32), np.repeat(np.arange(classes), items)


def distance(a, b, metric):
    if metric == "cosine":
        return 1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    return np.linalg.norm(a - b)


def looped(x, drawn, classifier, metric):
    """Accuracy of each episode, one query at a time."""
    x = x.astype(np.float64)
    if metric == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    accuracies = []
    for support, query in zip(*drawn):
        right = []
        for truth in range(len(query)):
            for row in query[truth]:
                if classifier == "prototype":
                    ways = [distance(x[row], x[rows].mean(0), metric) for rows in support]
                else:
                    ways = [min(distance(x[row], x[r], metric) for r in rows) for rows in support]
                right.append(ways.index(min(ways)) == truth)
        accuracies.append(np.mean(right))
    return np.array(accuracies)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("classifier", ["prototype", "nearest"])
@pytest.mark.parametrize("shots", [1, 3])
def test_accuracies_equal_a_plain_loop_over_the_same_episodes(metric, classifier, shots):
    x, labels = sample()
    task = {"ways": 4, "shots": shots, "queries": 5, "episodes": 40, "seed": 3}
    result = few_shot(x, labels, classifier=classifier, metric=metric, **task)
    expected = looped(x, draw_episodes(labels, **task), classifier, metric)
    np.testing.assert_allclose(result.accuracies, expected, atol=1e-12)
    assert 0.25 < expected.mean() < 1  # neither chance nor trivial
    assert result.mean == pytest.approx(expected.mean())
    half = stats.norm.ppf(0.975) * expected.std(ddof=1) / math.sqrt(40)
    assert (result.low, result.high) == pytest.approx((expected.mean() - half, expected.mean() + half))
    assert (result.ways, result.shots, result.queries, result.episodes) == (4, shots, 5, 40)


def test_batches_of_any_size_give_the_same(monkeypatch):
    x, labels = sample()
    task = {"ways": 3, "shots": 2, "queries": 4, "episodes": 23}
    whole = few_shot(x, labels, **task).accuracies
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 5 * 8 * 3 * 6 * 6)  # five episodes at a time
    np.testing.assert_array_equal(few_shot(x, labels, **task).accuracies, whole)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1)
    np.testing.assert_array_equal(few_shot(x, labels, **task).accuracies, whole)


def test_random_embeddings_are_recognised_by_chance():
    g = np.random.default_rng(1)
    result = few_shot(g.normal(size=(2000, 16)), np.repeat(np.arange(20), 100), ways=5, episodes=500)
    assert result.mean == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("classifier", ["prototype", "nearest"])
@pytest.mark.parametrize("metric", METRICS)
def test_separated_classes_are_all_recognised(classifier, metric):
    x, labels = sample(classes=6, dims=32, noise=1e-3)
    result = few_shot(x, labels, shots=2, queries=5, episodes=50, classifier=classifier, metric=metric)
    assert (result.mean, result.low, result.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [0.0, 0.1])
def test_collapsed_embeddings_tie_and_the_lowest_class_is_answered(metric, value):
    _, labels = sample()
    result = few_shot(np.full((96, 7), value), labels, ways=4, shots=3, queries=5, episodes=20, metric=metric)
    np.testing.assert_array_equal(result.accuracies, 0.25)


def test_a_seed_repeats_and_another_differs():
    x, labels = sample()
    first, again, other = (few_shot(x, labels, queries=5, episodes=50, seed=s).accuracies for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_no_global_generator_is_touched():
    x, labels = sample()
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    few_shot(x, labels, queries=5, episodes=5)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_strings_tensors_half_precision_and_strides_are_taken():
    x, labels = sample()
    names = [f"class {code}" for code in labels]  # eight, so their order is that of the codes
    plain = few_shot(x, labels, queries=5, episodes=30).accuracies
    np.testing.assert_array_equal(few_shot(x, names, queries=5, episodes=30).accuracies, plain)
    strided = torch.as_tensor(np.repeat(x, 2, axis=1))[:, ::2].requires_grad_()
    np.testing.assert_array_equal(few_shot(strided, torch.as_tensor(labels), queries=5, episodes=30).accuracies, plain)
    half = torch.as_tensor(x).half()
    np.testing.assert_array_equal(
        few_shot(half, labels, queries=5, episodes=30).accuracies,
        few_shot(half.float(), labels, queries=5, episodes=30).accuracies,
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("classifier", ["prototype", "nearest"])
def test_prepared_embeddings_give_the_same_and_are_not_prepared_again(metric, classifier, monkeypatch):
    x, labels = sample()
    mixed = np.random.default_rng(0).permutation(len(x))
    x, names = x[mixed], [f"class {code}" for code in labels[mixed]]
    task = {"ways": 4, "shots": 3, "queries": 5, "episodes": 30, "classifier": classifier}
    expected = few_shot(x, names, metric=metric, **task).accuracies
    prepared = prepare(x, names, metric=metric)
    steps = count_preparations(monkeypatch)
    np.testing.assert_array_equal(few_shot(prepared, **task).accuracies, expected)
    assert steps == []
    few_shot(x, names, metric=metric, **task)
    assert steps == ["_prepare", "check_finite", "sorted_rows"]


def test_too_few_large_classes_says_the_counts():
    x, labels = sample(classes=5, items=4)
    labels[0] = 1  # class 0 keeps three items, class 1 has five
    with pytest.raises(ValueError, match=r"4 of 5 classes have the shots \+ queries = 1 \+ 3 = 4 items.*ways is 5"):
        few_shot(x, labels, queries=3)
    with pytest.raises(ValueError, match="0 of 0 classes"):
        few_shot(np.zeros((0, 3)), [])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"ways": 1}, "ways is 1"),
        ({"shots": 0}, "shots is 0"),
        ({"queries": 0}, "queries is 0"),
        ({"episodes": 1}, "episodes is 1"),
        ({"level": 1.0}, "level is 1.0"),
        ({"classifier": "svm"}, "classifier is 'svm'; known are 'prototype', 'nearest'"),
        ({"metric": "dot"}, "metric is 'dot'"),
    ],
)
def test_settings_that_make_no_sense_are_named(setting, message):
    x, labels = sample()
    with pytest.raises(ValueError, match=message):
        few_shot(x, labels, **{"queries": 5} | setting)


def test_nan_and_wrong_counts_are_rejected():
    x, labels = sample()
    with pytest.raises(ValueError, match="labels has 95 entries but embeddings has 96 rows"):
        few_shot(x, labels[1:])
    x[7, 2] = np.nan
    with pytest.raises(ValueError, match="row 7"):
        few_shot(x, labels)
