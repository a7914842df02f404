"""Retrieval by the roles of a table: queries, gallery, cameras and distractors, against rankings made in float64."""

from dataclasses import replace

import numpy as np
import pytest

from oracles import brute_figures, brute_rankings, brute_scores
from triune.evaluation.results import SearchRoles, Unavailable
from triune.evaluation.search import Roles, SearchedItems, judge_rankings, judge_search, roles_of
from triune.pairs.prepared import prepare
from triune.retrieval.metrics import metrics_of_rankings, retrieval_metrics
from triune.retrieval.reranking import expand_gallery, rerank


def example(seed=0, n=60, nobody=9):
    g = np.random.default_rng(seed)
    y = g.integers(0, 6, n)
    x = (g.normal(size=(n + nobody, 6)) + np.pad(np.eye(6)[y], ((0, nobody), (0, 0)))).astype(np.float32)
    roles = Roles(g.random(n) < 0.4, g.random(n) < 0.6, np.array(["c1", "c2", "c3"])[g.integers(0, 3, n)])
    names = np.array([f"p{label}" for label in y])
    return SearchedItems(x[:n], names, "cosine", roles, distractors=x[n:])


def by_hand(items):
    """The mean figures over the queries that have a match left, and how many of these there are."""
    n, roles = len(items.rows), items.roles
    every = np.concatenate([items.rows, items.distractors])
    match = np.zeros((n, len(every)), bool)
    match[:, :n] = items.labels[:, None] == items.labels[None, :]
    cameras = np.arange(n) if roles.cameras is None else roles.cameras
    known = np.ones(n, bool) if roles.cameras is None else cameras != ""
    own = (cameras[:, None] == cameras[None, :]) & known[:, None] | np.eye(n, dtype=bool)
    out = np.zeros_like(match)
    out[:, :n] = ~roles.is_gallery[None, :] | (match[:, :n] & own)
    rankings = brute_rankings(brute_scores(items.rows, every, "cosine"), out)
    found = [
        brute_figures([bool(match[i, j]) for j in rankings[i]], int((match & ~out)[i].sum()), (1, 5, 10))
        for i in np.flatnonzero(roles.is_query)
        if (match & ~out)[i].any()
    ]
    return {name: np.mean([each[name] for each in found]) for name in found[0]}, len(found)


def judged(items):
    return judge_search(items, prepare(items.rows, items.labels), None)


def check(found, items):
    means, count = by_hand(items)
    assert (found.queries, found.left_out) == (count, items.roles.is_query.sum() - count)
    assert found.map == pytest.approx(means["average_precision"], abs=1e-12)
    assert found.map_at_r == pytest.approx(means["average_precision_at_r"], abs=1e-12)
    assert {k: found.recall_at[k] for k in (1, 5, 10)} == pytest.approx({k: means["recall_at", k] for k in (1, 5, 10)})
    assert found.cmc[4] == pytest.approx(means["recall_at", 5])


def test_figures_are_those_of_the_queries_over_the_gallery_without_their_own_camera():
    items = example()
    found = judged(items)
    check(found, items)
    assert len(found.cmc) == items.roles.is_gallery.sum() + 9
    assert found.roles == SearchRoles(
        queries=items.roles.is_query.sum(), gallery=items.roles.is_gallery.sum() + 9, distractors=9, same_camera=True
    )


def test_an_item_whose_camera_is_not_known_leaves_out_itself_alone():
    items = example(1)
    cameras = items.roles.cameras.copy()
    cameras[::3] = ""
    items = replace(items, roles=replace(items.roles, cameras=cameras))
    check(judged(items), items)


def test_without_cameras_a_query_is_not_its_own_neighbour_all_the_same():
    items = example(2)
    items = replace(items, roles=replace(items.roles, cameras=None))
    assert (items.roles.is_query & items.roles.is_gallery).any()
    found = judged(items)
    check(found, items)
    assert found.roles.same_camera is False


def test_a_group_that_is_asked_for_stands_in_the_place_of_the_camera():
    items = example(3)
    sessions = np.arange(60) % 4
    found = judged(replace(items, groups=sessions))
    check(found, replace(items, roles=replace(items.roles, cameras=sessions.astype(str))))
    assert found.roles.same_camera is False


def test_without_roles_every_item_asks_all_others():
    items = replace(example(4), roles=None, distractors=None)
    found = judged(items)
    assert found.map == retrieval_metrics(items.rows, items.labels).map
    assert found.roles is None


def test_other_rankings_follow_the_roles_too():
    items = replace(example(5), distractors=None)
    roles = items.roles
    found = judge_rankings(items, None)
    given = {"is_query": roles.is_query, "is_gallery": roles.is_gallery, "groups": roles.cameras}
    by_expanded = retrieval_metrics(expand_gallery(items.rows), items.labels, **given)
    assert found["expanded"].map == pytest.approx(by_expanded.map, abs=1e-12)
    q, g = roles.is_query, roles.is_gallery
    ranked = rerank(items.rows[q], items.rows[g]).rows
    groups = {"groups": roles.cameras[q], "gallery_groups": roles.cameras[g]}
    assert found["re-ranked"].map == metrics_of_rankings(ranked, items.labels[q], items.labels[g], **groups).map
    assert found["re-ranked"].roles == found["expanded"].roles == judged(items).roles
    with_nobody = judge_rankings(example(5), None)
    assert with_nobody["expanded"].roles.distractors == 9


@pytest.mark.parametrize(
    ("asks", "answers", "cameras", "said"),
    [
        ("0000", "1111", None, "no image is a query"),
        ("1000", "0000", None, "no image with an identity is in the gallery"),
        ("1000", "1010", None, "no query has another image of its identity in the gallery"),
        ("1000", "0111", ["a", "a", "a", "a"], "no query has another image of its identity in the gallery, by another"),
    ],
)
def test_why_there_are_no_figures_is_said(asks, answers, cameras, said):
    flags = [np.array([c == "1" for c in word]) for word in (asks, answers)]
    roles = Roles(*flags, None if cameras is None else np.array(cameras))
    items = SearchedItems(np.eye(4, dtype=np.float32), np.array(["p", "p", "q", "q"]), "cosine", roles)
    found = judged(items)
    assert isinstance(found, Unavailable)
    assert found.unavailable.startswith(said)
    assert judge_rankings(items, None) == {}


def test_columns_that_say_nothing_of_these_items_make_no_roles():
    assert roles_of([None, None], [None, None], ["a", "b"]) is None


def test_an_empty_cell_is_no_and_a_column_that_says_nothing_is_the_rest_of_the_other():
    roles = roles_of([True, None, False], [None, None, None], None)
    assert (roles.is_query.tolist(), roles.is_gallery.tolist()) == ([True, False, False], [False, True, True])
    roles = roles_of([None] * 3, [True, True, None], ["a", None, "b"])
    assert (roles.is_query.tolist(), roles.is_gallery.tolist()) == ([False, False, True], [True, True, False])
    assert roles.cameras.tolist() == ["a", "", "b"]
    roles = roles_of([True, True], [None, None], [None, None])
    assert roles.is_gallery.tolist() == [True, True]
    assert roles.cameras is None
