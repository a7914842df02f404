"""The plain-torch sums of a block of anchors, which every kernel must equal, against brute force."""

import numpy as np
import pytest
import torch

from oracles import brute_distance, brute_gradient, brute_loss, brute_triplets
from triune.losses.batch import labelled_batch
from triune.losses.triplet_blocks import block_sums
from triune.losses.triplet_settings import TripletSettings


@pytest.mark.parametrize("mining", ["all", "hard", "batch_hard", "semihard"])
@pytest.mark.parametrize("margin", [0.5, "soft"])
@pytest.mark.parametrize("gap", [None, (0.0, 0.4), (-np.inf, 0.2), (-0.1, np.inf)])
def test_a_block_of_anchors_costs_what_its_triplets_cost(mining, margin, gap):
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    labels = np.random.default_rng(1).integers(0, 4, 20)
    sums = block_sums(labelled_batch(x, labels), slice(4, 13), TripletSettings(margin, "euclidean", mining, gap))
    d = brute_distance(x.detach().numpy(), x.detach().numpy(), "euclidean")
    triplets = brute_triplets(d, labels, mining, margin, gap)
    triplets = triplets[(triplets[:, 0] >= 4) & (triplets[:, 0] < 13)]
    expected = brute_loss(d, triplets, margin, "sum")
    assert sums.loss.item() == pytest.approx(expected["loss"], rel=1e-10, abs=1e-12)
    assert (sums.triplets.item(), sums.active.item()) == (expected["triplets"], expected["active"])
    if len(triplets):
        assert sums.positive_distance.item() == pytest.approx(expected["positive_distance"] * len(triplets))
        assert sums.negative_distance.item() == pytest.approx(expected["negative_distance"] * len(triplets))
        gradient = torch.autograd.grad(sums.loss, x)[0]
        torch.testing.assert_close(gradient, brute_gradient(x, triplets, margin, "euclidean"))
