"""Likely wrong labels: items that lie among another label's items, and how surely each is wrong."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy import special

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.kernels.closeness_cpu import best_of_each_label, closeness_to_labels
from triune.labels import Labels, encode_labels
from triune.pairs.prepared import PreparedEmbeddings
from triune.pairs.rows import UNIT_ROUNDOFF
from triune.parallel.blocks import own_row_blocks
from triune.retrieval.neighbours import Rows, as_rows

Array: TypeAlias = np.ndarray[Any, Any]

DRAWS = 10_000
"""So many labels are planted at least, and one an item."""

QUANTILES = (0.5, 0.75, 0.9)
"""Of the margins under planted labels: above each, the share of wrong labels is estimated."""

ROUNDING = 16 * UNIT_ROUNDOFF
"""Scores that differ by less, of lengths or distances near 1, are equal but for the roundings of float32."""

SURE = 0.975
"""How sure it must be that the share above a higher quantile is below that above the median."""


class LabelErrors(NamedTuple):
    """How surely each of N labels is wrong.

    Args:
        probability: ``(N,)`` from 0 to 1; NaN where it cannot be told, for no other item has that label; 0 where the
            margin is a tie, which tells nothing.
        margin: ``(N,)`` how much more alike the item is to the items of the other label than to those of its own, in
            units of the score; NaN likewise. Negative where its own label fits best.
        other: ``(N,)`` int64, a row whose label is the other one that fits best.
        share: of the labels that could be told, how many are wrong by estimate.
        fitting: of those that are no ties, how many fit their items best: a low share says that embeddings tell these
            labels apart badly, and then what is named is unusual rather than wrong.
        tied: how many of those that could be told are ties: another label is exactly as close as their own, as where
            all embeddings are equal.
    """

    probability: Array
    margin: Array
    other: Array
    share: float
    fitting: float
    tied: int = 0

    @property
    def told(self) -> int:
        """How many labels could be told."""
        return int(np.isfinite(self.probability).sum())


def likely_label_errors(
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels,
    *,
    neighbours: int = 3,
    metric: Metric | None = None,
    seed: int = 0,
) -> LabelErrors:
    """How surely each label is wrong, told by the labels of the items that are most alike.

    The *closeness* of an item to a label is its mean score with the ``neighbours`` most alike other items that have it;
    the *margin* is the closeness to the best other label minus that to its own. (Where fewer others have its own label,
    that few are taken of each label. Of items that are at the same place as this one, one of each other label is passed
    over: of n copies of each of two labels, an item has only n − 1 of its own.) What a margin of s means is learned
    from the data themselves: each item is given another label drawn at random, and its margin under that one is noted.
    Let f₁ be the density of these margins, whose labels are surely wrong, f that of the margins as they are, and π
    the share that is wrong. Then

        P(wrong | s) = π · f₁(s) / f(s),

    the local false discovery rate (Efron 2004) the other way round. f₁/f is fitted by isotonic regression: it never
    falls as s grows. π is estimated where correct labels hardly lie, above a high margin m: P(s ≥ m) / P₁(s ≥ m) is an
    upper bound of it. m is the median of f₁, or its 75 % or 90 % quantile where the bound there is surely lower.
    Correct labels lie there, too, where embeddings tell labels apart badly, or where labels have so few items that an
    unusual one has no company: such items are named with those that are wrong.

    Wrong labels that come in numbers (a whole folder of one label named after another) agree with each other, and are
    not found; nor are those of items of which several have the same wrong label and lie together.

    >>> x = np.repeat(np.eye(3), 20, axis=0) + np.random.default_rng(0).normal(0, 0.1, (60, 3))
    >>> y = np.repeat([0, 1, 2], 20)
    >>> y[7] = 2
    >>> found = likely_label_errors(x, y)
    >>> int(np.nanargmax(found.probability)), int(y[found.other[7]])
    (7, 0)

    Memory: blocks of 16 MiB of scores, and eight numbers an item.

    Args:
        embeddings: ``(N, D)``, or what :func:`~triune.pairs.prepared.prepare` made of them.
        labels: ``(N,)`` of any kind, of at least two values.
        neighbours: how many items of a label are asked, at least 1.
        metric: the distance; the cosine, or that of the prepared embeddings, where not given.
        seed: of the labels that are planted.

    Raises:
        ValueError: an embedding is not finite, counts differ, there are fewer than two labels, or no label is on two
            items.
    """
    if neighbours < 1:
        raise ValueError(f"neighbours is {neighbours}: at least 1 is needed")
    rows = as_rows(embeddings, metric, "embeddings")
    codes = encode_labels(labels, count=len(rows.x), device="cpu").numpy()
    _, first, codes, sizes = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise ValueError(
            f"all {len(codes)} items have the same label: wrong ones are told by the items of other labels"
        )
    told = sizes[codes] > 1
    if not told.any():
        raise ValueError(f"each of the {len(codes)} items has a label of its own, so none can be told by others")
    generator = np.random.default_rng(seed)
    draws = -(-DRAWS // len(codes))
    planted = (codes[:, None] + generator.integers(1, len(sizes), (len(codes), draws))) % len(sizes)
    margins, other, planted_margins = _margins(rows, codes, sizes, planted, neighbours)
    differing = margins[told] != 0
    probability, share = np.zeros(len(differing)), 0.0
    planted_margins = planted_margins[told]
    planted_margins = planted_margins[planted_margins != 0]
    if differing.any() and len(planted_margins):
        probability[differing], share = _probability(margins[told][differing], planted_margins)
    return LabelErrors(
        probability=_spread(probability, told),
        margin=_spread(margins[told], told),
        other=first[other],
        share=share * float(differing.mean()),
        fitting=float((margins[told][differing] < 0).mean()) if differing.any() else 1.0,
        tied=int((~differing).sum()),
    )


def _margins(rows: Rows, codes: Array, sizes: Array, planted: Array, neighbours: int) -> tuple[Array, Array, Array]:
    """The margin of each item, the code of the other label that fits best, and the margins under planted labels."""
    count, most = len(codes), int(min(neighbours, sizes.max()))
    order = np.argsort(codes, kind="stable")
    by_label = Rows(rows.x[order], rows.squares[order] if len(rows.squares) else rows.squares, rows.metric)
    place = np.empty(count, dtype=np.int64)
    place[order] = np.arange(count)
    margins, other, under = np.empty(count), np.empty(count, dtype=np.int64), np.empty(planted.shape)
    unit = rows.metric == "cosine"
    for part in own_row_blocks(count, 4 * max(count, len(sizes) * (most + 1)), None):
        block = rows.scores(part, by_label).float().cpu().numpy()
        own = np.arange(len(block))
        same = block[own, place[part]] - (ROUNDING if unit else 0)  # distances of copies are exactly 0
        block[own, place[part]] = -np.inf
        best = best_of_each_label(block, sizes, most + 1)
        copied = best[:, :, 0] >= same[:, None]
        least = 1.0 if unit else 0.0
        taken = np.minimum(neighbours, sizes[codes[part]] - 1)
        margins[part], other[part] = _margin(best, copied, codes[part], taken, at_least=least)
        for draw in range(planted.shape[1]):
            label = planted[part, draw]
            taken = np.minimum(neighbours, sizes[label])
            under[part, draw], _ = _margin(best, copied, label, taken, at_least=least)
    return margins, other, under


def _margin(best: Array, copied: Array, codes: Array, taken: Array, *, at_least: float) -> tuple[Array, Array]:
    """The closeness to the best other label minus that to one's own, and that other label; 0 where they are tied.

    Args:
        best: ``(R, C, K)`` the highest scores with each label.
        copied: ``(R, C)`` whether the first of them is with a copy of the item, which is passed over.
        codes: ``(R,)`` one's own label.
        taken: ``(R,)`` how many scores the closeness is the mean of.
        at_least: how large scores are whose rounding is allowed for.
    """
    closeness = closeness_to_labels(best, taken, np.zeros_like(copied))
    without = closeness_to_labels(best, taken, copied) if copied.any() else closeness
    place = np.arange(len(codes))
    own = closeness[place, codes]
    others = without.copy()
    others[place, codes] = -np.inf
    nothing = np.isneginf(others.max(axis=1))  # the only item of each other label is a copy
    others[nothing] = closeness[nothing]
    others[place, codes] = -np.inf
    best = others.argmax(axis=1)
    found = others[place, best]
    with np.errstate(invalid="ignore"):
        margin = found - own
        tied = np.abs(margin) <= ROUNDING * np.maximum(at_least, np.maximum(np.abs(found), np.abs(own)))
    return np.where(nothing | (tied & np.isfinite(margin)), 0.0, margin), best


def _probability(margins: Array, planted: Array) -> tuple[Array, float]:
    """P(wrong) of each margin, and the share that is wrong."""
    from sklearn.isotonic import IsotonicRegression

    share = _share(margins, planted)
    weights = np.concatenate([np.full(len(margins), 1 / len(margins)), np.full(len(planted), 1 / len(planted))])
    wrong = np.concatenate([np.zeros(len(margins)), np.ones(len(planted))])
    fit = IsotonicRegression(out_of_bounds="clip").fit(np.concatenate([margins, planted]), wrong, weights)
    density = fit.predict(margins)  # f₁ / (f + f₁)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(density < 1, density / (1 - density), np.inf)
    return np.minimum(1.0, np.where(ratio > 0, share * ratio, 0.0)) if share > 0 else np.zeros(len(margins)), share


def _share(margins: Array, planted: Array) -> float:
    """The share that is wrong: above the median of planted margins, or higher up where that is surely less."""
    high = np.quantile(planted, QUANTILES)
    above, of_planted = (np.array([(each >= m).sum() for m in high]) for each in (margins, planted))
    scale = len(planted) / (len(margins) * of_planted)
    estimates = scale * above
    most = scale * special.gammaincinv(above + 1, SURE)  # of the means of Poisson counts
    best = int(np.argmin(np.where(most < estimates[0], most, np.inf)))
    return float(min(1.0, estimates[best]))


def _spread(values: Array, told: Array) -> Array:
    """The values at their places, NaN at the others."""
    spread = np.full(len(told), np.nan)
    spread[told] = values
    return spread
