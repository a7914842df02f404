"""N-way K-shot episodes: which items stand for each class, and which are to be recognised."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from triune.plain_labels import Labels, label_codes

Array: TypeAlias = np.ndarray[Any, Any]


class Episodes(NamedTuple):
    """Rows of E episodes. Within an episode the classes stand in ascending order, and no row occurs twice.

    Args:
        support: ``(E, ways, shots)`` rows whose class is known.
        query: ``(E, ways, queries)`` rows to be recognised.
    """

    support: Array
    query: Array


def draw_episodes(
    labels: Labels, *, ways: int = 5, shots: int = 1, queries: int = 15, episodes: int = 600, seed: int = 0
) -> Episodes:
    """Draw episodes: classes uniformly without replacement, then of each class its items, without replacement.

    Args:
        labels: ``(N,)`` classes; those with fewer than ``shots + queries`` items are left out.
        ways: classes an episode, at least 2.
        shots: items of each class whose class is known, at least 1.
        queries: items of each class to be recognised, at least 1.
        episodes: how many, at least 1.
        seed: of a generator of its own.

    Returns:
        The rows, the same for the same labels, settings and seed.

    Raises:
        ValueError: a setting makes no sense, or fewer than ``ways`` classes are large enough.
    """
    for name, value, least in (("ways", ways, 2), ("shots", shots, 1), ("queries", queries, 1)):
        if value < least:
            raise ValueError(f"{name} is {value}: it must be at least {least}")
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}: it must be at least 1")
    codes = label_codes(labels)
    order = np.argsort(codes, kind="stable")
    _, starts, sizes = np.unique(codes[order], return_index=True, return_counts=True)
    need = shots + queries
    enough = np.flatnonzero(sizes >= need)
    if len(enough) < ways:
        raise ValueError(
            f"{len(enough)} of {len(sizes)} classes have the shots + queries = {shots} + {queries} = {need} items that "
            f"an episode takes of each, but ways is {ways} (the largest classes have "
            f"{', '.join(map(str, np.sort(sizes)[::-1][:5])) or 'no'} items): "
            f"lower ways, shots or queries, or add items"
        )
    rng = np.random.default_rng(seed)
    classes = enough[np.sort(_distinct(rng, np.full(episodes, len(enough)), ways), axis=1)]
    # Which of the chosen items are support and which are queries must be as random as the choice.
    places = rng.permuted(_distinct(rng, sizes[classes].reshape(-1), need), axis=1).reshape(episodes, ways, need)
    rows = order[starts[classes][:, :, None] + places]
    return Episodes(rows[:, :, :shots], rows[:, :, shots:])


def _distinct(rng: np.random.Generator, sizes: Array, k: int) -> Array:
    """For each size n, k distinct numbers below n, ``(len(sizes), k)``: every set equally likely, not every order.

    Floyd's algorithm (Bentley & Floyd 1987): for j = n−k … n−1 take a number up to j, or j itself if it was taken.
    """
    chosen = np.full((len(sizes), k), -1, dtype=np.int64)
    for i in range(k):
        last = sizes - k + i
        number = rng.integers(0, last, endpoint=True)
        taken = (chosen[:, :i] == number[:, None]).any(axis=1)
        chosen[:, i] = np.where(taken, last, number)
    return chosen
