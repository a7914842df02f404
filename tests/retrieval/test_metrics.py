"""Retrieval figures against their definitions term by term, numbers worked by hand, scikit-learn and a peer."""

import tracemalloc
from dataclasses import fields

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    average_precision_score,
    coverage_error,
    label_ranking_average_precision_score,
    ndcg_score,
    precision_score,
)

from examples import count_preparations
from oracles import brute_figures, brute_rankings, brute_scores, left_out_of_rankings
from triune.pairs.prepared import prepare
from triune.retrieval import metrics
from triune.retrieval.metrics import (
    QueryMetrics,
    RetrievalMetrics,
    metrics_of_rankings,
    query_metrics,
    retrieval_metrics,
    retrieval_per_query,
)
from triune.retrieval.neighbours import top_k
from triune.retrieval.ranks import Ranks

OF_A_QUERY = ("first_rank", "r_precision", "average_precision_at_r", "average_precision")
AT_K = ("recall_at", "precision_at", "average_precision_at", "average_precision_at_over_hits", "ndcg_at")
KS = (1, 3, 10, 500)


def example(n=60, d=6, classes=8, seed=0):
    g = np.random.default_rng(seed)
    y = g.integers(0, classes, n)
    return (g.normal(size=(n, d)) + 0.8 * np.eye(classes, d)[y]).astype(np.float32), y


def by_definition(x, y, g, gy, ks, metric, *, one_set, **rule):
    """Of each query that has a relevant item, its figures."""
    out = left_out_of_rankings(y, gy, one_set=one_set, **rule)
    rankings = brute_rankings(brute_scores(x, g, metric), out)
    hits = [[gy[j] == y[i] for j in ranking] for i, ranking in enumerate(rankings)]
    return {i: brute_figures(each, sum(each), ks) for i, each in enumerate(hits) if sum(each)}


def check_queries(found, expected, ks):
    assert found.query.tolist() == sorted(expected)
    for name in OF_A_QUERY:
        np.testing.assert_allclose(getattr(found, name), [expected[i][name] for i in found.query], rtol=1e-12)
    for name in AT_K:
        assert list(getattr(found, name)) == list(ks)
        for k in ks:
            values = [expected[i][name, k] for i in found.query]
            np.testing.assert_allclose(getattr(found, name)[k], values, rtol=1e-12, err_msg=f"{name} {k}")


def check_means(found, expected, queries, ks):
    def mean(key):
        return pytest.approx(np.mean([each[key] for each in expected.values()]), rel=1e-12, abs=1e-15)

    assert (found.queries, found.left_out) == (len(expected), queries - len(expected))
    assert found.r_precision == mean("r_precision")
    assert found.map_at_r == mean("average_precision_at_r")
    assert found.map == mean("average_precision")
    assert found.mrr == mean("reciprocal_rank")
    for k in ks:
        assert found.recall_at[k] == mean(("recall_at", k))
        assert found.precision_at[k] == mean(("precision_at", k))
        assert found.map_at[k] == mean(("average_precision_at", k))
        assert found.map_at_over_hits[k] == mean(("average_precision_at_over_hits", k))
        assert found.ndcg_at[k] == mean(("ndcg_at", k))


# ---------------------------------------------------------------- by hand and by definition


def test_one_ranking_worked_by_hand():
    # Identity 1 has four items in the gallery: at ranks 1, 3 and 6, and one that the ranking does not hold.
    gallery_labels = [1, 0, 1, 0, 0, 1, 1]
    found = metrics_of_rankings([[0, 1, 2, 3, 4, 5]], [1], gallery_labels, ks=(1, 2, 4, 6))
    assert found.recall_at == {1: 1, 2: 1, 4: 1, 6: 1}
    assert found.precision_at == {1: 1, 2: 1 / 2, 4: 2 / 4, 6: 3 / 6}
    assert found.map_at == pytest.approx({1: 1, 2: 1 / 2, 4: (1 + 2 / 3) / 4, 6: (1 + 2 / 3 + 3 / 6) / 4})
    assert found.map_at_over_hits == pytest.approx({1: 1, 2: 1, 4: (1 + 2 / 3) / 2, 6: (1 + 2 / 3 + 3 / 6) / 3})
    assert found.r_precision == 2 / 4
    assert found.map_at_r == pytest.approx((1 + 2 / 3) / 4)
    assert found.map == pytest.approx((1 + 2 / 3 + 3 / 6) / 4)
    assert found.mrr == 1
    perfect = 1 + 1 / np.log2(3) + 1 / 2 + 1 / np.log2(5)
    assert found.ndcg_at == pytest.approx(
        {1: 1, 2: 1 / (1 + 1 / np.log2(3)), 4: 1.5 / perfect, 6: (1.5 + 1 / np.log2(7)) / perfect}
    )
    assert (found.queries, found.left_out) == (1, 0)


