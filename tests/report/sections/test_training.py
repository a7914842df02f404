"""The curves of training."""

import polars
import pytest

from report.building import history, run_results, shown
from report.parsed_chart import axis, drawn, places, points, tick_labels
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
    long, short = (training_section(run_results(), history(steps)) for steps in (41, 40))
    assert long is not None
    assert short is not None
    assert "faint" in long.drawn[0].picture
    assert "faint" not in short.drawn[0].picture


def test_the_running_mean_is_that_of_a_window() -> None:
    for count, half in ((20, 1), (79, 1), (100, 2), (117, 2), (120, 3)):
        values = [float(v * v % 17) for v in range(count)]
        expected = [sum(w) / len(w) for w in (values[max(0, i - half) : i + half + 1] for i in range(count))]
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


def test_losses_are_drawn_from_nothing_to_a_little_above_the_largest() -> None:
    section = training_section(run_results(), history(60))
    assert section is not None
    losses = section.drawn[0].picture
    assert (axis(losses)["low"], axis(losses)["high"]) == (0, 60)
    assert tick_labels(losses)[1] == ["0", "0.5", "1"]
    # The loss on classes begins at 1 at the first of 60 steps; that on triplets is 0.2 throughout.
    classes, triplets = points(losses, "faint")
    assert classes[0] == pytest.approx((52 + 490 / 60, 310 - 274 / 1.05), abs=0.06)
    assert triplets[-1] == pytest.approx((542, 310 - 274 * 0.2 / 1.05), abs=0.06)
    smoothed = points(losses, "s0")[1]
    assert smoothed[0][1] == pytest.approx(310 - 274 * 0.75 / 1.05, abs=0.06)  # of 1 and 1/2
    assert [name in section.drawn[0].legend for name in ("classes", "triplets", "TPR")] == [True, True, False]


def test_losses_that_are_nothing_have_an_axis_all_the_same() -> None:
    section = training_section(run_results(), history(4).with_columns(train_classification=0.0, train_triplet=0.0))
    assert section is not None
    assert tick_labels(section.drawn[0].picture)[1] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_shares_are_drawn_from_none_to_all() -> None:
    section = training_section(run_results(), history(2))
    assert section is not None
    for chart in section.drawn[2:]:
        assert tick_labels(chart.picture)[1] == ["0%", "20%", "40%", "60%", "80%", "100%"]
    active, collapse = points(section.drawn[2].picture, "line")
    assert [y for _, y in active] == [310 - 274 * 0.5] * 2
    assert [y for _, y in collapse] == pytest.approx([310 - 274 * 0.4] * 2, abs=0.06)
    assert "AUC" in section.drawn[3].legend


def test_without_a_kept_epoch_nothing_is_marked_and_its_text_stands_at_the_foot() -> None:
    section = training_section(run_results(), history())
    assert section is not None
    assert places(section.drawn[3].picture, "note", "y") == [(298,)]
    assert not drawn(section.drawn[0].picture, "threshold")
    facts = run_results().training.model_copy(update={"best_epoch": None})
    for training in (facts, None):
        section = training_section(run_results().model_copy(update={"training": training}), history())
        assert section is not None
        assert not drawn(section.drawn[3].picture, "threshold")


def test_a_kept_epoch_before_the_history_begins_is_marked_at_its_beginning() -> None:
    later = history().with_columns(polars.col("epoch") + 1)  # where training was taken up again
    facts = run_results().training.model_copy(update={"best_epoch": 1})
    section = training_section(run_results().model_copy(update={"training": facts}), later)
    assert section is not None
    assert places(section.drawn[3].picture, "threshold", "x1") == [(charts.LEFT,)]


@pytest.mark.parametrize(("steps", "end"), [((0, 0), 1), ((0, 1), 1), ((1, 2), 2), ((1, 1000), 1000)])
def test_the_axis_ends_at_the_last_step_and_is_never_empty(steps: tuple[int, int], end: int) -> None:
    section = training_section(run_results(), history(2).with_columns(step=polars.Series(steps)))
    assert section is not None
    assert {(axis(chart.picture)["low"], axis(chart.picture)["high"]) for chart in section.drawn} == {(0, end)}


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


def test_who_drives_the_backbone_is_drawn_and_told() -> None:
    measured = history(4).with_columns(
        train_grad_norm_classification=polars.Series([3.0, None, 1.0, None]),
        train_grad_norm_triplet=polars.Series([4.0, None, 2.0, None]),
        train_grad_cosine_classification_triplet=polars.Series([-0.5, None, 1.0, None]),
        train_weight_triplet=polars.Series([1.5, None, 0.5, None]),
    )
    section = training_section(run_results(), measured)
    assert section is not None
    titles = [drawn.title for drawn in section.drawn]
    assert titles[4:] == ["Gradients on the backbone", "Angles between gradients", "Weights of the tasks"]
    angles = section.drawn[5].picture
    assert tick_labels(angles)[1] == ["−1", "−0.5", "0", "0.5", "1"]
    # From a quarter of the height to its top, 274 points above 310.
    assert [y for _, y in points(angles, "s1")[0]] == pytest.approx([310 - 274 / 4, 310 - 274], abs=0.06)
    said = shown(run_results(), history=measured).said("training")
    assert "triplets3.00060" in said.replace(" ", "").replace("\n", "")
    assert "classes, triplets" in said
    assert "50" in said
    assert "Who drives" not in shown(run_results(), history=history(4)).said("training")
