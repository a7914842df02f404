"""Figures for papers: ROC, DET, score histograms, CMC and embedding map; matplotlib axes in, axes out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from triune.arrays import as_tensor
from triune.distances.embeddings import Embeddings
from triune.labels import Labels, plain_labels
from triune.verification.roc import Verification

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array: TypeAlias = np.ndarray[Any, Any]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart by the colour-blind, and by lightness in print (Okabe and Ito 2008); without the yellow, too light."""
DASHES = ("-", "--", ":", "-.")
SHAPES = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#767676"
SIZE = (4.8, 3.8)
MOST_POINTS = 20_000
"""Of a longer curve only the corners are drawn, which looks the same."""
MOST_CORNERS = 20_000
"""Of still more corners so many are drawn, evenly: finer than any printer."""
MOST_NAMES = 20
"""Of more identities none is named in the map."""
DET_TICKS = {
    1.0: (0.001, 0.01, 0.05, 0.2, 0.4),
    1e-3: (1e-4, 1e-3, 0.01, 0.05, 0.2, 0.4),
    1e-4: (1e-5, 1e-3, 0.01, 0.1, 0.4),
}
"""By the lowest equal error rate: the better, the farther down the axes go."""


def plot_roc(
    verifications: Verification | Mapping[str, Verification],
    ax: Axes | None = None,
    log: bool = True,
    operating_points: Sequence[float] = (0.05,),
) -> Axes:
    """The ROC as steps: the height at x is TPR@FPR=x, without interpolation.

    >>> from triune import verify_scores
    >>> ax = plot_roc({"ours": verify_scores([3, 2, 1, 0], [1, 1, 0, 0])}, operating_points=(0.5,))
    >>> ax.figure.savefig("roc.pdf")  # doctest: +SKIP

    Args:
        verifications: one, or several by name.
        ax: where to draw; a new figure, that pyplot does not know of, where not given (``ax.figure`` is it).
        log: FPR on a logarithmic axis, from one false positive on.
        operating_points: false-positive budgets to mark; the first one's TPR is written after the name.

    Raises:
        ValueError: there is no verification, or a budget is not above 0 (log) and at most 1.
    """
    several = _named(verifications)
    for x in operating_points:
        if not (0 < x <= 1 if log else 0 <= x <= 1):
            raise ValueError(f"operating_points holds {x}: a rate {'above 0' if log else 'from 0'} up to 1 is needed")
    ax = _axes(ax)
    for place, (name, v) in enumerate(several.items()):
        fpr, tpr, _ = v.roc()
        colour, dash = _style(place)
        heights = [v.tpr_at_fpr(x) for x in operating_points]
        summary = f"TPR {_percent(heights[0])}" if heights else f"AUC {v.auc:.4f}"
        drawn = _corners(fpr, tpr)
        ax.plot(*drawn, color=colour, linestyle=dash, drawstyle="steps-post", label=f"{name}  {summary}".strip())
        ax.plot(operating_points, heights, "o", color=colour, markersize=5, clip_on=False, zorder=3)
        if len(several) == 1:
            for x, y in zip(operating_points, heights):
                _beside(ax, f"TPR {_percent(y)}\nat FPR ≤ {_percent(x)}", x, y, colour)
    for x in operating_points:
        ax.axvline(x, color=GREY, linewidth=0.7, linestyle=(0, (1, 3)), zorder=0)
    least = 1 / max(v.impostors for v in several.values())
    if log:
        from matplotlib.ticker import LogLocator

        ax.set_xscale("log")
        # A label for each of seven powers of ten would run into the next.
        ax.xaxis.set_major_locator(LogLocator(numticks=5))
        ax.set_xlim(min(least, *operating_points, 0.1), 1)
        _percent_ticks(ax.xaxis)
    else:
        ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.7, zorder=0)
        ax.set_xlim(0, 1)
        ax.set_xticks(np.linspace(0, 1, 6))
        _percent_ticks(ax.xaxis)
    ax.set_ylim(0, 1)
    ax.set_yticks(np.linspace(0, 1, 6))
    _percent_ticks(ax.yaxis)
    ax.set_xlabel("False positive rate: different, but accepted")
    ax.set_ylabel("True positive rate: same, and accepted")
    if len(several) > 1 or not operating_points:
        _key(ax, f"at FPR ≤ {_percent(operating_points[0])}" if operating_points else "")
    return ax


