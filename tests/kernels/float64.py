"""Batches for the Numba kernels of triplets, and their comparison with the plain-torch path in float64."""

import numpy as np
import torch

from triune.kernels.paths import choose_path
from triune.losses.triplet import triplet_loss


def batch(count, classes, width=9, seed=0, scale=1.0, lattice=False):
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(size=(count, width)) * scale, dtype=torch.float32)
    if lattice:  # squared distances are exact in float32: nothing falls on the other side of a bound
        x = (8 * x).round() / 8
    return x.requires_grad_(), torch.tensor(rng.integers(0, classes, count))


def assert_equals_float64(x, labels, rtol=1e-5, **options):
    """Loss, counts, mean distances and gradient of the kernels and of the torch path in float64."""
    assert choose_path(x, x) == "numba"
    wide = x.detach().double().requires_grad_()
    ours, exact = (triplet_loss(each, labels, reduction="sum", **options) for each in (x, wide))
    # Among very many triplets a float32 distance may fall on the other side of a bound.
    flips = exact.triplets.item() // 100_000
    assert abs(ours.triplets.item() - exact.triplets.item()) <= flips
    assert abs(ours.active.item() - exact.active.item()) <= flips
    for a, b in zip((ours.loss, ours.positive_distance, ours.negative_distance), (exact.loss, *exact[3:])):
        torch.testing.assert_close(
            a.double(), b.double(), rtol=rtol * (1 + 10 * (flips > 0)), atol=1e-6, equal_nan=True
        )
    a, b = torch.autograd.grad(ours.loss, x)[0], torch.autograd.grad(exact.loss, wide)[0]
    assert (a.double() - b).norm() <= (2 * rtol + (5e-4 if flips else 0)) * b.norm() + 1e-6
