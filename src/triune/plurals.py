"""Counts as sentences have them, in a terminal and on a page."""


def count(value: int) -> str:
    """A whole number with thousands set apart."""
    return f"{value:,}"


def plural(value: int, one: str, many: str | None = None) -> str:
    """A count and its noun.

    Args:
        value: how many.
        one: the noun of a single one.
        many: the noun of several; ``one`` and an s where not given.
    """
    return f"{count(value)} {one if value == 1 else many or one + 's'}"
