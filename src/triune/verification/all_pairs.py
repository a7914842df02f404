"""The exact ROC of every pair of N embeddings."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.labels import Labels
from triune.pairs.prepared import PreparedEmbeddings, as_prepared_pair
from triune.pairs.tiles import Exclusion, pair_tiles
from triune.plurals import plural
from triune.verification.collecting import impostor_scores, match_scores
from triune.verification.counting import count_impostors
from triune.verification.impostors import first_float32_from
from triune.verification.roc import FPRS, Verification, from_scores

Array: TypeAlias = np.ndarray[Any, Any]


LISTED_PAIRS = 1 << 23
"""Up to this many impostor scores are listed, 32 MiB; more are counted."""


def verify_embeddings(
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels | None = None,
    *,
    metric: Metric | None = None,
    gallery: Embeddings | PreparedEmbeddings | None = None,
    gallery_labels: Labels | None = None,
    groups: Labels | None = None,
    gallery_groups: Labels | None = None,
    exclude: Exclusion = "pairs",
    fprs: Sequence[float] = FPRS,
    thresholds: Sequence[float] = (),
    divide_over: ProcessGroup | None = None,
) -> Verification:
    """The exact ROC over all N(N−1)/2 pairs of N embeddings, or over all N·M pairs of queries and gallery.

    The score of a pair is its cosine similarity for ``cosine`` and minus the distance for the others, in float32. Up
    to 8 Mi pairs are listed. More are visited in tiles of the score matrix and only counted: the scores of matching
    pairs, which are few, are sorted, and each impostor score is looked up among them (kernels/README.md).
    AUC, EER and TPR@FPR equal those of the full sorted list.

    Memory: about 50 bytes a *matching* pair, 8 MiB of scores, and what lies around the thresholds of ``fprs``; never
    the list of pairs. Time: the matrix products and 1 to 3 ns a pair on two processor cores. Embeddings on a GPU stay
    there, and are counted there.

    Args:
        embeddings: ``(N, D)``, any float dtype; half precision is computed in float32. Or what
            :func:`~triune.pairs.prepared.prepare` made of them, without labels, metric and groups.
        labels: ``(N,)`` identities.
        metric: the distance; the cosine where not given.
        gallery: ``(M, D)``, or prepared: score every row of ``embeddings`` against every row of this, instead of one
            another.
        gallery_labels: ``(M,)``.
        groups: ``(N,)`` where each item comes from (photo session, video, camera): pairs within a group are excluded.
        gallery_groups: ``(M,)``.
        exclude: ``"pairs"``: every pair within a group; ``"matches"``: only the matching ones, which is the rule of
            re-identification for pictures by the same camera.
        fprs: budgets whose thresholds are found in the same visit; others may cost another one.
        thresholds: scores at which confusion tables are to be had from the same visit; likewise.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Raises:
        ValueError: an embedding is not finite (its row is named), counts differ, or there is no matching or no
            non-matching pair.
    """
    sets = as_prepared_pair(embeddings, labels, metric, gallery, gallery_labels, groups, gallery_groups)
    pairs = pair_tiles(*sets, exclude, divide_over)
    matching = match_scores(pairs)
    if pairs.total - len(matching) <= LISTED_PAIRS:
        return from_scores(matching, impostor_scores(pairs))
    if not len(matching):
        return from_scores(matching, matching)  # raises
    asked = first_float32_from(thresholds)
    impostors = count_impostors(pairs, np.union1d(matching, asked[np.isfinite(asked)]), fprs)
    if impostors.count == 0:
        return from_scores(matching, matching[:0])  # raises
    return Verification(matching, impostors)


def why_not_verifiable(identities: Array) -> str | None:
    """Why these items make no verification task, or ``None`` where they do."""
    counts = np.unique(identities, return_counts=True)[1]
    if len(counts) < 2:
        return f"{plural(len(counts), 'identity', 'identities')}: at least two are needed for a non-matching pair"
    if counts.max() < 2:
        return "every identity has a single image: a matching pair needs two"
    return None
