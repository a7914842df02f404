"""Which pairs are hardest, and how the scores of all pairs are spread."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.labels import Labels
from triune.pairs.prepared import PreparedEmbeddings, as_prepared
from triune.pairs.tiles import PairTiles, Tile, pair_tiles
from triune.parallel.divide import all_reduce
from triune.parallel.group import all_gather

Array: TypeAlias = np.ndarray[Any, Any]


class HardPairs(NamedTuple):
    """Pairs of rows with their scores, hardest first; of equal scores the lowest rows.

    Args:
        first: ``(k,)`` int64 rows.
        second: ``(k,)`` int64 rows, each higher than the first.
        score: ``(k,)`` float32.
    """

    first: Array
    second: Array
    score: Array


def score_histograms(
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels | None = None,
    *,
    metric: Metric | None = None,
    bins: int = 100,
    range: tuple[float, float] | None = None,
    divide_over: ProcessGroup | None = None,
) -> tuple[Array, Array, Array]:
    """Histograms of the scores of matching and of non-matching pairs, over all pairs.

    Scores are those of :func:`verify_embeddings`. Memory: one tile a thread; where no range is given, the pairs are
    visited twice.

    Args:
        embeddings: ``(N, D)``; or what :func:`~triune.pairs.prepared.prepare` made of them, without labels and metric:
            pairs within a group of theirs are left out.
        labels: ``(N,)`` identities.
        metric: the distance; the cosine where not given.
        bins: how many bins.
        range: lowest and highest edge; where not given, those of the scores. Scores beyond count at the edge.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Returns:
        Edges ``(bins + 1,)``, counts of matching and of non-matching pairs ``(bins,)`` int64.
    """
    pairs = pair_tiles(as_prepared(embeddings, labels, metric), divide_over=divide_over)
    if range is None:
        low, high = _extremes(pairs)
        range = (low, high) if high > low else (low - 0.5, low + 0.5)
    edges = np.linspace(*range, bins + 1)
    inner = torch.from_numpy(edges[1:-1]).to(pairs.x.device)

    def count(tile: Tile, counts: Tensor) -> None:
        for kind, chosen in enumerate(_kinds(pairs, tile)):
            places = torch.bucketize(tile.scores[chosen].double(), inner, right=True)
            counts[kind] += torch.bincount(places, minlength=bins)

    empty = partial(torch.zeros, 2, bins, dtype=torch.int64, device=pairs.x.device)
    threads = torch.stack(pairs.visit(pairs.holds_pairs, count, empty))
    counts = all_reduce(threads.sum(0), divide_over).cpu().numpy()
    return edges, counts[0], counts[1]


def hardest_pairs(
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels | None = None,
    *,
    metric: Metric | None = None,
    k: int = 16,
    divide_over: ProcessGroup | None = None,
) -> tuple[HardPairs, HardPairs]:
    """The k most alike pairs of different identities, and the k least alike pairs of the same.

    Scores are those of :func:`verify_embeddings`. Memory: a few tiles a thread, and the candidates.

    Args:
        embeddings: ``(N, D)``; or what :func:`~triune.pairs.prepared.prepare` made of them, without labels and metric:
            pairs within a group of theirs are left out.
        labels: ``(N,)`` identities.
        metric: the distance; the cosine where not given.
        k: how many of each; fewer where there are fewer pairs.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.
    """
    if k < 1:
        raise ValueError(f"k is {k}: at least 1 is needed")
    pairs = pair_tiles(as_prepared(embeddings, labels, metric), divide_over=divide_over)

    def keep(tile: Tile, kept: list[HardPairs]) -> None:
        for kind, chosen in enumerate(_kinds(pairs, tile)):
            # Matching pairs are hard where they score low.
            hardness = torch.where(chosen, tile.scores if kind else -tile.scores, -torch.inf)
            best = kept[kind].score
            limit = float(best[-1] if kind else -best[-1]) if len(best) == k else -np.inf
            if float(hardness.amax()) < limit or not bool(chosen.any()):
                continue
            limit = max(limit, float(hardness.flatten().topk(min(k, hardness.numel())).values[-1]))
            rows, columns = ((hardness >= limit) & chosen).nonzero(as_tuple=True)
            scores = tile.scores[rows, columns].cpu().numpy()
            first = pairs.orders[0][rows.cpu().numpy() + tile.row]
            second = pairs.orders[1][columns.cpu().numpy() + tile.column]
            found = HardPairs(np.minimum(first, second), np.maximum(first, second), scores)
            kept[kind] = _hardest([kept[kind], found], k, highest=kind == 1)

    nothing = HardPairs(*(np.empty(0, dtype) for dtype in (np.int64, np.int64, np.float32)))
    threads = all_gather(pairs.visit(pairs.holds_pairs, keep, lambda: [nothing, nothing]), divide_over)
    matches, impostors = (_hardest([kept[kind] for kept in threads], k, highest=kind == 1) for kind in (0, 1))
    return impostors, matches


def _hardest(parts: Sequence[HardPairs], k: int, *, highest: bool) -> HardPairs:
    """The k hardest of several lists of pairs, of those that score highest or lowest."""
    first, second, score = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.lexsort((second, first, -score if highest else score))[:k]
    return HardPairs(first[order], second[order], score[order])


def _kinds(pairs: PairTiles, tile: Tile) -> tuple[Tensor, Tensor]:
    """Which of a tile's pairs match, and which do not: masks of its shape."""
    return pairs.matching(tile), pairs.impostors(tile)


def _extremes(pairs: PairTiles) -> tuple[float, float]:
    """The lowest and the highest score of all pairs; 0 and 1 where there is none."""

    def look(tile: Tile, ends: list[float]) -> None:
        scores = tile.scores[torch.stack(_kinds(pairs, tile)).any(0)]
        if len(scores):
            ends[:] = min(float(scores.min()), *ends[:1]), max(float(scores.max()), *ends[1:])

    found = all_gather(pairs.visit(pairs.holds_pairs, look, lambda: [np.inf, -np.inf]), pairs.divide_over)
    low, high = min(each[0] for each in found), max(each[1] for each in found)
    return (low, high) if low <= high else (0.0, 1.0)
