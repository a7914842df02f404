"""The enrolled identities that an image is most alike to: an identity scores as its most alike image does."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.labels import Labels, encode_labels_together
from triune.pairs.scores import scores_between
from triune.parallel.divide import own_row_blocks
from triune.retrieval.neighbours import as_rows_of_two

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
    q, g = as_rows_of_two(probes, gallery, metric)
    if k < 1:
        raise ValueError(f"k is {k}: at least 1 is needed")
    if not len(g.x):
        raise ValueError("nobody is enrolled: the gallery has no rows")
    count = (len(g.x), None if leave_out is None else len(q.x))
    names, against = ("identities", "leave_out"), ("gallery", "probes")
    codes, own = encode_labels_together(
        identities, identities if leave_out is None else leave_out, counts=count, device="cpu", names=names,
        against=against,
    )  # fmt: skip
    _, column = np.unique(codes.numpy(), return_inverse=True)
    columns = torch.from_numpy(column).to(q.x.device)
    enrolled = int(column.max()) + 1
    scores = torch.full((len(q.x), k), -torch.inf, device=q.x.device)
    rows = torch.full((len(q.x), k), -1, dtype=torch.int64, device=q.x.device)
    for part in own_row_blocks(len(q.x), 4 * len(g.x), None):
        squares = (q.squares[part], g.squares) if metric != "cosine" else None
        block = scores_between(q.x[part], g.x, metric, squares)
        if leave_out is not None:
            block[own[part, None].to(block.device) == codes[None].to(block.device)] = -torch.inf
        scores[part], rows[part] = _best(block, columns, enrolled, k)
    return Candidates(scores.cpu().numpy(), rows.cpu().numpy())


def _best(block: Tensor, columns: Tensor, enrolled: int, k: int) -> tuple[Tensor, Tensor]:
    """The k best identities of each row of a block of scores."""
    scores = block.new_full((len(block), k), -torch.inf)
    rows = torch.full((len(block), k), -1, dtype=torch.int64, device=block.device)
    for place in range(min(k, enrolled)):
        found = block.argmax(dim=1)  # of equal ones the first
        value = block.gather(1, found[:, None])[:, 0]
        there = value > -torch.inf
        scores[:, place] = value
        rows[:, place] = torch.where(there, found, -1)
        if place + 1 < min(k, enrolled):
            block[columns[None] == columns[found][:, None]] = -torch.inf
    return scores, rows
