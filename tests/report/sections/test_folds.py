"""Means over folds."""

from report.building import files_results, run_results, shown
from triune.report.sections.folds import folds_section


def test_means_stand_with_their_standard_errors_and_doubts() -> None:
    page = shown(files_results())
    assert page.table("Over folds") == [
        ["", "in the fold left out", "FPR there"],
        ["accuracy", "95.0% ± 1.23", "–"],
        ["TPR at 5%", "90.0% ± 1.00", "4.9% ± 0.10"],
        ["TPR at 0.1%", "40.0% ± 10.00?", "0.1% ± 0.02"],
    ]
    assert page.said("folds").startswith(" Over folds 2 folds: thresholds are chosen on all folds but one")


def test_there_is_no_section_without_folds() -> None:
    assert folds_section(run_results()) is None
