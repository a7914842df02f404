"""Results that do not repeat each other: maximal marginal relevance."""

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from triune.arrays import as_real, as_tensor
from triune.distances.embeddings import Embeddings, as_embeddings, check_finite, unit
from triune.ranges import is_number, is_whole

Array: TypeAlias = np.ndarray[Any, Any]


def maximal_marginal_relevance(query_scores: Embeddings, embeddings: Embeddings, k: int, diversity: float) -> Array:
    """The k rows that are alike to the query but not to each other (Carbonell & Goldstein 1998).

    One row is chosen after the other: always the one with the largest

        (1 − diversity) · score − diversity · (its largest cosine similarity with a row that was chosen before).

    The first is the one of the highest score. Scores and similarities should be on one scale, as cosines are.

    >>> scores = torch.tensor([0.9, 0.89, 0.6])  # rows 0 and 1 show the same
    >>> maximal_marginal_relevance(scores, torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), k=2, diversity=0.5)
    array([0, 2])

    Args:
        query_scores: ``(N,)`` how alike each row is to the query.
        embeddings: ``(N, D)`` of the rows, of any length.
        k: how many; all N where there are fewer.
        diversity: from 0, which is the order of the scores, to 1, where only the first is chosen by its score.

    Returns:
        ``(min(k, N),)`` int64 rows, the first choice first; of equal ones, the lower row. Time: k·N·D.

    Raises:
        ValueError: the counts differ, a number is not finite, ``k`` is negative or ``diversity`` not from 0 to 1.
    """
    if not (is_number(diversity) and 0 <= diversity <= 1):
        raise ValueError(f"diversity is {diversity!r}: a number from 0 to 1 is needed")
    if not (is_whole(k) and k >= 0):
        raise ValueError(f"k is {k!r}: a whole number of at least 0 is needed")
    rows = as_embeddings(embeddings).detach()
    scores = as_real(as_tensor(query_scores, "query_scores"), "query_scores").detach().to(rows.device)
    if scores.shape != rows.shape[:1]:
        raise ValueError(
            f"query_scores has shape {tuple(scores.shape)} but embeddings has {len(rows)} rows: one score for each"
        )
    check_finite(rows)
    check_finite(scores[:, None], "query_scores")
    return _chosen(scores, unit(rows), min(k, len(rows)), float(diversity)).cpu().numpy()


def _chosen(scores: Tensor, rows: Tensor, k: int, diversity: float) -> Tensor:
    order = torch.empty(k, dtype=torch.int64, device=rows.device)
    gain, closest = scores.clone(), torch.full_like(scores, -1.0)
    for place in range(k):
        best = gain.argmax()  # of equal ones the first
        order[place] = best
        closest = torch.maximum(closest, (rows @ rows[best]).to(closest.dtype))
        scores = scores.index_fill(0, best, -torch.inf)  # it is not chosen again
        gain = (1 - diversity) * scores - diversity * closest
        gain = torch.where(scores == -torch.inf, -torch.inf, gain)
    return order
