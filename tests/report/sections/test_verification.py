"""The ROC and its table."""

import json
import math

import pytest

from report.building import changed, files_results, run_results, shown
from report.parsed_chart import axis, drawn, places, points, tick_labels
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


@pytest.mark.parametrize(
    ("impostors", "lowest"), [(5, 0.1), (10, 0.1), (11, 0.01), (99_999, 1e-5), (1_000_000, 1e-6), (10**9, 1e-6)]
)
def test_the_logarithmic_axis_is_six_powers_of_ten_long_at_most(impostors: int, lowest: float) -> None:
    section = verification_section(changed(run_results(), figures={"impostors": impostors}))
    assert section is not None
    found = axis(section.logarithmic)
    assert (found["low"], found["high"], found["log"]) == (pytest.approx(lowest), 1, True)
    chance = points(section.logarithmic, "chance")[0]
    assert (chance[0][0], chance[-1]) == (52, (542, 36))


def test_both_curves_have_the_same_lines_on_axes_in_percent() -> None:
    section = verification_section(run_results())
    assert section is not None
    shares = ["0%", "20%", "40%", "60%", "80%", "100%"]
    assert tick_labels(section.linear) == (shares, shares)
    assert tick_labels(section.logarithmic)[1] == shares
    assert (axis(section.linear)["low"], axis(section.linear)["high"], axis(section.linear)["log"]) == (0, 1, False)
    assert "with a linear" in drawn(section.linear, "roc")[0].attrib["aria-label"]
    assert "with a logarithmic" in drawn(section.logarithmic, "roc")[0].attrib["aria-label"]
    assert points(section.linear, "chance") == [[(52, 310), (542, 36)]]
    assert len(points(section.logarithmic, "chance")[0]) == 60
    for picture in (section.linear, section.logarithmic):
        assert [line.attrib["class"] for line in drawn(picture, "line")] == ["line chance", "line s1", "line s0"]
    names = ["this model", "raw pixels", "chance"]
    assert sorted(names, key=section.legend.index) == names


def test_operating_points_are_marked_where_the_curve_runs_through_them() -> None:
    section = verification_section(run_results())
    assert section is not None
    figures = run_results().models[0].verification["test"]
    first = figures.points[0]
    at = (52 + 490 * first.fpr, 310 - 274 * first.tpr)
    assert places(section.linear, "point", "cx", "cy") == [pytest.approx(at, abs=0.06)]
    assert section.main == figures


def test_the_script_s_curve_is_rounded_to_a_millionth_of_fpr_and_distance() -> None:
    results = run_results().model_copy(update={"threshold": None})
    curve = json.loads(shown(results).scripts["curve"])
    roc = results.models[0].verification["test"].roc
    finite = [point for point in zip(roc.fpr, roc.tpr, roc.threshold, strict=True) if math.isfinite(point[2])]
    finite.sort(key=lambda point: point[:2])
    assert curve["fpr"] == [float(f"{fpr:.6f}") for fpr, _, _ in finite]
    assert curve["tpr"] == [float(f"{tpr:.5f}") for _, tpr, _ in finite]
    assert curve["at"] == pytest.approx([1 - score for _, _, score in finite], abs=5.01e-7)
    assert max(len(str(at).partition(".")[2]) for at in curve["at"] if at > 1e-4) == 6


def test_there_is_no_section_without_judged_pairs() -> None:
    assert verification_section(run_results().model_copy(update={"models": []})) is None
