"""What an audit found, written: as text for the terminal, as JSON, as a table, and as a page of images."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from triune.data.boxes import Box
from triune.files import on_one_line, write_record, written_whole
from triune.plurals import plural
from triune.recognition.outliers import LEAST
from triune.report.formatting import percent
from triune.serving.audit.findings import Audit, AuditedItem, Duplicate, Outlier, WrongLabel
from triune.serving.sheets import SheetImage, SheetRow, write_sheet

COLUMNS = {
    "finding": pl.String,
    "image": pl.String,
    "label": pl.String,
    "split": pl.String,
    "score": pl.Float64,
    "says": pl.String,
    "other_image": pl.String,
    "other_label": pl.String,
    "other_split": pl.String,
    "group": pl.Int64,
}
"""Of ``audit.csv``: a line a finding. The score is the probability that a label is wrong, the difference of a pair, or
how many times the typical distance an outlier lies away; ``group`` numbers what is one picture."""


def write_audit(folder: Path, found: Audit, *, images: bool) -> list[Path]:
    """Write ``audit.json``, ``audit.csv`` and, where there are images, ``audit.html``.

    Args:
        folder: where, a folder that is there.
        found: what was found.
        images: whether the items are images.

    Returns:
        The files.
    """
    files = [folder / "audit.json", folder / "audit.csv"]
    write_record(files[0], found)
    with written_whole(files[1]) as temporary:
        pl.DataFrame(list(_lines(found)), schema=COLUMNS, orient="row").write_csv(temporary)
    if images:
        files.append(
            write_sheet(folder / "audit.html", "Audit", list(_sheet(found)), about=[*_about(found), *_nothing(found)])
        )
    return files


def audit_text(found: Audit, show: int = 10) -> str:
    """What was found as aligned text.

    Args:
        found: what was found.
        show: how many of each kind are listed.
    """
    lines = _about(found)
    lines += ["", _wrong_line(found)]
    lines += _table(
        ("wrong", found.column, "fits better", "image"),
        [(_sure(each.probability), each.item.label, each.other, each.item.name) for each in found.wrong_labels[:show]],
    )
    lines += _more(len(found.wrong_labels) - show)
    lines += ["", _duplicate_line(found)]
    lines += _table(
        ("same", "splits", found.column, "images"),
        [
            (each.same.removeprefix("same "), _two(each, "split"), _two(each, "label"), _names(each))
            for each in found.duplicates[:show]
        ],
    )
    lines += _more(len(found.duplicates) - show)
    lines += ["", _outlier_line(found)]
    lines += _table(
        ("times", found.column, "image"),
        [(f"{each.times:.1f}", each.item.label or "", each.item.name) for each in found.outliers[:show]],
    )
    lines += _more(len(found.outliers) - show)
    return "\n".join(lines)


def _about(found: Audit) -> list[str]:
    labels = f"{plural(found.labels, found.column, _many(found.column))} on {found.labelled:,}" if found.labels else ""
    splits = ", ".join(f"{split} {number:,}" for split, number in found.splits.items())
    return ["; ".join(part for part in (f"{plural(found.items, 'item')} of {found.name}", labels, splits) if part)]


def _many(column: str) -> str:
    return "identities" if column == "identity" else f"{column}s"


def _wrong_line(found: Audit) -> str:
    other = found.other_column
    what, hint = f"likely wrong {_many(found.column)}", ""
    if other is not None:
        hint = f"; {_many(other)} were not looked at: --column {other}"
    if not found.told:
        return f"{what}: not looked for{hint}"
    wrong = sum(each.probability for each in found.wrong_labels)
    return (
        f"{what}: {len(found.wrong_labels):,} of {found.told:,} "
        f"(by estimate, {wrong:.0f} of these are wrong, and {percent(found.wrong_share)} of all){hint}"
    )


def _duplicate_line(found: Audit) -> str:
    pairs = found.duplicates
    across, differ = sum(each.across_splits for each in pairs), sum(each.labels_differ for each in pairs)
    parts = [f"near-duplicates: {plural(len(pairs), 'pair')}"]
    if pairs:
        parts[0] += f" in {plural(len({each.group for each in pairs}), 'group')}"
        same = sum(each.same in ("same file", "same path") for each in pairs)
        parts.append(f"{same:,} to the last byte")
        parts.append(f"{across:,} across splits" if found.splits else "")
        parts.append(f"{differ:,} whose labels differ" if found.labels else "")
    return ", ".join(part for part in parts if part)


def _outlier_line(found: Audit) -> str:
    if found.items < LEAST:
        return f"outliers: not looked for, which takes {LEAST} items"
    return f"outliers: {len(found.outliers):,}" + (
        f", more than {found.outlier_limit / _typical(found):.1f} times as far from all others as is typical"
        if found.outliers
        else ""
    )


def _typical(found: Audit) -> float:
    first = found.outliers[0]
    return first.distance / first.times


def _sure(probability: float) -> str:
    return f"{probability:.2f}"


def _two(pair: Duplicate, field: str) -> str:
    first, second = getattr(pair.first, field) or "", getattr(pair.second, field) or ""
    return first if first == second else f"{first} | {second}"


def _names(pair: Duplicate) -> str:
    return f"{pair.first.name} | {pair.second.name}"


def _more(number: int) -> list[str]:
    return [f"  and {number:,} more"] if number > 0 else []


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Rows below their heads, aligned; the last column has any width."""
    if not rows:
        return []
    cells = [[on_one_line(str(cell)) for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(heads) - 1)]
    return ["  " + "  ".join([*(c.ljust(w) for c, w in zip(row, widths)), row[-1]]).rstrip() for row in cells]


