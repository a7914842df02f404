"""Protocols of published comparisons: listed pairs in folds (LFW), templates (IJB), open-set identification."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.functional.distances import (
    Embeddings,
    Metric,
    as_embeddings,
    check_finite,
    check_metric,
    paired_distance,
    pairwise_distance,
    unit,
)
from triune.functional.divided import completed, own_blocks
from triune.functional.labels import Labels, encode_labels
from triune.functional.roc import LEAST_EXPECTED_FALSE_POSITIVES, Verification, from_scores, verify_scores
from triune.functional.tiles import encode_together

Array: TypeAlias = np.ndarray[Any, Any]

CELLS = 1 << 22
"""Numbers in a block: 16 MiB of float32, and a few times that while distances are computed."""


class Estimate(NamedTuple):
    """A mean over folds.

    Args:
        mean: over the folds.
        standard_error: standard deviation (over folds − 1) divided by √folds, as LFW prescribes.
    """

    mean: float
    standard_error: float


@dataclass(frozen=True)
class FoldRates:
    """What one false-positive budget gives in each fold.

    Args:
        target_fpr: the budget.
        thresholds: ``(F,)``, each fitted on the other folds; +∞ where no score keeps the budget there.
        tpr, fpr: ``(F,)``, what the threshold does to the fold itself; its FPR may exceed the budget.
        reliable: whether the other folds always had enough non-matching pairs: 30 false positives expected.
    """

    target_fpr: float
    thresholds: Array
    tpr: Array
    fpr: Array
    reliable: bool

    @property
    def mean_tpr(self) -> Estimate:
        """TPR over the folds."""
        return _estimate(self.tpr)

    @property
    def mean_fpr(self) -> Estimate:
        """Realised FPR over the folds."""
        return _estimate(self.fpr)


@dataclass(frozen=True)
class FoldResult:
    """Thresholds chosen on all folds but one and applied to that one, F times.

    Args:
        folds: the F names, in the order of their first pair.
        thresholds: ``(F,)``: the most accurate on the other folds.
        accuracies: ``(F,)``: the share of the fold's own pairs that it decides rightly.
        rates: budget → its rates.
    """

    folds: tuple[Any, ...]
    thresholds: Array
    accuracies: Array
    rates: dict[float, FoldRates]

    @property
    def accuracy(self) -> Estimate:
        """Over the folds: LFW's "μ̂ ± S_E"."""
        return _estimate(self.accuracies)


class OpenSetPoint(NamedTuple):
    """Open-set identification at one false-alarm budget.

    Args:
        target_far: the budget.
        threshold: the lowest observed score that keeps it; +∞ where none does.
        dir: detection and identification rate: the share of mated probes whose identity is found.
        far: the share of non-mated probes that raise an alarm all the same; never above the budget.
        reliable: whether there are enough non-mated probes to measure the budget by.
        reason: why not.
    """

    target_far: float
    threshold: float
    dir: float
    far: float
    reliable: bool
    reason: str | None


@dataclass(frozen=True)
class OpenSetIdentification:
    """Scores of probes against a gallery that does not hold everyone.

    Args:
        points: for each budget that was asked for.
        rank: the largest rank at which an identity counts as found, for ``points``.
        mate_scores: ``(P,)`` float32, of each mated probe with its own identity.
        mate_ranks: ``(P,)`` int64, from 1: its identity's place among the gallery's; an equal score goes before it.
        alarm_scores: ``(Q,)`` float32, ascending: each non-mated probe's highest score.
    """

    points: tuple[OpenSetPoint, ...]
    rank: int
    mate_scores: Array
    mate_ranks: Array
    alarm_scores: Array

    @property
    def mated(self) -> int:
        """How many probes have their identity in the gallery."""
        return len(self.mate_scores)

    @property
    def non_mated(self) -> int:
        """How many have not."""
        return len(self.alarm_scores)

    def at(self, far: float, rank: int | None = None) -> OpenSetPoint:
        """DIR at a false-alarm budget, at the result's rank or another one."""
        limit = _check_rank(self.rank if rank is None else rank)
        decisions = from_scores(self.mate_scores, self.alarm_scores)
        point = decisions.operating_point(far)
        detected = (self.mate_ranks <= limit) & (self.mate_scores >= point.threshold)
        reason = (
            None
            if point.reliable
            else f"only {far * self.non_mated:.1f} false alarms are expected of {self.non_mated} non-mated probes; "
            f"{LEAST_EXPECTED_FALSE_POSITIVES} are needed"
        )
        return OpenSetPoint(far, point.threshold, float(detected.mean()), point.fpr, point.reliable, reason)

    def cmc(self, depth: int = 10) -> Array:
        """Closed-set identification: the share of mated probes found at rank 1, 2, …, ``depth``; no threshold."""
        ranks = np.arange(1, _check_rank(depth) + 1)
        shares: Array = (self.mate_ranks[None, :] <= ranks[:, None]).mean(axis=1)
        return shares


