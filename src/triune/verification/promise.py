"""A threshold that keeps a false-positive budget on new identities with a stated confidence.

The only assumption: the identities at hand and the new ones are independent draws from one population. How alike they
are, how many images they have and how the scores are spread does not matter.

Let a be the budget, 1 − δ the confidence, and p(t) the rate at which two new identities, by an image of each, reach the
score t. Let h_ij(t) in [0, 1] be that rate between the images of two identities i and j at hand. Pair the G identities
off, none twice: m = ⌊G/2⌋ values h_ij that are independent, with mean p(t). If p(t) ≥ a, then for any λ in [0, 1/(1−a)]

    E = Π (1 + λ·(a − h_ij(t)))

has a mean of at most 1, since its factors are independent, not negative, and of mean 1 + λ·(a − p(t)) ≤ 1. The mean of
E over several ways of pairing off has that property too, though these are not independent. By Markov's inequality it
reaches 1/δ with probability δ at most. So where it does reach 1/δ, p(t) < a with confidence 1 − δ (bets against a mean:
Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by betting").

p(t) falls and E grows with t. The chosen threshold is the lowest t with E ≥ 1/δ. It is wrong only if E reaches 1/δ at a
score where p(t) exceeds a, so choosing among all scores costs nothing: it is a risk-controlling threshold (Bates et al.
2021, "Distribution-free, risk-controlling prediction sets"; Angelopoulos et al. 2021, "Learn then test").

λ is fixed before any score is seen: the one that wins fastest where each h_ij is 0 or 1. With u the rate at which
m·kl(u, a) = ln(1/δ), λ = (a − u) / (a·(1 − a)). With every way of pairing off in turn (a round robin, in which each two
identities meet once), Jensen's inequality shows that E reaches 1/δ wherever Hoeffding's bound for averages over pairs
(1963, section 5) does, m·kl(mean of h, a) ≥ ln(1/δ); as a rule it does so earlier, since the h_ij are seldom 0 or 1.

With no false positive at all, E = (1 − a)^−m. Below ln δ / ln(1 − a) disjoint pairs no threshold can be promised: 118
identities for 5% at 95%. Without a further assumption no method can do with fewer than 117: let a share 1 − √(1 − a) of
a population match everyone. Then a pair is accepted wrongly with probability a, and with probability (1 − a)^(G/2),
still over 5% at G = 116, none of that share is among the G at hand, to whom any threshold looks faultless.
"""

import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import scipy  # which loads its parts where they are first used: reading a threshold needs none

from triune.distances.embeddings import Embeddings
from triune.distances.metric import Metric
from triune.labels import Labels
from triune.pairs.prepared import PreparedEmbeddings, as_prepared
from triune.pairs.scores import rounding_of, scores_between
from triune.ranges import is_number, is_whole

Array: TypeAlias = np.ndarray[Any, Any]

IMAGES: Final = 64
"""Images of an identity that are looked at, drawn at random where it has more. Fewer images keep the promise, too."""

MEETINGS: Final = 1 << 16
"""About how many pairs of identities are looked at. Fewer ways of pairing off keep the promise, too."""

MOST: Final = 1e15
"""Pairs of identities beyond which nobody has as many."""

SLACK: Final = 1e-9
"""For rounding, where the evidence is exactly enough."""


def identities_needed(fpr: float, confidence: float) -> int:
    """The fewest identities with which a threshold can be promised to keep a budget.

    >>> identities_needed(0.05, 0.95), identities_needed(0.01, 0.95)
    (118, 598)

    Raises:
        ValueError: the budget or the confidence does not lie between 0 and 1.
    """
    _check(fpr, confidence)
    pairs = math.log1p(-confidence) / math.log1p(-fpr)
    if not pairs < MOST:
        raise ValueError(f"no number of identities can promise a rate of {fpr:g} with confidence {confidence:g}")
    return 2 * max(1, math.ceil(pairs - SLACK))


