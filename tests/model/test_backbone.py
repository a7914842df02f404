"""Backbones and decoders by name, their weights from a file or from the hub, and images as large as they need."""

import numpy as np
import pytest
import timm

from model.small import images, small
from triune.errors import InputError
from triune.model.backbone import padded


def test_pretrained_weights_that_cannot_be_fetched_name_the_two_ways_out(monkeypatch):
    create = timm.create_model

    def refuse(*arguments, pretrained=False, **options):
        if pretrained:
            raise OSError("no network")
        return create(*arguments, **options)

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(InputError, match=r"test_resnet.*no network.*--model.pretrained false.*--model.weights FILE"):
        small(pretrained=True)


@pytest.mark.parametrize("backbone", ["mobilenetv3_small_050", "convnext_atto", "regnetx_002"])
def test_other_backbones_work_the_same(backbone):
    out = small(backbone=backbone).eval()(images())
    assert out.mask_logits.shape == (2, 1, 64, 64)
    assert out.embedding.shape == (2, 16)


@pytest.mark.parametrize("decoder", ["fpn", "linknet", "unetplusplus", "deeplabv3plus"])
def test_other_decoders_work_the_same(decoder):
    assert small(decoder=decoder).eval()(images()).mask_logits.shape == (2, 1, 64, 64)


@pytest.mark.parametrize(("size", "stride", "larger"), [((30, 50), 32, (32, 64)), ((33, 32), 32, (64, 32))])
def test_images_are_extended_below_and_on_the_right_by_their_border(size, stride, larger):
    x = images(size=size)
    after = [(0, 0), (0, 0), *((0, wanted - given) for given, wanted in zip(size, larger))]
    np.testing.assert_array_equal(padded(x, stride), np.pad(x.numpy(), after, mode="edge"))


def test_images_that_fit_are_not_copied():
    x = images(size=(64, 32))
    assert padded(x, 32) is x
