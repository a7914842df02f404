"""What tests of several rooms look at pairs with: tiles of arrays, and the score of one pair by its definition."""

import itertools
import sys

import numpy as np

from triune.pairs import prepared as preparing
from triune.pairs.prepared import as_prepared_pair
from triune.pairs.tiles import pair_tiles


def tiles_of(x, y, *, exclude="pairs", divide_over=None, **options):
    return pair_tiles(*as_prepared_pair(x, y, **options), exclude=exclude, divide_over=divide_over)


def score(a, b, metric):
    """The score of a pair as it is defined, in float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if metric == "cosine":
        return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    distance = np.linalg.norm(a - b)
    return -distance if metric == "euclidean" else -(distance**2)


def every_pair(x, y, metric):
    """Scores in float64 and matches of every pair, one by one."""
    pairs = list(itertools.combinations(range(len(x)), 2))
    return np.array([score(x[i], x[j], metric) for i, j in pairs]), np.array([y[i] == y[j] for i, j in pairs])


def sample(identities, items, *, dims=8, noise=1.0, spread=0.0, seed=0):
    """Identity means and items around them; with ``spread`` some identities are harder than others."""
    g = np.random.default_rng(seed)
    scale = noise * np.exp(spread * g.normal(size=(identities, 1, 1)))
    x = g.normal(size=(identities, 1, dims)) + scale * g.normal(size=(identities, items, dims))
    return x.reshape(-1, dims).astype(np.float32), np.repeat(np.arange(identities), items)


def count_preparations(monkeypatch):
    """The names of the steps of preparing that are taken from now on, wherever in the package: a list that grows."""
    steps = []

    def counted(name, function):
        def call(*given, **named):
            steps.append(name)
            return function(*given, **named)

        return call

    for name in ("_prepare", "check_finite", "sorted_rows"):
        function = getattr(preparing, name)
        for module in [each for title, each in sys.modules.items() if title.startswith("triune.")]:
            if vars(module).get(name) is function:
                monkeypatch.setattr(module, name, counted(name, function))
    return steps