def score_pairs(
    embeddings: Embeddings, first: Tensor | Array, second: Tensor | Array, metric: Metric = "cosine"
) -> Tensor:
    """The score of each listed pair: its cosine similarity, or minus its distance. In blocks of pairs.

    O(P·D), little beside making the list: not divided over processes.

    Args:
        embeddings: ``(N, D)``.
        first, second: ``(P,)`` integers: rows of ``embeddings``.
        metric: the distance.

    Returns:
        Scores ``(P,)`` float32 on the device of the embeddings. Memory beside them: 16 MiB blocks, a few of them.

    Raises:
        ValueError: an embedding is not finite, the lists differ in length, or a row does not exist.
    """
    check_metric(metric)
    x = as_embeddings(embeddings).detach()
    check_finite(x)
    a, b = (_rows(rows, len(x), name, x.device) for rows, name in ((first, "first"), (second, "second")))
    if len(a) != len(b):
        raise ValueError(f"first lists {len(a)} rows and second {len(b)}: one of each a pair")
    scores = torch.empty(len(a), dtype=torch.float32, device=x.device)
    step = max(1, CELLS // max(1, x.shape[1]))
    for start in range(0, len(a), step):
        part = slice(start, start + step)
        distance = paired_distance(x[a[part]], x[b[part]], metric)
        scores[part] = 1 - distance if metric == "cosine" else -distance
    return scores


def cross_validated_accuracy(
    scores: Tensor | Array | list[float],
    is_match: Tensor | Array | list[bool],
    folds: Labels,
    *,
    fprs: Sequence[float] = (0.05, 0.01, 0.001),
) -> FoldResult:
    """Thresholds chosen on all folds but one, applied to that one; mean and standard error over the folds.

    The protocol of Labeled Faces in the Wild, "View 2" (Huang, Ramesh, Berg and Learned-Miller 2007, section III.B),
    which has ten folds. A pair is accepted when its score ≥ threshold. Thresholds are observed scores of the other
    folds; of equally accurate ones the highest, which accepts the fewest pairs. Time: that of sorting the scores once
    a fold, too little to be divided over processes.

    Args:
        scores: ``(P,)``, higher means more alike; they are used as they are.
        is_match: ``(P,)`` booleans, or 0 and 1.
        folds: ``(P,)`` integers or strings.
        fprs: false-positive budgets whose thresholds are fitted and applied in the same way.

    Raises:
        ValueError: shapes differ, a score is NaN, there are fewer than two folds, or a fold lacks matching or
            non-matching pairs.
    """
    verify_scores(scores, is_match)  # raises what is wrong with the whole list
    values, flags = _plain(scores), _plain(is_match).astype(bool)
    codes = encode_labels(folds, count=len(values), name="folds", against="scores", device="cpu").numpy()
    _, starts = np.unique(codes, return_index=True)
    starts = np.sort(starts)
    names = tuple(_plain(folds)[starts].tolist())
    if len(names) < 2:
        raise ValueError(
            f"folds names {len(names)} fold: at least two are needed, to choose on one and judge on another"
        )
    for name, start in zip(names, starts):
        kinds = flags[codes == codes[start]]
        if kinds.all() or not kinds.any():
            missing = "non-matching" if kinds.all() else "matching"
            raise ValueError(f"fold {name!r} has no {missing} pair: spread both kinds over all folds")
    thresholds, accuracies = np.empty(len(names)), np.empty(len(names))
    at = {fpr: (np.empty(len(names)), np.empty(len(names)), np.empty(len(names))) for fpr in fprs}
    reliable = dict.fromkeys(fprs, True)
    for place, start in enumerate(starts):
        held = codes == codes[start]
        others, own = verify_scores(values[~held], flags[~held]), verify_scores(values[held], flags[held])
        thresholds[place] = _most_accurate(others)
        accuracies[place] = own.confusion_at(thresholds[place]).accuracy
        for fpr, (chosen, tpr, realised) in at.items():
            chosen[place] = others.threshold_at_fpr(fpr)
            confusion = own.confusion_at(chosen[place])
            tpr[place], realised[place] = confusion.tpr, confusion.fpr
            reliable[fpr] &= others.reliable_at(fpr)
    rates = {fpr: FoldRates(fpr, *arrays, reliable=reliable[fpr]) for fpr, arrays in at.items()}
    return FoldResult(names, thresholds, accuracies, rates)


def pool_templates(
    embeddings: Embeddings, template_ids: Labels, media_ids: Labels | None = None
) -> tuple[Tensor, Array]:
    """One unit-length embedding for each template, a set of images of one subject (IJB-A/B/C).

    The images of one medium (the frames of a video) are averaged first, then the media of a template, so that a long
    video counts no more than a photograph (Klare et al. 2015; Whitelam et al. 2017). Embeddings are averaged as they
    are: divide them by their length before, where a network's lengths should not weigh them. Sums are in float64.
    O(N·D), one reading of the embeddings: not divided over processes.

    Args:
        embeddings: ``(N, D)``.
        template_ids: ``(N,)`` integers or strings.
        media_ids: ``(N,)``; a medium is told by its id *within* its template. Where not given, every image is one.

    Returns:
        Templates ``(T, D)`` of unit length, and their ids ``(T,)``, ascending.

    Raises:
        ValueError: an embedding is not finite, counts differ, or a template's mean is zero, which has no direction.
    """
    x = as_embeddings(embeddings).detach()
    check_finite(x)
    codes = encode_labels(template_ids, count=len(x), name="template_ids", device="cpu").numpy()
    known, rows, template = np.unique(codes, return_index=True, return_inverse=True)
    wide = x.to(torch.float32 if x.device.type == "mps" else torch.float64)
    if media_ids is not None:
        media = encode_labels(media_ids, count=len(x), name="media_ids", device="cpu").numpy()
        pairs, medium = np.unique(np.stack([template, media], axis=1), axis=0, return_inverse=True)
        wide, template = _means(wide, medium.reshape(-1), len(pairs)), pairs[:, 0]
    means = _means(wide, template, len(known))
    ids = _plain(template_ids)[rows]
    empty = (means == 0).all(dim=1).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"the embeddings of template {ids[empty[0]].item()!r} cancel out or are zero: leave it out")
    return unit(means).to(x.dtype), ids


