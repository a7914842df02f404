"""Embeddings prepared once: checked, in float32, of unit length for the cosine, sorted by label, on their device."""

import warnings
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from triune.distances.embeddings import Embeddings, as_embeddings, check_finite, unit, widest
from triune.distances.metric import Metric, check_metric
from triune.labels import Labels, encode_labels_together, plain_labels

Array: TypeAlias = np.ndarray[Any, Any]


COPIED = 1 << 12
"""Rows put in order at a time."""

SMALLEST_SQUARE = 2.0**-106
"""Below it float32 holds squared lengths with less than its full precision, or as zero."""

NEARLY_PARALLEL = 1e-5
"""Mean cosine distance of pairs below which float32 no longer ranks them reliably."""

ROUNDING = 1e-28
"""What rounding makes of the squared distances of equal unit rows from their mean in float64, at most."""

NEARLY_EQUAL = 1e10
"""So many times their squared distances from the mean may the squared length of the mean be."""


@dataclass(frozen=True, eq=False)
class PreparedEmbeddings:
    """N embeddings sorted by label, so that the rows of one label follow each other. Made by :func:`prepare`.

    Args:
        x: rows ``(N, D)`` float32 on the device of the embeddings, of unit length for the cosine.
        squares: ``(N,)`` float32 squared lengths of the rows; empty for the cosine.
        codes: ``(N,)`` int32, ascending: which of ``labels`` each row has.
        labels: ``(G,)`` the labels, distinct, ascending.
        order: ``(N,)`` int64: which of the given rows each row was. Rows of one label keep their order.
        groups: ``(N,)`` int64: which of ``group_names`` each row has; empty where no groups were given.
        group_names: ``(S,)`` the groups, distinct, ascending.
        metric: the distance they were prepared for.
    """

    x: Tensor
    squares: Tensor
    codes: Array
    labels: Array
    order: Array
    groups: Array
    group_names: Array
    metric: Metric

    def __len__(self) -> int:
        """N."""
        return len(self.codes)

    @property
    def identities(self) -> int:
        """G, how many distinct labels there are."""
        return len(self.labels)

    def cpu(self) -> "PreparedEmbeddings":
        """The same in the host's memory; itself where it is there already."""
        return self if self.x.device.type == "cpu" else replace(self, x=self.x.cpu(), squares=self.squares.cpu())

    def take(self, rows: Array) -> "PreparedEmbeddings":
        """Some of the rows, given in ascending order; ``labels`` stay as they are, some perhaps without a row."""
        places = torch.from_numpy(rows).to(self.x.device)
        return replace(
            self,
            x=self.x[places],
            squares=self.squares[places] if len(self.squares) else self.squares,
            codes=self.codes[rows],
            order=self.order[rows],
            groups=self.groups[rows] if len(self.groups) else self.groups,
        )

    def among(self, known: Array) -> "PreparedEmbeddings":
        """The same rows with only some of the labels: those of ``known (K,)``, ascending codes; rows have no others."""
        return replace(self, codes=np.searchsorted(known, self.codes).astype(np.int32), labels=self.labels[known])


def prepare(
    embeddings: Embeddings, labels: Labels, *, metric: Metric = "cosine", groups: Labels | None = None
) -> PreparedEmbeddings:
    """Check, normalise and sort embeddings once, to be given to several functions in the place of the embeddings.

    >>> prepared = prepare(torch.eye(3)[[2, 0, 1, 0]], ["b", "a", "c", "a"])
    >>> prepared.labels.tolist(), prepared.codes.tolist(), prepared.order.tolist()
    (['a', 'b', 'c'], [0, 0, 1, 2], [1, 3, 0, 2])

    Memory: a sorted copy of the embeddings in float32, and 24 bytes a row.

    Args:
        embeddings: ``(N, D)``, any float dtype; half precision is computed in float32.
        labels: ``(N,)`` identities, integers or strings.
        metric: the distance.
        groups: ``(N,)`` where each item comes from (photo session, video, camera), for functions that leave out pairs
            within a group.

    Raises:
        ValueError: an embedding is not finite (its row is named), too long for float32, or counts differ.
    """
    return _prepare(embeddings, labels, metric, groups)


