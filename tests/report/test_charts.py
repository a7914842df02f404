"""Charts as SVG: where points, ticks and texts go."""

import pytest
from markupsafe import Markup

from triune.report import charts


def test_axes_place_values_and_ticks() -> None:
    linear, log = charts.Axis("", 0, 2), charts.Axis("", 1e-4, 1.0, log=True, percent=True)
    assert [linear.share(v) for v in (-1, 0, 0.5, 2, 9)] == [0, 0, 0.25, 1, 1]
    assert linear.ticks() == [0, 0.5, 1, 1.5, 2]
    assert log.share(0.01) == pytest.approx(0.5)
    assert [log.label(t) for t in log.ticks()] == ["0.01%", "0.1%", "1%", "10%", "100%"]


def test_a_chart_draws_its_points_where_they_belong() -> None:
    x, y = charts.Axis("x", 0, 10), charts.Axis("y", 0, 1)
    svg = charts.chart("<title>", x, y, [charts.Series("a", [0, 10, 10], [0, 1, 1], "s0")])
    right, top = charts.WIDTH - charts.RIGHT, charts.TOP
    points = f'points="{charts.LEFT:.1f},{charts.HEIGHT - charts.BOTTOM:.1f} {right:.1f},{top:.1f}"'
    assert points in svg
    assert 'aria-label="&lt;title&gt;"' in svg


def test_the_names_in_a_chart_cannot_become_markup() -> None:
    evil = "</svg><script>'\""
    x, y = charts.Axis(evil, 0, 10), charts.Axis(evil, 0, 1)
    lines = [charts.Series(evil, [0, 1], [0, 1], "s0")]
    for drawn in (charts.chart(evil, x, y, lines, [charts.Mark(evil, 1, 1)]), charts.legend(lines)):
        assert isinstance(drawn, Markup)
        assert "<script" not in drawn
        assert "&lt;script&gt;&#39;&#34;" in drawn


def test_a_roc_is_drawn_as_steps_and_a_histogram_as_shares() -> None:
    assert charts.staircase([0, 0.5, 1], [0.2, 0.6, 1]) == ([0, 0.5, 0.5, 1, 1], [0.2, 0.2, 0.6, 0.6, 1])
    assert charts.steps([0, 1, 2], [1, 3]) == ([0, 1, 1, 2], [0.25, 0.25, 0.75, 0.75])
    assert charts.steps([0, 1], [0]) == ([0, 1], [0, 0])


def test_a_line_without_a_name_is_left_out_of_the_legend() -> None:
    lines = [charts.Series("", [0], [0], "s0 faint"), charts.Series("loss", [0], [0], "s0")]
    assert charts.legend(lines).count("<li>") == 1