def _lines(found: Audit) -> Iterator[tuple[Any, ...]]:
    """The lines of the table."""
    for each in found.wrong_labels:
        yield ("wrong label", *_cells(each.item), each.probability, each.other, None, None, None, None)
    for pair in found.duplicates:
        yield (
            *("near-duplicate", *_cells(pair.first), pair.difference, pair.same),
            *(*_cells(pair.second), pair.group),
        )
    for far in found.outliers:
        yield ("outlier", *_cells(far.item), far.times, None, None, None, None, None)


def _cells(item: AuditedItem) -> tuple[str, str | None, str | None]:
    return item.name, item.label, item.split


def _sheet(found: Audit) -> Iterator[SheetRow]:
    """The rows of the page."""
    yield from _headed(_wrong_line(found).capitalize(), map(_wrong_row, found.wrong_labels))
    yield from _headed(_duplicate_line(found).capitalize(), map(_duplicate_row, found.duplicates))
    yield from _headed(_outlier_line(found).capitalize(), map(_outlier_row, found.outliers))


def _nothing(found: Audit) -> list[str]:
    """What is said of the kinds of findings of which there are none, and which so have no heading on the page."""
    kinds = (
        (found.wrong_labels, _wrong_line(found)),
        (found.duplicates, _duplicate_line(found)),
        (found.outliers, _outlier_line(found)),
    )
    return [*(line for listed, line in kinds if not listed), *(f"caution: {caution}" for caution in found.cautions)]


def _headed(heading: str, rows: Iterable[SheetRow]) -> Iterator[SheetRow]:
    """The rows, the first of them with a heading."""
    for place, row in enumerate(rows):
        yield row if place else SheetRow(row.query, row.hits, row.note, heading)


def _wrong_row(each: WrongLabel) -> SheetRow:
    near = [_tile(item, item.label or "–", "good" if item.label == each.other else "plain") for item in each.neighbours]
    note = f"labelled {each.item.label}, fits {each.other} better: wrong with probability {_sure(each.probability)}"
    return SheetRow(_tile(each.item, each.item.label or "–", "bad"), near, note)


def _duplicate_row(pair: Duplicate) -> SheetRow:
    faults = [
        f"{pair.first.split} and {pair.second.split}: what is tested on was trained on" if pair.across_splits else "",
        f"labelled {pair.first.label} and {pair.second.label}" if pair.labels_differ else "",
    ]
    note = "; ".join(part for part in (f"{pair.same} ({pair.difference:.2g})", *faults) if part)
    mark = "bad" if pair.across_splits or pair.labels_differ else "plain"
    both = [_tile(item, ", ".join(part for part in (item.label, item.split) if part), mark) for item in _ends(pair)]
    return SheetRow(both[0], both[1:], note)


def _ends(pair: Duplicate) -> tuple[AuditedItem, AuditedItem]:
    return pair.first, pair.second


def _outlier_row(each: Outlier) -> SheetRow:
    near = [_tile(item, item.label or "–", "plain") for item in each.neighbours]
    return SheetRow(
        _tile(each.item, each.item.label or "–", "bad"), near, f"{each.times:.1f} times the typical distance"
    )


def _tile(item: AuditedItem, caption: str, mark: Any) -> SheetImage:
    return SheetImage(item.name, caption, item.name, mark, None if item.box is None else Box(*item.box))
