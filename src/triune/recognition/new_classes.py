"""New classes from a few examples each: a small head on frozen embeddings, its probabilities, and "unknown"."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, get_args

import numpy as np
from scipy import optimize, special

from triune.distances.metric import Metric
from triune.distances.plain_embeddings import Embeddings, plain_embeddings
from triune.plain_labels import Labels, plain_labels
from triune.recognition.heads import PENALTIES, Head, HeadScores, fit_head, left_out_scores, similarities

Array: TypeAlias = np.ndarray[Any, Any]

CHOSEN_AMONG: tuple[Head, ...] = ("prototype", "nearest", "ridge")
"""Logistic regression is fitted where it is asked for: it was nowhere better than the best of these, and leaving one
example out takes a fit of its own for each."""


class HeadTrial(NamedTuple):
    """How a head names the examples when each is left out in turn.

    Args:
        head: which.
        penalty: of a fitted head; ``None`` of the others.
        right: so many were named rightly.
        of: of so many. An example that is the only one of its class cannot be left out.
        log_loss: of the calibrated probabilities, in nats; lower is better.
        temperature: that calibrates them.
    """

    head: Head
    penalty: float | None
    right: int
    of: int
    log_loss: float
    temperature: float


class Named(NamedTuple):
    """What is said of N items.

    Args:
        probabilities: ``(N, C)`` float64 of the classes, given that it is one of them; rows add up to 1.
        closeness: ``(N,)`` float64 score with the most alike example.
        example: ``(N,)`` int64, the row of that example.
        known: ``(N,)`` bool, whether the closeness reaches the threshold.
    """

    probabilities: Array
    closeness: Array
    example: Array
    known: Array


@dataclass(frozen=True, eq=False)
class NewClasses:
    """C classes, known from a few examples. Made by :func:`learn_classes`.

    Args:
        classes: their names, in order.
        head: which one names.
        trials: how each head did when the examples were left out in turn; empty where no class has two examples.
        calibrated: whether the temperature of the probabilities was fitted; where no class has two examples it is a
            guess.
        threshold: items less close than this to every example are unknown; −∞ where none is.
        fpir: the share of items of other classes that may be named all the same, as it was asked for.
        least_fpir: the least share that so few classes, or strangers, can tell.
        refused: the share of the examples themselves that were unknown when left out; ``None`` where none could be.
        metric: the distance.
        scores: scores of any embeddings by the head.
        temperature: what the scores are divided by.
        examples: ``(n, D)`` float64, ready to be compared.
    """

    classes: tuple[str, ...]
    head: Head
    trials: tuple[HeadTrial, ...]
    calibrated: bool
    threshold: float
    fpir: float | None
    least_fpir: float
    refused: float | None
    metric: Metric
    scores: HeadScores
    temperature: float
    examples: Array

    @property
    def trial(self) -> HeadTrial | None:
        """That of the head that names."""
        return next((each for each in self.trials if each.head == self.head), None)

    def name(self, embeddings: Embeddings) -> Named:
        """Say which class items are of.

        Args:
            embeddings: ``(N, D)``.

        Raises:
            ValueError: an embedding is not finite, or D is another than that of the examples.
        """
        x = _rows(embeddings, self.metric, "embeddings")
        if x.shape[1] != self.examples.shape[1]:
            raise ValueError(f"embeddings have {x.shape[1]} dimensions but the examples {self.examples.shape[1]}")
        probabilities = special.softmax(self.scores(x) / self.temperature, axis=1)
        closeness = similarities(x, self.examples, self.metric)
        best = closeness.argmax(axis=1)
        close = closeness[np.arange(len(x)), best]
        return Named(probabilities, close, best, close >= self.threshold)


def learn_classes(
    embeddings: Embeddings,
    labels: Labels,
    *,
    head: Head | None = None,
    fpir: float | None = 0.1,
    strangers: Embeddings | None = None,
    metric: Metric = "cosine",
) -> NewClasses:
    """Learn to name classes from a few examples of each, without training the network.

    Four heads: ``"prototype"`` takes the class whose mean embedding is closest (Snell, Swersky & Zemel 2017);
    ``"nearest"`` the class of the closest example; ``"ridge"`` fits a least-squares classifier, and ``"logistic"``
    logistic regression, both penalised and linear in the embedding. Where none is given, each example is left out in
    turn and named by the others, and of the first three that one is taken that names most rightly (ties: that with the
    lower log loss, then the earlier one); the penalty of the fitted heads is chosen likewise.

    *Probabilities* are the softmax of the scores divided by a temperature (Guo et al. 2017), which is fitted on the
    same left-out scores. So few examples, all named rightly, would say that the head is never wrong: the target of each
    is therefore not 1 but (n + 1) / (n + 2) for n examples, as Laplace's rule of succession has it. A probability is
    given that the item is of one of these classes.

    *Unknown* is an item whose closest example is less close than a threshold: the lowest that at most a share ``fpir``
    of ``strangers`` reach, counting one more than was seen. Where none are given, the examples of each class stand for
    them, compared with the other C − 1 classes alone; that C classes are harder to stay away from is allowed for, as if
    they were independent: the share is kept at 1 − (1 − fpir)^((C − 1) / C). A new class has a chance of 1 in C + 1 to
    come closer to another one than any of C did. No share below that can be told, and then the threshold lies above all
    that was seen. It is so for classes like these, on the average over choices of them.

    >>> x = np.repeat(np.eye(3), 4, axis=0) + np.random.default_rng(0).normal(0, 0.1, (12, 3))
    >>> learned = learn_classes(x, ["cup"] * 4 + ["dog"] * 4 + ["car"] * 4)
    >>> said = learned.name(np.eye(3))
    >>> [learned.classes[k] for k in said.probabilities.argmax(1)], said.known.all()
    (['cup', 'dog', 'car'], np.True_)

    Args:
        embeddings: ``(N, D)`` of the examples.
        labels: ``(N,)`` their classes, at least two.
        head: one of the four; chosen where not given.
        fpir: the share of items of other classes that may be named; where it is None, nothing is unknown.
        strangers: ``(M, D)`` items of none of the classes.
        metric: the distance.

    Raises:
        ValueError: an embedding is not finite, counts differ, there are fewer than two classes, or a setting makes no
            sense.
    """
    if head is not None and head not in get_args(Head):
        raise ValueError(f"head is {head!r}; known are {', '.join(map(repr, get_args(Head)))}")
    if fpir is not None and not 0 < fpir < 1:
        raise ValueError(f"fpir is {fpir}: give a share between 0 and 1, such as 0.1, or None")
    x = _rows(embeddings, metric, "embeddings")
    names = plain_labels(labels, "labels")
    if len(names) != len(x):
        raise ValueError(f"labels has {len(names)} entries but embeddings has {len(x)} rows")
    classes, codes, sizes = np.unique(names, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise ValueError(
            f"the examples are of {len(classes)} class{'' if len(classes) == 1 else 'es'}: at least two are told apart"
        )
    counted = sizes[codes] > 1
    trials = _trials(x, codes, counted, CHOSEN_AMONG if head is None else (head,), metric)
    best = min(trials, key=lambda each: (-each.right, each.log_loss), default=None)
    chosen: Head = best.head if best is not None else head or "prototype"
    scores = fit_head(chosen, x, codes, metric, penalty=PENALTIES[1] if best is None else best.penalty)
    other = None if strangers is None else _rows(strangers, metric, "strangers")
    threshold = -np.inf if fpir is None else _threshold(x, codes, other, fpir, metric)
    return NewClasses(
        classes=tuple(map(str, classes.tolist())),
        head=chosen,
        trials=trials,
        calibrated=best is not None,
        threshold=threshold,
        fpir=fpir,
        least_fpir=1 / (1 + (len(classes) if other is None else len(other))),
        refused=_refused(x, codes, counted, threshold, metric),
        metric=metric,
        scores=scores,
        temperature=float(scores(x).std()) / 4 or 1.0 if best is None else best.temperature,
        examples=x,
    )


def _rows(embeddings: Embeddings, metric: Metric, name: str) -> Array:
    """Embeddings as float64, of unit length for the cosine."""
    x = plain_embeddings(embeddings, name).astype(np.float64)
    if metric == "cosine":
        size = np.linalg.norm(x, axis=1, keepdims=True)
        x = x / np.where(size > 0, size, 1)
    return x


def _trials(x: Array, codes: Array, counted: Array, heads: Sequence[Head], metric: Metric) -> tuple[HeadTrial, ...]:
    """Each head with the penalty that names most of the examples rightly when they are left out."""
    if not counted.any():
        return ()
    found = []
    for head in heads:
        tried = []
        for penalty in PENALTIES if head in ("ridge", "logistic") else (None,):
            scores = left_out_scores(head, x, codes, metric, penalty)[counted]
            truth = codes[counted]
            temperature, loss = fit_temperature(scores, truth)
            right = int((scores.argmax(axis=1) == truth).sum())
            tried.append(HeadTrial(head, penalty, right, len(truth), loss, temperature))
        found.append(min(tried, key=lambda each: (-each.right, each.log_loss)))
    return tuple(found)


def fit_temperature(scores: Array, truth: Array) -> tuple[float, float]:
    """The temperature under which the softmax of scores ``(n, C)`` fits the classes best, and its log loss in nats.

    The target of the right class is (n + 1) / (n + 2), and the others share the rest. Scores of −∞ have no part.

    Args:
        scores: ``(n, C)``.
        truth: ``(n,)`` int, the right class of each.
    """
    count = len(scores)
    possible = np.isfinite(scores)
    others = np.maximum(possible.sum(axis=1) - 1, 1)
    target = np.where(possible, (1 / (count + 2) / others)[:, None], 0.0)
    target[np.arange(count), truth] = (count + 1) / (count + 2)
    spread = float(scores[possible].std()) or 1.0

    def loss(log_temperature: float) -> float:
        logs = special.log_softmax(scores / (spread * np.exp(log_temperature)), axis=1)
        return -float(np.where(possible, target * np.where(possible, logs, 0.0), 0.0).sum() / count)

    found = optimize.minimize_scalar(loss, bounds=(-7, 7), method="bounded")
    return spread * float(np.exp(found.x)), float(found.fun)


def _threshold(x: Array, codes: Array, strangers: Array | None, fpir: float, metric: Metric) -> float:
    """The closeness to the closest example from which on an item is no stranger."""
    if strangers is not None:
        closeness = similarities(strangers, x, metric).max(axis=1)
        share, told = fpir, True
    else:
        classes = int(codes.max()) + 1
        same = codes[:, None] == codes
        closeness = np.where(same, -np.inf, similarities(x, x, metric)).max(axis=1)
        share, told = 1 - (1 - fpir) ** ((classes - 1) / classes), fpir * (classes + 1) >= 1
    allowed = max(0, int(np.floor(share * (len(closeness) + 1) + 1e-9)) - 1) if told else 0
    return float(np.nextafter(np.sort(closeness)[::-1][allowed], np.inf))


def _refused(x: Array, codes: Array, counted: Array, threshold: float, metric: Metric) -> float | None:
    """The share of the examples that are unknown when they are left out."""
    if not counted.any():
        return None
    closeness = similarities(x, x, metric)
    np.fill_diagonal(closeness, -np.inf)
    return float((closeness.max(axis=1)[counted] < threshold).mean())
