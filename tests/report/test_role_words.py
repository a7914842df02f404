"""Who asked and who answered, in words."""

from triune.evaluation.results import RetrievalResult, SearchRoles
from triune.report.role_words import roles_in_words

FIGURES = {
    "queries": 3,
    "left_out": 1,
    "recall_at": {1: 1.0},
    "precision_at": {1: 1.0},
    "r_precision": 1.0,
    "map_at_r": 1.0,
    "mrr": 1.0,
    "map": 1.0,
}


def test_nothing_is_said_where_every_item_does_both():
    assert roles_in_words(RetrievalResult(**FIGURES)) == ""


def test_queries_gallery_distractors_and_the_rule_are_named():
    roles = SearchRoles(queries=4, gallery=1913, distractors=93, same_camera=True)
    assert roles_in_words(RetrievalResult(**FIGURES, roles=roles)) == (
        "4 queries (is_query) in a gallery of 1,913 (is_gallery), 93 of them nobody's match; items of the same "
        "identity by the same camera are left out; 1 queries without a match are not counted"
    )
    plain = roles_in_words(RetrievalResult(**{**FIGURES, "left_out": 0}, roles=SearchRoles(queries=3, gallery=9)))
    assert plain == "3 queries (is_query) in a gallery of 9 (is_gallery)"