def plot_det(verifications: Verification | Mapping[str, Verification], ax: Axes | None = None) -> Axes:
    """Detection error trade-off on normal-deviate axes (Martin et al. 1997): normal scores give straight lines.

    The dots are the equal error rates.

    Args:
        verifications: one, or several by name.
        ax: where to draw; a new figure where not given.
    """
    from scipy.stats import norm

    several = _named(verifications)
    ax = _axes(ax)
    for place, (name, v) in enumerate(several.items()):
        fpr, fnr, _ = v.det()
        colour, dash = _style(place)
        # 0 and 1 lie infinitely far out: half a pair stands for them.
        x, y = (
            norm.ppf(np.clip(rate, 0.5 / count, 1 - 0.5 / count))
            for rate, count in zip(_corners(fpr, fnr), (v.impostors, v.matches))
        )
        label = f"EER {_percent(v.eer)}"
        ax.plot(x, y, color=colour, linestyle=dash, drawstyle="steps-post", label=f"{name}  {label}".strip())
        if 0 < v.eer < 1:
            centre = float(norm.ppf(v.eer))
            ax.plot([centre], [centre], "o", color=colour, markersize=5, zorder=3)
            if len(several) == 1:
                # Level with the point, between the falling curve and the rising diagonal.
                ax.annotate(label, (centre, centre), (12, 0), textcoords="offset points", color=colour, va="center")
    best = min(v.eer for v in several.values())
    ticks = DET_TICKS[min(bound for bound in DET_TICKS if best <= bound)]
    low, high = norm.ppf(ticks[0] / 2), norm.ppf(max(0.5, *(min(0.95, v.eer * 1.2) for v in several.values())))
    ax.plot([low, high], [low, high], color=GREY, linewidth=0.7, zorder=0)
    ax.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(norm.ppf(ticks), [_percent(tick) for tick in ticks])
    ax.set_xlabel("False positive rate (normal deviate)")
    ax.set_ylabel("False negative rate (normal deviate)")
    if len(several) > 1:
        _key(ax)
    return ax


def plot_score_histograms(
    edges: Array, matches: Array, impostors: Array, threshold: float | None = None, ax: Axes | None = None
) -> Axes:
    """How the scores of matching and of non-matching pairs are spread; the area under each is 1.

    >>> ax = plot_score_histograms(*verify_scores([3, 2, 1, 0], [1, 1, 0, 0]).histogram(8))  # doctest: +SKIP

    Args:
        edges: ``(B + 1,)`` scores, ascending; the bins need not be equal.
        matches: ``(B,)`` counts of the matching pairs.
        impostors: ``(B,)`` those of the non-matching ones.
        threshold: to be marked.
        ax: where to draw; a new figure where not given.

    Raises:
        ValueError: the lengths do not fit.
    """
    edges, counts = np.asarray(edges, dtype=float), [np.asarray(each, dtype=float) for each in (matches, impostors)]
    if any(each.shape != (len(edges) - 1,) for each in counts):
        raise ValueError(
            f"edges has {len(edges)} entries, matches {counts[0].shape} and impostors {counts[1].shape}: "
            f"one count a bin, and one edge more, are needed"
        )
    ax = _axes(ax)
    tops = []
    for place, (name, count) in enumerate(zip(("same identity", "different identities"), counts)):
        density = count / max(count.sum(), 1) / np.diff(edges)
        ax.stairs(density, edges, fill=True, alpha=0.35, color=COLOURS[place])
        ax.stairs(density, edges, color=COLOURS[place], linewidth=1.2, label=name)
        tops.append(density.max(initial=0.0))
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(0, 1.18 * max(max(tops), 1e-12))
    if threshold is not None and math.isfinite(threshold):
        ax.axvline(threshold, color="black", linewidth=1, linestyle=(0, (4, 2)))
        late = threshold > (edges[0] + edges[-1]) / 2
        ax.annotate(
            f"threshold {threshold:.3g}", (threshold, 1), (-4 if late else 4, -2), textcoords="offset points",
            xycoords=("data", "axes fraction"), ha="right" if late else "left", va="top",
        )  # fmt: skip
    ax.set_xlabel("Score (higher: more alike)")
    ax.set_ylabel("Share of pairs per unit of score")
    _key(ax, columns=2)
    return ax


def plot_cmc(curve: Sequence[float] | Array | Mapping[int, float], ax: Axes | None = None) -> Axes:
    """Cumulative match characteristic: how often the identity is found among the first K.

    Args:
        curve: rates at rank 1, 2, …; or rank → rate, such as ``RetrievalMetrics.recall_at``.
        ax: where to draw; a new figure where not given.

    Raises:
        ValueError: the curve is empty.
    """
    from matplotlib.ticker import MaxNLocator

    pairs = sorted(curve.items()) if isinstance(curve, Mapping) else list(enumerate(curve, start=1))
    if not pairs:
        raise ValueError("curve is empty: rates at rank 1, 2, … are needed")
    ranks, rates = [int(rank) for rank, _ in pairs], [float(rate) for _, rate in pairs]
    ax = _axes(ax)
    ax.plot(ranks, rates, "o-" if len(ranks) <= 30 else "-", color=COLOURS[0], markersize=4, clip_on=False, zorder=3)
    first = f"{_percent(rates[0])} at rank {ranks[0]}"
    _beside(ax, first, ranks[0], rates[0], COLOURS[0])
    # From a round tenth well below the first, so that what is gained beyond it can be seen.
    ax.set_ylim(max(0.0, math.floor(10 * rates[0] - 1) / 10), 1)
    ax.set_xlim(ranks[0], max(ranks[-1], ranks[0] + 1))
    round_ranks = MaxNLocator(6, integer=True).tick_values(ranks[0], ranks[-1])
    ax.set_xticks([ranks[0], *(rank for rank in round_ranks if ranks[0] < rank <= ranks[-1])])
    _percent_ticks(ax.yaxis)
    ax.set_xlabel("Rank K")
    ax.set_ylabel("Queries with a hit among the first K")
    return ax


