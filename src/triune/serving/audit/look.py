"""Look for mistakes among items: likely wrong labels, pictures that occur twice, outliers."""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from torch import Tensor

from triune.checksums import digest
from triune.data.boxes import Box
from triune.data.likeness import copy_limit, differences, signatures
from triune.errors import InputError
from triune.recognition.label_errors import likely_label_errors
from triune.recognition.near_duplicates import LEAST, chance_limit, close_pairs, groups
from triune.recognition.outliers import LEAST as LEAST_ITEMS, outliers
from triune.retrieval.neighbours import as_rows, top_k
from triune.serving.audit.findings import Audit, AuditedItem, Duplicate, Outlier, Sameness, WrongLabel
from triune.serving.audit.sources import AuditItems

Array: TypeAlias = np.ndarray[Any, Any]

SAMPLE = 100
"""Pictures that are copied to learn how much copies differ."""

NEIGHBOURS = 5
"""Of each item, among which duplicates are looked for, and how far away they are tells outliers."""

SHOWN_NEIGHBOURS = 6
"""Of an item whose label is likely wrong, and of an outlier."""


def audit(items: AuditItems, *, least: float = 0.5, seed: int = 0) -> Audit:
    """Likely wrong labels, pictures that occur twice, and outliers of a set of items.

    Args:
        items: the set.
        least: the probability from which on a label is called likely wrong.
        seed: of what is drawn.

    Raises:
        InputError: there are fewer than two items, or an embedding is not finite, or its squared length is beyond
            float32.
    """
    count = len(items.embeddings)
    if count < 2:
        raise InputError(f"{items.name} has {count} item{'s' * (count != 1)}: at least two are compared")
    try:
        as_rows(items.embeddings, items.metric, "embeddings")
    except ValueError as error:
        raise InputError(f"{items.name}: {error}") from error
    labels = _wrong_labels(items, least, seed)
    # Once for both: it takes as long as all else together.
    near = top_k(items.embeddings, items.embeddings, NEIGHBOURS, items.metric, exclude_self=True)
    duplicates, limit = _duplicates(items, near, seed)
    far = outliers(items.embeddings, metric=items.metric, near=near)
    neighbours = _neighbours(items, [each.row for each in labels.wrong] + far.rows.tolist())
    splits = [split for split in items.splits if split is not None]
    return Audit(
        name=items.name,
        column=items.column,
        other_column=items.other_column,
        items=count,
        labelled=len(labels.known),
        labels=len({items.labels[row] for row in labels.known}),
        splits={split: splits.count(split) for split in dict.fromkeys(splits)},
        left_out=list(items.left_out),
        told=labels.told,
        wrong_share=labels.share,
        fitting_share=labels.fitting,
        least=least,
        wrong_labels=tuple(
            WrongLabel(
                item=_item(items, each.row),
                other=str(items.labels[each.other]),
                probability=each.probability,
                neighbours=neighbours[each.row],
            )
            for each in labels.wrong
        ),
        duplicates=duplicates,
        duplicate_limit=limit,
        outliers=tuple(
            Outlier(
                item=_item(items, row),
                distance=float(far.distance[row]),
                times=float(far.distance[row]) / far.typical,
                neighbours=neighbours[row],
            )
            for row in far.rows.tolist()
        ),
        outlier_limit=far.limit,
        cautions=tuple(_cautions(items, labels)),
    )


class _Wrong(NamedTuple):
    """A row whose label is likely wrong, one that has the label that fits better, and how likely."""

    row: int
    other: int
    probability: float


@dataclass(frozen=True)
class _Labels:
    """What is found of the labels that are known; ``reason`` says why nothing could be looked for."""

    known: list[int]
    told: int = 0
    share: float = 0.0
    fitting: float = 1.0
    tied: int = 0
    wrong: tuple[_Wrong, ...] = ()
    reason: str = ""


def _wrong_labels(items: AuditItems, least: float, seed: int) -> _Labels:
    known = [row for row, label in enumerate(items.labels) if label is not None]
    if not known:
        return _Labels(known, reason=f"no item has a known {items.column}")
    names = np.array([items.labels[row] for row in known], dtype=str)
    try:
        found = likely_label_errors(items.embeddings[known], names, metric=items.metric, seed=seed)
    except ValueError as error:
        return _Labels(known, reason=str(error))
    if found.tied == found.told:
        reason = (
            f"each item is exactly as close to items of another {items.column} as to those of its own, as where all "
            f"embeddings are equal"
        )
        return _Labels(known, reason=reason)
    places = np.flatnonzero(found.probability >= least)  # NaN is not
    places = places[np.lexsort((-found.margin[places], -found.probability[places]))]
    wrong = tuple(
        _Wrong(known[place], known[int(found.other[place])], float(found.probability[place]))
        for place in places.tolist()
    )
    return _Labels(known, found.told, found.share, found.fitting, found.tied, wrong)


def _cautions(items: AuditItems, labels: _Labels) -> list[str]:
    told = []
    if len(items.embeddings) < LEAST_ITEMS:
        told.append(
            f"{len(items.embeddings)} items are too few to tell wrong labels or outliers by: that none is listed, or "
            "that some are, says little"
        )
    if labels.reason:
        told.append(f"wrong labels were not looked for: {labels.reason}")
    elif labels.fitting < 0.5:
        told.append(
            f"only {labels.fitting:.0%} of the items are closest to others of their own {items.column}: this network "
            f"does not tell them apart, and what is listed is unusual rather than wrong"
        )
    if labels.tied:
        told.append(
            f"{labels.tied} of {labels.told} items are exactly as close to another {items.column} as to their "
            f"own: their neighbours tell nothing, and none of these is named"
        )
    if labels.known and labels.told < len(labels.known) and not labels.reason:
        alone = len(labels.known) - labels.told
        told.append(f"{alone} items are the only one of their {items.column}: theirs cannot be told by others")
    if items.trained:
        told.append(
            "the network was trained on some of these labels, and may have learned wrong ones by heart: audit by a "
            "network that never saw them, such as timm:NAME, too"
        )
    return told


