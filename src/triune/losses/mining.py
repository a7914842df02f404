"""Which triplets to learn from: all, hard, batch-hard, semi-hard and random mining, in blocks of anchors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from triune.arrays import as_tensor
from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.distances.pairwise import paired_distance, pairwise_distance
from triune.kernels.paths import Path, choose_path
from triune.losses.batch import (
    Groups,
    LabelledBatch,
    check_finite_rows,
    group_by_label,
    labelled_batch,
    masks,
)
from triune.losses.compared import BatchLabels
from triune.losses.draws import draw_by_key, draw_seed, draw_uniform
from triune.losses.miner import Miner, Where
from triune.losses.triplet_settings import Gap, Margin, Strategy, TripletSettings, check_settings

# Cells of the distance matrix held at a time: 4 Mi cells are 32 MiB in float64.
BLOCK_CELLS = 1 << 22


class Triplets(NamedTuple):
    """Row indices, int64, each of shape (T,): ``anchor`` into the embeddings, ``positive`` and ``negative``
    into the reference set (the embeddings themselves where there is none).
    """  # noqa: D205

    anchor: Tensor
    positive: Tensor
    negative: Tensor


def mine_triplets(
    embeddings: Embeddings,
    labels: BatchLabels,
    strategy: Strategy = "semihard",
    *,
    metric: Metric = "euclidean",
    margin: Margin = 0.2,
    gap: Gap | None = None,
    reference: Embeddings | None = None,
    reference_labels: BatchLabels | None = None,
    own_rows: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Triplets:
    """Choose triplets (anchor, positive, negative): a ≠ p, label(a) = label(p) ≠ label(n).

    - ``"all"``: every triplet.
    - ``"hard"``: for each (a, p), the negative closest to a.
    - ``"batch_hard"``: for each a, its farthest positive and its closest negative (Hermans et al. 2017).
    - ``"semihard"``: for each (a, p), the closest negative with d(a,p) < d(a,n) < d(a,p) + margin; a pair
      that has none gives no triplet (Schroff et al. 2015). With ``margin="soft"`` there is no upper bound.
    - ``"random"``: for each (a, p), one negative drawn uniformly.

    Ties go to the lowest index; triplets come sorted by (anchor, positive, negative).

    >>> x = torch.tensor([[0.0], [0.5], [0.6], [5.0]])
    >>> mine_triplets(x, [0, 0, 1, 1], "semihard", margin=0.2)
    Triplets(anchor=tensor([0, 3]), positive=tensor([1, 2]), negative=tensor([2, 1]))

    Args:
        embeddings: the anchors, and without a reference set also positives and negatives; shape (N, D).
        labels: the identity of each embedding, N integers or strings.
        strategy: which triplets, see above.
        metric: the distance, as in :func:`triune.distances.pairwise.pairwise_distance`.
        margin: upper bound of the semi-hard band; the other strategies do not use it.
        gap: keep, of the triplets the strategy chose, those with low < d(a,n) − d(a,p) ≤ high.
        reference: where positives and negatives are taken from instead: a gallery or a memory bank, shape
            (M, D).
        reference_labels: the identity of each reference row.
        own_rows: which reference row *is* embedding i, and so never its positive; int64 (N,), −1 where there
            is none. Left out, a reference that is the same tensor object as embeddings holds each item at
            its own row, and any other reference holds none of them.
        generator: source of the random strategy's draws.

    Returns:
        The chosen triplets, on the device of the embeddings. No gradient flows through them.

    Memory: O(D·(N + M)), a block of at most max(4 Mi, M) distances, and the result: up to P triplets for P pairs, N for
    ``"batch_hard"``; only ``"all"`` has a result that is cubic, and :func:`triune.losses.triplet.triplet_loss` does
    not need it. On a GPU the size of the result is waited for.

    Raises:
        ValueError: shapes or label counts disagree, an option is unknown, or an embedding is not finite (the
            row is named).
    """
    settings = TripletSettings(margin, metric, strategy, gap)
    check_settings(settings)
    batch = labelled_batch(embeddings, labels, reference, reference_labels, own_rows).detached()
    check_finite_rows(batch.x, batch.y)
    return list_triplets(batch, settings, generator)


def list_triplets(
    batch: LabelledBatch, settings: TripletSettings, generator: torch.Generator | None = None
) -> Triplets:
    """The triplets of :func:`mine_triplets`, by the path that fits the device.

    Args:
        batch: anchors and reference rows with their labels, without gradients.
        settings: which triplets.
        generator: source of the random strategy's draws.
    """
    metric, strategy, gap = settings.metric, settings.mining, settings.gap
    if batch.same is not None:  # labels that a rule compares are in no order that the other ways go by
        return _list_in_blocks(batch, settings, generator)
    if strategy == "all" and gap is None:
        return _list_all(batch)
    if strategy == "random":
        mined = draw_random(group_by_label(batch.codes, batch.reference_codes), batch.own_rows, generator)
        return mined if gap is None else _filter_gap(mined, batch, metric, gap)
    path = choose_path(batch.x, batch.y)
    if strategy != "all" and path != "torch":
        return list_by_kernel(batch, settings, path)
    return _list_in_blocks(batch, settings)


class TripletMiner(Miner):
    """``miner(embeddings, labels)`` → (anchor, positive, negative), for any loss that takes index tuples.

    >>> miner = TripletMiner("batch_hard")
    >>> miner(torch.tensor([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0]]), ["a", "a", "b"])
    Triplets(anchor=tensor([0, 1]), positive=tensor([1, 0]), negative=tensor([2, 2]))

    Args:
        strategy: ``"all"``, ``"hard"``, ``"batch_hard"``, ``"semihard"`` or ``"random"``.
        margin: upper bound of the semi-hard band.
        metric: the distance to mine by.
        normalize: divide every embedding by its length first, as :class:`triune.losses.triplet.TripletLoss` does.
        gap: keep, of the mined triplets, those with low < d(a,n) − d(a,p) ≤ high.
    """

    def __init__(
        self,
        strategy: Strategy = "semihard",
        margin: Margin = 0.2,
        metric: Metric = "euclidean",
        normalize: bool = True,
        gap: Gap | None = None,
    ) -> None:
        super().__init__(normalize)
        check_settings(TripletSettings(margin, metric, strategy, gap))
        self.strategy: Strategy = strategy
        self.margin: Margin = margin
        self.metric: Metric = metric
        self.gap = gap

    def _mine(self, x: Embeddings, labels: BatchLabels, where: Where, generator: torch.Generator | None) -> Triplets:
        return mine_triplets(
            x, labels, self.strategy, metric=self.metric, margin=self.margin, gap=self.gap, generator=generator, **where
        )


def as_triplets(indices: Sequence[Tensor]) -> Triplets:
    """Triplets from a miner's index tuple: (a, p, n), or pairs (a, p, a', n) joined where a = a'.

    Raises:
        ValueError: there are not 3 or 4 index tensors, or their lengths disagree.
    """
    columns = [as_tensor(column, "indices").long() for column in indices]
    sizes = [column.shape[0] if column.ndim == 1 else -1 for column in columns]
    if len(columns) == 3 and len(set(sizes)) == 1 and sizes[0] >= 0:
        return Triplets(*columns)
    if len(columns) == 4 and sizes[0] == sizes[1] >= 0 and sizes[2] == sizes[3] >= 0:
        anchor, positive, other, negative = columns
        ordered, order = other.sort(stable=True)
        start = torch.searchsorted(ordered, anchor.contiguous())
        counts = torch.searchsorted(ordered, anchor.contiguous(), right=True) - start
        pair = torch.repeat_interleave(counts)
        within = torch.arange(pair.shape[0], device=pair.device) - (counts.cumsum(0) - counts)[pair]
        return Triplets(anchor[pair], positive[pair], negative[order[start[pair] + within]])
    raise ValueError(
        f"indices hold {len(columns)} tensors of shapes {[tuple(column.shape) for column in columns]}; "
        f"triplets are three of one length (anchor, positive, negative), "
        f"pairs are four (anchor, positive, anchor, negative), equal in twos"
    )


class Choice(NamedTuple):
    """Up to Q triplets for each of R anchors: columns of a distance matrix (R, M), each of shape (R, Q)."""

    positive: Tensor
    negative: Tensor
    kept: Tensor


def choose(
    distances: Tensor,
    positive: Tensor,
    negative: Tensor,
    settings: TripletSettings,
    generator: torch.Generator | None = None,
) -> Choice:
    """Choose among columns of a distance matrix, with fixed shapes and without waiting for the device.

    Args:
        distances: shape (R, M); no gradient is needed.
        positive: which columns are positives of each row, bool (R, M).
        negative: which are negatives, bool (R, M).
        settings: any mining but ``"all"``; its metric is that of the distances.
        generator: source of the random strategy's draws.

    Returns:
        Q = 1 choice a row for ``"batch_hard"``, else Q = M: slot q is the pair (anchor, column q).
    """
    margin, strategy, gap = settings.margin, settings.mining, settings.gap
    distances = distances.detach()
    columns = torch.arange(distances.shape[1], device=distances.device).expand(distances.shape)
    if distances.shape[1] == 0:
        return Choice(columns, columns, positive)
    if strategy == "batch_hard":
        farthest = torch.where(positive, distances, -torch.inf).argmax(1, keepdim=True)
        closest = torch.where(negative, distances, torch.inf).argmin(1, keepdim=True)
        kept = positive.any(1, keepdim=True) & negative.any(1, keepdim=True)
        choice = Choice(farthest, closest, kept)
    elif strategy == "hard":
        closest = torch.where(negative, distances, torch.inf).argmin(1, keepdim=True)
        kept = positive & negative.any(1, keepdim=True)
        choice = Choice(columns, closest.expand(distances.shape), kept)
    elif strategy == "semihard":
        # The closest negative beyond d(a,p) is d(a,p)'s successor among the sorted negatives. A stable sort
        # keeps equal distances in index order, so the first of them is the lowest.
        ordered, order = torch.where(negative, distances, torch.inf).sort(dim=1, stable=True)
        rank = torch.searchsorted(ordered, distances.contiguous(), right=True)
        closest = order.gather(1, rank.clamp_max(distances.shape[1] - 1))
        kept = positive & (rank < negative.sum(1, keepdim=True))
        if margin != "soft":
            kept = kept & (distances.gather(1, closest) < distances + margin)
        choice = Choice(columns, closest, kept)
    elif strategy == "random":
        counts = negative.sum(1, keepdim=True)
        draws = draw_uniform(distances.shape, distances.device, generator)
        nth = (draws * counts).long().clamp_max((counts - 1).clamp_min(0))
        drawn = torch.searchsorted(negative.cumsum(1), nth + 1).clamp_max(distances.shape[1] - 1)
        choice = Choice(columns, drawn, positive & (counts > 0))
    else:
        raise ValueError(f"no single negative is chosen for strategy {strategy!r}")
    if gap is None:
        return choice
    return choice._replace(
        kept=choice.kept & inside_gap(distances.gather(1, choice.positive), distances.gather(1, choice.negative), gap)
    )


def inside_gap(positive_distance: Tensor, negative_distance: Tensor, gap: Gap) -> Tensor:
    """Whether low < d(a,n) − d(a,p) ≤ high, as d(a,p) + low < d(a,n) ≤ d(a,p) + high.

    Args:
        positive_distance: d(a,p), any shape.
        negative_distance: d(a,n), the same shape.
        gap: (low, high).
    """
    return (positive_distance + gap[0] < negative_distance) & (negative_distance <= positive_distance + gap[1])


def draw_random(groups: Groups, own_rows: Tensor, generator: torch.Generator | None) -> Triplets:
    """One negative a pair, uniformly, in O(N + M + P) for P pairs: no distance is needed.

    Args:
        groups: the reference rows sorted by label, and each anchor's class among them.
        own_rows: which reference row is the anchor itself, −1 for none, int64 (N,).
        generator: source of the draws.
    """
    anchor, positive = _list_pairs(groups, own_rows)
    counts = groups.order.shape[0] - (groups.stop - groups.start)[anchor]
    anchor, positive, counts = anchor[counts > 0], positive[counts > 0], counts[counts > 0]
    # An anchor is known by its place among all rows, which is the same in whatever process it is an anchor.
    own = own_rows[anchor]
    key = torch.where(own >= 0, own, anchor) * groups.order.shape[0] + positive
    draws = draw_by_key(draw_seed(anchor.device, generator), key)
    nth = torch.minimum((draws * counts).long(), counts - 1)
    return Triplets(anchor, positive, _nth_negative(groups, anchor, nth))


def list_by_kernel(batch: LabelledBatch, settings: TripletSettings, path: Path) -> Triplets:
    """Hard, batch-hard or semi-hard triplets by the Numba or the Triton kernels.

    Args:
        batch: anchors and reference rows with their labels.
        settings: which triplets.
        path: ``"numba"`` or ``"triton"``.
    """
    margin, metric, strategy, gap = settings.margin, settings.metric, settings.mining, settings.gap
    batch = batch.detached()
    if metric == "cosine":
        batch = batch.at_unit_length()
    groups = group_by_label(batch.codes, batch.reference_codes)
    bound = float("inf") if isinstance(margin, str) else margin
    if path == "triton":
        from triune.kernels import triplets_gpu

        tensors = triplets_gpu.sorted_tensors(batch.x, batch.y, *groups, batch.own_rows, metric)
        return _list_choice(Choice(*triplets_gpu.mine(tensors, strategy, bound, gap)))
    from triune.kernels import triplets_cpu

    arrays = triplets_cpu.sorted_arrays(batch.x, batch.y, *groups, batch.own_rows, metric)
    return Triplets(*triplets_cpu.mine(arrays, strategy, bound, gap))


def row_blocks(rows: int, columns: int) -> list[slice]:
    """Consecutive slices of the rows whose blocks have at most BLOCK_CELLS cells (at least one row each)."""
    step = max(1, BLOCK_CELLS // max(1, columns))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def _list_pairs(groups: Groups, own_rows: Tensor) -> tuple[Tensor, Tensor]:
    """Every (anchor, positive), sorted: two int64 tensors (P,)."""
    sizes = groups.stop - groups.start
    anchor = torch.repeat_interleave(sizes)
    within = torch.arange(anchor.shape[0], device=anchor.device) - (sizes.cumsum(0) - sizes)[anchor]
    positive = groups.order[groups.start[anchor] + within]
    distinct = positive != own_rows[anchor]
    return anchor[distinct], positive[distinct]


def _list_choice(choice: Choice) -> Triplets:
    """The triplets that are kept, sorted by (anchor, slot)."""
    anchor, slot = choice.kept.nonzero(as_tuple=True)
    return Triplets(anchor, choice.positive[anchor, slot], choice.negative[anchor, slot])


def _nth_negative(groups: Groups, anchor: Tensor, nth: Tensor) -> Tensor:
    """The nth reference row, in label order, of another class than the anchor's."""
    start, stop = groups.start[anchor], groups.stop[anchor]
    return groups.order[torch.where(nth < start, nth, nth + stop - start)]


