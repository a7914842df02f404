"""N-way K-shot accuracy of each head on frozen embeddings, of the one that is chosen, and of "unknown"."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy import special

from triune.distances.metric import Metric
from triune.distances.plain_embeddings import Embeddings, plain_embeddings
from triune.plain_labels import Labels, label_codes
from triune.ranges import is_number
from triune.recognition.episodes import draw_episodes
from triune.recognition.heads import Head
from triune.recognition.new_classes import CHOSEN_AMONG, learn_classes

Array: TypeAlias = np.ndarray[Any, Any]

CHOSEN = "chosen"


class Share(NamedTuple):
    """A share, as the mean over episodes with a normal interval.

    Args:
        mean: over the episodes.
        low: mean − z·sd/√episodes; not cut at 0.
        high: mean + z·sd/√episodes; not cut at 1.
    """

    mean: float
    low: float
    high: float


class HeadEpisodes(NamedTuple):
    """What heads did in episodes.

    Args:
        accuracy: by head, and of ``"chosen"``, the share of queries named rightly, "unknown" left aside.
        chosen: by head, how often it was chosen.
        named_strangers: the share of queries of other classes that were named; ``None`` where there are no other.
        refused: the share of queries of the episode's classes that were unknown.
        log_loss: of the chosen head's probabilities, in nats.
        expected: the mean probability of the class that was named, to be compared with the accuracy.
        ways: classes an episode.
        shots: examples of each class.
        queries: items of each class to be named.
        episodes: how many.
        fpir: the share of strangers that was to be named at most.
        level: of the intervals.
    """

    accuracy: dict[str, Share]
    chosen: dict[str, int]
    named_strangers: Share | None
    refused: Share
    log_loss: float
    expected: float
    ways: int
    shots: int
    queries: int
    episodes: int
    fpir: float | None
    level: float


def head_episodes(
    embeddings: Embeddings,
    labels: Labels,
    *,
    ways: int = 5,
    shots: int = 5,
    queries: int = 5,
    episodes: int = 200,
    heads: Sequence[Head] = CHOSEN_AMONG,
    fpir: float | None = 0.1,
    metric: Metric = "cosine",
    level: float = 0.95,
    seed: int = 0,
) -> HeadEpisodes:
    """Draw episodes from a labelled set, learn the classes of each from its examples, and name its queries.

    Where the set has more classes than ``ways``, as many others as there are, up to ``ways``, give queries that ought
    to be unknown. The intervals are those papers of this field report: they say how well the mean over all episodes of
    these items is known, not how much it would change on other classes.

    Args:
        embeddings: ``(N, D)``.
        labels: ``(N,)`` classes; those with fewer than ``shots + queries`` items are left out.
        ways: classes an episode, at least 2.
        shots: examples of each class.
        queries: items of each class to be named.
        episodes: how many, at least 2.
        heads: those that are compared; the chosen one is one of them.
        fpir: the share of strangers that may be named.
        metric: the distance.
        level: of the intervals.
        seed: of the drawing.

    Raises:
        ValueError: as :func:`~triune.recognition.few_shot.draw_episodes`, or an embedding is not finite.
    """
    if episodes < 2:
        raise ValueError(f"episodes is {episodes}: an interval needs at least 2; 200 or more are usual")
    if not (is_number(level) and 0 < level < 1):
        raise ValueError(f"level is {level}: give a share between 0 and 1, such as 0.95")
    x = plain_embeddings(embeddings).astype(np.float64)
    codes = label_codes(labels, count=len(x))
    sizes = np.unique(codes, return_counts=True)[1]
    strangers = max(0, min(ways, int((sizes >= shots + queries).sum()) - ways))
    drawn = draw_episodes(codes, ways=ways + strangers, shots=shots, queries=queries, episodes=episodes, seed=seed)
    generator = np.random.default_rng(seed)
    right: dict[str, list[float]] = {name: [] for name in (*heads, CHOSEN)}
    chosen: dict[str, int] = dict.fromkeys(heads, 0)
    named, refused, losses, expected = [], [], [], []
    for support, query in zip(drawn.support, drawn.query, strict=True):
        order = generator.permutation(ways + strangers)
        own, others = order[:ways], order[ways:]
        examples, truth = x[support[own].reshape(-1)], np.repeat(np.arange(ways), queries)
        asked = x[query[own].reshape(-1)]
        known = np.repeat(np.arange(ways), shots)
        best = None
        for head in heads:
            learned = learn_classes(examples, known, head=head, fpir=fpir, metric=metric)
            said = learned.name(asked)
            right[head].append(float((said.probabilities.argmax(axis=1) == truth).mean()))
            trial = learned.trial
            rank = (0, 0.0) if trial is None else (-trial.right, trial.log_loss)
            if best is None or rank < best[0]:
                best = (rank, head, learned, said)
        assert best is not None
        _, head, learned, said = best
        chosen[head] += 1
        right[CHOSEN].append(right[head][-1])
        refused.append(float((~said.known).mean()))
        losses.append(-np.log(np.maximum(said.probabilities[np.arange(len(truth)), truth], 1e-12)).mean())
        expected.append(float(said.probabilities.max(axis=1).mean()))
        if strangers:
            named.append(float(learned.name(x[query[others].reshape(-1)]).known.mean()))
    return HeadEpisodes(
        accuracy={name: _share(shares, level) for name, shares in right.items()},
        chosen=chosen,
        named_strangers=_share(named, level) if named else None,
        refused=_share(refused, level),
        log_loss=float(np.mean(losses)),
        expected=float(np.mean(expected)),
        ways=ways,
        shots=shots,
        queries=queries,
        episodes=episodes,
        fpir=fpir,
        level=level,
    )


def _share(values: Sequence[float], level: float) -> Share:
    mean = float(np.mean(values))
    half = float(special.ndtri(0.5 + level / 2)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Share(mean, mean - half, mean + half)
