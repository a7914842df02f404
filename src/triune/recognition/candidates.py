"""The enrolled identities that an image is most alike to: an identity scores as its most alike image does."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from triune.distances.metric import Metric, check_metric
from triune.distances.plain_embeddings import Embeddings, plain_embeddings
from triune.pairs.rows import row_scores_between, unit_rows
from triune.parallel.blocks import own_row_blocks
from triune.plain_labels import Labels, label_codes_together

Array: TypeAlias = np.ndarray[Any, Any]


class Candidates(NamedTuple):
    """The best identities of each of P probes, best first; where there are fewer than k, −∞ and −1.

    Args:
        scores: ``(P, k)`` float32: cosine similarity, or minus the distance.
        rows: ``(P, k)`` int64 the gallery row that scores so; its identity is the candidate. Ties go to the lower row.
    """

    scores: Array
    rows: Array


def best_identities(
    probes: Embeddings,
    gallery: Embeddings,
    identities: Labels,
    *,
    k: int = 2,
    metric: Metric = "cosine",
    leave_out: Labels | None = None,
) -> Candidates:
    """The k enrolled identities of the highest scores, for each probe.

    The best row decides, not the mean of an identity's rows: views of one thing that differ much have a mean that is
    like none of them (benchmarks/results/identification.md has the figures).

    Args:
        probes: ``(P, D)``.
        gallery: ``(M, D)``, any number of rows an identity.
        identities: ``(M,)`` whose each row is.
        k: how many identities.
        metric: the distance.
        leave_out: ``(P,)`` an identity for each probe that is no candidate of it, whether enrolled or not: its own,
            where strangers are made of people who are enrolled.

    Returns:
        Scores and rows. Memory: blocks of probes × gallery, 16 MiB each.

    Raises:
        ValueError: nobody is enrolled, counts or widths differ, or an embedding is not finite.
    """
    if k < 1:
        raise ValueError(f"k is {k}: at least 1 is needed")
    asked, known = _rows(probes, metric, "queries"), _rows(gallery, metric, "gallery")
    if asked.shape[1] != known.shape[1]:
        raise ValueError(f"queries have {asked.shape[1]} dimensions but the gallery {known.shape[1]}")
    if not len(known):
        raise ValueError("nobody is enrolled: the gallery has no rows")
    count = (len(known), None if leave_out is None else len(asked))
    names, against = ("identities", "leave_out"), ("gallery", "probes")
    codes, own = label_codes_together(
        identities, identities if leave_out is None else leave_out, counts=count, names=names, against=against
    )
    columns = np.unique(codes, return_inverse=True)[1]
    enrolled = int(columns.max()) + 1
    scores = np.full((len(asked), k), -np.inf, np.float32)
    rows = np.full((len(asked), k), -1, np.int64)
    for part in own_row_blocks(len(asked), 4 * len(known), None):
        block = row_scores_between(asked[part], known, metric)
        if leave_out is not None:
            block[own[part, None] == codes] = -np.inf
        scores[part], rows[part] = _best(block, columns, enrolled, k)
    return Candidates(scores, rows)


def _rows(embeddings: Embeddings, metric: Metric, name: str) -> Array:
    """Embeddings as float32, of unit length for the cosine."""
    check_metric(metric)
    x = plain_embeddings(embeddings, name)
    return (unit_rows(x) if metric == "cosine" else x).astype(np.float32)


def _best(block: Array, columns: Array, enrolled: int, k: int) -> tuple[Array, Array]:
    """The k best identities of each row of a block of scores, which is overwritten."""
    scores = np.full((len(block), k), -np.inf, np.float32)
    rows = np.full((len(block), k), -1, np.int64)
    each = np.arange(len(block))
    for place in range(min(k, enrolled)):
        found = block.argmax(axis=1)  # of equal ones the first
        scores[:, place] = block[each, found]
        rows[:, place] = np.where(scores[:, place] > -np.inf, found, -1)
        if place + 1 < min(k, enrolled):
            block[columns == columns[found][:, None]] = -np.inf
    return scores, rows
