"""Backbones and decoders by name, their weights from a file or from the hub, and images as large as they need."""

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from model.small import SMALL, images, small
from triune.errors import InputError
from triune.model.backbone import load_weights, padded
from triune.model.network import MultiTaskModel


def test_weights_from_a_local_file_reach_the_backbone(tmp_path):
    source = small()
    path = tmp_path / "backbone.safetensors"
    safetensors.torch.save_file({k: v.contiguous() for k, v in source.backbone.model.state_dict().items()}, path)
    torch.manual_seed(99)
    loaded = MultiTaskModel(**SMALL, num_classes=3, weights=path)
    for name, tensor in loaded.backbone.model.state_dict().items():
        torch.testing.assert_close(tensor, source.backbone.model.state_dict()[name])


def test_weights_that_do_not_fit_name_a_tensor(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="does not fit"):
        small(weights=path)


def test_pretrained_weights_that_cannot_be_fetched_name_the_two_ways_out(monkeypatch):
    create = timm.create_model

    def refuse(*arguments, pretrained=False, **options):
        if pretrained:
            raise OSError("no network")
        return create(*arguments, **options)

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(InputError, match=r"resnet10t.*no network.*--model.pretrained false.*--model.weights FILE"):
        small(pretrained=True)


@pytest.mark.parametrize("backbone", ["mobilenetv3_small_050", "convnext_atto", "regnetx_002"])
def test_other_backbones_work_the_same(backbone):
    out = small(backbone=backbone).eval()(images())
    assert out.mask_logits.shape == (2, 1, 64, 64)
    assert out.embedding.shape == (2, 16)


@pytest.mark.parametrize("decoder", ["fpn", "linknet", "unetplusplus", "deeplabv3plus"])
def test_other_decoders_work_the_same(decoder):
    assert small(decoder=decoder).eval()(images()).mask_logits.shape == (2, 1, 64, 64)


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_of_a_checkpoint_may_lie_under_state_dict_and_among_others(tmp_path, wrapped):
    source, target = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    state = {**source.state_dict(), "fc.weight": torch.zeros(1)}  # a classification head that features have not
    torch.save({"state_dict": state} if wrapped else state, tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert torch.equal(target.weight, source.weight)
    assert torch.equal(target.bias, source.bias)


def test_a_file_that_holds_no_weights_is_named(tmp_path):
    (tmp_path / "w.pt").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"w\.pt cannot be read as weights"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "w.pt")


@pytest.mark.parametrize(("size", "stride", "larger"), [((30, 50), 32, (32, 64)), ((33, 32), 32, (64, 32))])
def test_images_are_extended_below_and_on_the_right_by_their_border(size, stride, larger):
    x = images(size=size)
    after = [(0, 0), (0, 0), *((0, wanted - given) for given, wanted in zip(size, larger))]
    np.testing.assert_array_equal(padded(x, stride), np.pad(x.numpy(), after, mode="edge"))


def test_images_that_fit_are_not_copied():
    x = images(size=(64, 32))
    assert padded(x, 32) is x
