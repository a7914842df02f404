"""GradNorm: the paper's loss by autograd in float64, and its steps by hand."""

import pytest
import torch

from model.shared_net import TASKS, SharedNet
from triune.errors import InputError
from triune.model.conflicts import SharedAndRest
from triune.model.gradnorm import LEAST, RATE, GradNorm, gradnorm_gradient, last_shared


def paper_loss(weights, norms, rates, asymmetry):
    """Equation 2 of Chen et al.: Σ |G_i - Ḡ r_i^α|₁, the target held constant."""
    moved = weights * norms
    target = (moved.mean() * (rates / rates.mean()) ** asymmetry).detach()
    return (moved - target).abs().sum()


def test_the_gradient_is_that_of_the_papers_loss():
    g = torch.Generator().manual_seed(0)
    for asymmetry in (0.0, 0.5, 1.5):
        weights, norms, rates = torch.rand(3, 3, generator=g, dtype=torch.float64) + 0.1
        weights.requires_grad_()
        (expected,) = torch.autograd.grad(paper_loss(weights, norms, rates, asymmetry), weights)
        torch.testing.assert_close(gradnorm_gradient(weights.detach(), norms, rates, asymmetry), expected)


def test_its_steps_are_those_of_the_algorithm_by_hand():
    net = SharedNet()
    balance = GradNorm(TASKS)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    w = torch.ones(3, dtype=torch.float64)
    first, m, v = None, torch.zeros_like(w), torch.zeros_like(w)
    layer = net.shared[2]
    for step in range(1, 6):
        losses = torch.stack([each.detach() for each in net.terms().values()])
        first = losses if first is None else first
        rows = net.jacobian(of=layer)[:, : layer.weight.numel()]
        torch.testing.assert_close(torch.tensor(list(balance.factors.values()), dtype=torch.float64), w)
        terms = net.terms()
        total = sum(weight * term for weight, term in zip(w, terms.values(), strict=True))
        assert balance.loss(total, terms, net.weights) is total
        weights = w.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(paper_loss(weights, rows.norm(dim=1), losses / first, 1.5), weights)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2  # Adam, Kingma and Ba 2015
        w = w - RATE * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        w = w.clamp(min=LEAST) * 3 / w.clamp(min=LEAST).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    # The losses reach the weights in single precision.
    torch.testing.assert_close(torch.tensor(list(balance.factors.values()), dtype=torch.float64), w, rtol=1e-5, atol=0)
    assert float(w.max() - w.min()) > 0.05
    assert balance.shown == balance.factors


def test_the_task_that_moves_the_layer_most_loses_weight_until_they_are_even():
    balance = GradNorm(["a", "b"], asymmetry=0.0)
    norms = torch.tensor([9.0, 1.0], dtype=torch.float64)
    for _ in range(600):
        balance.learn(norms, torch.ones(2, dtype=torch.float64))
    assert balance.factors["a"] * 9 == pytest.approx(balance.factors["b"], rel=0.3)
    assert sum(balance.factors.values()) == pytest.approx(2)


@pytest.mark.parametrize("norms", [[0.0, 2.0, 1.0], [0.0, 2.0, 0.0], [torch.nan, 2.0, 1.0]])
def test_a_task_with_nothing_to_learn_neither_counts_nor_is_weighed(norms):
    balance = GradNorm(TASKS)
    balance.learn(torch.tensor(norms, dtype=torch.float64), torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64))
    found = balance.factors
    if norms[2]:
        alone = GradNorm(TASKS[1:])
        alone.learn(torch.tensor(norms[1:], dtype=torch.float64), torch.ones(2, dtype=torch.float64))
        assert found["segmentation"] / found["triplet"] == pytest.approx(
            alone.factors["segmentation"] / alone.factors["triplet"]
        )
        assert found["segmentation"] < found["classification"] < found["triplet"]
    else:
        assert found == dict.fromkeys(TASKS, 1.0)


def test_no_weight_becomes_negative():
    balance = GradNorm(["a", "b"], rate=0.9)
    for _ in range(5):
        balance.learn(torch.tensor([1e6, 1e-6], dtype=torch.float64), torch.ones(2, dtype=torch.float64))
        assert min(balance.factors.values()) > 0
        assert sum(balance.factors.values()) == pytest.approx(2)


def test_the_last_shared_weight_is_reached_by_every_term_and_is_no_bias():
    net = SharedNet()
    terms, shared = list(net.terms().values()), list(net.shared.parameters())
    assert last_shared(terms, shared) is net.shared[2].weight
    early = net.shared[0](net.x).sum()
    assert last_shared([*terms, early], shared) is net.shared[0].weight
    assert last_shared([*terms, torch.tensor(1.0)], shared) is net.shared[2].weight
    with pytest.raises(InputError, match="layer of the backbone that all losses reach"):
        last_shared([*terms, net.heads[0].weight.sum()], shared)


def test_a_frozen_backbone_leaves_the_weights_alone():
    net, balance = SharedNet(), GradNorm(TASKS)
    total = torch.tensor(1.0)
    assert balance.loss(total, net.terms(), SharedAndRest([], list(net.parameters()))) is total
    assert balance.factors == dict.fromkeys(TASKS, 1.0)


def test_it_goes_on_from_what_it_stored():
    g = torch.Generator().manual_seed(1)
    steps = [(torch.rand(3, generator=g).double() + 0.1, torch.rand(3, generator=g).double()) for _ in range(6)]
    whole, part = GradNorm(TASKS), GradNorm(TASKS)
    for step in steps[:3]:
        whole.learn(*step)
    part.load_state_dict(whole.state_dict())
    for step in steps[3:]:
        whole.learn(*step)
        part.learn(*step)
    assert part.factors == whole.factors
