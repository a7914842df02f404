"""Networks of torchvision and their twins at timm give the same features, once one has the weights of the other."""

import pytest
import timm
import torch
import torchvision
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from triune.model.torchvision_names import by_order
from triune.model.weights import load_weights


def shaken(model):
    """Random weights, so that no two layers are alike."""
    torch.manual_seed(5)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def convnext():
    stages = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, 24, 2), CNBlockConfig(24, 32, 1), CNBlockConfig(32, None, 1)]
    return ConvNeXt(stages, num_classes=3)


def vit():
    return torchvision.models.VisionTransformer(
        image_size=160, patch_size=16, num_layers=6, num_heads=2, hidden_dim=64, mlp_dim=192, num_classes=3
    )


TWINS = {
    "mobilenet_v2": (torchvision.models.mobilenet_v2, lambda: timm.create_model("mobilenetv2_100"), "mobilenetv2_100"),
    "convnext": (
        convnext,
        lambda: timm.create_model("convnext_tiny", depths=(1, 2, 1, 1), dims=(8, 16, 24, 32), num_classes=3),
        "convnext_tiny",
    ),
    "vit": (vit, lambda: timm.create_model("test_vit", init_values=None), "test_vit"),
}


@pytest.mark.parametrize("case", TWINS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_twin_answers_alike(case, wrapped, tmp_path):
    make, twin, name = TWINS[case]
    source, target = shaken(make()), twin().eval()
    state = source.state_dict()
    torch.save({"model": {f"module.{n}": t for n, t in state.items()}} if wrapped else state, tmp_path / "w.pth")
    found = load_weights(target, tmp_path / "w.pth", name)
    assert {n.split(".")[0] for n in (*found.missing, *found.misshapen)} <= {"head", "classifier"}
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        if case == "vit":
            tokens = torch.cat([source.class_token.expand(2, -1, -1), source._process_input(images)], dim=1)
            theirs = source.encoder(tokens)
        else:
            theirs = source.features(images)
        ours = target.forward_features(images)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_what_goes_on_after_the_backbone_keeps_its_name():
    state = {"features.0.weight": torch.zeros(2, 3), "classifier.1.weight": torch.zeros(5, 2)}
    assert set(by_order(state, {"conv.weight": torch.zeros(2, 3)})) == {"conv.weight", "classifier.1.weight"}


@pytest.mark.parametrize(
    "own",
    [
        {"conv.weight": torch.zeros(2, 4)},
        {"conv.bias": torch.zeros(2, 3)},
        {"conv.weight": torch.zeros(2, 3), "bn.weight": torch.zeros(7)},
        {"conv.weight": torch.zeros(2, 3), "bn.weight": torch.zeros(5, 2), "more.weight": torch.zeros(1)},
    ],
)
def test_an_order_with_one_tensor_of_another_kind_or_shape_gives_nothing(own):
    state = {"features.0.weight": torch.zeros(2, 3), "classifier.1.weight": torch.zeros(5, 2)}
    assert by_order(state, own) == {}


def test_other_names_are_not_matched_by_order():
    assert by_order({"layer1.weight": torch.zeros(2, 3)}, {"conv.weight": torch.zeros(2, 3)}) == {}