def plot_embedding_map(points: Embeddings, labels: Labels, ax: Axes | None = None) -> Axes:
    """Embeddings as points of a plane, coloured by identity; up to 20 identities are named at their middles.

    Args:
        points: ``(N, 2)``, such as t-SNE of the embeddings.
        labels: ``(N,)``.
        ax: where to draw; a new figure where not given.

    Raises:
        ValueError: the points are no plane's, or counts differ.
    """
    from matplotlib.patheffects import withStroke

    places, names = as_tensor(points, "points").detach().cpu().numpy(), plain_labels(labels)
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(f"points has shape {places.shape}: (N, 2) is needed; project the embeddings first")
    if names.shape != (len(places),):
        raise ValueError(f"labels has shape {names.shape} but points has {len(places)} rows: one label a point")
    ax = _axes(ax)
    known, codes = np.unique(names, return_inverse=True)
    size = float(np.clip(3000 / max(1, len(places)), 3, 30))
    for code, name in enumerate(known):
        mine = places[codes == code]
        shape, colour = SHAPES[code // len(COLOURS) % len(SHAPES)], COLOURS[code % len(COLOURS)]
        ax.scatter(mine[:, 0], mine[:, 1], s=size, c=colour, marker=shape, alpha=0.7, linewidths=0, label=str(name))
        if len(known) <= MOST_NAMES:
            # A point of the identity's own that is most central, so that a name never stands in a gap between clusters.
            middle = mine[np.abs(mine - np.median(mine, axis=0)).sum(axis=1).argmin()]
            ax.text(
                middle[0], middle[1], str(name), color=colour, weight="bold", ha="center", va="center",
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )  # fmt: skip
    ax.set(xticks=[], yticks=[])
    ax.set_aspect("equal", adjustable="datalim")
    for side in ax.spines.values():
        side.set_visible(False)
    return ax


def _axes(ax: Axes | None) -> Axes:
    if ax is None:
        from matplotlib.figure import Figure

        # Not pyplot's: it would keep the figure, and might open a window.
        ax = Figure(figsize=SIZE, layout="constrained").subplots()
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _named(verifications: Verification | Mapping[str, Verification]) -> Mapping[str, Verification]:
    several = {"": verifications} if isinstance(verifications, Verification) else verifications
    if not several:
        raise ValueError("there is no verification to draw: give one, or several by name")
    return several


def _style(place: int) -> tuple[str, str]:
    """Colour and dashes; curves that lie upon one another are still told apart."""
    return COLOURS[place % len(COLOURS)], DASHES[place % len(DASHES)]


def _corners(x: Array, y: Array) -> tuple[Array, Array]:
    """A long staircase without the points inside its straight runs, and of very many corners some, evenly."""
    if len(x) <= MOST_POINTS:
        return x, y
    level = (y[1:-1] == y[:-2]) & (y[1:-1] == y[2:])
    upright = (x[1:-1] == x[:-2]) & (x[1:-1] == x[2:])
    kept = np.flatnonzero(np.concatenate([[True], ~(level | upright), [True]]))
    if len(kept) > MOST_CORNERS:
        kept = kept[np.linspace(0, len(kept) - 1, MOST_CORNERS).astype(np.int64)]
    return x[kept], y[kept]


def _key(ax: Axes, title: str = "", columns: int = 1) -> None:
    """Names in the colours of their curves, above the axes, where they cover no data."""
    key = ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, labelcolor="linecolor",
        title=title or None, alignment="left", handlelength=1.8, borderaxespad=0.2,
    )  # fmt: skip
    key.get_title().set_color(GREY)


def _beside(ax: Axes, text: str, x: float, y: float, colour: str) -> None:
    """A text to the right of a point, and below it, where rising curves leave room."""
    ax.annotate(text, (x, y), (8, -6), textcoords="offset points", color=colour, va="top")


def _percent_ticks(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: _percent(value)))


def _percent(rate: float) -> str:
    """Three digits; above 99 % two decimals."""
    return f"{100 * rate:.3g}%" if rate < 0.99 else f"{round(100 * rate, 2):g}%"
