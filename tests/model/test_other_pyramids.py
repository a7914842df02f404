"""Pyramids that no decoder takes still have masks: by the sum of their maps."""

import numpy as np
import pytest
import timm
import torch
from torch.nn.functional import interpolate

from model.small import images
from triune.errors import InputError
from triune.model.network import MultiTaskModel
from triune.model.other_pyramids import OtherPyramid, SummedMaps, takes_no_decoder
from triune.model.plain import Maps


def test_only_those_are_meant_that_every_decoder_refuses():
    names = ("levit_128s", "nest_tiny", "test_resnet", "no_such")
    assert [takes_no_decoder(name) for name in names] == [True, True, False, False]


def test_a_backbone_that_has_a_decoder_is_built_once_so_that_a_seed_gives_the_weights_that_it_always_gave(monkeypatch):
    monkeypatch.setattr("triune.model.network.takes_no_decoder", lambda name: pytest.fail("it was built for nothing"))
    MultiTaskModel("test_resnet", 3, 2, 8, pretrained=False)


@pytest.mark.parametrize("backbone", ["pit_ti_224", "levit_128s", "nest_tiny"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_head_answers_for_images_of_any_size(backbone, channels):
    torch.manual_seed(0)
    model = MultiTaskModel(backbone, 3, 2, 8, pretrained=False, in_channels=channels).eval()
    with torch.inference_mode():
        answer = model(images(2, (50, 36), channels))
    assert [tuple(each.shape) for each in answer] == [(2, 3), (2, 2, 50, 36), (2, 8)]


def test_maps_come_channels_first_also_where_the_network_has_them_last():
    backbone = OtherPyramid("sequencer2d_s", 3).eval()
    with torch.inference_mode():
        levels = backbone(images(1, (56, 56)))
    assert [each.shape[1] for each in levels] == backbone.out_channels
    theirs = [each.detach() for each in backbone.model(images(1, (56, 56)))]
    np.testing.assert_allclose(levels[1][0, :, 3, 5], theirs[0][0, 3, 5], atol=1e-5)


def test_the_logits_are_of_all_maps_scaled_to_the_finest_and_added_up():
    torch.manual_seed(0)
    head = SummedMaps([4, 6], 2).eval()
    fine, coarse = torch.randn(1, 4, 8, 8), torch.randn(1, 6, 2, 4)
    with torch.inference_mode():
        found = head(Maps([torch.zeros(1, 3, 30, 20), fine, coarse]))
        wide = [interpolate(layer(each), (8, 8), mode="bilinear") for layer, each in zip(head.lateral, (fine, coarse))]
        expected = interpolate(head.head(wide[0] + wide[1]), (30, 20), mode="bilinear")
    torch.testing.assert_close(found, expected)


def test_weights_of_the_whole_model_are_matched(tmp_path):
    torch.manual_seed(7)
    whole = timm.create_model("pit_ti_224", pretrained=False)
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    model = MultiTaskModel("pit_ti_224", 3, 1, 8, weights=tmp_path / "w.pth")
    assert model.loaded.missing == model.loaded.misshapen == []
    assert torch.equal(model.backbone.model.body.cls_token, whole.cls_token)


def test_a_model_without_maps_is_told():
    with pytest.raises(InputError, match="timm gives no feature maps of backbone 'no_such'"):
        OtherPyramid("no_such", 3)
