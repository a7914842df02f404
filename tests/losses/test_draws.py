"""Random draws are those of SplitMix64, and the same on every device."""

import torch

from triune.losses.draws import draw_by_key


def test_draws_by_key_are_those_of_splitmix64():
    """In Python's whole numbers. The first two outputs for the seed 1234567 are the published ones."""

    def exact(seed, key):
        z = (seed + key * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    assert [exact(1234567, 1), exact(1234567, 2)] == [6457827717110365317, 3203168211198807973]
    keys = [*range(100), 2**31, 2**40 + 7, 2**62 + 1]
    for seed in (0, 1234567, 2**63 - 2):
        drawn = draw_by_key(torch.tensor(seed), torch.tensor(keys))
        assert drawn.tolist() == [(exact(seed, key) >> 11) / 2**53 for key in keys]
        assert (drawn < 1).all()
