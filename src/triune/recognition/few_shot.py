"""Few-shot recognition: N-way K-shot episodes, decided by prototypes or by the nearest neighbour."""

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from scipy import special
from torch import Tensor
from torch.distributed import ProcessGroup

from triune.distances.embeddings import Embeddings, unit, widest
from triune.distances.metric import Metric
from triune.distances.pairwise import ROUNDING_UNITS
from triune.labels import Labels
from triune.pairs.prepared import PreparedEmbeddings, as_prepared
from triune.parallel.blocks import own_row_blocks
from triune.parallel.divide import gather_rows
from triune.ranges import is_number, is_whole
from triune.recognition.episodes import draw_episodes

Array: TypeAlias = np.ndarray[Any, Any]


Classifier: TypeAlias = Literal["prototype", "nearest"]


@dataclass(frozen=True)
class FewShotAccuracy:
    """The share of queries recognised, over episodes.

    Args:
        mean: over the episodes.
        low: mean − z·sd/√episodes; not cut at 0.
        high: mean + z·sd/√episodes; not cut at 1.
        accuracies: ``(episodes,)`` of each one.
        ways: classes an episode.
        shots: items of each class whose class is known.
        queries: items of each class to be recognised.
        episodes: how many.
    """

    mean: float
    low: float
    high: float
    accuracies: Array
    ways: int
    shots: int
    queries: int
    episodes: int


def few_shot(
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels | None = None,
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    episodes: int = 600,
    classifier: Classifier = "prototype",
    metric: Metric | None = None,
    level: float = 0.95,
    seed: int = 0,
    divide_over: ProcessGroup | None = None,
) -> FewShotAccuracy:
    """Accuracy of N-way K-shot recognition: which of ``ways`` classes, known from ``shots`` items each, is a query of?

    ``"prototype"`` takes the class whose mean support embedding is closest (Snell, Swersky & Zemel 2017); for cosine
    the embeddings are unit vectors and the direction of their mean counts. ``"nearest"`` takes the class of the single
    closest support item. Ties go to the lowest class of the episode. With one shot the two are the same.

    The interval is the one papers of this field report: normal, mean ± z·sd/√episodes, with episodes taken as
    independent. They share the items and classes of one data set, so it says how well the mean over all episodes *of
    these items* is known. It does not say how much accuracy would change on other classes, which is more.

    >>> x = torch.eye(3).repeat_interleave(4, dim=0)
    >>> few_shot(x, [0] * 4 + [1] * 4 + [2] * 4, ways=3, queries=3, episodes=10).mean
    1.0

    Memory: the rows drawn, 8 bytes × episodes × ways × (shots + queries), and batches of episodes whose embeddings
    and distances take a few times 16 MiB (more only where a single episode does).

    Args:
        embeddings: ``(N, D)``, or what :func:`~triune.pairs.prepared.prepare` made of them, without labels and metric.
        labels: ``(N,)`` classes; those with fewer than ``shots + queries`` items are left out of the drawing.
        ways: classes an episode, at least 2.
        shots: support items a class.
        queries: items to recognise a class.
        episodes: how many, at least 2.
        classifier: ``"prototype"`` or ``"nearest"``.
        metric: the distance; the cosine where not given. Euclidean and squared Euclidean decide alike.
        level: of the interval.
        seed: of the drawing, which depends on the labels and these settings only: models can be compared by episode.
        divide_over: processes that share the episodes (all draw all); each must call this with the same arguments, and
            all get the same.

    Raises:
        ValueError: an embedding is not finite, counts differ, a setting makes no sense, or too few classes are large
            enough.
    """
    if classifier not in get_args(Classifier):
        raise ValueError(f"classifier is {classifier!r}; known are {', '.join(map(repr, get_args(Classifier)))}")
    if not (is_number(level) and 0 < level < 1):
        raise ValueError(f"level is {level}: give a share between 0 and 1, such as 0.95")
    if not (is_whole(episodes) and episodes >= 2):
        raise ValueError(f"episodes is {episodes}: an interval needs at least 2; 600 or more are usual")
    prepared = as_prepared(embeddings, labels, metric)
    x = prepared.x
    # Rows are sorted by class, in the order in which the items of a class are drawn.
    drawn = draw_episodes(prepared.codes, ways=ways, shots=shots, queries=queries, episodes=episodes, seed=seed)
    # Of an episode, the larger of its gathered embeddings and its distances, both float64.
    numbers = max((shots + queries) * max(x.shape[1], 1), queries * ways * shots) * ways
    accuracies = np.zeros(episodes)
    for part in own_row_blocks(episodes, 8 * numbers, divide_over):
        accuracies[part] = _accuracies(x, drawn.support[part], drawn.query[part], classifier, prepared.metric)
    accuracies = gather_rows(torch.from_numpy(accuracies), divide_over).numpy()
    mean = float(accuracies.mean())
    half = float(special.ndtri(0.5 + level / 2)) * float(accuracies.std(ddof=1)) / math.sqrt(episodes)
    return FewShotAccuracy(mean, mean - half, mean + half, accuracies, ways, shots, queries, episodes)


def _accuracies(x: Tensor, support: Array, query: Array, classifier: Classifier, metric: Metric) -> Array:
    """The share of right answers in each of B episodes, ``(B,)``."""
    count, ways, _ = support.shape
    wide = widest(x)
    known = x[torch.as_tensor(support, device=x.device)].to(wide)
    asked = x[torch.as_tensor(query, device=x.device)].to(wide).flatten(1, 2)
    if metric == "cosine":
        known, asked = unit(known), unit(asked)
    if classifier == "prototype":
        known = known.mean(dim=2, keepdim=True)
        known = unit(known) if metric == "cosine" else known
    distance = _distances(asked, known.flatten(1, 2), metric)
    closest = distance.reshape(count, asked.shape[1], ways, -1).amin(dim=3).argmin(dim=2)
    truth = torch.arange(ways, device=x.device).repeat_interleave(query.shape[2])
    right: Array = (closest == truth).sum(dim=1).cpu().numpy()
    return right / asked.shape[1]


def _distances(asked: Tensor, known: Tensor, metric: Metric) -> Tensor:
    """Float32 distances ``(B, Q, S)``, squared for the Euclidean ones, so that equal ones tie despite rounding."""
    products = asked @ known.mT
    if metric == "cosine":
        distance, size = 1 - products, torch.ones_like(products)
    else:
        size = asked.square().sum(-1)[:, :, None] + known.square().sum(-1)[:, None, :]
        distance = size - 2 * products
    near = distance <= ROUNDING_UNITS * torch.finfo(distance.dtype).eps * size
    return torch.where(near, 0.0, distance).float()