def _list_in_blocks(
    batch: LabelledBatch, settings: TripletSettings, generator: torch.Generator | None = None
) -> Triplets:
    """Triplets chosen by their distances, a block of anchors at a time, by plain torch."""
    parts = []
    for rows in row_blocks(len(batch.x), len(batch.y)):
        distances = pairwise_distance(batch.x[rows], batch.y, settings.metric)
        positive, negative = masks(batch, rows)
        if settings.mining == "all":
            part = _list_gap(distances, positive, negative, settings.gap or (-torch.inf, torch.inf))
        else:
            part = _list_choice(choose(distances, positive, negative, settings, generator))
        parts.append(part._replace(anchor=part.anchor + rows.start))
    if not parts:
        return Triplets(*(torch.empty(0, dtype=torch.int64, device=batch.x.device) for _ in range(3)))
    return Triplets(*(torch.cat(column) for column in zip(*parts)))


def _list_all(batch: LabelledBatch) -> Triplets:
    """Every triplet, sorted; a block of pairs at a time against all negatives."""
    anchor, positive = _list_pairs(group_by_label(batch.codes, batch.reference_codes), batch.own_rows)
    parts = []
    for rows in row_blocks(len(anchor), len(batch.y)):
        pair, negative = (batch.codes[anchor[rows], None] != batch.reference_codes).nonzero(as_tuple=True)
        parts.append(Triplets(anchor[rows][pair], positive[rows][pair], negative))
    if not parts:
        return Triplets(anchor, positive, positive)
    return Triplets(*(torch.cat(part) for part in zip(*parts)))


