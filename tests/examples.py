"""Tiles of embeddings that are given as arrays, for tests that look at tiles."""

from triune.pairs.prepared import as_prepared_pair
from triune.pairs.tiles import pair_tiles


def tiles_of(x, y, *, exclude="pairs", divide_over=None, **options):
    return pair_tiles(*as_prepared_pair(x, y, **options), exclude=exclude, divide_over=divide_over)
