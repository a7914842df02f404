"""The style sheet: text can be read in light and in dark mode."""

import re
from importlib.resources import files

import pytest

CSS = files("triune.report").joinpath("assets", "report.css").read_text(encoding="utf-8")
Colour = tuple[float, float, float]


def variables(mode: str) -> dict[str, str]:
    """The values of the style sheet's variables in light or dark mode."""
    light, dark = CSS.split("@media (prefers-color-scheme: dark)")[:2]
    found = dict(re.findall(r"--([\w-]+): ([^;]+);", light))
    return found if mode == "light" else {**found, **dict(re.findall(r"--([\w-]+): ([^;]+);", dark.split("\n}")[0]))}


def colour(text: str) -> Colour:
    """Red, green and blue from 0 to 1 of ``#abc`` or ``#aabbcc``."""
    digits = "".join(2 * digit for digit in text[1:]) if len(text) == 4 else text[1:]
    red, green, blue = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """So much of the first, the rest of the second, as ``color-mix(in srgb, …)`` does."""
    red, green, blue = (share * a + (1 - share) * b for a, b in zip(first, second, strict=True))
    return red, green, blue


def contrast(first: Colour, second: Colour) -> float:
    """The contrast ratio of WCAG 2.2."""

    def luminance(of: Colour) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in of]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast(colour("#fff"), colour("#000")) == pytest.approx(21)
    assert contrast(colour("#777"), colour("#fff")) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("behind", ["paper", "shade", "raised", "care"])
@pytest.mark.parametrize("text", ["ink", "soft", "s0", "good", "bad"])
def test_text_stands_out_from_what_is_behind_it(text: str, behind: str, mode: str) -> None:
    found = variables(mode)
    assert contrast(colour(found[text]), colour(found[behind])) >= 4.5


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("kind", ["s0", "s1"])
def test_counts_can_be_read_in_every_cell_of_the_confusion_matrix(kind: str, mode: str) -> None:
    found = variables(mode)
    most = float(found["most"].removesuffix("%")) / 100
    paper, ink = colour(found["paper"]), colour(found["ink"])
    for share in (0, 0.25, 0.5, 0.75, 1):
        cell = mixed(colour(found[kind]), mixed(ink, paper, 0.04), share * most)
        assert contrast(ink, cell) >= 4.5, share
