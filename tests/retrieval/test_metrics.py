"""Retrieval metrics against brute force and against pytorch-metric-learning."""

import numpy as np
import pytest
import torch

from triune.pairs import tiles
from triune.retrieval import metrics, neighbours, ranks
from triune.retrieval.metrics import metrics_of_rankings, retrieval_metrics, retrieval_per_query
from triune.retrieval.neighbours import top_k


def example(n=60, d=6, classes=8, seed=0):
    g = np.random.default_rng(seed)
    y = g.integers(0, classes, n)
    return (g.normal(size=(n, d)) + 0.8 * np.eye(classes, d)[y]).astype(np.float32), y


def brute_force(q, qy, g, gy, alone, ks, groups=None, gallery_groups=None, exclude="matches", metric="cosine"):
    """Every metric by its definition, one query at a time, from scores in float64; a query → its figures."""
    q, g = q.astype(np.float64), g.astype(np.float64)
    if metric == "cosine":
        scores = (q / np.linalg.norm(q, axis=1)[:, None]) @ (g / np.linalg.norm(g, axis=1)[:, None]).T
    else:
        scores = -((q[:, None] - g[None]) ** 2).sum(axis=2)
    found = {}
    for i in range(len(q)):
        together = np.zeros(len(g), bool) if groups is None else np.array(gallery_groups) == groups[i]
        out = together & (gy == qy[i]) if exclude == "matches" else together
        order = [j for j in np.argsort(-scores[i], kind="stable") if not (alone and j == i) and not out[j]]
        hits = np.array([gy[j] == qy[i] for j in order], dtype=float)
        r = int(hits.sum())
        if r == 0:
            continue
        precision = hits.cumsum() / np.arange(1, len(hits) + 1)
        gain = hits / np.log2(np.arange(2, len(hits) + 2))
        figures = {
            "first_rank": np.argmax(hits) + 1,
            "r_precision": hits[:r].sum() / r,
            "average_precision_at_r": (precision * hits)[:r].sum() / r,
            "average_precision": (precision * hits).sum() / r,
        }
        for k in ks:
            figures["recall_at", k] = float(hits[:k].any())
            figures["precision_at", k] = hits[:k].sum() / k
            figures["average_precision_at", k] = (precision * hits)[:k].sum() / min(k, r)
            figures["average_precision_at_over_hits", k] = (precision * hits)[:k].sum() / max(1, hits[:k].sum())
            figures["ndcg_at", k] = gain[:k].sum() / sum(1 / np.log2(j + 2) for j in range(min(k, r)))
        found[i] = figures
    return found


def check(found, expected, ks):
    assert found.query.tolist() == sorted(expected)
    for name in ("first_rank", "r_precision", "average_precision_at_r", "average_precision"):
        np.testing.assert_allclose(getattr(found, name), [expected[i][name] for i in found.query], atol=1e-12)
    for name in ("recall_at", "precision_at", "average_precision_at", "average_precision_at_over_hits", "ndcg_at"):
        for k in ks:
            values = [expected[i][name, k] for i in found.query]
            np.testing.assert_allclose(getattr(found, name)[k], values, atol=1e-12, err_msg=f"{name} {k}")


@pytest.fixture(params=["all at once", "by slabs", "sorted by torch"])
def way(request, monkeypatch):
    """The three ways that ranks are found."""
    monkeypatch.setattr(tiles, "ROWS", 8)
    monkeypatch.setattr(tiles, "COLUMNS", 12)
    monkeypatch.setattr(metrics, "RANKS_AT_A_TIME", 30)
    if request.param == "by slabs":
        monkeypatch.setattr(ranks, "LISTED", 40)
    if request.param == "sorted by torch":
        monkeypatch.setattr(ranks, "relevant_ranks", sorted_ranks)
        monkeypatch.setattr(metrics, "relevant_ranks", sorted_ranks)


