"""Aggregated gradients: torchjd on the Jacobian of a tiny network that is written out."""

import importlib.util

import pytest
import torch

from model.shared_net import TASKS, SharedNet
from triune.errors import InputError
from triune.model import aggregation
from triune.model.aggregation import NEEDS, RADIUS, Aggregation, check_installed
from triune.model.conflicts import SharedAndRest

torchjd = pytest.importorskip("torchjd.aggregation")

PEERS = {
    "upgrad": torchjd.UPGrad,
    "pcgrad": torchjd.PCGrad,
    "mgda": torchjd.MGDA,
    "cagrad": lambda: torchjd.CAGrad(c=RADIUS),
    "nash-mtl": lambda: torchjd.NashMTL(n_tasks=3),
}


def installed(method):
    return all(importlib.util.find_spec(name) for name in NEEDS[method][1])


METHODS = [
    pytest.param(method, marks=pytest.mark.skipif(not installed(method), reason="its solver is not installed"))
    for method in PEERS
]


def stepped(method, without=()):
    """The network after the backward pass of an aggregation, and what that made of the tasks."""
    net, balance = SharedNet(), Aggregation(method, TASKS)
    terms = net.terms(without)
    total = sum(terms.values())
    torch.manual_seed(5)  # PCGrad draws the order of tasks
    loss = balance.loss(total, terms, net.weights)
    assert float(loss.detach()) == float(total.detach())
    loss.backward()
    return net, balance


@pytest.mark.parametrize("method", METHODS)
def test_the_shared_weights_get_what_torchjd_makes_of_the_jacobian(method):
    net, balance = stepped(method)
    found = net.gradient(net.shared)
    heads = net.gradient(net.heads)
    jacobian = SharedNet().jacobian()
    torch.manual_seed(5)
    torch.testing.assert_close(found, PEERS[method]()(jacobian), rtol=1e-6, atol=1e-9)
    plain = SharedNet()
    sum(plain.terms().values()).backward()
    torch.testing.assert_close(heads, plain.gradient(plain.heads))
    assert float((found - plain.gradient(plain.shared)).norm()) > 0.01
    torch.testing.assert_close(torch.tensor(list(balance.shown.values())).double() @ jacobian, found)


@pytest.mark.parametrize("method", [m for m in METHODS if m.values[0] != "nash-mtl"])
def test_a_task_with_nothing_to_learn_is_left_out(method):
    net, balance = stepped(method, without=["triplet"])
    torch.manual_seed(5)
    expected = PEERS[method]()(SharedNet().jacobian()[:2])
    torch.testing.assert_close(net.gradient(net.shared), expected, rtol=1e-6, atol=1e-9)
    assert balance.shown["triplet"] == 0
    net, _ = stepped(method, without=["triplet", "segmentation"])
    torch.testing.assert_close(net.gradient(net.shared), SharedNet().jacobian()[0])
    net, _ = stepped(method, without=TASKS)
    assert float(net.gradient(net.shared).norm()) == 0


@pytest.mark.parametrize("method", [m for m in METHODS if m.values[0] != "nash-mtl"])
def test_small_gradients_are_weighed_as_large_ones(method):
    jacobian = SharedNet().jacobian()
    found = []
    for scale in (1.0, 1e-6):
        torch.manual_seed(5)
        found.append(Aggregation(method, TASKS).combined((scale * jacobian) @ (scale * jacobian).T))
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-6)
    assert float(found[1].sum()) > 0.1


def test_upgrad_harms_no_task_where_the_sum_does():
    jacobian = torch.tensor([[1.0, 0.2], [-3.0, 1.0]], dtype=torch.float64)
    weights = Aggregation("upgrad", ["a", "b"]).combined(jacobian @ jacobian.T)
    assert float((jacobian @ jacobian.sum(0)).min()) < 0
    assert float((jacobian @ (weights @ jacobian)).min()) > -1e-3


def test_what_is_not_finite_or_not_solved_is_summed_as_it_is(monkeypatch):
    balance = Aggregation("upgrad", TASKS)
    assert balance.combined(torch.full((3, 3), torch.nan, dtype=torch.float64)).tolist() == [1, 1, 1]

    def failing(*_):
        raise ValueError("no solution")

    monkeypatch.setattr(torchjd.UPGradWeighting, "forward", failing)
    assert balance.combined(torch.eye(3, dtype=torch.float64)).tolist() == [1, 1, 1]


def test_frozen_shared_weights_leave_the_total_as_it_is():
    net = SharedNet()
    total = torch.tensor(1.0, requires_grad=True)
    assert Aggregation("upgrad", TASKS).loss(total, net.terms(), SharedAndRest([], [])) is total


def test_losses_that_do_not_reach_the_shared_weights_are_refused():
    net = SharedNet()
    terms = {task: head.weight.sum() for task, head in zip(TASKS, net.heads, strict=True)}
    with pytest.raises(InputError, match=r"--loss\.weighting mgda needs losses that reach the backbone"):
        Aggregation("mgda", TASKS).loss(sum(terms.values()), terms, net.weights)


def test_a_loss_that_is_divided_or_scaled_scales_the_gradients():
    whole, part = SharedNet(), SharedNet()
    for net, scale in ((whole, 1.0), (part, 0.25)):
        terms = net.terms()
        (scale * Aggregation("upgrad", TASKS).loss(sum(terms.values()), terms, net.weights)).backward()
    torch.testing.assert_close(0.25 * whole.gradient(whole), part.gradient(part))


@pytest.mark.parametrize("method", PEERS)
def test_what_is_not_installed_is_named_with_its_extra(method, monkeypatch):
    missing = NEEDS[method][1][-1]
    find = importlib.util.find_spec
    monkeypatch.setattr(aggregation.importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    with pytest.raises(
        InputError, match=rf"--loss.weighting {method} needs .*{missing}.* 'triune\[{NEEDS[method][0]}\]'"
    ):
        check_installed(method)


@pytest.mark.skipif(not installed("nash-mtl"), reason="its solver is not installed")
def test_a_bargain_goes_on_from_what_it_stored():
    jacobians = [SharedNet().jacobian() + 0.1 * k for k in range(4)]
    whole, part = Aggregation("nash-mtl", TASKS), Aggregation("nash-mtl", TASKS)
    for jacobian in jacobians[:2]:
        whole.combined(jacobian @ jacobian.T)
    part.load_state_dict(whole.state_dict())
    for jacobian in jacobians[2:]:
        products = jacobian @ jacobian.T
        torch.testing.assert_close(whole.combined(products), part.combined(products), rtol=0, atol=0)
