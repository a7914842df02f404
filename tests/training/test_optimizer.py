"""Learning rates of every parameter against the formula, and their schedule over the steps of a run."""

import math

import pytest
import torch

from model.small import small
from triune.model.network import MultiTaskModel
from triune.run.settings import OptimizerConfig
from triune.training.optimizer import late_rate, parameter_groups, rate


def vit():
    torch.manual_seed(0)
    return MultiTaskModel("test_vit", num_classes=2, mask_channels=0, embedding_dim=4, pretrained=False)


def of_parameters(model, groups):
    """Of each parameter its learning rate and weight decay; each is in one group."""
    names = {id(p): n for n, p in model.named_parameters()}
    found = [(names[id(p)], (group["lr"], group["weight_decay"])) for group in groups for p in group["params"]]
    assert len(found) == len(dict(found))
    return dict(found)


def test_layer_decay_is_the_formula_for_every_parameter():
    model = vit()
    settings = OptimizerConfig(lr=0.01, weight_decay=0.1, layer_decay=0.75)
    found = of_parameters(model, parameter_groups(model, model, [], settings))
    assert found.keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        if not name.startswith("backbone."):
            layer = 7
        elif ".blocks." in name:
            layer = 1 + int(name.split(".blocks.")[1].split(".")[0])
        else:
            layer = 6 if ".norm." in name else 0
        assert found[name] == (pytest.approx(0.01 * 0.75 ** (7 - layer)), 0.1 if parameter.ndim > 1 else 0.0), name


def test_without_layer_decay_and_freezing_there_are_two_groups_as_ever():
    model = small()
    groups = parameter_groups(model, model, [], OptimizerConfig(lr=0.01))
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(0.01, 0.05), (0.01, 0.0)]
    parameters = list(model.parameters())
    for group, wide in zip(groups, (True, False)):
        assert [id(p) for p in group["params"]] == [id(p) for p in parameters if (p.ndim > 1) == wide]


def test_what_a_loss_learns_has_its_own_rate_and_the_frozen_backbone_none():
    model = small()
    model.proxies = torch.nn.Parameter(torch.zeros(3, 4))
    model.backbone.requires_grad_(False)
    groups = parameter_groups(model, model, [model.proxies], OptimizerConfig(lr=0.01, proxy_lr=0.5), "all")
    found = of_parameters(model, groups)
    assert found["proxies"] == (0.5, 0.0)
    assert not any(name.startswith("backbone.") for name in found)


def test_a_backbone_that_learns_later_is_in_groups_of_its_own():
    model = small()
    groups = parameter_groups(model, model, [], OptimizerConfig(), 5)
    late = {id(p) for group in groups if "late" in group for p in group["params"]}
    assert late == {id(p) for p in model.backbone.parameters()}
    assert "late" not in groups[0]  # whose rate is the one that the history tells


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_the_rate_warms_up_and_descends(schedule):
    settings = OptimizerConfig(schedule=schedule, warmup=0.2)
    shares = [rate(step, 20, settings) for step in range(20)]
    assert shares[:4] == [0.25, 0.5, 0.75, 1.0]
    expected = [0.5 * (1 + math.cos(math.pi * (s - 4) / 16)) if schedule == "cosine" else 1.0 for s in range(4, 20)]
    assert shares[4:] == pytest.approx(expected, abs=1e-6)


def test_a_late_rate_is_zero_then_warms_up_again_and_meets_the_others():
    settings = OptimizerConfig(warmup=0.1)
    late = [late_rate(8, 30, settings)(step) for step in range(30)]
    every = [rate(step, 30, settings) for step in range(30)]
    assert late[:8] == [0.0] * 8
    assert late[8:11] == pytest.approx([every[8] / 3, every[9] * 2 / 3, every[10]])
    assert late[11:] == every[11:]
