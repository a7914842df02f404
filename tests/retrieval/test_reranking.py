"""Query expansion and k-reciprocal re-ranking against their definitions written out with loops in float64."""

import numpy as np
import pytest
import torch

from examples import count_preparations
from triune.pairs.prepared import prepare
from triune.parallel import blocks
from triune.retrieval.metrics import metrics_of_rankings, retrieval_metrics
from triune.retrieval.reranking import expand_gallery, expand_queries, rerank

SETTINGS = [(8, 3, 0.3), (5, 1, 0.0), (1, 2, 0.5), (100, 60, 0.3), (7, 4, 0.2), (3, 9, 0.3), (7, 4, 1.0)]


def example(n=40, classes=6, d=5, noise=0.6, seed=0):
    g = np.random.default_rng(seed)
    y = g.integers(0, classes, n)
    return (np.random.default_rng(99).normal(size=(classes, d))[y] + noise * g.normal(size=(n, d))).astype(
        np.float32
    ), y


def distances_between(a, b, metric):
    a, b = a.astype(np.float64), b.astype(np.float64)
    if metric == "cosine":
        return 1 - (a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T
    return np.linalg.norm(a[:, None] - b[None], axis=2)


def brute_force(q, g, k1, k2, mix, metric):
    """Zhong et al., section 3, with sets and loops; the whole (N, M) table of distances."""
    everyone = q if g is None else np.concatenate([q, g])
    d = distances_between(everyone, everyone, metric)
    n = len(d)
    order = [[p] + [j for j in np.argsort(d[p], kind="stable") if j != p] for p in range(n)]

    def near(p, k):
        return set(order[p][: k + 1])

    def mutual(p, k):
        return {j for j in near(p, k) if p in near(j, k)}

    weights = np.zeros((n, n))
    for p in range(n):
        wide = mutual(p, k1)
        expanded = set(wide)
        for j in wide:
            half = mutual(j, int(np.around(k1 / 2)))
            if len(wide & half) >= 2 / 3 * len(half) - 1e-12:
                expanded |= half
        for j in expanded:
            weights[p, j] = np.exp(-d[p, j])
    averaged = np.array([weights[order[p][:k2]].mean(axis=0) for p in range(n)])
    first = 0 if g is None else len(q)
    table = np.empty((len(q), n - first))
    for i in range(len(q)):
        for j in range(first, n):
            both = np.stack([averaged[i], averaged[j]])
            jaccard = 1 - both.min(axis=0).sum() / both.max(axis=0).sum()
            table[i, j - first] = (1 - mix) * jaccard + mix * d[i, j]
    return table


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("k1", "k2", "mix"), SETTINGS)
@pytest.mark.parametrize("alone", [True, False])
def test_distances_are_those_of_the_definition(alone, k1, k2, mix, metric):
    q, _ = example()
    g = None if alone else example(25, seed=1)[0]
    expected = brute_force(q, g, k1, k2, mix, metric)
    found = rerank(q, g, k1=k1, k2=k2, mix=mix, metric=metric)
    assert found.rows.shape == (40, 39 if alone else 25)
    for i, row in enumerate(found.rows):
        assert sorted([*row.tolist(), *([i] if alone else [])]) == list(range(expected.shape[1]))
    np.testing.assert_allclose(found.distances, np.take_along_axis(expected, found.rows, 1), atol=1e-6)
    assert (np.diff(found.distances, axis=1) >= 0).all()
    best = rerank(q, g, k=4, k1=k1, k2=k2, mix=mix, metric=metric)
    np.testing.assert_array_equal(best.rows, found.rows[:, :4])


@pytest.mark.parametrize(("n", "m"), [(2, None), (17, None), (1, 1), (9, 14)])
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (3, 2), (6, 3), (20, 6)])
def test_equal_distances_go_to_the_lower_row(n, m, k1, k2):
    # Points of a small grid: many are the same, and their distances are exact in float32.
    grid = np.random.default_rng(5)
    q = grid.integers(0, 3, (n, 2)).astype(np.float32)
    g = None if m is None else grid.integers(0, 3, (m, 2)).astype(np.float32)
    expected = brute_force(q, g, k1, k2, 0.3, "euclidean")
    found = rerank(q, g, k1=k1, k2=k2, metric="euclidean")
    np.testing.assert_allclose(found.distances, np.take_along_axis(expected, found.rows, 1), atol=1e-6)
    tied = np.diff(found.distances, axis=1) == 0
    assert (np.diff(found.rows, axis=1)[tied] > 0).all()


def test_many_items_at_one_distance_keep_their_order_at_every_k():
    # One query beside 40 copies of two points: every cut falls within ties.
    g = np.repeat(np.float32([[0, 1], [1, 0]]), 20, axis=0)[np.random.default_rng(0).permutation(40)]
    q = np.float32([[0, 1]])
    whole = rerank(q, g, k1=2, k2=1, mix=1.0).rows[0]
    assert whole.tolist() == [*np.flatnonzero(g[:, 1] == 1), *np.flatnonzero(g[:, 0] == 1)]
    for k in range(1, 41):
        np.testing.assert_array_equal(rerank(q, g, k=k, k1=2, k2=1, mix=1.0).rows[0], whole[:k])


