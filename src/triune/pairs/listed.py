"""The scores of listed pairs."""

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from triune.distances.embeddings import Embeddings, as_embeddings, check_finite
from triune.distances.metric import Metric, check_metric
from triune.labels import encode_labels
from triune.pairs.scores import paired_scores
from triune.parallel.blocks import own_row_blocks

Array: TypeAlias = np.ndarray[Any, Any]


def score_pairs(
    embeddings: Embeddings, first: Tensor | Array, second: Tensor | Array, metric: Metric = "cosine"
) -> Tensor:
    """The score of each listed pair, by :func:`~triune.pairs.scores.paired_scores`, in blocks of pairs.

    O(P·D), little compared with making the list: not divided over processes.

    Args:
        embeddings: ``(N, D)``.
        first: ``(P,)`` integers: rows of ``embeddings``.
        second: ``(P,)`` integers: the other row of each pair.
        metric: the distance.

    Returns:
        Scores ``(P,)`` float32 on the device of the embeddings. Memory besides: a few blocks of 16 to 32 MiB.

    Raises:
        ValueError: an embedding is not finite, a distance is beyond float32, the lists differ in length, or a row does
            not exist.
    """
    check_metric(metric)
    x = as_embeddings(embeddings).detach()
    check_finite(x)
    a, b = (_rows(rows, len(x), name, x.device) for rows, name in ((first, "first"), (second, "second")))
    if len(a) != len(b):
        raise ValueError(f"first lists {len(a)} rows and second {len(b)}: one of each a pair")
    scores = torch.empty(len(a), dtype=torch.float32, device=x.device)
    for part in own_row_blocks(len(a), 4 * x.shape[1], None):
        scores[part] = paired_scores(x[a[part]], x[b[part]], metric)
    if metric != "cosine" and not bool(torch.isfinite(scores).all()):
        raise ValueError("a distance of two embeddings overflows float32: scale the embeddings down")
    return scores


def _rows(rows: Tensor | Array, count: int, name: str, device: torch.device) -> Tensor:
    codes = encode_labels(rows, name=name, device=device)
    outside = ((codes < 0) | (codes >= count)).nonzero().flatten()
    if len(outside):
        place = int(outside[0])
        raise ValueError(f"{name}[{place}] is row {int(codes[place])}, but embeddings has rows 0 to {count - 1}")
    return codes
