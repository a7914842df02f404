"""Retrieval metrics against brute force and against pytorch-metric-learning."""

import numpy as np
import pytest
import torch

from triune.functional import neighbours
from triune.functional.neighbours import retrieval_metrics, top_k


def example(n=60, d=6, classes=8, seed=0):
    g = np.random.default_rng(seed)
    y = g.integers(0, classes, n)
    return (g.normal(size=(n, d)) + 0.8 * np.eye(classes, d)[y]).astype(np.float32), y


def brute_force(q, qy, g, gy, alone, ks):
    """Every metric by its definition, one query at a time, in float64."""
    q, g = (a.astype(np.float64) / np.linalg.norm(a.astype(np.float64), axis=1, keepdims=True) for a in (q, g))
    rows = {
        name: []
        for name in ("r_precision", "map_at_r", "mrr", *[("recall", k) for k in ks], *[("precision", k) for k in ks])
    }
    left_out = 0
    for i in range(len(q)):
        order = [j for j in np.argsort(-(g @ q[i]), kind="stable") if not (alone and j == i)]
        hits = [bool(gy[j] == qy[i]) for j in order]
        r = sum(hits)
        if r == 0:
            left_out += 1
            continue
        rows["r_precision"].append(sum(hits[:r]) / r)
        rows["map_at_r"].append(sum(sum(hits[: j + 1]) / (j + 1) for j in range(r) if hits[j]) / r)
        rows["mrr"].append(1 / (hits.index(True) + 1))
        for k in ks:
            rows["recall", k].append(float(any(hits[:k])))
            rows["precision", k].append(sum(hits[:k]) / k)
    return {name: np.mean(values) for name, values in rows.items()}, left_out


@pytest.fixture(params=[7, 1024])
def block(request, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", request.param)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("alone", [True, False])
def test_every_metric_equals_its_definition(alone):
    ks = (1, 3, 10)
    x, y = example()
    g, gy = (x, y) if alone else example(40, classes=6, seed=1)
    y = y.copy()
    y[5] = 77  # an identity of its own: nothing to find
    expected, left_out = brute_force(x, y, g, y if alone else gy, alone, ks)
    more = {} if alone else {"gallery": g, "gallery_labels": gy}
    found = retrieval_metrics(x, y, ks=ks, **more)
    assert (found.left_out, found.queries) == (left_out, len(x) - left_out)
    for name in ("r_precision", "map_at_r", "mrr"):
        assert getattr(found, name) == pytest.approx(expected[name], abs=1e-12)
    for k in ks:
        assert found.recall_at[k] == pytest.approx(expected["recall", k], abs=1e-12)
        assert found.precision_at[k] == pytest.approx(expected["precision", k], abs=1e-12)


def test_values_equal_pytorch_metric_learning_where_definitions_agree():
    calculator = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    pytest.importorskip("faiss")
    x, y = example(200, classes=10)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    peer = calculator.AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"), k="max_bin_count"
    ).get_accuracy(torch.tensor(x), torch.tensor(y))
    ours = retrieval_metrics(x, y)
    assert ours.precision_at[1] == pytest.approx(peer["precision_at_1"], abs=1e-6)
    assert ours.r_precision == pytest.approx(peer["r_precision"], abs=1e-6)
    assert ours.map_at_r == pytest.approx(peer["mean_average_precision_at_r"], abs=1e-6)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_top_k_is_the_start_of_the_full_ranking(metric):
    x, _ = example()
    g, _ = example(40, seed=1)
    scores, rows = top_k(x, g, 7, metric)
    a, b = x.astype(np.float64), g.astype(np.float64)
    if metric == "cosine":
        full = (a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T
    else:
        distance = np.linalg.norm(a[:, None] - b[None], axis=2)
        full = -distance if metric == "euclidean" else -(distance**2)
    order = np.argsort(-full, axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(rows.numpy(), order)
    np.testing.assert_allclose(scores.numpy(), np.take_along_axis(full, order, 1), rtol=1e-4, atol=1e-5)


def test_ties_go_to_the_lower_row_and_an_item_is_not_its_own_neighbour():
    x = np.ones((4, 3), np.float32)
    assert top_k(x, x, 3)[1].tolist() == [[0, 1, 2]] * 4
    assert top_k(x, x, 9, exclude_self=True)[1].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_string_labels_agree_between_queries_and_gallery():
    x, y = example()
    g, gy = example(40, classes=6, seed=1)
    numbers = retrieval_metrics(x, y, gallery=g, gallery_labels=gy)
    words = retrieval_metrics(x, [f"p{c}" for c in y], gallery=g, gallery_labels=[f"p{c}" for c in gy])
    assert words == numbers


def test_what_cannot_be_measured_says_why():
    x, _ = example(4)
    with pytest.raises(ValueError, match="no query has a relevant item"):
        retrieval_metrics(x, [0, 1, 2, 3])
    with pytest.raises(ValueError, match="gallery_labels is missing"):
        retrieval_metrics(x, [0, 0, 1, 1], gallery=x)
    with pytest.raises(ValueError, match="ks is"):
        retrieval_metrics(x, [0, 0, 1, 1], ks=(0,))
