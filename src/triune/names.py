"""Which words stand for a name that is missing, and which names look like others."""

import re
from collections.abc import Iterable

MISSING_WORDS = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"}
    | {"NULL", "NaN", "NaT", "None", "n/a", "nan", "null"}
)
"""What programs write where a label is not known: the words that pandas reads so, and NaT. One list for labels in
arrays, lists of labels and cells of tables; an identity that is really called so must be written in another way."""

INVISIBLE = re.compile(
    # Format and control characters, spaces that are not the plain one, and letters that are drawn as nothing.
    "[\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f"
    "\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""Characters that are not seen in a name."""


def lookalikes(names: Iterable[str]) -> tuple[str, str] | None:
    """Two different names that look the same, for they differ by spaces and by what is not seen; ``None`` without any.

    Args:
        names: distinct, in the composed form.
    """
    seen: dict[str, str] = {}
    for name in names:
        key = name if name.isascii() and name.isprintable() and " " not in name else visible(name)
        if (other := seen.setdefault(key, name)) != name:
            return min(other, name), max(other, name)
    return None


def visible(name: str) -> str:
    """A name as it is seen: without invisible characters, and with one plain space wherever there is space."""
    return " ".join(INVISIBLE.sub(lambda found: " " if found[0].isspace() else "", name).split())