def verify_templates(
    embeddings: Embeddings,
    template_ids: Labels,
    first: Labels,
    second: Labels,
    is_match: Tensor | Array | list[bool],
    *,
    media_ids: Labels | None = None,
) -> Verification:
    """The exact ROC of listed pairs of templates, scored by the cosine of their pooled embeddings.

    Args:
        embeddings: ``(N, D)``.
        template_ids: ``(N,)``.
        first, second: ``(P,)`` ids of templates.
        is_match: ``(P,)`` booleans, or 0 and 1.
        media_ids: ``(N,)``, as in :func:`pool_templates`.

    Raises:
        ValueError: as :func:`pool_templates` and :func:`~triune.functional.roc.verify_scores`, or an id has no image.
    """
    templates, ids = pool_templates(embeddings, template_ids, media_ids)
    rows, columns = _places(ids, first, "first"), _places(ids, second, "second")
    return verify_scores(score_pairs(templates, rows, columns), is_match)


def open_set_identification(
    probes: Embeddings,
    probe_labels: Labels,
    gallery: Embeddings,
    gallery_labels: Labels,
    *,
    fars: Sequence[float] = (0.01, 0.1),
    rank: int = 1,
    metric: Metric = "cosine",
    divide_over: ProcessGroup | None = None,
) -> OpenSetIdentification:
    """DIR@FAR: who of the gallery is it, or is it nobody? (Phillips, Grother and Micheals 2011; NIST's FNIR at FPIR).

    An identity's score is that of its most alike gallery row. A probe is *mated* when its identity is in the gallery.
    A mated probe is detected and identified when its identity is among the ``rank`` best and scores ≥ threshold. A
    non-mated probe raises a false alarm when any identity scores ≥ threshold. Ties are never broken in our favour:
    identities of equal score go before the mate, and probes of equal score are accepted together.

    Args:
        probes: ``(N, D)``.
        probe_labels: ``(N,)``.
        gallery: ``(M, D)``, any number of rows an identity.
        gallery_labels: ``(M,)``.
        fars: false-alarm budgets; the realised rate never exceeds them. Others can be asked of the result.
        rank: from 1.
        metric: the distance.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Returns:
        The points, and the scores for others. Memory: blocks of probes × gallery, 16 MiB each, a few of them.

    Raises:
        ValueError: an embedding is not finite, counts differ, or there is no mated or no non-mated probe.
    """
    check_metric(metric)
    _check_rank(rank)
    q, g = as_embeddings(probes, "probes").detach(), as_embeddings(gallery, "gallery").detach()
    check_finite(q, "probes")
    check_finite(g, "gallery")
    codes, gallery_codes = encode_together(
        probe_labels, gallery_labels, (len(q), len(g)), ("probe_labels", "gallery_labels")
    )
    identities, column = np.unique(gallery_codes, return_inverse=True)
    mated = np.isin(codes, identities)
    if not mated.any():
        raise ValueError(
            "no probe's identity is in the gallery: DIR is not defined; enrol some of the probes' identities"
        )
    if mated.all():
        raise ValueError("every probe's identity is in the gallery: FAR is not defined; add probes of other identities")
    own = torch.as_tensor(np.searchsorted(identities, codes).clip(max=len(identities) - 1), device=q.device)
    columns = torch.as_tensor(column, device=q.device)
    best, mate = torch.zeros(2, len(q))
    ranks = torch.zeros(len(q), dtype=torch.int64)
    step = max(1, CELLS // len(g))
    for start in own_blocks(range(0, len(q), step), divide_over):
        part = slice(start, start + step)
        distance = pairwise_distance(q[part], g, metric)
        scores = (1 - distance if metric == "cosine" else -distance).float()
        if len(identities) < len(g):
            alike = scores.new_full((len(scores), len(identities)), -math.inf)
            scores = alike.scatter_reduce(1, columns.expand(len(scores), -1), scores, "amax")
        else:
            scores = scores[:, columns.argsort()]
        chosen = scores.gather(1, own[part, None])
        best[part], mate[part] = scores.amax(dim=1), chosen[:, 0]
        ranks[part] = (scores >= chosen).sum(dim=1)  # itself among them: ranks count from 1
    best, mate, ranks = (completed(each, divide_over) for each in (best, mate, ranks))
    result = OpenSetIdentification(
        points=(),
        rank=rank,
        mate_scores=mate.numpy()[mated],
        mate_ranks=ranks.numpy()[mated],
        alarm_scores=np.sort(best.numpy()[~mated]),
    )
    points = tuple(result.at(far) for far in fars)
    return OpenSetIdentification(points, rank, result.mate_scores, result.mate_ranks, result.alarm_scores)


def _most_accurate(pairs: Verification) -> float:
    """The observed score with the fewest wrong decisions; of several the highest."""
    scores = np.union1d(pairs.match_scores, pairs.impostor_scores)
    rejected = np.searchsorted(pairs.match_scores, scores, side="left")
    accepted = pairs.impostors - np.searchsorted(pairs.impostor_scores, scores, side="left")
    wrong = rejected + accepted
    return float(scores[len(scores) - 1 - int(np.argmin(wrong[::-1]))])


def _estimate(values: Array) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))))