@pytest.mark.parametrize("alone", [True, False])
def test_blocks_of_queries_do_not_show(alone, monkeypatch):
    q, _ = example()
    g = None if alone else example(25, seed=1)[0]
    whole = rerank(q, g, k1=6, k2=3)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 3 * 16 * 40)  # three queries, a block
    found = rerank(q, g, k1=6, k2=3)
    np.testing.assert_array_equal(found.rows, whole.rows)
    np.testing.assert_allclose(found.distances, whole.distances, atol=1e-6)


def test_neighbours_of_each_other_come_closer():
    x, y = example(300, classes=20, d=8, noise=0.75)
    before, after = retrieval_metrics(x, y).map, metrics_of_rankings(rerank(x).rows, y).map
    assert after > before + 0.02


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_expansion_is_the_weighted_sum(alpha):
    q, _ = example(12)
    g, _ = example(30, seed=1)
    found = expand_queries(q, g, neighbours=4, alpha=alpha)
    a, b = (x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1)[:, None] for x in (q, g))
    for i in range(len(a)):
        near = np.argsort(-(b @ a[i]), kind="stable")[:4]
        total = a[i] + sum(max(0.0, b[j] @ a[i]) ** alpha * b[j] for j in near)
        np.testing.assert_allclose(found[i], total / np.linalg.norm(total), atol=1e-6)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
def test_what_points_away_adds_nothing(alpha):
    q, g = np.float32([[1, 0]]), np.float32([[-1, 1], [-1, 0.5], [-3, -1]])
    torch.testing.assert_close(expand_queries(q, g, neighbours=3, alpha=alpha), torch.tensor([[1.0, 0.0]]))


def test_an_item_is_not_its_own_neighbour_in_its_expansion():
    x, _ = example(12)
    found = expand_gallery(x, neighbours=2)
    unit = torch.nn.functional.normalize(torch.from_numpy(x).double())
    scores = unit @ unit.T
    scores.fill_diagonal_(-2)
    for i in range(len(x)):
        near = scores[i].topk(2).indices
        total = unit[i] + (scores[i][near].clamp(min=0) ** 3) @ unit[near]
        torch.testing.assert_close(found[i].double(), total / total.norm(), atol=1e-6, rtol=0)


def test_expansion_helps_noisy_queries():
    x, y = example(300, classes=20, d=8, noise=0.75)
    assert retrieval_metrics(expand_gallery(x, neighbours=5), y).map > retrieval_metrics(x, y).map + 0.02


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_prepared_embeddings_give_the_same_and_are_not_prepared_again(metric, monkeypatch):
    x, y = example()
    g, gy = example(25, seed=1)
    ready = prepare(x, y, metric=metric), prepare(g, gy, metric=metric)
    settings = {"k1": 6, "k2": 3, "metric": metric}
    arrays = [rerank(x, **settings), rerank(x, g, **settings)]
    expanded = [expand_gallery(x, metric=metric), expand_queries(x, g, metric=metric)]
    steps = count_preparations(monkeypatch)
    prepared = [rerank(ready[0], k1=6, k2=3), rerank(*ready, k1=6, k2=3)]
    prepared_expanded = [expand_gallery(ready[0]), expand_queries(*ready)]
    assert steps == []
    for found, expected in zip(prepared, arrays):
        np.testing.assert_array_equal(found.rows, expected.rows)
        np.testing.assert_array_equal(found.distances, expected.distances)
    for found, expected in zip(prepared_expanded, expanded):
        assert torch.equal(found, expected)
    rerank(x, **settings)
    assert steps == ["_prepare", "check_finite", "sorted_rows"]


def test_collapsed_and_single_items():
    same = np.ones((6, 3), np.float32)
    assert rerank(same, k1=2).rows.tolist()[0] == [1, 2, 3, 4, 5]
    assert rerank(same[:1]).rows.shape == (1, 0)
    assert rerank(same[:0]).rows.shape == (0, 0)
    assert rerank(same[:0], same).rows.shape == (0, 6)
    assert rerank(same, same[:0]).rows.shape == (6, 0)
    assert expand_gallery(same[:0]).shape == (0, 3)
    np.testing.assert_allclose(expand_queries(same, same[:0]), same / np.sqrt(3), rtol=1e-6)
    assert rerank(same[:2], same[:1]).rows.tolist() == [[0], [0]]


@pytest.mark.parametrize(
    ("options", "words"),
    [({"k1": 0}, "k1 is 0"), ({"k2": 0}, "k2 is 0"), ({"k": 0}, "k is 0"), ({"mix": 1.5}, "mix is")],
)
def test_settings_out_of_range_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        rerank(example()[0], **options)


def test_what_does_not_fit_is_named():
    x, _ = example()
    with pytest.raises(ValueError, match="5 dimensions but the gallery 4"):
        rerank(x, x[:, :4])
    with pytest.raises(ValueError, match="5 dimensions but the gallery 4"):
        expand_queries(x, x[:, :4])
    with pytest.raises(ValueError, match="gallery holds NaN"):
        expand_queries(x, np.where(x > 0, x, np.nan))
    with pytest.raises(ValueError, match="holds NaN"):
        rerank(np.where(x > 0, x, np.nan))
    with pytest.raises(ValueError, match="neighbours is 0"):
        expand_queries(x, x, neighbours=0)
    with pytest.raises(ValueError, match="alpha is -1"):
        expand_gallery(x, alpha=-1)