def _item(items: AuditItems, row: int) -> AuditedItem:
    box = items.boxes[row] if items.boxes else None
    return AuditedItem(row=row, name=items.names[row], label=items.labels[row], split=items.splits[row], box=box)


def _neighbours(items: AuditItems, rows: Sequence[int]) -> dict[int, tuple[AuditedItem, ...]]:
    """The items most alike to each of some."""
    asked = sorted(set(rows))
    if not asked:
        return {}
    number = min(SHOWN_NEIGHBOURS + 1, len(items.embeddings))
    _, found = top_k(items.embeddings[asked], items.embeddings, number, items.metric)
    return {
        row: tuple(_item(items, other) for other in near if other != row)[:SHOWN_NEIGHBOURS]
        for row, near in zip(asked, found.tolist(), strict=True)
    }


def _duplicates(items: AuditItems, near: tuple[Tensor, Tensor], seed: int) -> tuple[tuple[Duplicate, ...], float]:
    """Pairs that are one picture, and the difference that was allowed.

    Args:
        items: the set.
        near: scores and rows of each one's nearest neighbours.
        seed: of what is drawn.
    """
    found: dict[tuple[int, int], tuple[Sameness, float]] = {}
    close = close_pairs(items.embeddings, metric=items.metric, near=near)
    if items.has_images:
        difference, limit = _pictures_differ(items, close.first, close.second, seed)
        same: Sameness = "same picture"
    else:
        difference, limit, same = close.distance, close.limit, "same embedding"
    within = np.flatnonzero(difference <= limit)
    for place in within.tolist():
        found[int(close.first[place]), int(close.second[place])] = same, max(0.0, float(difference[place]))
    if items.has_images:
        found.update({pair: (kind, 0.0) for pair, kind in _same_files(items).items()})
    ends = np.array(list(found), dtype=np.int64).reshape(-1, 2)
    numbers = groups(len(items.names), ends[:, 0], ends[:, 1])
    order = {number: place for place, number in enumerate(dict.fromkeys(numbers[ends[:, 0]].tolist()))}
    pairs = [
        Duplicate(
            first=_item(items, i),
            second=_item(items, j),
            same=kind,
            difference=size,
            group=order[int(numbers[i])],
            across_splits=_differ(items.splits[i], items.splits[j]),
            labels_differ=_differ(items.labels[i], items.labels[j]),
        )
        for (i, j), (kind, size) in found.items()
    ]
    pairs.sort(key=lambda pair: (not pair.across_splits, not pair.labels_differ, pair.difference, pair.first.row))
    return tuple(pairs), float(limit)


def _differ(first: str | None, second: str | None) -> bool:
    return first is not None and second is not None and first != second


def _pictures_differ(items: AuditItems, first: Array, second: Array, seed: int) -> tuple[Array, float]:
    """How much the pictures of pairs differ (NaN where one cannot be read), and how much copies may."""
    asked = np.unique(np.concatenate([first, second]))
    drawn = np.random.default_rng(seed).permutation(asked)[:SAMPLE]
    limit = copy_limit(*_shown(items, drawn))
    small = signatures(*_shown(items, asked))
    one, two = np.searchsorted(asked, first), np.searchsorted(asked, second)
    difference = np.concatenate([np.empty(0), *_in_parts(small, one, two)])
    closest = np.full(len(asked), np.inf)
    for end in (one, two):
        np.fmin.at(closest, end, difference)
    apart = closest[(closest > 1e-6) & np.isfinite(closest)]
    return difference, min(limit, chance_limit(apart)) if len(apart) >= LEAST else limit


def _shown(items: AuditItems, rows: Array) -> tuple[list[str], list[Box | None]]:
    """The paths of rows, and the part of each image that is looked at."""
    return [items.names[row] for row in rows.tolist()], [_box(items, row) for row in rows.tolist()]


def _box(items: AuditItems, row: int) -> Box | None:
    return items.boxes[row] if items.boxes else None


def _in_parts(rows: Array, first: Array, second: Array) -> list[Array]:
    return [
        differences(rows[first[start : start + 4096]], rows[second[start : start + 4096]])
        for start in range(0, len(first), 4096)
    ]


def _same_files(items: AuditItems) -> dict[tuple[int, int], Sameness]:
    """Rows with the same path and box, or whose files hold the same bytes, each with the first such row."""
    found: dict[tuple[int, int], Sameness] = {}
    by_path: dict[tuple[str, Box | None], int] = {}
    by_size: dict[int, list[int]] = defaultdict(list)
    for row, name in enumerate(items.names):
        path, box = os.path.realpath(name), _box(items, row)
        if (path, box) in by_path:
            found[by_path[path, box], row] = "same path"
            continue
        by_path[path, box] = row
        try:
            by_size[os.stat(path).st_size].append(row)
        except OSError:
            continue
    for rows in by_size.values():
        by_content: dict[tuple[str, Box | None], int] = {}
        for row in rows if len(rows) > 1 else ():
            try:
                content = digest(Path(items.names[row]))
            except OSError:
                continue
            first = by_content.setdefault((content, _box(items, row)), row)
            if first != row:
                found[first, row] = "same file"
    return found
