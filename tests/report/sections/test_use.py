"""The commands to use a run with."""

from pathlib import Path

from report.building import run_results, shown
from triune.evaluation.results import Unavailable
from triune.report.sections.use import use_section


def test_the_commands_name_the_folder() -> None:
    said = shown(run_results(), has_model=True).said("use")
    assert "triune verify runs/digits-1 a.jpg b.jpg # the same" in said
    assert "triune verify runs/digits-1 a.jpg b.jpg --fpr 0.01 --json" in said
    assert "triune evaluate runs/digits-1 --data items.csv" in said


def test_without_a_threshold_none_is_asked_for() -> None:
    none = run_results().model_copy(update={"threshold": Unavailable(unavailable="no pairs")})
    assert "--fpr" not in shown(none, has_model=True).said("use")


def test_there_is_no_section_without_a_model() -> None:
    assert use_section(Path("runs/x"), run_results(), False) is None
