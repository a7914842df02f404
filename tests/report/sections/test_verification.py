"""The ROC and its table."""

import json

from report.building import changed, files_results, run_results, shown
from triune.report.formatting import percent
from triune.report.scale import Scale
from triune.report.sections.verification import verification_section

TABLE = "Verification of each model"


def test_every_figure_stands_under_its_own_head() -> None:
    head, *rows = shown(run_results()).table(TABLE)
    assert head == ["", "TPR at 5%", "TPR at 1%", "TPR at 0.1%", "AUC", "EER"]
    for model, row in zip(run_results().models, rows, strict=True):
        figures = model.verification["test"]
        tprs = [percent(point.tpr) + ("" if point.reliable else "?") for point in figures.points]
        assert row == [model.name, *tprs, f"{figures.auc:.3f}", percent(figures.eer)]


def test_intervals_stand_below_their_figures_and_their_level_is_said() -> None:
    page = shown(files_results())
    first, *_, auc, eer = page.table(TABLE)[1][1:]
    assert first.endswith(" 61.2% to 73.4%")
    assert auc.endswith(" 0.871 to 0.902")
    assert eer.endswith(" 10.1% to 20.3%")
    assert "Small figures are 80% intervals: 12 identities drawn with replacement, 50 times." in page.said(
        "verification"
    )
    assert "intervals" not in shown(run_results()).said("verification")


def test_the_script_reads_the_curve_with_the_applied_threshold_in_it() -> None:
    results = run_results()
    curve = json.loads(shown(results).scripts["curve"])
    applied = results.threshold
    points = list(zip(curve["fpr"], curve["tpr"], curve["at"], strict=True))
    assert (round(applied.on_test.fpr, 6), round(applied.on_test.tpr, 5), round(applied.distance, 6)) in points
    assert points == sorted(points, key=lambda point: point[:2])
    # The curve begins at a threshold of +inf, which is no distance.
    assert len(points) == len(results.models[0].verification["test"].roc.fpr)
    assert (curve["name"], curve["closer"]) == (Scale("cosine").name, True)


def test_the_logarithmic_axis_begins_below_a_single_false_positive() -> None:
    section = verification_section(changed(run_results(), figures={"impostors": 1728}))
    assert section is not None
    assert "&#34;low&#34;: 0.0001," in section.logarithmic
    assert "&#34;low&#34;: 0.0," in section.linear


def test_all_operating_points_are_marked_on_the_logarithmic_axis_and_the_first_on_the_linear_one() -> None:
    section = verification_section(run_results())
    assert section is not None
    assert section.logarithmic.count('class="point"') == 3
    assert section.linear.count('class="point"') == 1


def test_there_is_no_section_without_judged_pairs() -> None:
    assert verification_section(run_results().model_copy(update={"models": []})) is None