def sorted_ranks(pairs):
    right = pairs.spans[:, 2]
    left = np.searchsorted(right, right) if pairs.y is pairs.x else pairs.spans[:, 1]
    return ranks.ranks_by_sorting(pairs, np.stack([left, right], axis=1))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("grouped", [None, "matches", "pairs"])
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("points", ["smooth", "tied"])
def test_every_metric_of_every_query_equals_its_definition(alone, grouped, points):
    ks = (1, 3, 10, 500)
    x, y = example()
    g, gy = (x, y) if alone else example(45, classes=6, seed=1)
    metric = "cosine"
    if points == "tied":
        x, g, metric = np.round(x), np.round(g), "squared_euclidean"
    y = y.copy()
    y[5] = 77  # an identity of its own: nothing to find
    gy = y if alone else gy
    if alone:
        g = x
    cameras = np.arange(len(x)) % 3
    theirs = cameras if alone else np.arange(len(g)) % 3
    more = {} if alone else {"gallery": g, "gallery_labels": gy}
    rule = {}
    if grouped:
        more |= {"groups": cameras, "exclude": grouped} | ({} if alone else {"gallery_groups": theirs})
        rule = {"groups": cameras, "gallery_groups": theirs, "exclude": grouped}
    expected = brute_force(x, y, g, gy, alone, ks, metric=metric, **rule)
    found = retrieval_per_query(x, y, ks=ks, metric=metric, **more)
    check(found, expected, ks)
    means = retrieval_metrics(x, y, ks=ks, metric=metric, **more)
    assert (means.queries, means.left_out) == (len(expected), len(x) - len(expected))
    assert means.map_at_r == pytest.approx(np.mean([e["average_precision_at_r"] for e in expected.values()]))
    assert means.mrr == pytest.approx(np.mean([1 / e["first_rank"] for e in expected.values()]))
    assert means.map_at_over_hits[3] == pytest.approx(
        np.mean([e["average_precision_at_over_hits", 3] for e in expected.values()])
    )


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("seed", range(8))
def test_odd_sets_equal_the_definition(seed):
    """Few or many items, classes of very unequal sizes, duplicates, all scores tied."""
    g = np.random.default_rng(seed)
    n = int(g.integers(2, 70))
    y = np.sort(g.geometric(0.3, n)) if seed % 2 else g.integers(0, 3, n)
    y[: 1 + n // 4] = 0
    x = g.integers(-1, 2, (n, 3)).astype(np.float32) if seed % 4 else np.ones((n, 3), np.float32)
    expected = brute_force(x, y, x, y, True, (1, 5), metric="squared_euclidean")
    check(retrieval_per_query(x, y, ks=(1, 5), metric="squared_euclidean"), expected, (1, 5))


def test_many_relevant_items_are_searched_by_halves():
    x, y = example(300, classes=2)
    check(retrieval_per_query(x, y, ks=(7,)), brute_force(x, y, x, y, True, (7,)), (7,))


def test_scikit_learn_agrees_on_average_precision_and_gain():
    from sklearn.metrics import average_precision_score, ndcg_score

    x, y = example(80)
    found = retrieval_per_query(x, y, ks=(5,))
    unit = x / np.linalg.norm(x, axis=1)[:, None]
    for place, i in enumerate(found.query):
        others = np.arange(len(x)) != i
        same, scores = y[others] == y[i], (unit @ unit[i])[others]
        assert found.average_precision[place] == pytest.approx(average_precision_score(same, scores), abs=1e-9)
        assert found.ndcg_at[5][place] == pytest.approx(ndcg_score([same], [scores], k=5), abs=1e-9)


def test_the_cmc_curve_is_recall_at_every_rank():
    x, y = example()
    found = retrieval_per_query(x, y, ks=(1, 4, 30))
    curve = found.cmc(30)
    assert len(curve) == 30
    assert [curve[k - 1] for k in (1, 4, 30)] == pytest.approx([found.recall_at[k].mean() for k in (1, 4, 30)])


def test_rankings_made_elsewhere_give_the_same_figures():
    x, y = example(50)
    _, rows = top_k(x, x, 49, exclude_self=True)
    assert metrics_of_rankings(rows, y) == retrieval_metrics(x, y)
    g, gy = example(40, classes=6, seed=1)
    _, rows = top_k(x, g, 40)
    names, gallery_names = [f"p{c}" for c in y], [f"p{c}" for c in gy]
    found = metrics_of_rankings(rows, names, gallery_names)
    assert found == retrieval_metrics(x, y, gallery=g, gallery_labels=gy)
    short = metrics_of_rankings(rows[:, :5], names, gallery_names)
    assert short.recall_at[5] == found.recall_at[5]
    assert short.recall_at[10] == short.recall_at[5]
    ended = rows.clone()
    ended[:, 5:] = -1
    assert metrics_of_rankings(ended, names, gallery_names) == short


def test_rankings_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"rows\[1\] holds a gallery row twice"):
        metrics_of_rankings([[0, 1], [1, 1]], [0, 1], [0, 1])
    with pytest.raises(ValueError, match="from -1 to 1"):
        metrics_of_rankings([[0, 2]], [0], [0, 1])
    with pytest.raises(ValueError, match="among its own neighbours"):
        metrics_of_rankings([[0], [0]], [0, 0])


def test_large_labels_stay_apart():
    x = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]
    y = np.array([2**53, 2**53, 2**53 + 1, 2**53 + 1])
    assert retrieval_metrics(x, y).map_at_r == 1.0
    assert retrieval_metrics(x[[0, 1, 2, 0]], y).left_out == 0


def test_values_equal_pytorch_metric_learning_where_definitions_agree():
    calculator = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    pytest.importorskip("faiss")
    x, y = example(200, classes=10)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    peer = calculator.AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_reciprocal_rank"),
        k="max_bin_count",
    ).get_accuracy(torch.tensor(x), torch.tensor(y))
    ours = retrieval_metrics(x, y)
    assert ours.precision_at[1] == pytest.approx(peer["precision_at_1"], abs=1e-6)
    assert ours.r_precision == pytest.approx(peer["r_precision"], abs=1e-6)
    assert ours.map_at_r == pytest.approx(peer["mean_average_precision_at_r"], abs=1e-6)


@pytest.fixture(params=[7, 1 << 22])
def block(request, monkeypatch):
    monkeypatch.setattr(neighbours, "CELLS", request.param)


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


def test_ties_at_the_end_of_top_k_go_to_the_lower_row():
    g = np.random.default_rng(0).integers(0, 2, (200, 2)).astype(np.float32)
    scores = -((g[:, None] - g[None]) ** 2).sum(axis=2)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :50]
    np.testing.assert_array_equal(top_k(g, g, 50, "squared_euclidean")[1].numpy(), order)


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
