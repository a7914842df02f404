"""Two models on the same pairs."""

from report.building import files_results, run_results, shown
from triune.report.sections.comparison import comparison_section


def test_differences_stand_with_interval_p_value_and_the_level_asked_for() -> None:
    head, *rows = shown(files_results()).table("Differences of the two models")
    assert head == ["", "difference", "80% interval", "p-value"]
    assert [row[0] for row in rows] == ["TPR at 5%", "TPR at 1%", "TPR at 0.1%", "AUC", "EER"]
    assert rows[3][1:] == ["+0.041", "−0.012 to +0.093", "under 0.001"]
    assert rows[4][1:] == ["−0.500", "−0.012 to +0.093", "0.250"]


def test_there_is_no_section_without_another_model() -> None:
    assert comparison_section(run_results()) is None
