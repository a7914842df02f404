"""Scores as people see them."""

from triune.report.scale import Scale


def test_scores_are_shown_as_the_distance_they_stand_for() -> None:
    assert Scale("cosine").shown(0.75) == 0.25
    assert Scale("euclidean").shown(-1.5) == 1.5
    assert Scale("squared_euclidean").name == "squared Euclidean distance"
    assert Scale("distance").shown(-2.0) == 2.0
    assert Scale("distance").closer


def test_a_score_is_shown_as_it_is() -> None:
    assert Scale("score").shown(3.0) == 3.0
    assert not Scale("score").closer
