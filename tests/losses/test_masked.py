"""Masked means and logarithms of sums: values by hand, and gradients without NaN where nothing is kept."""

import math

import pytest
import torch

from triune.losses.masked import masked_logsumexp, masked_mean

VALUES = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, math.inf]])
KEPT = torch.tensor([[True, False, True], [False, True, False]])


def test_a_masked_mean_is_over_the_kept_entries_whatever_the_others_hold():
    assert masked_mean(VALUES, KEPT).item() == pytest.approx((1 + 3 + 5) / 3)
    assert masked_mean(VALUES, torch.zeros_like(KEPT)).item() == 0


def test_a_masked_logsumexp_is_over_the_kept_entries_of_each_row():
    expected = [math.log(math.exp(1) + math.exp(3)), 5.0]
    assert masked_logsumexp(VALUES, KEPT).tolist() == pytest.approx(expected)
    assert masked_logsumexp(torch.zeros(2, 0), torch.zeros(2, 0, dtype=bool)).tolist() == [-math.inf] * 2


def test_a_row_without_kept_entries_is_minus_infinity_with_gradient_zero():
    values = torch.ones(2, 3, requires_grad=True)
    kept = torch.tensor([[True, True, False], [False, False, False]])
    result = masked_logsumexp(values, kept)
    assert result[1].item() == -math.inf
    result[0].backward()
    assert values.grad.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    (gradient,) = torch.autograd.grad(masked_logsumexp(values, kept).exp().sum(), values)
    assert torch.isfinite(gradient).all()
