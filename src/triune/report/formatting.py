"""How the page writes numbers and counts; the templates use these functions as filters of the same names."""

import math
from typing import TypeGuard


def number(value: float | None, digits: int = 3) -> str:
    """A number with a fixed count of decimals, or a dash where there is none."""
    return f"{value:.{digits}f}".replace("-", "−") if _known(value) else "–"


def signed(value: float | None, digits: int = 3) -> str:
    """The same with its sign, for differences."""
    return f"{'+' if _known(value) and value > 0 else ''}{number(value, digits)}"


def percent(share: float | None) -> str:
    """A measured share as a percentage; it says 0% and 100% only where that is exact."""
    if not _known(share):
        return "–"
    if share in (0, 1):
        return f"{share * 100:.0f}%"
    for digits in (1, 2, 3):
        text = f"{share * 100:.{digits}f}"
        if 0 < float(text) < 100:
            return text + "%"
    return "under 0.001%" if share < 0.5 else "over 99.999%"


def round_percent(share: float) -> str:
    """A share that somebody chose (a budget, a level) as a percentage: 5%, 0.1%, 95%."""
    return f"{share * 100:g}%"


def in_hundred(share: float | None) -> str:
    """A share as so many of 100: ``94 of 100``; never 0 or 100 where that is not exact."""
    if not _known(share):
        return "an unknown number of 100"
    whole = round(share * 100)
    if whole == 100 and share < 1:
        return "more than 99 of 100"
    if whole == 0 and share > 0:
        return "fewer than 1 of 100"
    return f"{whole} of 100"


def p_value(value: float | None) -> str:
    """A p-value; below one in a thousand it says no more than that."""
    return "under 0.001" if _known(value) and value < 0.001 else number(value)


def duration(seconds: float) -> str:
    """A time in seconds, or from a minute and a half on in minutes."""
    return f"{seconds / 60:.1f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"


def minute(time: str) -> str:
    """An ISO 8601 time in UTC to the minute: ``2026-01-02 03:04 UTC``."""
    return f"{time[:16].replace('T', ' ')} UTC"


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
