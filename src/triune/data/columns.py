"""Names of columns: the known ones found however they are written, and what looks misspelt refused."""

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from triune.errors import InputError

MOST_COLUMNS = 1000
"""No table of items has more; a file of embeddings saved as CSV has."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table that have a meaning.

    Args:
        known: their names, in small letters.
        needed: those of them that must be there.
        other_names: further names of known columns, used where a column of the known name itself is not there.
        advice: what a message says where a needed column is missing and no name resembles it.
    """

    known: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    other_names: Mapping[str, str] = field(default_factory=dict)
    advice: str = ""


ANY = Columns()
"""No column has a meaning of its own."""


def named_columns(names: Sequence[str], columns: Columns, source: str) -> list[str]:
    """The columns' names with the known ones found whatever their capitals and the spaces around them.

    Args:
        names: as they are written.
        columns: those that have a meaning.
        source: what messages call the table.

    Returns:
        One name each: a known one, or what was written, without spaces around it.

    Raises:
        InputError: too many columns, two of the same name, a needed one missing, or one that looks misspelt.
    """
    require_few(len(names), source)
    keys = [name_key(name) for name in names]
    first: dict[str, str] = {}
    for key, name in zip(keys, names):
        if key in first:
            written = f"{first[key]!r}" if first[key] == name else f"{first[key].strip()!r} ({name!r} is the same)"
            raise InputError(f"{source} has two columns called {written}: rename or remove one")
        first[key] = name
    others = {name: meant for name, meant in columns.other_names.items() if meant not in keys}
    found = [others.get(key, key if key in columns.known else name.strip()) for key, name in zip(keys, names)]
    unknown = [(key, name.strip()) for key, name in zip(keys, names) if key not in columns.known and key not in others]
    missing = [name for name in columns.needed if name not in found]
    if missing:
        near = _resembling(missing[0], unknown, 0.6)
        remedy = f"rename {near!r} to {missing[0]!r}" if near is not None else columns.advice
        listed = ", ".join(name.strip() for name in names)
        absent = " and none ".join(map(repr, missing))
        raise InputError(f"{source} has no column {absent} (its columns: {listed}): {remedy}".removesuffix(": "))
    for name in columns.known:
        near = None if name in found else _resembling(name, unknown, 0.8)
        if near is not None:
            raise InputError(
                f"{source} has a column {near!r} but none called {name!r}: rename it to {name!r}, "
                f"or to something unlike it if it is something else"
            )
    return found


def require_few(count: int, source: str) -> None:
    """Raise an :class:`InputError` for a table of more than :data:`MOST_COLUMNS` columns."""
    if count > MOST_COLUMNS:
        raise InputError(f"{source} has {count} columns, more than {MOST_COLUMNS}: keep those that are needed")


def name_key(name: str) -> str:
    """What two spellings of a column's name have in common."""
    return re.sub(r"[\s-]+", "_", unicodedata.normalize("NFC", name).strip().casefold())


def _resembling(wanted: str, names: Sequence[tuple[str, str]], likeness: float) -> str | None:
    """The name, as it is written, that is most like the wanted one; ``None`` where none is so like it."""
    near = difflib.get_close_matches(wanted, [key for key, _ in names], n=1, cutoff=likeness)
    return dict(names)[near[0]] if near else None
