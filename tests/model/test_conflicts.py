"""Norms and cosines of tasks' gradients: against those of a backward pass each."""

import math

import pytest
import torch

from model.shared_net import TASKS, SharedNet
from triune.model.conflicts import conflicts_of, gramian, measure_conflicts, task_gradient


def test_norms_and_cosines_are_those_of_a_backward_pass_a_task():
    net = SharedNet()
    rows = net.jacobian()
    found = measure_conflicts(net.terms(), list(net.shared.parameters()))
    for task, row in zip(TASKS, rows, strict=True):
        assert found.norms[task] == pytest.approx(float(row.norm()), rel=1e-12)
    assert list(found.cosines) == [(TASKS[0], TASKS[1]), (TASKS[0], TASKS[2]), (TASKS[1], TASKS[2])]
    for (a, b), cosine in found.cosines.items():
        expected = torch.nn.functional.cosine_similarity(rows[TASKS.index(a)], rows[TASKS.index(b)], dim=0)
        assert cosine == pytest.approx(float(expected), rel=1e-9)
    assert min(found.cosines.values()) < 0 < max(found.cosines.values())


def test_they_have_names_of_their_own():
    found = conflicts_of(["a", "b"], torch.tensor([[4.0, -3.0], [-3.0, 9.0]], dtype=torch.float64))
    assert found.figures() == {"grad_norm_a": 2.0, "grad_norm_b": 3.0, "grad_cosine_a_b": -0.5}


def test_a_task_with_nothing_to_learn_has_norm_0_and_no_angle():
    net = SharedNet()
    found = measure_conflicts(net.terms(without=["segmentation"]), list(net.shared.parameters()))
    assert found.norms["segmentation"] == 0
    assert math.isnan(found.cosines["classification", "segmentation"])
    assert math.isnan(found.cosines["segmentation", "triplet"])
    assert -1 <= found.cosines["classification", "triplet"] <= 1


def test_a_term_without_a_graph_and_one_that_does_not_reach_the_weights_have_norm_0():
    net = SharedNet()
    terms = net.terms() | {"segmentation": torch.tensor(3.0), "triplet": net.heads[0].weight.sum()}
    found = measure_conflicts(terms, list(net.shared.parameters()))
    assert (found.norms["segmentation"], found.norms["triplet"]) == (0, 0)
    assert found.norms["classification"] > 0


def test_where_no_term_reaches_the_weights_nothing_is_measured():
    net = SharedNet()
    assert measure_conflicts({"triplet": net.heads[0].weight.sum()}, list(net.shared.parameters())) is None
    assert measure_conflicts(net.terms(), []) is None


def test_measuring_changes_no_gradient_and_keeps_the_graph():
    net, other = SharedNet(), SharedNet()
    terms = net.terms()
    measure_conflicts(terms, list(net.shared.parameters()))
    assert all(p.grad is None for p in net.parameters())
    sum(terms.values()).backward()
    sum(other.terms().values()).backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_the_gradients_are_averaged_over_processes_before_they_are_multiplied():
    net = SharedNet()
    rows = net.jacobian()
    gradients = [task_gradient(term, list(net.shared.parameters())) for term in net.terms().values()]
    parts = iter(torch.split(torch.randn_like(rows), [p.numel() for p in net.shared.parameters()], dim=1))
    others = list(parts)
    given = iter(others)
    found = gramian(gradients, lambda values: (values + next(given)) / 2)
    joined = (rows + torch.cat(others, dim=1)) / 2
    torch.testing.assert_close(found, joined @ joined.T)


def test_a_scale_saves_gradients_that_half_precision_would_lose():
    w = torch.nn.Parameter(torch.ones(3))

    def term():
        small = torch.tensor(1e-4).half()
        return ((w * 1e-6).half().sum() * small * small).float()

    (lost,), (kept,) = task_gradient(term(), [w]), task_gradient(term(), [w], scale=2.0**12)
    torch.testing.assert_close(kept, torch.full((3,), 1e-14), rtol=0.01, atol=0)
    assert lost.tolist() == [0, 0, 0]
