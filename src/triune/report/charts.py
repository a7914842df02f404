"""The report's charts as inline SVG: lines, filled steps and marks on linear or logarithmic axes."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH, HEIGHT = 560, 360
LEFT, RIGHT, TOP, BOTTOM = 52, 18, 36, 50


class Axis(NamedTuple):
    """One axis.

    Args:
        title: what it measures.
        low: its lower end.
        high: its upper end.
        log: logarithmic, base 10.
        percent: label its ticks in percent.
    """

    title: str
    low: float
    high: float
    log: bool = False
    percent: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high one; values beyond are moved to the end."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log10(max(v, 1e-300)) for v in (value, low, high))
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def ticks(self) -> list[float]:
        """About five round values."""
        if self.log:
            return [10.0**e for e in range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)]
        raw = (self.high - self.low) / 5
        step = 10.0 ** math.floor(math.log10(raw))
        step *= next(m for m in (1, 2, 5, 10) if m * step >= raw * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]

    def label(self, value: float) -> str:
        """A tick's text."""
        if self.percent:
            return f"{value * 100:.6g}%"
        return f"{value:,.6g}".replace("-", "−")


class Series(NamedTuple):
    """One line of a chart.

    Args:
        name: for the legend; a line without a name is left out of it.
        x: of its points.
        y: of its points.
        style: CSS classes: ``s0`` … ``s4``, ``chance``, ``faint``.
        filled: fill the area under it.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str
    filled: bool = False


class Mark(NamedTuple):
    """A point with a text beside it, or a vertical line.

    Args:
        text: what is said of it.
        x: where it is.
        y: its height; a vertical line where ``None``.
        low: the text of a line stands at its foot.
    """

    text: str
    x: float
    y: float | None
    low: bool = False


def chart(title: str, x: Axis, y: Axis, series: Sequence[Series], marks: Sequence[Mark] = (), kind: str = "") -> Markup:
    """An SVG chart that scales with its place.

    Args:
        title: read out to those who do not see the chart.
        x: the horizontal axis.
        y: the vertical axis.
        series: the lines, the one in front last.
        marks: points and vertical lines with a text.
        kind: a CSS class by which the page's script finds the chart; the x axis is given to it as ``data-axis``.
    """
    inner_w, inner_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    foot = HEIGHT - BOTTOM

    def px(value: float) -> float:
        return LEFT + x.share(value) * inner_w

    def py(value: float) -> float:
        return TOP + (1 - y.share(value)) * inner_h

    axis = {"left": LEFT, "width": inner_w, "low": x.low, "high": x.high, "log": x.log, "top": TOP, "height": inner_h}
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" class="chart {kind}"'
        f" data-axis='{escape(json.dumps(axis))}'>"
    ]
    for tick in y.ticks():
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py(tick):.1f}" y2="{py(tick):.1f}"/>')
        place = f'x="{LEFT - 8}" y="{py(tick) + 4:.1f}"'
        parts.append(f'<text class="tick" {place} text-anchor="end">{y.label(tick)}</text>')
    for tick in x.ticks():
        at = f"{px(tick):.1f}"
        parts.append(f'<line class="notch" x1="{at}" x2="{at}" y1="{foot}" y2="{foot + 5}"/>')
        parts.append(f'<text class="tick" x="{at}" y="{foot + 20}" text-anchor="middle">{x.label(tick)}</text>')
    parts.append(f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{foot}" y2="{foot}"/>')
    parts.append(f'<text class="axis" x="{LEFT - 44}" y="16">{escape(y.title)}</text>')
    parts.append(f'<text class="axis" x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{escape(x.title)}</text>')
    for line in series:
        points = " ".join(_distinct(f"{px(a):.1f},{py(b):.1f}" for a, b in zip(line.x, line.y, strict=True)))
        if line.filled and points:
            area = f"{px(line.x[0]):.1f},{foot} {points} {px(line.x[-1]):.1f},{foot}"
            parts.append(f'<polygon class="area {line.style}" points="{area}"/>')
        parts.append(f'<polyline class="line {line.style}" points="{points}"/>')
    for mark in marks:
        parts.append(_marked(mark, px(mark.x), None if mark.y is None else py(mark.y)))
    return Markup("".join(parts) + "</svg>")


def legend(series: Sequence[Series]) -> Markup:
    """The names of a chart's lines, each behind a sample of it."""
    sample = '<svg viewBox="0 0 28 8" aria-hidden="true"><line class="line {}" x1="1" x2="27" y1="4" y2="4"/></svg>'
    items = "".join(f"<li>{sample.format(s.style)}{escape(s.name)}</li>" for s in series if s.name)
    return Markup(f'<ul class="legend">{items}</ul>')


def steps(edges: Sequence[float], counts: Sequence[float]) -> tuple[list[float], list[float]]:
    """A histogram's outline, as a share of its total in each bin."""
    total = sum(counts) or 1
    xs, ys = [], []
    for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True):
        xs += [left, right]
        ys += [count / total] * 2
    return xs, ys


def staircase(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points of a curve as the steps it is made of: it rises only where the next point lies."""
    xs, ys = [x[0]], [y[0]]
    for a, b in zip(x[1:], y[1:], strict=True):
        xs += [a, a]
        ys += [ys[-1], b]
    return xs, ys


def _distinct(points: Iterable[str]) -> list[str]:
    """The points less those that repeat the one before: on the page they are the same."""
    kept: list[str] = []
    for point in points:
        if not kept or kept[-1] != point:
            kept.append(point)
    return kept


def _marked(mark: Mark, at: float, height: float | None) -> str:
    """A point or a vertical line, with its text to the right, or to the left where there is no room."""
    room = at < WIDTH - 40 - 9 * len(mark.text)
    anchor, shift = ("start", 9) if room else ("end", -9)
    if height is None:
        drawn = f'<line class="threshold" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        line = HEIGHT - BOTTOM - 12.0 if mark.low else TOP + 13.0
    else:
        drawn = f'<circle class="point" cx="{at:.1f}" cy="{height:.1f}" r="5"/>'
        line = min(height + 18, HEIGHT - BOTTOM - 8)
    text = f'<text class="note" x="{at + shift:.1f}" y="{line:.1f}" text-anchor="{anchor}">{escape(mark.text)}</text>'
    return drawn + text
