"""Networks without memory: the shapes and types of those that have it, and no initial weights drawn."""

import subprocess
import sys

import pytest
import timm
import torch
from torch import nn

from triune.model.without_memory import without_memory


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_tensors_have_the_names_shapes_and_types_of_the_same_network_with_memory(name):
    with without_memory():
        made = timm.create_model(name)
    real = timm.create_model(name)
    assert {key: (each.shape, each.dtype) for key, each in made.state_dict().items()} == {
        key: (each.shape, each.dtype) for key, each in real.state_dict().items()
    }
    assert all(each.is_meta for each in made.state_dict().values())


@pytest.mark.parametrize("draw", [nn.init.normal_, nn.init.kaiming_normal_, nn.init.xavier_uniform_, nn.init.zeros_])
def test_no_random_number_is_drawn(draw):
    before = torch.get_rng_state()
    with without_memory():
        weight = torch.empty(3, 4)
        assert draw(weight) is weight
        assert draw(tensor=weight) is weight
        assert weight.normal_() is weight
    assert torch.equal(torch.get_rng_state(), before)


def test_drawing_is_as_ever_afterwards():
    with without_memory():
        pass
    torch.manual_seed(0)
    ours = torch.empty(5).normal_()
    torch.manual_seed(0)
    assert torch.equal(ours, torch.randn(5))
    assert nn.init.ones_(torch.empty(2)).tolist() == [1.0, 1.0]


def test_a_network_is_made_without_the_compiler():
    code = """
import sys, torch
from triune.model.without_compiler import without_compiler
with without_compiler():
    import timm
from triune.model.without_memory import without_memory
with without_memory():
    timm.create_model("test_efficientnet")
print(any(name.startswith("torch._dynamo") for name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
