"""The running average of the weights: warmed up by the formula, whole numbers taken over, soon free of the start."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from triune.training.averaging import WarmAverage, warm_average


@pytest.mark.parametrize("decay", [0.5, 0.98])
def test_the_average_is_that_of_the_formula(decay):
    weights = torch.randn(50, 3, dtype=torch.float64)
    model = nn.Linear(3, 1, bias=False).double()
    averaged = AveragedModel(model, multi_avg_fn=warm_average(decay))
    expected = None
    for n, w in enumerate(weights):
        model.weight.data = w[None].clone()
        averaged.update_parameters(model)
        # The first update is a copy; the n-th after it has seen n before.
        expected = w if expected is None else expected + (1 - min(decay, 1 - 9 / (10 + n))) * (w - expected)
    torch.testing.assert_close(averaged.module.weight[0], expected)


def test_half_precision_and_counts_are_kept_as_they_are():
    norm = nn.BatchNorm1d(2).half()
    averaged = AveragedModel(copy.deepcopy(norm), multi_avg_fn=warm_average(0.9), use_buffers=True)
    for step in range(3):
        norm.num_batches_tracked.fill_(step)
        averaged.update_parameters(norm)
    assert averaged.module.weight.dtype == torch.float16
    assert int(averaged.module.num_batches_tracked) == 2


def test_after_ten_steps_little_is_left_of_the_weights_that_a_run_began_with():
    model = nn.Linear(1, 1, bias=False)
    averaged = AveragedModel(model, multi_avg_fn=warm_average(0.98))
    model.weight.data.fill_(1.0)
    averaged.update_parameters(model)
    model.weight.data.fill_(0.0)
    for _ in range(10):
        averaged.update_parameters(model)
    assert averaged.module.weight.item() < 0.01  # with a decay of 0.98 from the beginning it would be 0.82


def test_the_callback_averages_by_it():
    callback = WarmAverage(0.9)
    assert callback.should_update(step_idx=0)
    assert callback._kwargs["multi_avg_fn"].__qualname__.startswith("warm_average")
