"""The report's charts as inline SVG: lines, filled steps and points on linear or logarithmic axes."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 16, 48


class Axis(NamedTuple):
    """One axis.

    Args:
        title: what it measures.
        low, high: its ends.
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
        step = 10 ** math.floor(math.log10(raw))
        step *= next(m for m in (1, 2, 5, 10) if m * step >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def label(self, value: float) -> str:
        """A tick's text."""
        if self.percent:
            return f"{value * 100:.10g}%"
        return f"{value:.6g}".replace("-", "−")


class Series(NamedTuple):
    """One line of a chart.

    Args:
        name: for the legend.
        x, y: its points.
        style: a CSS class: ``s0`` … ``s4`` or ``quiet``.
        filled: fill the area under it.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str
    filled: bool = False


class Mark(NamedTuple):
    """A point with a text beside it, or, where ``y`` is ``None``, a vertical line."""

    text: str
    x: float
    y: float | None


def chart(title: str, x: Axis, y: Axis, series: Sequence[Series], marks: Sequence[Mark] = ()) -> str:
    """An SVG chart that scales with its place; ``title`` is read out to those who do not see it."""
    inner_w, inner_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def px(value: float) -> float:
        return LEFT + x.share(value) * inner_w

    def py(value: float) -> float:
        return TOP + (1 - y.share(value)) * inner_h

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" class="chart">']
    for tick in y.ticks():
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py(tick):.1f}" y2="{py(tick):.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{py(tick) + 4:.1f}" text-anchor="end">{y.label(tick)}</text>'
        )
    for tick in x.ticks():
        parts.append(f'<line class="grid" y1="{TOP}" y2="{HEIGHT - BOTTOM}" x1="{px(tick):.1f}" x2="{px(tick):.1f}"/>')
        place = f'x="{px(tick):.1f}" y="{HEIGHT - BOTTOM + 18}"'
        parts.append(f'<text class="tick" {place} text-anchor="middle">{x.label(tick)}</text>')
    middle_x, middle_y = LEFT + inner_w / 2, TOP + inner_h / 2
    parts.append(f'<text class="axis" x="{middle_x}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x.title)}</text>')
    turned = f'transform="translate(14 {middle_y}) rotate(-90)"'
    parts.append(f'<text class="axis" {turned} text-anchor="middle">{escape(y.title)}</text>')
    for line in series:
        points = " ".join(f"{px(a):.1f},{py(b):.1f}" for a, b in zip(line.x, line.y, strict=True))
        if line.filled and points:
            foot = f"{HEIGHT - BOTTOM:.1f}"
            area = f"{px(line.x[0]):.1f},{foot} {points} {px(line.x[-1]):.1f},{foot}"
            parts.append(f'<polygon class="area {line.style}" points="{area}"/>')
        parts.append(f'<polyline class="line {line.style}" points="{points}"/>')
    for mark in marks:
        text = escape(mark.text)
        if mark.y is None:
            at = f"{px(mark.x):.1f}"
            parts.append(f'<line class="threshold" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
            parts.append(_beside(px(mark.x), TOP + 14, text))
        else:
            parts.append(f'<circle class="point" cx="{px(mark.x):.1f}" cy="{py(mark.y):.1f}" r="5"/>')
            parts.append(_beside(px(mark.x), py(mark.y) + 20, text))
    return "".join(parts) + "</svg>"


def legend(series: Sequence[Series]) -> str:
    """The names of a chart's lines, each behind a sample of it."""
    items = "".join(f'<li><span class="key {s.style}"></span>{escape(s.name)}</li>' for s in series if s.name)
    return f'<ul class="legend">{items}</ul>'


def steps(edges: Sequence[float], counts: Sequence[float]) -> tuple[list[float], list[float]]:
    """A histogram's outline, as a share of its total in each bin."""
    total = sum(counts) or 1
    xs, ys = [], []
    for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True):
        xs += [left, right]
        ys += [count / total] * 2
    return xs, ys


def _beside(at: float, height: float, text: str) -> str:
    """Text to the right of a place, or to its left where there is no room."""
    room = at < WIDTH - 220
    anchor, shift = ("start", 10) if room else ("end", -10)
    return f'<text class="note" x="{at + shift:.1f}" y="{height:.1f}" text-anchor="{anchor}">{text}</text>'
