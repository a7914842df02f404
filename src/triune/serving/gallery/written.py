"""What was found, as aligned text and as a CSV."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from triune.errors import InputError
from triune.files import on_one_line, written_whole
from triune.serving.gallery.hits import Hit, Hits


def as_text(found: Sequence[Hits]) -> str:
    """A paragraph for each query: place, score, label, identity and path of each hit, in columns."""
    known = [words for each in found for hit in each.hits for words in [_words(hit)]]
    labelled, identified = any(label or identity for label, identity in known), any(other for _, other in known)
    return "\n\n".join("\n".join([shown_path(each.query), *_lines(each.hits, labelled, identified)]) for each in found)


def shown_path(path: str) -> str:
    """A path from where the reader is, where it lies below; on one line."""
    here = os.getcwd() + os.sep
    return on_one_line(path.removeprefix(here))


def write_hits(path: Path, found: Sequence[Hits]) -> None:
    """One row a hit: query, place, and what is known of the hit.

    Raises:
        InputError: the file is there already.
    """
    if path.exists():
        raise InputError(f"{path} is there already: name a new file")
    columns = list(dict.fromkeys(name for each in found for hit in each.hits for name in hit.columns))
    with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["query", "place", "image", "label", "identity", "score", "distance", *columns])
        for each in found:
            for place, hit in enumerate(each.hits, start=1):
                own = [hit.image, hit.label, hit.identity, f"{hit.score:.6f}", f"{hit.distance:.6f}"]
                table.writerow([each.query, place, *own, *(hit.columns.get(name) for name in columns)])


def _lines(hits: Sequence[Hit], labelled: bool, identified: bool) -> list[str]:
    """Hits in columns; those of labels and identities stand only where any hit of any query has one."""
    cells = [
        (
            str(place),
            f"{hit.score:.4f}",
            *(
                on_one_line("-" if word is None else word)
                for word, wanted in zip(_words(hit), (labelled, identified), strict=True)
                if wanted
            ),
            shown_path(hit.image),
        )
        for place, hit in enumerate(hits, start=1)
    ]
    if not cells:
        return ["  nothing"]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = []
    for place, score, *rest in cells:
        padded = [cell.ljust(width) for cell, width in zip(rest, widths[2:])]
        lines.append("  ".join(["", place.rjust(widths[0]), score.rjust(widths[1]), *padded]).rstrip())
    return lines


def _words(hit: Hit) -> tuple[str | None, str | None]:
    """The label, and the identity where it is another word; ``None`` where it is not known."""
    return hit.label or None, "" if hit.identity and hit.identity == hit.label else hit.identity or None
