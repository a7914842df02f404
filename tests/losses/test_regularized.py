"""A regulariser of the embeddings beside any loss, against the peer's."""

import pytest
import torch
from pytorch_metric_learning import losses as peer, regularizers

from losses.pair_cases import CLOSE, assert_same, batch
from triune import losses as ours
from triune.losses.regularized import RegularizedLoss, mean_length


def raw(loss, x):
    x = x.clone().requires_grad_()
    value = loss(x)
    return value.item(), [torch.autograd.grad(value, x)[0]]


@pytest.mark.parametrize("power", [1, 2, 3])
def test_the_mean_length_is_that_of_the_peer(power):
    x, _ = batch(0)
    assert_same(raw(lambda x: mean_length(x, power=power), x), raw(regularizers.LpRegularizer(power=power), x), **CLOSE)


@pytest.mark.parametrize("power", [1, 2])
def test_a_regularised_loss_is_that_of_the_peer(power):
    for seed in range(3):
        x, y = batch(seed)
        theirs = peer.ContrastiveLoss(
            0.1, 0.9, embedding_regularizer=regularizers.LpRegularizer(power=power), embedding_reg_weight=0.3
        )
        criterion = RegularizedLoss(ours.ContrastiveLoss(0.1, 0.9), 0.3, lambda x: mean_length(x, power=power))
        assert_same(raw(lambda x: criterion(x, y), x), raw(lambda x: theirs(x, y), x), **CLOSE)


def test_a_regulariser_of_the_peer_plugs_in():
    x, y = batch(1)
    criterion = RegularizedLoss(ours.TripletLoss(), 0.5, regularizers.ZeroMeanRegularizer())
    expected = ours.TripletLoss()(x, y) + 0.5 * x.sum(1).abs().mean()
    assert criterion(x, y).item() == pytest.approx(expected.item(), rel=1e-12)


def test_all_arguments_reach_the_loss():
    x, y = batch(1)
    indices = ours.TripletMiner("hard")(x, y)
    criterion = RegularizedLoss(ours.TripletLoss(), 0.0)
    assert (
        criterion(x, y, indices) == criterion(x, labels=y, indices_tuple=indices) == ours.TripletLoss()(x, y, indices)
    )


def test_no_rows_rows_of_zeros_and_half_precision():
    none = torch.zeros(0, 3, requires_grad=True)
    mean_length(none).backward()
    assert mean_length(none) == 0
    zeros = torch.zeros(2, 3, requires_grad=True)
    mean_length(zeros).backward()
    assert not zeros.grad.any()
    half = torch.full((2, 3), 200.0, dtype=torch.float16)  # its squares are beyond float16
    assert mean_length(half).item() == pytest.approx(200 * 3**0.5)


def test_settings_out_of_range_are_named_and_others_shown():
    with pytest.raises(ValueError, match="weight is -1"):
        RegularizedLoss(ours.TripletLoss(), -1)
    with pytest.raises(ValueError, match="power is 0"):
        mean_length(torch.ones(2, 2), power=0)
    assert "weight=0.1, regularizer=mean_length" in repr(RegularizedLoss(ours.TripletLoss(), 0.1))
