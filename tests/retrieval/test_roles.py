"""Queries and gallery among the items of one set, against rankings sorted in float64."""

from itertools import product

import numpy as np
import pytest
import torch

from oracles import brute_figures, brute_rankings, brute_scores
from triune.retrieval.metrics import metrics_of_rankings, retrieval_metrics, retrieval_per_query
from triune.retrieval.roles import search_by_roles

KS = (1, 5, 10)


def marked(seed, n=70, classes=7, cameras=3):
    """Items with cameras; some ask, some answer, some do both or neither."""
    g = np.random.default_rng(seed)
    y = g.integers(0, classes, n)
    x = (g.normal(size=(n, 5)) + 0.9 * np.eye(classes, 5)[y]).astype(np.float32)
    return x, y, g.random(n) < 0.4, g.random(n) < 0.6, g.integers(0, cameras, n)


def by_hand(x, y, asks, answers, cameras, metric="cosine", exclude="matches"):
    """Figures of each query that has a match left, by its row; every pair is looked at by itself."""
    n = len(x)
    out = np.zeros((n, n), bool)
    for i, j in product(range(n), range(n)):
        alike = cameras is not None and cameras[i] == cameras[j] and (exclude == "pairs" or y[i] == y[j])
        out[i, j] = i == j or not answers[j] or alike
    rankings = brute_rankings(brute_scores(x, x, metric), out)
    relevant = {i: sum(y[j] == y[i] and not out[i, j] for j in range(n)) for i in range(n) if asks[i]}
    return {i: brute_figures([y[j] == y[i] for j in rankings[i]], r, KS) for i, r in relevant.items() if r}


def check(found, expected, asked):
    assert (found.queries, found.left_out) == (len(expected), asked - len(expected))
    for k in KS:
        for name in ("recall_at", "precision_at", "ndcg_at"):
            wanted = np.mean([f[name, k] for f in expected.values()])
            assert getattr(found, name)[k] == pytest.approx(wanted, abs=1e-12)
    for name, of_query in (
        ("map", "average_precision"),
        ("map_at_r", "average_precision_at_r"),
        ("mrr", "reciprocal_rank"),
    ):
        assert getattr(found, name) == pytest.approx(np.mean([f[of_query] for f in expected.values()]), abs=1e-12)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("seed", range(3))
def test_a_query_is_never_its_own_neighbour_and_its_own_camera_is_left_out(metric, seed):
    x, y, asks, answers, cameras = marked(seed)
    x = np.round(8 * x) / 8 if metric == "euclidean" else x  # distances that float32 tells apart, or that tie exactly
    assert (asks & answers).any()
    given = {"metric": metric, "is_query": asks, "is_gallery": answers}
    check(retrieval_metrics(x, y, **given), by_hand(x, y, asks, answers, None, metric), asks.sum())
    found = retrieval_metrics(x, y, groups=cameras, **given)
    check(found, by_hand(x, y, asks, answers, cameras, metric), asks.sum())
    apart = retrieval_metrics(x, y, groups=cameras, exclude="pairs", **given)
    check(apart, by_hand(x, y, asks, answers, cameras, metric, "pairs"), asks.sum())


def test_each_query_keeps_the_number_of_its_row():
    x, y, asks, answers, cameras = marked(4)
    found = retrieval_per_query(torch.from_numpy(x), list(y), is_query=list(asks), is_gallery=answers, groups=cameras)
    expected = by_hand(x, y, asks, answers, cameras)
    assert found.query.tolist() == sorted(expected)
    assert found.first_rank.tolist() == [expected[i]["first_rank"] for i in sorted(expected)]


