"""NT-Xent and SupCon beside what test_pairs.py holds of every pair loss: worked numbers and refusals."""

import math

import pytest
import torch

from losses.pair_cases import batch
from triune import losses as ours
from triune.losses.softmax import NTXentLoss, SupConLoss

X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])


def test_nt_xent_by_hand():
    """Anchor 0: its positive at similarity 0, one negative at −1; anchor 1: its positive at 0, one negative at 0."""
    expected = (math.log(1 + math.exp(-1 / 0.5)) + math.log(2)) / 2
    assert ours.nt_xent_loss(X, [0, 0, 1], temperature=0.5).item() == pytest.approx(expected, rel=1e-6)


def test_sup_con_with_one_positive_an_anchor_is_nt_xent():
    x, y = batch()
    y = torch.arange(14) // 2
    assert ours.sup_con_loss(x, y, temperature=0.3).item() == pytest.approx(
        ours.nt_xent_loss(x, y, temperature=0.3).item(), rel=1e-12
    )


def test_other_positives_stand_in_the_denominator_of_sup_con_and_not_in_that_of_nt_xent():
    """One class only: NT-Xent has no negative and costs 0; SupCon still tells its positives apart."""
    x = X.double()
    assert ours.nt_xent_loss(x, [0, 0, 0]).item() == 0
    assert ours.sup_con_loss(x, [0, 0, 0]).item() > 0


@pytest.mark.parametrize("kind", [NTXentLoss, SupConLoss])
def test_a_temperature_that_is_not_above_zero_is_refused(kind):
    with pytest.raises(ValueError, match="temperature is 0; give a number above 0"):
        kind(temperature=0)
    loss = {NTXentLoss: ours.nt_xent_loss, SupConLoss: ours.sup_con_loss}[kind]
    with pytest.raises(ValueError, match="temperature is -1"):
        loss(X, [0, 0, 1], temperature=-1)
