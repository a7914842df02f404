"""Low-rank adapters: they alone learn, begin as nothing, and are merged into weights that answer the same."""

import sys

import pytest
import torch

from triune.errors import InputError
from triune.model.adapters import add_adapters, merge_adapters
from triune.model.layers import layer_scales
from triune.model.network import MultiTaskModel

needs_peft = pytest.mark.skipif(not __import__("importlib.util").util.find_spec("peft"), reason="peft is not installed")


def network(name, **changes):
    torch.manual_seed(0)
    return MultiTaskModel(
        name, **{"num_classes": 3, "mask_channels": 1, "embedding_dim": 8, "pretrained": False, **changes}
    )


def answers(model, images):
    with torch.no_grad():
        return [each for each in model.eval()(images) if each is not None]


@needs_peft
@pytest.mark.parametrize("name", ["test_vit", "test_vit3", "test_maxvit"])
def test_adapters_begin_as_nothing_alone_learn_and_merge_into_the_same_answers(name):
    model = network(name)
    size = model.fixed or (64, 64)
    for gamma in (p for n, p in model.named_parameters() if n.endswith("gamma")):  # they begin near 0
        torch.nn.init.ones_(gamma)
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(2))
    names, plain, before = list(model.state_dict()), answers(model, images), dict(model.backbone.state_dict())
    add_adapters(model, name, rank=2)
    for one, two in zip(answers(model, images), plain, strict=True):
        assert torch.equal(one, two)
    learning = {n for n, p in model.backbone.named_parameters() if p.requires_grad}
    assert learning
    assert all(".lora_A." in n or ".lora_B." in n for n in learning)
    model.train()
    torch.manual_seed(1)
    with torch.no_grad():
        for n, p in model.backbone.named_parameters():
            if n in learning:
                p.copy_(torch.randn_like(p) * 0.1)
    changed = answers(model, images)
    assert not torch.allclose(changed[-1], plain[-1], atol=1e-3)
    merge_adapters(model)
    assert list(model.state_dict()) == names
    for one, two in zip(answers(model, images), changed, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    # Only the weights of adapted layers are others.
    moved = {n for n, t in model.backbone.state_dict().items() if not torch.equal(t, before[n])}
    assert moved
    assert all(n.endswith(".weight") and (".attn" in n or ".mlp" in n) for n in moved)


@needs_peft
def test_a_merge_equals_its_adapters_in_float64():
    model = network("test_vit", mask_channels=0).double()
    add_adapters(model, "test_vit", rank=3)
    for name, parameter in model.backbone.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    images = torch.randn(2, 3, 48, 48, dtype=torch.float64)
    with torch.no_grad():
        before = model.eval().features(images)[-1]
        merge_adapters(model)
        torch.testing.assert_close(model.features(images)[-1], before, rtol=1e-12, atol=1e-12)


@needs_peft
def test_every_adapter_gets_a_gradient():
    model = network("test_vit", mask_channels=0)
    add_adapters(model, "test_vit", rank=2)
    torch.nn.init.ones_(model.backbone.model.blocks[0].attn.qkv.lora_B["default"].weight)
    model(torch.randn(2, 3, 32, 32)).embedding.sum().backward()
    gradients = {n: p.grad for n, p in model.backbone.named_parameters() if p.requires_grad}
    assert all(each is not None for each in gradients.values())
    assert all(p.grad is None for p in model.backbone.parameters() if not p.requires_grad)


@needs_peft
def test_layers_whose_weights_are_read_past_them_are_left_alone():
    """BEiT multiplies by its weights itself: an adapter there would never be asked."""
    model = network("beit_base_patch16_224", mask_channels=0)
    model.backbone.model.blocks = model.backbone.model.blocks[:2]
    model.backbone.indices = [1]
    add_adapters(model, "beit_base_patch16_224", rank=1)
    adapted = {n.rpartition(".lora_A")[0] for n, _ in model.backbone.named_parameters() if ".lora_A" in n}
    assert not any(n.endswith("qkv") for n in adapted)
    assert any(n.endswith("attn.proj") for n in adapted)


@needs_peft
def test_adapters_have_the_learning_rate_of_their_layer():
    model = network("test_vit", mask_channels=0)
    add_adapters(model, "test_vit", rank=2)
    scales = layer_scales(model.backbone.model, "test_vit", 0.5)
    assert scales["blocks.1.mlp.fc1.lora_A.default.weight"] == 0.5**5


@needs_peft
def test_a_backbone_without_attention_is_refused():
    with pytest.raises(InputError, match="adapter_rank is for transformers, and test_convnext2 has no attention"):
        add_adapters(network("test_convnext2"), "test_convnext2", rank=2)


def test_a_rank_that_makes_nothing_narrower_is_refused():
    with pytest.raises(InputError, match=r"adapter_rank is 64, and a linear layer of test_vit has 64 features: give a"):
        add_adapters(network("test_vit", mask_channels=0), "test_vit", rank=64)


def test_without_peft_the_way_to_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"needs peft: pip install 'triune\[adapters\]'"):
        add_adapters(network("test_vit"), "test_vit", rank=2)


def test_a_network_without_adapters_stays_as_it_is():
    model = network("test_vit", mask_channels=0)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    merge_adapters(model)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
