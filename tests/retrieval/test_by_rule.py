"""Retrieval metrics by a rule against loops, against those of plain labels, and against pytorch-metric-learning."""

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN

from oracles import brute_distance
from triune.losses.compared import ComparedLabels, MultiLabels
from triune.losses.mining import row_blocks
from triune.retrieval import by_rule
from triune.retrieval.by_rule import retrieval_by_rule
from triune.retrieval.metrics import retrieval_metrics


def rows(seed, n=30, d=4):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g).double(), (torch.rand(n, 6, generator=g) < 0.3).long()


def brute(d, same, k):
    """(recall at k, R-precision, MAP@R, MRR) by a loop over queries; d is inf where an item is left out."""
    found = []
    for i in range(len(d)):
        order = [j for j in np.argsort(d[i], kind="stable") if np.isfinite(d[i, j])]
        hits = [bool(same[i, j]) for j in order]
        r = sum(hits)
        if r:
            at_r = hits[:r]
            ap = sum(sum(hits[: j + 1]) / (j + 1) for j in range(r) if hits[j]) / r
            found.append((any(hits[:k]), sum(at_r) / r, ap, 1 / (hits.index(True) + 1)))
    return np.mean(found, axis=0)


def told(metrics, k):
    return metrics.recall_at[k], metrics.r_precision, metrics.map_at_r, metrics.mrr


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_figures_are_those_of_a_loop(metric, monkeypatch):
    for seed in range(3):
        (x, t), (g, u) = rows(seed), rows(seed + 9, n=41)
        same, beside = (t @ t.T > 0).numpy(), (t @ u.T > 0).numpy()
        d = brute_distance(x.numpy(), x.numpy(), metric)
        np.fill_diagonal(d, np.inf)
        found = retrieval_by_rule(x, MultiLabels(t), ks=(3,), metric=metric)
        assert told(found, 3) == pytest.approx(brute(d, same, 3))
        d = brute_distance(x.numpy(), g.numpy(), metric)
        options = {"gallery": g, "gallery_labels": MultiLabels(u), "metric": metric}
        whole = retrieval_by_rule(x, MultiLabels(t), ks=(3,), **options)
        assert told(whole, 3) == pytest.approx(brute(d, beside, 3))
        monkeypatch.setattr(by_rule, "row_blocks", lambda n, m: [slice(s, min(s + 7, n)) for s in range(0, n, 7)])
        assert retrieval_by_rule(x, MultiLabels(t), ks=(3,), **options) == whole
        monkeypatch.setattr(by_rule, "row_blocks", row_blocks)


def test_the_rule_of_equality_gives_the_figures_of_plain_labels():
    x, _ = rows(1)
    y = torch.arange(30) % 7
    found = retrieval_by_rule(x, ComparedLabels(y, lambda a, b: a[:, None] == b))
    expected = retrieval_metrics(x, y)
    for name, value in asdict(expected).items():
        assert getattr(found, name) == pytest.approx(value), name


def test_figures_equal_the_peer_with_its_comparison():
    x, t = rows(2)
    names = ("precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_reciprocal_rank")
    calculator = AccuracyCalculator(
        include=names,
        k=29,
        label_comparison_fn=lambda a, b: (a * b).sum(-1) > 0,
        knn_func=CustomKNN(CosineSimilarity()),
        device=torch.device("cpu"),
    )
    theirs = calculator.get_accuracy(x, t)
    found = retrieval_by_rule(x, MultiLabels(t))
    ours = (found.precision_at[1], found.r_precision, found.map_at_r, found.mrr)
    assert ours == pytest.approx([theirs[name] for name in names], rel=1e-6)


def test_what_cannot_be_judged_is_named():
    x, t = rows(0)
    with pytest.raises(ValueError, match="no query has a relevant item"):
        retrieval_by_rule(x, MultiLabels(torch.zeros(30, 2)))
    with pytest.raises(ValueError, match="ks are"):
        retrieval_by_rule(x, MultiLabels(t), ks=(0,))
    with pytest.raises(ValueError, match="gallery and gallery_labels belong together"):
        retrieval_by_rule(x, MultiLabels(t), gallery=x)
    x[3, 1] = math.nan
    with pytest.raises(ValueError, match="row 3"):
        retrieval_by_rule(x, MultiLabels(t))