def test_two_queries_worked_by_hand():
    # On a line: 0 and 1 are of one identity, 2.5 and 4.5 of another, 9 stands alone.
    x, y = np.float32([[0], [1], [2.5], [4.5], [9]]), [0, 0, 1, 1, 2]
    found = retrieval_per_query(x, y, ks=(1, 2), metric="euclidean")
    assert found.query.tolist() == [0, 1, 2, 3]
    assert found.relevant.tolist() == [1, 1, 1, 1]
    assert found.first_rank.tolist() == [1, 1, 2, 1]  # 2.5 is nearer to 1 than to 4.5
    assert found.recall_at[1].tolist() == [1, 1, 0, 1]
    assert found.recall_at[2].tolist() == [1, 1, 1, 1]
    assert found.precision_at[2].tolist() == [0.5] * 4
    assert found.average_precision.tolist() == [1, 1, 0.5, 1]
    assert found.average_precision_at_r.tolist() == [1, 1, 0, 1]
    assert found.cmc(3).tolist() == [0.75, 1, 1]
    means = retrieval_metrics(x, y, ks=(1, 2), metric="euclidean")
    assert (means.recall_at, means.mrr, means.map_at_r) == ({1: 0.75, 2: 1}, 3.5 / 4, 0.75)
    assert (means.queries, means.left_out) == (4, 1)


@pytest.mark.parametrize("grouped", [None, "matches", "pairs"])
@pytest.mark.parametrize("one_set", [True, False])
@pytest.mark.parametrize("points", ["smooth", "tied"])
def test_every_figure_of_every_query_equals_its_definition(one_set, grouped, points, monkeypatch):
    monkeypatch.setattr(metrics, "RANKS_AT_A_TIME", 30)
    x, y = example()
    g, gy = (x, y) if one_set else example(45, classes=6, seed=1)
    metric = "cosine"
    if points == "tied":
        x, g, metric = np.round(x), np.round(g), "squared_euclidean"
    y = y.copy()
    y[5] = 77  # an identity of its own: nothing to find
    if one_set:
        g, gy = x, y
    given = {} if one_set else {"gallery": g, "gallery_labels": gy}
    rule = {}
    if grouped:
        cameras, theirs = np.arange(len(x)) % 3, np.arange(len(g)) % 3
        given |= {"groups": cameras, "exclude": grouped} | ({} if one_set else {"gallery_groups": theirs})
        rule = {"groups": cameras, "gallery_groups": theirs, "exclude": grouped}
    expected = by_definition(x, y, g, gy, KS, metric, one_set=one_set, **rule)
    check_queries(retrieval_per_query(x, y, ks=KS, metric=metric, **given), expected, KS)
    check_means(retrieval_metrics(x, y, ks=KS, metric=metric, **given), expected, len(x), KS)


@pytest.mark.parametrize("seed", range(8))
def test_odd_sets_equal_the_definition(seed):
    """Few or many items, classes of very unequal sizes, duplicates, all scores tied."""
    g = np.random.default_rng(seed)
    n = int(g.integers(2, 70))
    y = np.sort(g.geometric(0.3, n)) if seed % 2 else g.integers(0, 3, n)
    y[: 1 + n // 4] = 0
    x = g.integers(-1, 2, (n, 3)).astype(np.float32) if seed % 4 else np.ones((n, 3), np.float32)
    expected = by_definition(x, y, x, y, (1, 5), "squared_euclidean", one_set=True)
    check_queries(retrieval_per_query(x, y, ks=(1, 5), metric="squared_euclidean"), expected, (1, 5))


def test_the_result_of_each_query_and_of_all_have_every_figure():
    assert {field.name for field in fields(QueryMetrics)} == {"query", "relevant", *OF_A_QUERY, *AT_K}
    in_means = {"r_precision", "map_at_r", "mrr", "map", "recall_at", "precision_at", "map_at", "map_at_over_hits"}
    assert {field.name for field in fields(RetrievalMetrics)} == in_means | {"ndcg_at", "queries", "left_out"}


# ---------------------------------------------------------------- other libraries


def scored(n=80, one_relevant=False):
    """Queries with their gallery: which items are relevant to each, and float64 scores, the query itself left out."""
    x, y = example(n)
    if one_relevant:
        y = np.arange(n) // 2
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1)[:, None]
    others = ~np.eye(n, dtype=bool)
    same = (y[:, None] == y)[others].reshape(n, n - 1)
    return x, y, same, (unit @ unit.T)[others].reshape(n, n - 1)


