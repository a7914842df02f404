"""Dynamic weight average: the paper's formula by hand."""

import math

import pytest
import torch

from model.shared_net import SharedNet
from triune.model.dwa import DynamicWeightAverage, dwa_weights


def by_hand(last, before, temperature=2.0):
    powers = [math.exp(a / b / temperature) for a, b in zip(last, before, strict=True)]
    return [len(powers) * power / sum(powers) for power in powers]


def epoch(balance, net, *losses):
    """Steps of an epoch whose terms are these; what :meth:`loss` gives is the total."""
    for values in losses:
        terms = dict(zip(balance.factors, map(torch.tensor, values), strict=True))
        total = torch.tensor(float(sum(values)))
        assert balance.loss(total, terms, net.weights) is total
    balance.end_epoch()


def test_weights_are_those_of_equation_7():
    last, before = [0.5, 2.0, 0.9], [1.0, 1.5, 1.0]
    for temperature in (0.5, 2.0, 10.0):
        found = dwa_weights(torch.tensor(last), torch.tensor(before), temperature)
        assert found.tolist() == pytest.approx(by_hand(last, before, temperature), rel=1e-6)
        assert float(found.sum()) == pytest.approx(3)


def test_a_loss_of_0_or_that_is_not_finite_tells_nothing_of_how_it_falls():
    found = dwa_weights(torch.tensor([0.1, math.nan, 2.0]), torch.tensor([0.0, 1.0, 2.0]))
    assert found.tolist() == [1, 1, 1]


def test_the_first_two_epochs_weigh_alike_and_each_later_one_by_the_two_before():
    net, balance = SharedNet(), DynamicWeightAverage(["classification", "triplet"])
    epoch(balance, net, (2.0, 0.4), (4.0, 0.2))
    assert balance.factors == {"classification": 1, "triplet": 1}
    epoch(balance, net, (1.0, 0.3))
    assert list(balance.factors.values()) == pytest.approx(by_hand([1.0, 0.3], [3.0, 0.3]), rel=1e-6)
    epoch(balance, net, (0.8, 0.1), (0.8, 0.2))
    assert list(balance.factors.values()) == pytest.approx(by_hand([0.8, 0.15], [1.0, 0.3]), rel=1e-6)
    assert balance.shown == balance.factors


def test_an_epoch_without_a_step_changes_nothing():
    net, balance = SharedNet(), DynamicWeightAverage(["classification", "triplet"])
    epoch(balance, net, (2.0, 0.4))
    epoch(balance, net, (1.0, 0.4))
    before = balance.shown
    epoch(balance, net)
    assert balance.shown == before


def test_losses_are_averaged_over_processes():
    net, balance = SharedNet(), DynamicWeightAverage(["classification", "triplet"])
    terms = {"classification": torch.tensor(1.0), "triplet": torch.tensor(2.0)}
    for other in ((3.0, 2.0), (1.0, 4.0)):
        balance.loss(torch.tensor(3.0), terms, net.weights, lambda own, other=other: (own + torch.tensor(other)) / 2)
        balance.end_epoch()
    assert list(balance.factors.values()) == pytest.approx(by_hand([1.0, 3.0], [2.0, 2.0]), rel=1e-6)


def test_it_goes_on_from_what_it_stored():
    net, whole = SharedNet(), DynamicWeightAverage(["classification", "triplet"])
    epoch(whole, net, (2.0, 0.4))
    whole.loss(torch.tensor(0.0), {"classification": torch.tensor(1.0), "triplet": torch.tensor(0.1)}, net.weights)
    part = DynamicWeightAverage(["classification", "triplet"])
    part.load_state_dict(whole.state_dict())
    for balance in (whole, part):
        epoch(balance, net, (0.5, 0.3))
    assert part.factors == whole.factors != {"classification": 1, "triplet": 1}
