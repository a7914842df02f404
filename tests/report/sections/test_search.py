"""Retrieval figures."""

from report.building import changed, files_results, run_results, shown
from triune.evaluation.results import SearchRoles, Unavailable
from triune.report.formatting import percent
from triune.report.sections.search import search_section

TABLE = "Retrieval of each model"


def test_every_figure_stands_under_its_own_head() -> None:
    head, *rows = shown(run_results()).table(TABLE)
    assert head == ["", "Recall@1", "Recall@5", "Recall@10", "MAP@R", "R-precision", "MRR"]
    for model, row in zip(run_results().models, rows, strict=True):
        found = model.retrieval
        recalls = [percent(found.recall_at[k]) for k in (1, 5, 10)]
        assert row == [model.name, *recalls, percent(found.map_at_r), percent(found.r_precision), f"{found.mrr:.3f}"]


def test_other_rankings_stand_under_their_own_model() -> None:
    rows = shown(files_results()).table(TABLE)[1:]
    own = files_results().models[0].retrieval.mrr
    assert [(row[0], row[-1]) for row in rows] == [
        ("this model", f"{own:.3f}"),
        ("this model, expanded", "0.111"),
        ("this model, re-ranked", "0.222"),
        ("theirs", "0.333"),
    ]


def test_a_depth_that_a_ranking_lacks_is_a_dash() -> None:
    retrieval = run_results().models[0].retrieval.model_copy(update={"recall_at": {1: 0.5}})
    rows = shown(changed(run_results(), {"retrieval": retrieval})).table(TABLE)
    assert rows[1][1:4] == ["50.0%", "–", "–"]


def test_items_left_out_are_counted() -> None:
    retrieval = run_results().models[0].retrieval.model_copy(update={"left_out": 1})
    said = shown(changed(run_results(), {"retrieval": retrieval})).said("search")
    assert "72 test images, each looking for its own identity" in said
    assert "1 test image without a second one are left out." in said
    assert "144 items, each" in shown(files_results()).said("search")


def test_who_asked_and_who_answered_is_said_with_the_map_of_re_identification() -> None:
    roles = SearchRoles(queries=72, gallery=600, distractors=5, same_camera=True)
    retrieval = run_results().models[0].retrieval.model_copy(update={"roles": roles, "map": 0.125})
    page = shown(changed(run_results(), {"retrieval": retrieval}))
    said = page.said("search")
    assert "72 queries (is_query) in a gallery of 600 (is_gallery), 5 of them nobody's match" in said
    assert "by the same camera are left out. A query is never its own neighbour." in said
    assert "among all the others" not in said
    head, first, *_ = page.table(TABLE)
    assert (head[-1], first[-1]) == ("mAP", "12.5%")


def test_retrieval_that_was_not_measured_says_why() -> None:
    results = changed(run_results(), {"retrieval": Unavailable(unavailable="no identity has two images")})
    only = results.model_copy(update={"models": results.models[:1]})
    assert "Not measured: no identity has two images." in shown(only).said("search")
    assert search_section(only.model_copy(update={"models": []})) is None


def test_only_of_the_judged_model_is_it_said_why_there_is_nothing() -> None:
    nothing = Unavailable(unavailable="no identity has two images")
    first, other = run_results().models
    results = run_results().model_copy(update={"models": [first, other.model_copy(update={"retrieval": nothing})]})
    section = search_section(results)
    assert section is not None
    assert (section.unavailable, [row.name for row in section.rows]) == (None, ["this model"])
    assert (section.first, section.reranked) == (first.retrieval, False)
    only = run_results().model_copy(update={"models": [other.model_copy(update={"retrieval": nothing})]})
    assert search_section(only) is None
    section = search_section(files_results())
    assert section is not None
    assert section.reranked
    assert section.first == files_results().models[0].retrieval
