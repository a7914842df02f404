"""Scores are selected by the bits of the floats."""

import math

import numpy as np
import torch

from examples import tiles_of
from triune.verification.collecting import impostor_scores
from triune.verification.impostors import Listed
from triune.verification.selection import float_of_key, keys_of, select_impostor


def test_keys_are_in_the_order_of_the_floats():
    values = np.array([-np.inf, -3.5, -1e-45, 0.0, 1e-45, 0.25, np.inf], dtype=np.float32)
    keys = keys_of(torch.from_numpy(values)).tolist()
    assert keys == sorted(keys)
    assert [float_of_key(key) for key in keys] == values.tolist()
    assert keys_of(torch.tensor([-0.0])).tolist() == keys_of(torch.tensor([0.0])).tolist()


def test_every_place_of_the_order_is_found_ties_and_zeros_among_them():
    g = np.random.default_rng(0)
    pairs = tiles_of(g.integers(-1, 2, (12, 2)).astype(np.float32), np.arange(12) // 2, metric="squared_euclidean")
    listed = Listed(np.sort(impostor_scores(pairs)))
    for place in range(listed.count):
        assert select_impostor(pairs, place) == listed.around(place)


def test_the_next_higher_score_is_found_whatever_its_bits():
    x = np.array([[0.0], [1.0], [1.0 + 2**-22], [3.0], [900.0]], np.float32)
    pairs = tiles_of(x, np.arange(5), metric="euclidean")
    listed = Listed(np.sort(impostor_scores(pairs)))
    found = [select_impostor(pairs, place) for place in range(10)]
    assert found == [listed.around(place) for place in range(10)]
    assert found[-1].above == math.inf