def as_prepared(
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels | None,
    metric: Metric | None = None,
    groups: Labels | None = None,
    prefix: str = "",
) -> PreparedEmbeddings:
    """What a public function was given, prepared: as it is where that was done before.

    Args:
        embeddings: ``(N, D)``, or prepared ones, with which nothing else is given.
        labels: ``(N,)``, needed where the embeddings are not prepared.
        metric: the distance; the cosine, or that of the prepared embeddings, where not given.
        groups: ``(N,)`` or nothing.
        prefix: how errors call the set: ``"gallery"`` for ``gallery``, ``gallery_labels`` and ``gallery_groups``;
            ``"probes"`` for ``probes`` and ``probe_labels``.

    Raises:
        ValueError: as :func:`prepare`; labels are missing; or prepared embeddings come with labels, groups, or another
            metric than theirs.
    """
    own, labels_name, groups_name = _names(prefix)
    if isinstance(embeddings, PreparedEmbeddings):
        for name, given in ((labels_name, labels), (groups_name, groups)):
            if given is not None:
                raise ValueError(f"{name} with prepared {own}: they hold their own; leave {name} away")
        if metric not in (None, embeddings.metric):
            raise ValueError(f"metric is {metric!r}, but {own} was prepared for {embeddings.metric!r}: prepare it anew")
        return embeddings
    if labels is None:
        raise ValueError(f"{labels_name} is missing: one label for each row of {own}, unless prepare() made it")
    return _prepare(embeddings, labels, metric or "cosine", groups, prefix)


def as_prepared_pair(
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels | None,
    metric: Metric | None = None,
    gallery: Embeddings | PreparedEmbeddings | None = None,
    gallery_labels: Labels | None = None,
    groups: Labels | None = None,
    gallery_groups: Labels | None = None,
) -> tuple[PreparedEmbeddings, PreparedEmbeddings | None]:
    """The same for functions that may be given a gallery: queries and gallery, or ``None`` where there is no gallery.

    Args:
        embeddings: ``(N, D)``, or prepared ones.
        labels: ``(N,)``.
        metric: the distance.
        gallery: ``(M, D)``, or prepared ones.
        gallery_labels: ``(M,)``.
        groups: ``(N,)`` or nothing.
        gallery_groups: ``(M,)`` where there are groups.

    Raises:
        ValueError: as :func:`as_prepared`; or the two do not fit.
    """
    if gallery is None:
        if not (gallery_labels is None and gallery_groups is None):
            raise ValueError("gallery_labels or gallery_groups without gallery: give the gallery's embeddings too")
        return as_prepared(embeddings, labels, metric, groups), None
    queries = as_prepared(embeddings, labels, metric, groups)
    columns = as_prepared(gallery, gallery_labels, metric or queries.metric, gallery_groups, "gallery")
    if queries.x.shape[1] != columns.x.shape[1]:
        raise ValueError(f"embeddings have {queries.x.shape[1]} dimensions but the gallery {columns.x.shape[1]}")
    if bool(len(queries.groups)) != bool(len(columns.groups)) and len(queries) and len(columns):
        raise ValueError("groups and gallery_groups go together: give both or neither")
    return queries, columns


def joint_codes(first: PreparedEmbeddings, second: PreparedEmbeddings) -> tuple[Array, Array]:
    """Codes ``(N,)`` and ``(M,)`` of the two sets' labels, ascending in each, in which equal labels have equal codes.

    Raises:
        ValueError: the labels of one set are words and those of the other numbers.
    """
    return _joint(first.codes, first.labels, second.codes, second.labels, "labels")


def joint_groups(first: PreparedEmbeddings, second: PreparedEmbeddings) -> tuple[Array, Array]:
    """The same of their groups, in the order of the rows; both empty where they have none."""
    return _joint(first.groups, first.group_names, second.groups, second.group_names, "groups")


def sorted_rows(x: Tensor, order: Array, metric: Metric) -> Tensor:
    """Embeddings in another order, float32, of unit length for the cosine. Memory: the result, and no other copy.

    Args:
        x: ``(N, D)`` of any floating-point type.
        order: ``(N,)`` int64: the row of x that each row of the result is.
        metric: the distance.
    """
    rows = torch.from_numpy(order).to(x.device)
    result = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    for start in range(0, len(x), COPIED):
        # Lengths are divided out before float64 becomes float32, whose range is the smaller one.
        part = x[rows[start : start + COPIED]]
        result[start : start + COPIED] = unit(part) if metric == "cosine" else part
    return result


