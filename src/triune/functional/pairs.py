"""Every pair of N embeddings, visited in blocks: the exact ROC, score histograms, and the hardest pairs."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.functional.distances import Embeddings, Metric, as_embeddings, check_finite, check_metric, unit
from triune.functional.labels import Labels, encode_labels
from triune.functional.roc import Verification, from_scores
from triune.functional.tiles import Exclusion, PairTiles

Array: TypeAlias = np.ndarray[Any, Any]

BLOCK = 2048
LISTED_PAIRS = 1 << 23
"""Up to this many impostor scores are listed, 32 MiB; more are counted."""


class HardPairs(NamedTuple):
    """Pairs of rows with their scores, hardest first.

    Args:
        first, second: ``(k,)`` int64 rows, first < second.
        score: ``(k,)`` float32.
    """

    first: Array
    second: Array
    score: Array


def verify_embeddings(
    embeddings: Embeddings,
    labels: Labels,
    *,
    metric: Metric = "cosine",
    gallery: Embeddings | None = None,
    gallery_labels: Labels | None = None,
    groups: Labels | None = None,
    gallery_groups: Labels | None = None,
    exclude: Exclusion = "pairs",
    fprs: Sequence[float] = (0.05, 0.01, 0.001),
    divide_over: ProcessGroup | None = None,
) -> Verification:
    """The exact ROC over all N(N−1)/2 pairs of N embeddings, or over all N·M pairs of queries and gallery.

    The score of a pair is its cosine similarity for ``cosine`` and minus the distance for the others, in float32. Up
    to 8 Mi pairs are listed. More are visited in tiles of the score matrix and only counted: the scores of matching
    pairs, which are few, are sorted, and each impostor score is looked up among them (functional/kernels/README.md).
    AUC, EER and TPR@FPR equal those of the full sorted list.

    Memory: about 50 bytes a *matching* pair, 8 MiB of scores, and what lies around the thresholds of ``fprs``; never
    the list of pairs. Time: the matrix products and 1 to 3 ns a pair on two processor cores. Embeddings on a GPU stay
    there, and are counted there.

    Args:
        embeddings: ``(N, D)``, any float dtype; half precision is computed in float32.
        labels: ``(N,)`` identities.
        metric: the distance.
        gallery: ``(M, D)``: score every row of ``embeddings`` against every row of this, instead of one another.
        gallery_labels: ``(M,)``.
        groups: ``(N,)`` where each item comes from (photo session, video, camera): pairs within a group are excluded.
        gallery_groups: ``(M,)``.
        exclude: ``"pairs"``: every pair within a group; ``"matches"``: only the matching ones, which is the rule of
            re-identification for pictures by the same camera.
        fprs: budgets whose thresholds are found in the same visit; others may cost another one.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Raises:
        ValueError: an embedding is not finite (its row is named), counts differ, or there is no matching or no
            non-matching pair.
    """
    pairs = PairTiles.prepare(
        embeddings, labels, metric, gallery, gallery_labels, groups, gallery_groups, exclude, divide_over
    )
    match_scores = pairs.match_scores()
    if pairs.total - len(match_scores) <= LISTED_PAIRS:
        return from_scores(match_scores, pairs.listed())
    if not len(match_scores):
        return from_scores(match_scores, match_scores)  # raises
    impostors = pairs.counted(np.unique(match_scores), fprs)
    if impostors.count == 0:
        return from_scores(match_scores, match_scores[:0])  # raises
    return Verification(match_scores, impostors)


def score_histograms(
    embeddings: Embeddings,
    labels: Labels,
    *,
    metric: Metric = "cosine",
    bins: int = 100,
    range: tuple[float, float] | None = None,
) -> tuple[Array, Array, Array]:
    """Histograms of the scores of matching and of non-matching pairs, over all pairs.

    Args:
        embeddings: ``(N, D)``.
        labels: ``(N,)`` identities.
        metric: the distance.
        bins: how many bins.
        range: lowest and highest edge; where not given, those of the scores.

    Returns:
        Edges ``(bins + 1,)``, counts of matching and of non-matching pairs ``(bins,)`` int64.
    """
    x, codes = _prepared(embeddings, labels, metric)
    if range is None:
        extremes = [(float(s.min()), float(s.max())) for _, _, s, _ in _blocks(x, codes, metric) if s.numel()]
        low, high = min((e[0] for e in extremes), default=0.0), max((e[1] for e in extremes), default=1.0)
        range = (low, high) if high > low else (low - 0.5, low + 0.5)
    edges = np.linspace(*range, bins + 1)
    counts = np.zeros((2, bins), dtype=np.int64)
    for _, _, scores, same in _blocks(x, codes, metric):
        clipped = scores.clamp(*range)
        counts[0] += np.histogram(clipped[same].numpy(), edges)[0]
        counts[1] += np.histogram(clipped[~same].numpy(), edges)[0]
    return edges, counts[0], counts[1]


def hardest_pairs(
    embeddings: Embeddings, labels: Labels, *, metric: Metric = "cosine", k: int = 16
) -> tuple[HardPairs, HardPairs]:
    """The k most alike pairs of different identities, and the k least alike pairs of the same.

    Args:
        embeddings: ``(N, D)``.
        labels: ``(N,)`` identities.
        metric: the distance.
        k: how many of each; fewer where there are fewer pairs.
    """
    x, codes = _prepared(embeddings, labels, metric)
    kept: list[list[tuple[Tensor, Tensor, Tensor]]] = [[], []]
    for first, second, scores, same in _blocks(x, codes, metric):
        for place, (chosen, largest) in enumerate(((~same, True), (same, False))):
            values, rows, columns = scores[chosen], first[chosen], second[chosen]
            best = values.topk(min(k, len(values)), largest=largest).indices
            kept[place].append((values[best], rows[best], columns[best]))
    results = []
    for parts, largest in zip(kept, (True, False), strict=True):
        if not parts:
            results.append(HardPairs(*(np.empty(0, dtype) for dtype in (np.int64, np.int64, np.float32))))
            continue
        values, rows, columns = (torch.cat([part[i] for part in parts]) for i in (0, 1, 2))
        best = values.topk(min(k, len(values)), largest=largest).indices
        results.append(HardPairs(rows[best].numpy(), columns[best].numpy(), values[best].numpy()))
    return results[0], results[1]


def pair_scores(x: Tensor, y: Tensor, metric: Metric) -> Tensor:
    """Scores ``(N, M)`` of rows of ``x`` against rows of ``y``: cosine of unit rows, or minus the distance."""
    if metric == "cosine":
        return x @ y.T
    # The direct formula, not ‖x‖² + ‖y‖² − 2x·y: near-duplicates keep their distance.
    distances = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    return -distances if metric == "euclidean" else -distances.square()


def _prepared(embeddings: Embeddings, labels: Labels, metric: Metric) -> tuple[Tensor, Tensor]:
    check_metric(metric)
    x = as_embeddings(embeddings).detach().cpu()
    check_finite(x)
    x = x if x.dtype == torch.float32 else x.float()
    codes = encode_labels(labels, count=len(x), device="cpu")
    return (unit(x) if metric == "cosine" else x), codes


def _blocks(x: Tensor, codes: Tensor, metric: Metric) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Every pair once, a block at a time: first row, second row, score, whether they match; all one-dimensional."""
    for start in range(0, len(x), BLOCK):
        rows = torch.arange(start, min(start + BLOCK, len(x)))
        for other in range(start, len(x), BLOCK):
            columns = torch.arange(other, min(other + BLOCK, len(x)))
            scores = pair_scores(x[rows], x[columns], metric)
            above = rows[:, None] < columns[None, :]
            same = codes[rows][:, None] == codes[columns][None, :]
            first = rows[:, None].expand_as(scores)
            second = columns[None, :].expand_as(scores)
            yield first[above], second[above], scores[above], same[above]
