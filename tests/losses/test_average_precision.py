"""Smooth-AP: its blocks, its slope and the peer; the formulas are held in test_pairs.py."""

import pytest
import torch
from pytorch_metric_learning import losses as peer

from losses.pair_cases import CLOSE, assert_same, batch, value_and_gradients
from triune import losses as ours
from triune.distances.embeddings import unit
from triune.losses import average_precision
from triune.losses.average_precision import smooth_precision


def test_blocks_of_smooth_ap_are_one_loss(monkeypatch):
    x, y = batch(7, n=20)
    results = []
    for cells in (1, 500, 1 << 22):
        monkeypatch.setattr(average_precision, "CPU_BLOCK_CELLS", cells)
        results.append(value_and_gradients(lambda x: ours.smooth_ap_loss(x, y), x))
    for result in results[1:]:
        assert_same(result, results[0])


def test_smooth_ap_equals_the_peer_that_counts_a_query_as_its_own_positive():
    # The peer, like the authors' code, has each query among its own positives: for ours that is a reference which
    # does not know its own rows. And it takes the number of classes for the number of items a class: 3 and 3 here.
    y = torch.arange(9) // 3
    own = torch.full((9,), -1)
    for seed in range(4):
        x, _ = batch(seed, n=9)
        expected = value_and_gradients(lambda x: peer.SmoothAPLoss(0.1)(x, y), x)
        result = value_and_gradients(
            lambda x: ours.smooth_ap_loss(x, y, temperature=0.1, reference=x, reference_labels=y, own_rows=own), x
        )
        assert_same(result, expected, **CLOSE)


@pytest.mark.parametrize("cells", [1, 300, 1 << 22])
def test_the_slope_is_the_derivative_of_the_precision(cells, monkeypatch):
    """By autograd through the formula, a query at a time, in float64; one query has no positive."""
    monkeypatch.setattr(average_precision, "CPU_BLOCK_CELLS", cells)
    y = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 0])
    s = torch.randn(11, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    positive, negative = (y[:, None] == y) & ~torch.eye(11, dtype=bool), y[:, None] != y
    expected = []
    for query in range(11):
        ratios = []
        for p in positive[query].nonzero().flatten().tolist():
            others = [j for j in range(11) if j not in (query, p)]
            above = {j: (s[query, j] - s[query, p]).sigmoid() for j in others}
            hits = 1 + sum(above[j] for j in others if positive[query, j])
            ratios.append(hits / (1 + sum(above.values())))
        expected.append(sum(ratios) / len(ratios) if ratios else s[query, 0] * 0)
    expected = torch.stack(expected)
    precision, slope = smooth_precision(s.detach(), positive, negative)
    torch.testing.assert_close(precision, expected.detach())
    torch.testing.assert_close(slope, torch.autograd.grad(expected.sum(), s)[0])


def test_a_second_derivative_of_smooth_ap_is_refused_and_that_of_fast_ap_is_right():
    x, y = batch(n=6, classes=2)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(ours.smooth_ap_loss(unit(x), y, temperature=0.5), x, create_graph=True)
    with pytest.raises(RuntimeError, match="smooth_ap_loss has no second derivative"):
        gradient.square().sum().backward()
    assert torch.autograd.gradgradcheck(lambda x: ours.fast_ap_loss(unit(x), y), x)


def test_impossible_settings_are_refused():
    x, y = batch()
    with pytest.raises(ValueError, match="bins is 0"):
        ours.fast_ap_loss(x, y, bins=0)
    with pytest.raises(ValueError, match="temperature is 0"):
        ours.SmoothAPLoss(temperature=0)