@pytest.mark.parametrize("k", [1, 5, 20, 79])
def test_scikit_learn_agrees_on_gain_and_on_precision_at_k(k):
    x, y, same, scores = scored()
    found = retrieval_per_query(x, y, ks=(k,))
    assert len(found.query) == len(x)
    for i in range(len(x)):
        assert found.ndcg_at[k][i] == pytest.approx(ndcg_score(same[[i]], scores[[i]], k=k), abs=1e-9)
        chosen = np.zeros(len(same[i]), dtype=bool)
        chosen[np.argsort(-scores[i])[:k]] = True
        assert found.precision_at[k][i] == pytest.approx(precision_score(same[i], chosen))


def test_scikit_learn_agrees_on_average_precision_and_on_precision_at_r():
    x, y, same, scores = scored()
    found = retrieval_per_query(x, y)
    for i in range(len(x)):
        assert found.average_precision[i] == pytest.approx(average_precision_score(same[i], scores[i]), abs=1e-9)
        chosen = np.zeros(len(same[i]), dtype=bool)
        chosen[np.argsort(-scores[i])[: same[i].sum()]] = True
        assert found.r_precision[i] == pytest.approx(precision_score(same[i], chosen, zero_division=0))
    assert retrieval_metrics(x, y).map == pytest.approx(label_ranking_average_precision_score(same, scores))


def test_scikit_learn_agrees_on_reciprocal_ranks_where_each_query_has_one_relevant_item():
    x, y, same, scores = scored(one_relevant=True)
    found = retrieval_metrics(x, y)
    assert found.mrr == pytest.approx(label_ranking_average_precision_score(same, scores))
    assert found.map == pytest.approx(found.mrr)
    assert retrieval_per_query(x, y).first_rank.mean() == pytest.approx(coverage_error(same, scores))


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


# ---------------------------------------------------------------- the CMC curve


def test_the_cmc_curve_is_the_share_of_queries_with_a_hit_among_the_first():
    x, y = example()
    found = retrieval_per_query(x, y, ks=(1, 4, 30))
    curve = found.cmc(30)
    assert len(curve) == 30
    assert len(found.cmc()) == 50
    assert [curve[k - 1] for k in (1, 4, 30)] == pytest.approx([found.recall_at[k].mean() for k in (1, 4, 30)])
    expected = by_definition(x, y, x, y, (1,), "cosine", one_set=True)
    for k in range(1, 31):
        assert curve[k - 1] == pytest.approx(np.mean([each["first_rank"] <= k for each in expected.values()]))


# ---------------------------------------------------------------- rankings made elsewhere


def random_rankings(seed):
    """Rankings of random lengths with gaps, shorter and longer than R and than the gallery; their labels and K."""
    g = np.random.default_rng(seed)
    n, one_set = int(g.integers(2, 40)), bool(seed % 2)
    m = n if one_set else int(g.integers(1, 40))
    labels = g.integers(0, int(g.integers(1, 12)), n)
    labels[:2] = 0
    gallery_labels = labels if one_set else g.integers(0, 12, m)
    gallery_labels[0] = 0
    k = int(g.integers(0, m + 6))
    rows = np.full((n, k), -1)
    for i in range(n):
        pool = [j for j in g.permutation(m) if not (one_set and j == i)]
        taken = pool[: k if seed % 3 == 0 else int(g.integers(0, k + 1))]
        places = np.sort(g.permutation(k)[: len(taken)]) if seed % 5 == 0 else np.arange(len(taken))
        rows[i, places] = taken
    return rows, labels, None if one_set else gallery_labels, tuple(map(int, g.integers(1, 50, 3)))


