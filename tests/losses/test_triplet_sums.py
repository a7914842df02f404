"""Sums over triplets: those of parts add up, in blocks and over parts of the anchors; second derivatives."""

import numpy as np
import pytest
import torch

from triune.losses.batch import labelled_batch
from triune.losses.outcome import reduce
from triune.losses.triplet import triplet_loss
from triune.losses.triplet_settings import TripletSettings
from triune.losses.triplet_sums import triplet_sums

STRATEGIES = ("all", "hard", "batch_hard", "semihard")
strategies = pytest.mark.parametrize("strategy", STRATEGIES)
margins = pytest.mark.parametrize("margin", [0.2, "soft"])


def batch(count=30, width=5, classes=6, dtype=torch.float64, seed=3):
    x = torch.randn(count, width, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return x.requires_grad_(), np.random.default_rng(seed).integers(0, classes, count)


@strategies
@margins
def test_small_blocks_give_the_same_loss_and_gradient(strategy, margin, monkeypatch):
    x, labels = batch(count=50)
    whole = triplet_loss(x, labels, margin=margin, mining=strategy, gap=(-0.6, 0.6))
    expected = torch.autograd.grad(whole.loss, x)[0]
    monkeypatch.setattr("triune.losses.mining.BLOCK_CELLS", 120)
    blocked = triplet_loss(x, labels, margin=margin, mining=strategy, gap=(-0.6, 0.6))
    for ours, theirs in zip(blocked, whole):
        torch.testing.assert_close(ours, theirs, equal_nan=True)
    torch.testing.assert_close(torch.autograd.grad(blocked.loss, x)[0], expected)


def test_second_derivatives_are_right_or_refused(monkeypatch):
    x, labels = batch(count=6, width=2, classes=2)

    def loss(x):
        return triplet_loss(x, labels, margin=1.0, reduction="sum").loss

    assert torch.autograd.gradgradcheck(loss, (x,))
    monkeypatch.setattr("triune.losses.mining.BLOCK_CELLS", 4)
    grad = torch.autograd.grad(loss(x), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match=r"no second derivative"):
        torch.autograd.grad(grad.sum() + x.square().sum(), x)


@strategies
@margins
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_sums_of_parts_of_the_anchors_add_up_to_those_of_the_batch(strategy, margin, dtype):
    """Each part with the whole batch as reference, as each of several processes has it."""
    x, labels = batch(dtype=dtype)
    settings = TripletSettings(margin, "euclidean", strategy)
    whole = triplet_sums(labelled_batch(x, labels), settings)
    parts = []
    for rows in (slice(0, 11), slice(11, 12), slice(12, 30)):
        own_rows = torch.arange(30)[rows]
        parts.append(triplet_sums(labelled_batch(x[rows], labels[rows], x, labels, own_rows), settings))
    for field, total in whole._asdict().items():
        added = sum(getattr(part, field) for part in parts)
        torch.testing.assert_close(added, total, rtol=1e-6, atol=1e-9)
    wanted, found = (torch.autograd.grad(loss, x)[0] for loss in (whole.loss, sum(part.loss for part in parts)))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_sums_become_an_outcome_by_dividing():
    x, labels = batch()
    sums = triplet_sums(labelled_batch(x, labels), TripletSettings())
    outcome = reduce(sums, "mean")
    assert outcome.loss.item() == pytest.approx(sums.loss.item() / sums.triplets.item())
    assert outcome.loss.item() == pytest.approx(triplet_loss(x, labels, reduction="mean").loss.item())
