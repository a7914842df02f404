"""The layers of a backbone and their share of the learning rate: those of timm and of the formula."""

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay

from triune.errors import InputError
from triune.model.layers import layer_scales, plain_model, plain_names
from triune.model.network import MultiTaskModel


def backbone(name):
    torch.manual_seed(0)
    return MultiTaskModel(name, num_classes=2, mask_channels=0, embedding_dim=4, pretrained=False).backbone.model


@pytest.mark.parametrize("name", [*timm.list_models("test_*"), "resnet10t", "swin_tiny_patch4_window7_224"])
def test_each_parameter_has_the_scale_that_timm_gives_it(name):
    model, whole = backbone(name), timm.create_model(name, num_classes=2)
    theirs = {id(p): g["lr_scale"] for g in param_groups_layer_decay(whole, layer_decay=0.5) for p in g["params"]}
    parameters, names = dict(whole.named_parameters()), plain_names(model, plain_model(name))
    scales = layer_scales(model, name, 0.5)
    assert scales == {n: theirs[id(parameters[names[n]])] for n, _ in model.named_parameters()}
    assert len(set(scales.values())) > 2


def test_the_blocks_of_a_vit_follow_the_formula():
    scales = layer_scales(backbone("test_vit"), "test_vit", 0.75)
    assert scales["patch_embed.proj.weight"] == pytest.approx(0.75**7)
    for block in range(6):
        assert scales[f"blocks.{block}.attn.qkv.weight"] == pytest.approx(0.75 ** (6 - block))
    assert scales["norm.weight"] == pytest.approx(0.75)


def test_plain_names_are_those_of_the_whole_model():
    assert plain_names(backbone("test_convnext2"), plain_model("test_convnext2"))["stages_1.blocks.0.gamma"] == (
        "stages.1.blocks.0.gamma"
    )


def test_a_name_that_timm_does_not_know_is_refused():
    with pytest.raises(InputError, match="no timm backbone 'resnet19'"):
        plain_model("resnet19")
