"""Rates by condition."""

from report.building import files_results, run_results, shown
from triune.evaluation.results import Rate
from triune.report.sections.conditions import conditions_section


def test_rates_stand_with_their_intervals_where_there_are_any() -> None:
    head, front, back = shown(files_results()).table("Rates within each camera")
    assert head == ["camera", "items", "identities", "same pairs", "different pairs", "TPR", "FPR"]
    assert front == ["front", "1,200", "60", "10", "4,000", "91.0% 85.0% to 97.0%", "4.0%"]
    assert back[0] == "back"


def test_threshold_level_and_inequity_are_told() -> None:
    said = shown(files_results()).said("conditions")
    distance = files_results().threshold.distance
    assert f"a Euclidean distance of at most {distance:.4f}, fitted on other data" in said
    assert "Small figures are 80% intervals" in said
    assert "FPR: the worst (back) is 2.50 times the best." in said
    assert "FNR: the ratio of worst to best is not defined, since one rate is 0." in said


def test_without_intervals_no_level_is_told() -> None:
    found = files_results().conditions[0]
    bare = Rate(estimate=0.5, low=float("nan"), high=float("nan"))
    rows = [row.model_copy(update={"tpr": bare, "fpr": bare}) for row in found.rows]
    here = found.model_copy(update={"rows": rows, "fitted_here": True})
    said = shown(files_results().model_copy(update={"conditions": [here]})).said("conditions")
    assert "interval" not in said
    assert "fitted on these very pairs" in said


def test_there_is_no_section_without_conditions() -> None:
    assert conditions_section(run_results()) is None
