"""A chart read back: its elements by class, and where they stand."""

import json
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup


def drawn(svg: Markup, css: str) -> list[ElementTree.Element]:
    """The elements of a class, in their order."""
    return [found for found in ElementTree.fromstring(svg).iter() if css in found.get("class", "").split()]


def places(svg: Markup, css: str, *names: str) -> list[tuple[float, ...]]:
    """Attributes of these elements as numbers."""
    return [tuple(float(found.attrib[name]) for name in names) for found in drawn(svg, css)]


def points(svg: Markup, css: str) -> list[list[tuple[float, ...]]]:
    """Where the points of each line of a class stand."""
    lines = [line for line in drawn(svg, css) if line.tag == "polyline"]
    return [[tuple(map(float, point.split(","))) for point in line.attrib["points"].split()] for line in lines]


def axis(svg: Markup) -> dict[str, Any]:
    """The horizontal axis as the page's script is told of it."""
    found: dict[str, Any] = json.loads(drawn(svg, "chart")[0].attrib["data-axis"])
    return found


def tick_labels(svg: Markup) -> tuple[list[str | None], list[str | None]]:
    """Of the horizontal and of the vertical axis."""
    ticks = drawn(svg, "tick")
    across, up = ([t.text for t in ticks if t.attrib["text-anchor"] == anchor] for anchor in ("middle", "end"))
    return across, up
