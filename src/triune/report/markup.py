"""Small pieces of HTML, and how numbers are written in them; shared by the sections of the report."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple, TypeGuard


class Section(NamedTuple):
    """One part of the report: a one-word key for links, a title, a sentence or two (HTML) and the rest (HTML)."""

    key: str
    title: str
    told: str
    body: str

    def html(self) -> str:
        """The section as it stands on the page."""
        told = f"<p class='told'>{self.told}</p>" if self.told else ""
        heading = f"<h2 id='h-{self.key}'>{self.title}</h2>"
        return f"<section id='{self.key}' aria-labelledby='h-{self.key}'>{heading}{told}{self.body}</section>"


class Scale(NamedTuple):
    """How a pair's score is shown to people: as a distance, or, of a list of scores, as it is.

    Args:
        metric: ``cosine``, ``euclidean``, ``squared_euclidean``, ``distance`` or ``score``.
    """

    metric: str

    @property
    def name(self) -> str:
        """What is shown."""
        names = {"cosine": "cosine distance", "euclidean": "Euclidean distance", "score": "score"}
        return names.get(self.metric, "squared Euclidean distance" if "squared" in self.metric else "distance")

    @property
    def closer(self) -> bool:
        """Whether smaller means more alike."""
        return self.metric != "score"

    def shown(self, score: float) -> float:
        """The figure people see: 1 − similarity for cosine, −score for other distances."""
        if self.metric == "cosine":
            return 1.0 - score
        return -score if self.closer else score


def table(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], caption: str, style: str = "") -> str:
    """A table: the first head stands over the row names; cells are HTML; the caption is read out, not shown."""
    top = "".join(f"<th scope='col'>{head}</th>" for head in heads)
    lines = "".join(
        f"<tr><th scope='row'>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for name, cells in rows
    )
    return (
        f"<div class='wide' tabindex='0' role='group' aria-label='{escape(caption)}'><table class='{style}'>"
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value of a JSON file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any, digits: int = 3) -> str:
    """A number with a fixed count of decimals, or a dash."""
    return f"{value:.{digits}f}".replace("-", "−") if is_number(value) else "–"


def count(value: Any) -> str:
    """A whole number with thousands set apart, or a dash."""
    return f"{int(value):,}" if is_number(value) else "–"


def percent(share: Any) -> str:
    """A share as a percentage; it says 0% and 100% only where that is exact."""
    if not is_number(share):
        return "–"
    if share in (0, 1):
        return f"{share * 100:.0f}%"
    for digits in (1, 2, 3):
        text = f"{share * 100:.{digits}f}"
        if 0 < float(text) < 100:
            return text + "%"
    return "under 0.001%" if share < 0.5 else "over 99.999%"


def in_hundred(share: Any) -> str:
    """A share as so many of 100: ``94 of 100``; never 0 or 100 where that is not exact."""
    if not is_number(share):
        return "an unknown number of 100"
    whole = round(share * 100)
    if whole == 100 and share < 1:
        return "more than 99 of 100"
    if whole == 0 and share > 0:
        return "fewer than 1 of 100"
    return f"{whole} of 100"


def budget(fpr: Any) -> str:
    """A target false-positive rate: 5%, 0.1%."""
    return f"{float(fpr) * 100:g}%"


def plural(value: float, one: str, many: str | None = None) -> str:
    """A count and its noun."""
    return f"{int(value):,} {one if value == 1 else many or one + 's'}"