def least_promisable_fpr(identities: int, confidence: float) -> float:
    """The smallest budget for which so many identities can promise a threshold; 1 where there are fewer than two.

    >>> round(least_promisable_fpr(40, 0.95), 3)
    0.139

    Raises:
        ValueError: the confidence does not lie between 0 and 1.
    """
    _check(0.5, confidence)
    return 1 - (1 - confidence) ** (1 / (identities // 2)) if identities > 1 else 1.0


def promised_score(
    embeddings: Embeddings | PreparedEmbeddings,
    labels: Labels | None = None,
    *,
    fpr: float,
    confidence: float,
    metric: Metric | None = None,
    groups: Labels | None = None,
    at_least: float = -math.inf,
    seed: int = 0,
) -> float:
    """The lowest score of which it can be promised that two new identities reach it at a rate of at most ``fpr``.

    With probability ``confidence`` over the identities at hand, that rate is at most ``fpr`` in the population that
    they were drawn from: two new identities are drawn, then an image of each. The file's first lines say why.

    Args:
        embeddings: ``(N, D)`` of identities that nothing was chosen by: neither trained on nor used to choose a
            checkpoint or a setting. Or what :func:`~triune.pairs.prepared.prepare` made of them.
        labels: ``(N,)`` identities; left away with prepared embeddings.
        fpr: the budget.
        confidence: how likely the promise holds.
        metric: the distance; the cosine where not given.
        groups: ``(N,)`` where each item comes from: pairs within a group are left out.
        at_least: no lower score is looked for.
        seed: of the order in which identities are paired off, and of the images looked at.

    Returns:
        A little more than an observed score of two different identities, than all of them where only that can be
        promised, or than ``at_least`` where they all lie below it: by twice as much as a score may differ where it is
        computed in another way (:func:`~triune.pairs.scores.rounding_of`), so that pairs of equal scores are on one
        side of it however they are computed.

    Raises:
        ValueError: there are fewer identities than :func:`identities_needed`, and the message says what they can
            promise; or too few of their pairs are left by the groups.
    """
    if math.isnan(at_least):
        raise ValueError("at_least is NaN: a score is needed")
    if not (is_whole(seed) and seed >= 0):
        raise ValueError(f"seed is {seed!r}: a whole number of at least 0 is needed")
    prepared = as_prepared(embeddings, labels, metric, groups).cpu()
    prepared = prepared.among(np.unique(prepared.codes))  # those with an item
    if prepared.identities < identities_needed(fpr, confidence):
        raise ValueError(too_few(prepared.identities, fpr, confidence))
    met = _meet(prepared, at_least, np.random.default_rng(seed))
    bet = best_bet(prepared.identities // 2, fpr, confidence)
    if _evidence(met, 0, bet, fpr) * (1 - confidence) < 1 - SLACK:
        raise ValueError(f"too few pairs of identities lie in different groups to promise a rate of {fpr:g}")
    margin = 2 * rounding_of(prepared)
    if not len(met.scores):
        return at_least + margin
    values = np.unique(met.scores)
    low, high = 0, len(values)  # values[high] keeps the promise, or no value does
    while low < high:
        middle = (low + high) // 2
        counted = len(met.scores) - int(np.searchsorted(met.scores, values[middle], side="left"))
        if _evidence(met, counted, bet, fpr) * (1 - confidence) >= 1 - SLACK:
            high = middle
        else:
            low = middle + 1
    score = values[high] if high < len(values) else np.nextafter(values[-1], np.float32(np.inf))
    return float(score) + margin


def too_few(identities: int, fpr: float, confidence: float) -> str:
    """Why so few identities promise nothing, and what would.

    Args:
        identities: how many there are.
        fpr: the budget.
        confidence: of the promise.
    """
    return (
        f"{identities} identities cannot promise a false-positive rate of {fpr:g} with confidence {confidence:g}: "
        f"{identities_needed(fpr, confidence)} are needed; {identities} can promise "
        f"{_rounded_up(least_promisable_fpr(identities, confidence)):g} at the least"
    )


def best_bet(pairs: int, fpr: float, confidence: float) -> float:
    """λ, fixed by the count of disjoint pairs of identities, the budget and the confidence alone.

    Args:
        pairs: m, how many pairs of identities have none in common.
        fpr: a.
        confidence: 1 − δ.
    """
    each = -math.log1p(-confidence) / pairs
    if -math.log1p(-fpr) <= each:
        return 1 / (1 - fpr)
    rate = float(scipy.optimize.brentq(lambda u: _divergence(u, fpr) - each, 0.0, fpr))
    return (fpr - rate) / (fpr * (1 - fpr))


def round_robin(identities: int) -> Iterator[Array]:
    """Every way of pairing off in turn, ``(⌊G/2⌋, 2)`` each: any two meet exactly once (the circle method).

    Args:
        identities: G. Where it is odd, each of the G rounds leaves another one out; where it is even there are G − 1.
    """
    seats = identities - 1 + identities % 2
    steps = np.arange(1, (seats + 1) // 2)
    for turn in range(seats):
        around = np.stack([(turn + steps) % seats, (turn - steps) % seats], axis=1)
        yield around if identities % 2 else np.concatenate([[[identities - 1, turn]], around])


class _Met(NamedTuple):
    """Scores of pairs of identities that met.

    Args:
        scores: ``(S,)`` ascending, those that can matter.
        meeting: ``(S,)`` which meeting each belongs to.
        sizes: ``(P,)`` how many scores each meeting has in all; 0 where the groups leave none.
        rounds: ``(R,)`` where the meetings of each round begin.
    """

    scores: Array
    meeting: Array
    sizes: Array
    rounds: Array


def _meet(prepared: PreparedEmbeddings, at_least: float, generator: np.random.Generator) -> _Met:
    """The scores between identities that are paired off, round after round."""
    places = [_some(part, generator) for part in np.split(np.arange(len(prepared)), _starts(prepared)[1:])]
    drawn = generator.permutation(len(places))
    scores: list[Array] = []
    meeting: list[Array] = []
    sizes: list[int] = []
    rounds: list[int] = []
    for pairs in round_robin(len(places)):
        rounds.append(len(sizes))
        for first, second in drawn[pairs]:
            found = _between(prepared, places[first], places[second])
            kept = found[found >= at_least]
            scores.append(kept)
            meeting.append(np.full(len(kept), len(sizes), dtype=np.int32))
            sizes.append(len(found))
        if len(sizes) >= MEETINGS:
            break
    flat, of = np.concatenate(scores), np.concatenate(meeting)
    order = np.argsort(flat, kind="stable")
    return _Met(flat[order], of[order], np.array(sizes), np.array(rounds))


def _evidence(met: _Met, counted: int, bet: float, fpr: float) -> float:
    """The mean of E over the rounds, with the ``counted`` highest scores accepted."""
    accepted = np.bincount(met.meeting[len(met.meeting) - counted :], minlength=len(met.sizes))
    # Where nothing was seen nothing is won or lost.
    rates = np.divide(accepted, met.sizes, out=np.full(len(met.sizes), fpr), where=met.sizes > 0)
    # A bet that loses everything: a logarithm of 0, and E = 0. One that wins beyond measure: E = ∞.
    with np.errstate(divide="ignore", over="ignore"):
        logs = np.log1p(np.maximum(bet * (fpr - rates), -1.0))
        return float(np.exp(np.add.reduceat(logs, met.rounds)).mean())


def _between(prepared: PreparedEmbeddings, first: Array, second: Array) -> Array:
    """Scores of the items of one identity with those of another, without pairs of one group."""
    scores = scores_between(prepared.x[first], prepared.x[second], prepared.metric).numpy()
    known = np.ones(scores.shape, dtype=bool)
    if len(prepared.groups):
        known = prepared.groups[first][:, None] != prepared.groups[second][None, :]
    found: Array = scores[known]
    return found


def _some(places: Array, generator: np.random.Generator) -> Array:
    return places if len(places) <= IMAGES else np.sort(generator.choice(places, IMAGES, replace=False))


def _starts(prepared: PreparedEmbeddings) -> Array:
    """Where the rows of each identity begin."""
    return np.searchsorted(prepared.codes, np.arange(prepared.identities))


def _divergence(rate: float, budget: float) -> float:
    """kl(u, a) of two coins, in nats."""
    hits = rate * math.log(rate / budget) if rate > 0 else 0.0
    return hits + (1 - rate) * math.log((1 - rate) / (1 - budget))


def _rounded_up(rate: float) -> float:
    """A rate to three decimals, not below it."""
    return math.ceil(rate * 1000) / 1000


def _check(fpr: float, confidence: float) -> None:
    for name, value in (("fpr", fpr), ("confidence", confidence)):
        if not (is_number(value) and 0 < value < 1):
            raise ValueError(f"{name} is {value!r}: a number between 0 and 1, such as 0.05 or 0.95, is needed")
