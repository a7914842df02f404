"""Networks of every kind as ONNX graphs: backbones, decoders, poolings, heads, channels and sizes."""

import numpy as np
import pytest
import torch

from triune.data.preprocessing import MEAN, STD
from triune.model.network import MultiTaskModel
from triune.run.card import ModelCard, Network
from triune.serving.exported.graph import WholeNetwork, as_onnx, example
from triune.serving.exported.network import session_of

EVERY_RUN = [
    {"backbone": "test_vit", "pooling": "token+avg", "size": (48, 80), "in_channels": 1, "mask_channels": 3},
    {"backbone": "test_convnext", "pooling": "grid", "size": (50, 70), "num_classes": 0},
]
BY_HAND = [
    *({"backbone": name} for name in ("test_resnet", "test_efficientnet", "test_nfnet", "test_byobnet", "test_vit3")),
    *({"backbone": name, "mask_channels": 0} for name in ("test_mambaout", "test_vit4", "swinv2_cr_tiny_ns_224")),
    *({"backbone": "test_resnet", "decoder": name} for name in ("fpn", "deeplabv3plus", "unetplusplus", "segformer")),
    {"backbone": "swin_tiny_patch4_window7_224", "size": (96, 96)},
    {"backbone": "deit_tiny_patch16_224", "mask_channels": 3},
    {"backbone": "test_resnet", "pooling": "gem", "size": (48, 80)},
    {"backbone": "test_resnet", "mask_pooling": True},
    {"backbone": "test_resnet", "embedding_dim": 0},
]


def made(size=(64, 64), **changes):
    network = {
        "backbone": "test_resnet", "num_classes": 3, "mask_channels": 1, "embedding_dim": 8, "in_channels": 3,
        "decoder": "unet", "decoder_channels": (16, 8, 8, 8, 8), "embedding_stage": -1, "pooling": "avg",
        "mask_pooling": False, "dropout": 0.0,
    } | changes  # fmt: skip
    channels = network["in_channels"]
    card = ModelCard(
        model=Network(**network), classes=["a", "b", "c"][: network["num_classes"]], channels=channels,
        metric="euclidean", size=size, fit="squash", interpolation="bicubic", boxes=True, mean=MEAN[channels],
        std=STD[channels],
    )  # fmt: skip
    torch.manual_seed(0)
    return MultiTaskModel(**card.model.model_dump(), pretrained=False).eval(), card


def check(case):
    model, card = made(**case)
    whole = WholeNetwork(model, card, "all", looks=True)
    session = session_of(as_onnx(whole, card).SerializeToString(), "m", "cpu")
    assert [each.name for each in session.get_outputs()] == whole.outputs
    for count in (1, 3):
        images = example(card, count)
        with torch.inference_mode():
            expected = whole(images)
        for name, one, other in zip(
            whole.outputs, expected, session.run(None, {"images": images.numpy()}), strict=True
        ):
            np.testing.assert_allclose(other, one, atol=1e-4, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("case", EVERY_RUN, ids=str)
def test_the_graph_answers_as_the_network_does(case):
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", BY_HAND, ids=str)
def test_the_graph_of_every_family_answers_as_the_network_does(case):
    check(case)
