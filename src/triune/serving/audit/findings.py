"""What an audit finds: likely wrong labels, pictures that occur twice, outliers; the content of ``audit.json``."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from triune.files import Record

Share = Annotated[float, Field(ge=0, le=1)]
Sameness: TypeAlias = Literal["same path", "same file", "same picture", "same embedding"]


class AuditedItem(Record):
    """An item of a finding.

    Args:
        row: its place among all, from 0.
        name: its path, or ``row K``.
        label: ``None`` where it is not known.
        split: likewise.
        box: left, top, right and bottom of the part that was looked at; all of it where ``None``.
    """

    row: int
    name: str
    label: str | None
    split: str | None
    box: tuple[int, int, int, int] | None = None


class WrongLabel(Record):
    """A label that is likely wrong.

    Args:
        item: whose.
        other: the label that fits better.
        probability: that the label is wrong.
        neighbours: the most alike items.
    """

    item: AuditedItem
    other: str
    probability: Share
    neighbours: tuple[AuditedItem, ...]


class Duplicate(Record):
    """A pair of items that are one picture.

    Args:
        first: the one that stands earlier.
        second: the other.
        same: what is the same: the path, every byte of the file, the picture, or (without images) the embedding.
        difference: 1 − correlation of the pictures, or the distance of the embeddings; 0 of the same file.
        group: pairs with one number are one picture.
        across_splits: whether the two are in different splits: what is tested on was trained on.
        labels_differ: whether the two have different labels, of which one is wrong.
    """

    first: AuditedItem
    second: AuditedItem
    same: Sameness
    difference: float
    group: int
    across_splits: bool
    labels_differ: bool


class Outlier(Record):
    """An item far from all others.

    Args:
        item: which.
        distance: the mean distance to the nearest items.
        times: how many times the typical one.
        neighbours: the most alike items.
    """

    item: AuditedItem
    distance: float
    times: float
    neighbours: tuple[AuditedItem, ...]


class Audit(Record):
    """What was found among N items.

    Args:
        name: what was looked at.
        column: what the labels are.
        other_column: other labels that there are and that were not looked at; ``None`` of none.
        items: N.
        labelled: items whose label is known.
        labels: how many different ones.
        splits: items in each.
        left_out: images that could not be read.
        told: labels that could be told by others; the rest are the only one of their kind.
        wrong_share: of those, how many are wrong by estimate.
        fitting_share: of the same, how many fit their items best.
        least: the probability from which on a label is listed.
        wrong_labels: the surest first.
        duplicates: across splits first, then with labels that differ, then by difference.
        duplicate_limit: of ``difference``.
        outliers: the furthest first.
        outlier_limit: of the distance.
        cautions: what these figures are not to be taken for.
    """

    format: Literal[1] = 1
    name: str
    column: str
    other_column: str | None = None
    items: int
    labelled: int
    labels: int
    splits: dict[str, int]
    left_out: list[str]
    told: int
    wrong_share: Share
    fitting_share: Share
    least: float
    wrong_labels: tuple[WrongLabel, ...]
    duplicates: tuple[Duplicate, ...]
    duplicate_limit: float
    outliers: tuple[Outlier, ...]
    outlier_limit: float
    cautions: tuple[str, ...] = ()
