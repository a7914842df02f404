"""Charts as SVG: where points, ticks and texts go."""

import pytest
from markupsafe import Markup

from report.parsed_chart import axis, drawn, places
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
    for markup in (charts.chart(evil, x, y, lines, [charts.Mark(evil, 1, 1)]), charts.legend(lines)):
        assert isinstance(markup, Markup)
        assert "<script" not in markup
        assert "&lt;script&gt;&#39;&#34;" in markup


def test_a_roc_is_drawn_as_steps_and_a_histogram_as_shares() -> None:
    assert charts.staircase([0, 0.5, 1], [0.2, 0.6, 1]) == ([0, 0.5, 0.5, 1, 1], [0.2, 0.2, 0.6, 0.6, 1])
    assert charts.steps([0, 1, 2], [1, 3]) == ([0, 1, 1, 2], [0.25, 0.25, 0.75, 0.75])
    assert charts.steps([0, 1], [0]) == ([0, 1], [0, 0])


def test_a_line_without_a_name_is_left_out_of_the_legend() -> None:
    lines = [charts.Series("", [0], [0], "s0 faint"), charts.Series("loss", [0], [0], "s0")]
    assert charts.legend(lines).count("<li>") == 1


# A plot is 490 wide, from 52 to 542, and 274 high, from 36 to 310: with an axis of so many units they are points.
X, Y = charts.Axis("across", 0, 490), charts.Axis("up", 0, 274)


def test_ticks_stand_on_the_plot_s_edge_with_their_labels_outside() -> None:
    svg = charts.chart("t", charts.Axis("across", 0, 10), charts.Axis("up", 0, 1), [], kind="roc")
    at_x, at_y = [52, 150, 248, 346, 444, 542], [310, 255.2, 200.4, 145.6, 90.8, 36]
    assert svg.startswith('<svg viewBox="0 0 560 360"')
    assert places(svg, "grid", "x1", "x2", "y1", "y2") == [(52, 542, y, y) for y in at_y]
    assert places(svg, "notch", "x1", "x2", "y1", "y2") == [(x, x, 310, 315) for x in at_x]
    assert places(svg, "base", "x1", "x2", "y1", "y2") == [(52, 542, 310, 310)]
    ticks = list(zip(drawn(svg, "tick"), places(svg, "tick", "x", "y"), strict=True))
    up, across = ticks[:6], ticks[6:]
    assert [(tick.text, place) for tick, place in up] == [
        (text, (44, pytest.approx(y + 4))) for text, y in zip(("0", "0.2", "0.4", "0.6", "0.8", "1"), at_y)
    ]
    assert [(tick.text, place) for tick, place in across] == [
        (text, (x, 330)) for text, x in zip(("0", "2", "4", "6", "8", "10"), at_x)
    ]
    assert [title.text for title in drawn(svg, "axis")] == ["up", "across"]
    assert places(svg, "axis", "x", "y") == [(8, 16), (542, 354)]
    assert len(drawn(svg, "roc")) == 1
    assert axis(svg) == {
        "left": 52, "width": 490, "low": 0, "high": 10, "log": False, "top": 36, "height": 274,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 3, [0, 1, 2, 3]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (0.5, 3.2, [1, 2, 3]),
        (10, 35, [10, 15, 20, 25, 30, 35]),
        (0.9, 1, [0.9, 0.92, 0.94, 0.96, 0.98, 1]),
        (0, 5, [0, 1, 2, 3, 4, 5]),
        (0, 4.9, [0, 1, 2, 3, 4]),
        (0, 5.1, [0, 2, 4]),
        (-1230, 1230, [-1000, -500, 0, 500, 1000]),
    ],
)
def test_ticks_are_round_and_within_the_axis(low: float, high: float, ticks: list[float]) -> None:
    assert charts.Axis("", low, high).ticks() == pytest.approx(ticks)


def test_a_logarithmic_axis_has_the_powers_of_ten_within_it_and_a_place_for_nothing() -> None:
    log = charts.Axis("", 0.0005, 0.2, log=True)
    assert log.ticks() == pytest.approx([0.001, 0.01, 0.1])
    assert (log.share(0), log.share(0.0001), log.share(0.01)) == (0, 0, pytest.approx(1.30103 / 2.60206))


def test_a_place_on_an_axis_is_counted_from_its_low_end() -> None:
    assert [charts.Axis("", 2, 6).share(v) for v in (2, 3, 5, 6)] == [0, 0.25, 0.75, 1]


def test_labels_have_a_minus_and_their_thousands_apart() -> None:
    assert charts.Axis("", 0, 1).label(-1234.5678) == "−1,234.57"
    assert charts.Axis("", 0, 1, percent=True).label(0.125) == "12.5%"


def test_a_filled_line_has_its_area_down_to_the_axis() -> None:
    filled = charts.Series("a", [10, 20, 80], [4, 6, 8], "s0", filled=True)
    svg = charts.chart("t", X, Y, [filled, charts.Series("b", [0, 1], [0, 1], "s1")])
    line = "62.0,306.0 72.0,304.0 132.0,302.0"
    assert [found.attrib["points"] for found in drawn(svg, "area")] == [f"62.0,310 {line} 132.0,310"]
    assert [found.attrib["points"] for found in drawn(svg, "line")] == [line, "52.0,310.0 53.0,309.0"]
    assert not drawn(charts.chart("t", X, Y, [charts.Series("a", [], [], "s0", filled=True)]), "area")


def test_points_that_repeat_the_one_before_are_drawn_once() -> None:
    svg = charts.chart("t", X, Y, [charts.Series("a", [0, 0, 1, 1, 0], [0, 0, 0, 0, 0], "s0")])
    assert drawn(svg, "line")[0].attrib["points"] == "52.0,310.0 53.0,310.0 52.0,310.0"


def test_a_mark_has_its_text_to_the_right_or_where_there_is_no_room_to_the_left() -> None:
    marks = [charts.Mark("four", at, 137) for at in (245, 431.5, 432.5)]
    svg = charts.chart("t", X, Y, [], marks)
    assert places(svg, "point", "cx", "cy") == [(297, 173), (483.5, 173), (484.5, 173)]
    assert places(svg, "note", "x", "y") == [(306, 191), (492.5, 191), (475.5, 191)]
    assert [note.attrib["text-anchor"] for note in drawn(svg, "note")] == ["start", "start", "end"]
    long = charts.chart("t", X, Y, [], [charts.Mark("x" * 20, at, 137) for at in (287, 289)])
    assert places(long, "note", "x") == [(348,), (332,)]


def test_the_text_of_a_mark_stays_above_the_axis() -> None:
    svg = charts.chart("t", X, Y, [], [charts.Mark("a", 1, y) for y in (0, 25, 27)])
    assert places(svg, "note", "y") == [(302,), (302,), (301,)]


def test_a_mark_without_height_is_a_line_with_its_text_at_the_head_or_the_foot() -> None:
    svg = charts.chart("t", X, Y, [], [charts.Mark("a", 100, None), charts.Mark("b", 100, None, low=True)])
    assert places(svg, "threshold", "x1", "x2", "y1", "y2") == [(152, 152, 36, 310)] * 2
    assert places(svg, "note", "x", "y") == [(161, 49), (161, 298)]


def test_coordinates_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        charts.chart("t", X, Y, [charts.Series("a", [0, 1], [0], "s0")])
    with pytest.raises(ValueError, match="zip"):
        charts.steps([0, 1, 2], [1])
    with pytest.raises(ValueError, match="zip"):
        charts.staircase([0, 1, 2], [0, 1])
