"""Open-set identification: who is it, or unknown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.labels import Labels
from triune.pairs.prepared import PreparedEmbeddings, as_prepared, joint_codes
from triune.pairs.scores import scores_between
from triune.parallel.blocks import own_row_blocks
from triune.parallel.divide import gather_rows
from triune.retrieval.ranks import cumulative_match
from triune.verification.roc import LEAST_EXPECTED_FALSE_POSITIVES, from_scores

Array: TypeAlias = np.ndarray[Any, Any]


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
        return cumulative_match(self.mate_ranks, depth)


def open_set_identification(
    probes: Embeddings | PreparedEmbeddings,
    probe_labels: Labels | None,
    gallery: Embeddings | PreparedEmbeddings,
    gallery_labels: Labels | None = None,
    *,
    fars: Sequence[float] = (0.01, 0.1),
    rank: int = 1,
    metric: Metric | None = None,
    divide_over: ProcessGroup | None = None,
) -> OpenSetIdentification:
    """DIR@FAR: who of the gallery is it, or is it nobody? (Phillips, Grother and Micheals 2011; NIST's FNIR at FPIR).

    An identity's score is that of its most alike gallery row. A probe is *mated* when its identity is in the gallery.
    A mated probe is detected and identified when its identity is among the ``rank`` best and scores ≥ threshold. A
    non-mated probe raises a false alarm when any identity scores ≥ threshold. Ties are never broken in our favour:
    identities of equal score go before the mate, and probes of equal score are accepted together.

    Args:
        probes: ``(N, D)``, or what :func:`~triune.pairs.prepared.prepare` made of them, without labels and metric.
        probe_labels: ``(N,)`` identities; None for prepared probes.
        gallery: ``(M, D)``, any number of rows an identity; or prepared.
        gallery_labels: ``(M,)`` identities; None for a prepared gallery.
        fars: false-alarm budgets; the realised rate never exceeds them. Others can be asked of the result.
        rank: from 1.
        metric: the distance; the cosine, or that of the prepared probes, where not given.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Returns:
        The points, and the scores for others. Memory: blocks of probes × gallery, 16 MiB each, a few of them.

    Raises:
        ValueError: an embedding is not finite, counts differ, or there is no mated or no non-mated probe.
    """
    _check_rank(rank)
    q = as_prepared(probes, probe_labels, metric, prefix="probes")
    g = as_prepared(gallery, gallery_labels, q.metric, prefix="gallery")
    if q.x.shape[1] != g.x.shape[1]:
        raise ValueError(f"probes have {q.x.shape[1]} dimensions but the gallery {g.x.shape[1]}")
    codes, gallery_codes = joint_codes(q, g)
    identities, column = np.unique(gallery_codes, return_inverse=True)
    mated = np.isin(codes, identities)
    if not mated.any():
        raise ValueError(
            "no probe's identity is in the gallery: DIR is not defined; enrol some of the probes' identities"
        )
    if mated.all():
        raise ValueError("every probe's identity is in the gallery: FAR is not defined; add probes of other identities")
    own = torch.as_tensor(np.searchsorted(identities, codes).clip(max=len(identities) - 1), device=q.x.device)
    best, mate, ranks = _best_and_mates(q, g, own, torch.as_tensor(column, device=q.x.device), divide_over)
    # Probes are sorted by identity: back to the order in which they were given.
    best[q.order], mate[q.order], ranks[q.order], mated[q.order] = best.copy(), mate.copy(), ranks.copy(), mated.copy()
    result = OpenSetIdentification(
        points=(), rank=rank, mate_scores=mate[mated], mate_ranks=ranks[mated], alarm_scores=np.sort(best[~mated])
    )
    return replace(result, points=tuple(result.at(far) for far in fars))


def _best_and_mates(
    q: PreparedEmbeddings, g: PreparedEmbeddings, own: Tensor, columns: Tensor, divide_over: ProcessGroup | None
) -> tuple[Array, Array, Array]:
    """Each probe's highest score, that of its own identity, and the rank of that; where its identity is enrolled.

    Args:
        q: N probes.
        g: the gallery, M rows.
        own: ``(N,)`` the number of each probe's identity among the G of the gallery; any where it is not there.
        columns: ``(M,)`` the number of each gallery row's identity, ascending.
        divide_over: processes that share the work.

    Returns:
        Two times ``(N,)`` float32, and ``(N,)`` int64.
    """
    best, mate = torch.zeros(2, len(q))
    ranks = torch.zeros(len(q), dtype=torch.int64)
    identities = int(columns[-1]) + 1
    for part in own_row_blocks(len(q), 4 * len(g), divide_over):
        squares = (q.squares[part], g.squares) if q.metric != "cosine" else None
        scores = scores_between(q.x[part], g.x, q.metric, squares)
        if identities < len(g):
            highest = scores.new_full((len(scores), identities), -math.inf)
            scores = highest.scatter_reduce(1, columns.expand(len(scores), -1), scores, "amax")
        chosen = scores.gather(1, own[part, None])
        best[part], mate[part] = scores.amax(dim=1), chosen[:, 0]
        ranks[part] = (scores >= chosen).sum(dim=1)  # itself among them: ranks count from 1
    best, mate, ranks = (gather_rows(each, divide_over) for each in (best, mate, ranks))
    return best.numpy(), mate.numpy(), ranks.numpy()


def _check_rank(rank: int) -> int:
    if rank < 1:
        raise ValueError(f"rank is {rank}: ranks start at 1")
    return rank