def _prepare(
    embeddings: Embeddings, labels: Labels, metric: Metric, groups: Labels | None, prefix: str = ""
) -> PreparedEmbeddings:
    check_metric(metric)
    own, labels_name, groups_name = _names(prefix)
    x = as_embeddings(embeddings, own).detach()
    check_finite(x, own)
    codes, known = _coded(labels, len(x), labels_name, own)
    kinds, kinds_known = np.empty(0, np.int64), np.empty(0, np.int64)
    if groups is not None:
        kinds, kinds_known = _coded(groups, len(x), groups_name, own)
    order = np.argsort(codes, kind="stable")
    rows = sorted_rows(x, order, metric)
    squares = rows.new_empty(0)
    if metric != "cosine":
        parts = [part.square().sum(1) for part in torch.split(rows, COPIED)]
        squares = torch.cat(parts) if parts else squares
        if not bool(torch.isfinite(squares).all()):
            raise ValueError(f"{own} holds a row whose squared length overflows float32: scale the embeddings down")
        if len(x) and float(x.abs().max()) > 0 and float(squares.max()) < SMALLEST_SQUARE:
            raise ValueError(f"{own} has no row whose squared length float32 can hold: scale the embeddings up")
    _warn_of_lost_differences(rows if metric == "cosine" else x, metric, own)
    return PreparedEmbeddings(
        x=rows,
        squares=squares,
        codes=codes[order].astype(np.int32),
        labels=known,
        order=order,
        groups=kinds[order] if len(kinds) else kinds,
        group_names=kinds_known,
        metric=metric,
    )


def _warn_of_lost_differences(x: Tensor, metric: Metric, own: str) -> None:
    """Say so where rows are so nearly the same, but for what all have in common, that rounding hides how they differ.

    Cosines near 1 are told apart by steps of 6e-8. Where pairs are 1e-5 from 1 on average AUC is off by up to 1e-3, at
    1e-6 by several hundredths. Differences of float32 rows are exact, so that Euclidean distances lose something only
    where float64 rows become float32.

    Args:
        x: unit rows for the cosine, else the rows as they were given.
        metric: the distance.
        own: what the set is called.
    """
    if len(x) < 2 or not x.shape[1] or (metric != "cosine" and x.dtype != torch.float64):
        return
    wide = widest(x)
    parts = torch.split(x, COPIED)
    centre = torch.stack([part.to(wide).sum(0) for part in parts]).sum(0) / len(x)
    around = float(torch.stack([(part.to(wide) - centre).square().sum() for part in parts]).sum()) / len(x)
    if metric == "cosine" and ROUNDING < around < NEARLY_PARALLEL:
        warnings.warn(
            f"{own} are nearly parallel: the cosines of their pairs are {1 - around:.9f} on average, too near 1 for "
            f"float32 to tell them apart; take the mean off all rows first, or use metric='euclidean'",
            stacklevel=4,
        )
    whole = float(centre.square().sum())
    if metric != "cosine" and ROUNDING * whole < around < whole / NEARLY_EQUAL:
        warnings.warn(
            f"{own} have so much in common ({whole**0.5:.3g} long, where they differ by {around**0.5:.3g}) that "
            f"float32 hides how they differ: take the mean off all rows first, which changes no distance",
            stacklevel=4,
        )


def _names(prefix: str) -> tuple[str, str, str]:
    """How errors call a set of embeddings, its labels and its groups."""
    one = prefix.removesuffix("s")
    return (prefix, f"{one}_labels", f"{one}_groups") if prefix else ("embeddings", "labels", "groups")


def _coded(labels: Labels, count: int, name: str, against: str) -> tuple[Array, Array]:
    """Which of the distinct labels each one is, int64 ``(N,)``, and the distinct labels, ascending."""
    plain = plain_labels(labels, name)
    if len(plain) != count:
        raise ValueError(f"{name} has {len(plain)} entries but {against} has {count} rows")
    known, places = np.unique(plain, return_inverse=True)
    # Unsigned integers that int64 holds are compared with signed ones without passing through floats.
    small = known.dtype.kind != "U" and (not known.size or known.max() <= np.iinfo(np.int64).max)
    return places, known.astype(np.int64) if small else known


def _joint(codes: Array, known: Array, other_codes: Array, other_known: Array, what: str) -> tuple[Array, Array]:
    mine, theirs = encode_labels_together(known, other_known, names=(what, f"gallery_{what}"), device="cpu")
    return mine.numpy()[codes], theirs.numpy()[other_codes]