def _list_gap(distances: Tensor, positive: Tensor, negative: Tensor, gap: Gap) -> Triplets:
    """Triplets of a block inside the gap, pairs in sub-blocks: P·M cells are never held at once."""
    anchor, column = positive.nonzero(as_tuple=True)
    parts = []
    for rows in row_blocks(anchor.shape[0], distances.shape[1]):
        a, p = anchor[rows], column[rows]
        kept = negative[a] & inside_gap(distances[a, p][:, None], distances[a], gap)
        pair, n = kept.nonzero(as_tuple=True)
        parts.append(Triplets(a[pair], p[pair], n))
    if not parts:
        return Triplets(anchor, column, column)
    return Triplets(*(torch.cat(part) for part in zip(*parts)))


def _filter_gap(mined: Triplets, batch: LabelledBatch, metric: Metric, gap: Gap) -> Triplets:
    """Keep listed triplets inside the gap; distances are computed for blocks of the list."""
    kept = []
    for part in row_blocks(len(mined.anchor), batch.x.shape[1]):
        anchor = batch.x[mined.anchor[part]]
        d_ap = paired_distance(anchor, batch.y[mined.positive[part]], metric)
        d_an = paired_distance(anchor, batch.y[mined.negative[part]], metric)
        kept.append(inside_gap(d_ap, d_an, gap))
    if not kept:
        return mined
    mask = torch.cat(kept)
    return Triplets(*(column[mask] for column in mined))