@pytest.mark.parametrize("at_a_time", [1, 50, 1 << 17])
def test_rankings_that_end_early_equal_the_definition(at_a_time, monkeypatch):
    monkeypatch.setattr(metrics, "RANKS_AT_A_TIME", at_a_time)
    seen = {"shorter than R": 0, "longer than R": 0, "longer than the gallery": 0, "nothing to find": 0, "no hit": 0}
    for seed in range(60):
        rows, labels, gallery_labels, ks = random_rankings(seed)
        theirs = labels if gallery_labels is None else gallery_labels
        expected = {}
        for i, row in enumerate(rows.tolist()):
            relevant = sum(theirs == labels[i]) - (gallery_labels is None)
            hits = [j >= 0 and theirs[j] == labels[i] for j in row]
            if relevant:
                expected[i] = brute_figures(hits, relevant, ks)
            seen["shorter than R"] += len(row) < relevant
            seen["longer than R"] += len(row) > relevant > 0
            seen["longer than the gallery"] += len(row) > len(theirs)
            seen["nothing to find"] += not relevant
            seen["no hit"] += relevant > 0 and not any(hits)
        check_means(metrics_of_rankings(rows, labels, gallery_labels, ks=ks), expected, len(rows), ks)
    assert min(seen.values()) > 10


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


def test_judging_rankings_takes_memory_for_their_rows_and_not_for_all_relevant_items():
    n, k = 6000, 10
    labels = np.arange(n) % 2  # each query has R = 2,999 relevant items, of which a ranking can hold ten
    rows = (np.arange(n)[:, None] + np.arange(1, k + 1)) % n
    tracemalloc.start()
    try:
        found = metrics_of_rankings(rows, labels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.precision_at[10] == 0.5
    assert peak < n * n / 2 / 2  # half a byte for each of N·R relevant pairs; they took about 100


def test_rankings_that_are_none_are_refused(monkeypatch):
    monkeypatch.setattr(metrics, "RANKS_AT_A_TIME", 2)
    with pytest.raises(ValueError, match=r"rows\[2\] holds a gallery row twice"):
        metrics_of_rankings([[0, 1], [1, -1], [1, 1]], [0, 1, 1], [0, 1])
    with pytest.raises(ValueError, match=r"rows\[0\] holds a gallery row twice"):
        metrics_of_rankings([[0, -1, 0]], [0], [0, 1])
    for rows in ([[0, 1], [0, 2]], [[0, 1], [0, -2]]):
        with pytest.raises(ValueError, match="whole numbers from -1 to 1: rows of the gallery"):
            metrics_of_rankings(rows, [0, 0], [0, 1])
    with pytest.raises(ValueError, match="from -1 to 0"):
        metrics_of_rankings([0], [0], [0])
    with pytest.raises(ValueError, match="whole numbers"):
        metrics_of_rankings([[0.0]], [0], [0])
    for rows in ([[0], [0]], [[1], [1]]):
        with pytest.raises(ValueError, match="among its own neighbours"):
            metrics_of_rankings(rows, [0, 0])
    with pytest.raises(ValueError, match="labels has 1 entries but rows has 2 rows"):
        metrics_of_rankings([[0], [0]], [0], [0])
    for gallery_labels in ([1], []):
        with pytest.raises(ValueError, match="no query has a relevant item"):
            metrics_of_rankings([[-1]], [0], gallery_labels)
    with pytest.raises(ValueError, match="ks is"):
        metrics_of_rankings([[0]], [0], [0], ks=(0,))
    assert metrics_of_rankings([[-1, -1, 1]], [0], [1, 0]).mrr == pytest.approx(1 / 3)  # −1 may stand anywhere, often


# ---------------------------------------------------------------- what is given


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("grouped", [False, True])
def test_prepared_embeddings_give_the_same_and_are_not_prepared_again(metric, grouped, monkeypatch):
    x, y = example()
    g, gy = example(45, classes=6, seed=1)
    options, theirs = ({"groups": np.arange(60) % 3}, {"groups": np.arange(45) % 3}) if grouped else ({}, {})
    gallery_groups = {"gallery_groups": theirs["groups"]} if grouped else {}
    prepared, gallery = prepare(x, y, metric=metric, **options), prepare(g, gy, metric=metric, **theirs)
    one_set = retrieval_metrics(x, y, metric=metric, **options)
    against = retrieval_metrics(x, y, metric=metric, gallery=g, gallery_labels=gy, **options, **gallery_groups)
    own_groups = {"gallery_groups": options["groups"]} if grouped else {}
    itself = retrieval_metrics(x, y, metric=metric, gallery=x, gallery_labels=y, **options, **own_groups)
    steps = count_preparations(monkeypatch)
    assert retrieval_metrics(prepared) == one_set
    assert retrieval_metrics(prepared, gallery=gallery) == against
    # The same object as queries and as gallery is a gallery that holds the queries, as with arrays.
    assert retrieval_metrics(prepared, gallery=prepared) == itself
    assert retrieval_per_query(prepared, ks=(2,)).query.max() == 59
    assert steps == []
    retrieval_metrics(x, y, metric=metric, **options)
    assert steps == ["_prepare", "check_finite", "sorted_rows"]


def test_only_matches_of_a_querys_own_group_are_left_out_unless_all_pairs_are_asked_for():
    x, y = example()
    cameras = np.arange(60) % 3
    matches, pairs = (retrieval_metrics(x, y, groups=cameras, exclude=rule) for rule in ("matches", "pairs"))
    assert matches != pairs
    assert retrieval_metrics(x, y, groups=cameras) == matches
    assert retrieval_per_query(x, y, groups=cameras).r_precision.mean() == matches.r_precision
    with pytest.raises(ValueError, match="exclude is 'none'"):
        retrieval_metrics(x, y, groups=cameras, exclude="none")


def test_large_labels_stay_apart():
    x = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]
    y = np.array([2**53, 2**53, 2**53 + 1, 2**53 + 1])
    assert retrieval_metrics(x, y).map_at_r == 1.0
    assert retrieval_metrics(x[[0, 1, 2, 0]], y).left_out == 0


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