def test_everybody_asking_everybody_is_what_no_roles_are():
    x, y, *_, cameras = marked(5)
    everybody = np.ones(len(x), bool)
    assert retrieval_metrics(x, y, is_query=everybody, is_gallery=everybody) == retrieval_metrics(x, y)
    assert retrieval_metrics(x, y, is_query=everybody) == retrieval_metrics(x, y)
    given = {"groups": cameras, "is_gallery": everybody}
    assert retrieval_metrics(x, y, **given) == retrieval_metrics(x, y, groups=cameras)


def test_of_one_column_alone_the_other_is_the_rest():
    x, y, asks, *_ = marked(6)
    rest = retrieval_metrics(x, y, is_query=asks, is_gallery=~asks)
    assert retrieval_metrics(x, y, is_query=asks) == rest
    assert retrieval_metrics(x, y, is_gallery=~asks) == rest


def test_rankings_made_elsewhere_lose_the_query_s_own_camera_too():
    x, y, asks, answers, cameras = marked(7)
    search = search_by_roles(len(x), asks, answers, cameras)
    ranked = np.array(
        brute_rankings(brute_scores(x[asks], x[answers], "cosine"), np.zeros((asks.sum(), answers.sum())))
    )
    groups = {"groups": cameras[asks] - 1, "gallery_groups": cameras[answers] - 1}
    check(metrics_of_rankings(ranked, y[asks], y[answers], **groups), by_hand(x, y, asks, answers, cameras), asks.sum())
    everyone = np.array(brute_rankings(brute_scores(x, x, "cosine"), np.eye(len(x), dtype=bool)))
    assert metrics_of_rankings(everyone, y, groups=cameras) == retrieval_metrics(x, y, groups=cameras)
    assert search.queries.tolist() == np.flatnonzero(asks).tolist()
    with pytest.raises(ValueError, match="give both or neither"):
        metrics_of_rankings(ranked, y[asks], y[answers], groups=cameras[asks])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"is_query": [True]}, r"is_query is of shape \(1,\) but embeddings has 4 rows"),
        ({"is_query": [0, 1, 2, 0]}, "is_query holds something else than yes and no"),
        ({"is_query": [0, 0, 0, 0]}, "is_query says yes of no row"),
        ({"is_query": [1, 0, 0, 0], "is_gallery": [0, 0, 0, 0]}, "is_gallery says yes of no row"),
        ({"is_query": [1, 0, 0, 0], "groups": ["a"]}, "groups has 1 entries but embeddings has 4 rows"),
        ({"is_query": [1, 0, 0, 0], "gallery": np.eye(4)}, "leave gallery away"),
        ({"is_query": [1, 0, 0, 0], "exclude": "pairs"}, "without groups"),
        (
            {"is_query": [1, 0, 0, 0], "is_gallery": [1, 1, 0, 0], "groups": [1, 1, 1, 1]},
            "no query has a relevant item",
        ),
    ],
)
def test_what_is_no_search_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        retrieval_metrics(np.eye(4, dtype=np.float32), [1, 1, 2, 2], **given)


def test_prepared_embeddings_have_lost_their_rows():
    from triune.pairs.prepared import prepare

    with pytest.raises(ValueError, match="give embeddings and labels, not prepared ones"):
        retrieval_metrics(prepare(torch.eye(3), [1, 1, 2]), is_query=[1, 0, 0])


def test_a_row_that_is_not_finite_has_the_number_it_was_given_with():
    x = np.eye(6, dtype=np.float32)
    x[4] = np.nan
    with pytest.raises(ValueError, match=r"embeddings holds NaN or infinity in 1 of 6 rows \(row 4\)"):
        retrieval_metrics(x, [1, 1, 2, 2, 3, 3], is_query=[0, 0, 0, 0, 1, 1])


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_embeddings_of_any_precision_are_searched(kind):
    x = torch.eye(4, dtype=kind)[[0, 0, 1, 1, 2, 2]]
    found = retrieval_metrics(x, [1, 1, 2, 2, 3, 3], is_query=[1, 0, 1, 0, 1, 0])
    assert (found.queries, found.map) == (3, 1.0)