def _means(x: Tensor, group: Array, count: int) -> Tensor:
    """Mean row of each group, ``(count, D)``."""
    place = torch.as_tensor(group, device=x.device)
    sizes = torch.bincount(place, minlength=count).to(x.dtype)
    return x.new_zeros(count, x.shape[1]).index_add_(0, place, x) / sizes[:, None]


def _places(ids: Array, asked: Labels, name: str) -> Array:
    """Where the asked ids stand among the known, distinct ones."""
    known, codes = encode_together(ids, asked, (len(ids), len(asked)), ("template_ids", name))
    order = np.argsort(known)
    places: Array = order[np.searchsorted(known, codes, sorter=order).clip(max=len(ids) - 1)]
    unknown = np.flatnonzero(known[places] != codes)
    if len(unknown):
        raise ValueError(
            f"{name}[{unknown[0]}] asks for template {_plain(asked)[unknown[0]].item()!r}, which no image belongs to: "
            f"leave the pair out, or give the template's images ({len(unknown)} such pairs)"
        )
    return places


def _rows(rows: Tensor | Array, count: int, name: str, device: torch.device) -> Tensor:
    codes = encode_labels(rows, name=name, device=device)
    outside = ((codes < 0) | (codes >= count)).nonzero().flatten()
    if len(outside):
        place = int(outside[0])
        raise ValueError(f"{name}[{place}] is row {int(codes[place])}, but embeddings has rows 0 to {count - 1}")
    return codes


def _check_rank(rank: int) -> int:
    if rank < 1:
        raise ValueError(f"rank is {rank}: ranks start at 1")
    return rank


def _plain(values: Any) -> Array:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        # NumPy has no bfloat16; float16 is widened alike, so that thresholds are float32 scores.
        values = values.float() if values.dtype.is_floating_point and values.dtype.itemsize < 4 else values
        return np.asarray(values.numpy())
    return np.asarray(values)
