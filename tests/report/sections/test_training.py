"""The curves of training."""

import polars
import pytest

from report.building import history, run_results, shown
from triune.report import charts
from triune.report.sections.training import running_mean, training_section
from triune.run.history import COLUMNS


def test_what_was_measured_is_drawn_and_nothing_else() -> None:
    section = training_section(run_results(), history())
    assert section is not None
    assert [drawn.title for drawn in section.drawn] == [
        *("Losses", "Distances in triplets", "Triplet health", "Validation")
    ]
    assert "classes" in section.drawn[0].legend
    assert "masks" not in section.drawn[0].legend
    no_validation = history().with_columns(val_tpr=None, val_auc=None)
    section = training_section(run_results(), no_validation)
    assert section is not None
    assert "Validation" not in [drawn.title for drawn in section.drawn]


def test_long_lines_are_drawn_faintly_behind_their_running_mean() -> None:
    long, short = (training_section(run_results(), history(steps)) for steps in (60, 30))
    assert long is not None
    assert short is not None
    assert "faint" in long.drawn[0].picture
    assert "faint" not in short.drawn[0].picture


def test_the_running_mean_is_that_of_a_window() -> None:
    values = [float(v * v % 17) for v in range(100)]
    expected = [sum(w) / len(w) for w in (values[max(0, i - 2) : i + 3] for i in range(100))]
    assert running_mean(values) == pytest.approx(expected)


def test_validation_is_named_after_its_budget_and_the_kept_epoch_is_marked() -> None:
    section = training_section(run_results(), history())
    assert section is not None
    validation = section.drawn[3]
    assert "TPR at FPR 5%" in validation.legend
    assert "kept: epoch 2" in validation.picture
    # The second of two epochs ends at the right edge.
    right = charts.WIDTH - charts.RIGHT
    assert f'<line class="threshold" x1="{right:.1f}"' in validation.picture
    facts = run_results().training.model_copy(update={"best_epoch": 1})
    section = training_section(run_results().model_copy(update={"training": facts}), history())
    assert section is not None
    middle = (charts.LEFT + right) / 2
    assert f'<line class="threshold" x1="{middle:.1f}"' in section.drawn[3].picture


def test_the_facts_are_said() -> None:
    said = shown(run_results(), history=history()).said("training")
    assert "2 epochs, 60 steps, 12 seconds, seed 0. The weights kept are those of epoch 2." in said
    bare = shown(run_results().model_copy(update={"training": None}), history=history()).said("training")
    assert "epochs" not in bare
    assert "Healthy training" in bare


def test_there_is_no_section_without_a_history_of_two_steps() -> None:
    assert training_section(run_results(), None) is None
    assert training_section(run_results(), history()[:1]) is None
    assert training_section(run_results(), history()[:0]) is None
    nothing = polars.DataFrame([{"epoch": 0, "step": step} for step in (1, 2)], schema=COLUMNS)
    assert training_section(run_results(), nothing) is None
