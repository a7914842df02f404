"""Contrastive and N-pairs losses beside what test_pairs.py holds of every pair loss: worked numbers and refusals."""

import pytest
import torch

from losses.pair_cases import batch
from triune import losses as ours
from triune.losses.contrastive import ContrastiveLoss, NPairsLoss


def test_contrastive_by_hand():
    """Items at 0, 0.5 and 0.75 on a line: the one matching pair costs 0.5, one of two others max(0, 0.5 − 0.25)."""
    x = torch.tensor([[0.0], [0.5], [0.75]])
    assert ours.contrastive_loss(x, [0, 0, 1], negative_margin=0.5).item() == pytest.approx(0.5 + 0.25)
    squared = ours.contrastive_loss(x, [0, 0, 1], negative_margin=0.5, power=2)
    assert squared.item() == pytest.approx(0.25 + 0.0625)


def test_n_pairs_says_that_it_takes_no_reference():
    x, y = batch()
    with pytest.raises(ValueError, match="NPairsLoss compares the pairs of a batch: leave reference out"):
        NPairsLoss()(x, y, None, x, y)


def test_a_power_that_is_not_above_zero_is_refused():
    x, y = batch()
    with pytest.raises(ValueError, match="power is 0; give a number above 0"):
        ours.contrastive_loss(x, y, power=0)
    with pytest.raises(ValueError, match="power is -1"):
        ContrastiveLoss(power=-1)