def test_figures_are_at_1_5_and_10_unless_others_are_asked_for():
    x, y = example()
    _, rows = top_k(x, x, 10, exclude_self=True)
    for found in (retrieval_metrics(x, y), retrieval_per_query(x, y), metrics_of_rankings(rows, y)):
        for name in ("recall_at", "precision_at", "ndcg_at"):
            assert list(getattr(found, name)) == [1, 5, 10]


def test_what_was_found_cannot_be_changed():
    x, y = example()
    for found in (retrieval_metrics(x, y), retrieval_per_query(x, y)):
        with pytest.raises(AttributeError):
            found.r_precision = 1.0


def test_ranks_start_at_1():
    x, y = example()
    assert retrieval_metrics(x, y, ks=(1,)).recall_at.keys() == {1}
    for ks in ((0,), (-1,), (5, 0)):
        for ask in (retrieval_metrics, retrieval_per_query):
            with pytest.raises(ValueError, match="ranks start at 1"):
                ask(x, y, ks=ks)
        with pytest.raises(ValueError, match="ranks start at 1"):
            metrics_of_rankings([[1], [0]], [0, 0], ks=ks)


def test_a_rank_that_a_ranking_does_not_hold_is_endlessly_far_down():
    found = query_metrics(Ranks(np.arange(2), np.array([3, 1]), np.array([1, 0]), np.array([4])), (5,))
    assert found.first_rank.tolist() == [4, 2**62]
    assert found.first_rank.dtype == np.int64
    assert found.recall_at[5].tolist() == [1, 0]


def test_a_query_with_more_ranks_than_are_taken_at_a_time_is_a_part_of_its_own(monkeypatch):
    x, y = example()
    expected = retrieval_per_query(x, y)
    monkeypatch.setattr(metrics, "RANKS_AT_A_TIME", 1)
    found = retrieval_per_query(x, y)
    for name in OF_A_QUERY:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_a_ranking_that_is_none_is_named_by_its_row_in_whichever_part_it_is(monkeypatch):
    monkeypatch.setattr(metrics, "RANKS_AT_A_TIME", 4)  # two rankings of two rows
    with pytest.raises(ValueError, match=r"rows\[3\] holds a gallery row twice"):
        metrics_of_rankings([[0, 1], [1, 0], [0, 1], [1, 1]], [0] * 4, [0, 1])
