"""How a backbone sees images, as timm says it; sizes it cannot see are told with those that it can."""

import pytest
import timm
import torch
from torch import nn

from triune.errors import InputError
from triune.model.images import check_size, own_preprocessing
from triune.model.network import MultiTaskModel


def network(backbone, masks=0, **options):
    return MultiTaskModel(backbone, 0, masks, 4, pretrained=False, decoder_channels=(16, 8, 8, 8, 8), **options)


@pytest.mark.parametrize(
    "name", ["resnet10t", "test_resnet", "tf_efficientnet_lite0", "vit_base_patch16_clip_224.openai"]
)
def test_the_numbers_are_timm_s(name):
    said, found = timm.get_pretrained_cfg(name), own_preprocessing(name)
    assert (found.mean, found.std, found.interpolation) == (said.mean, said.std, said.interpolation)
    assert (found.size, found.share) == (said.input_size[1:], said.crop_pct)


def test_grey_images_have_the_average_of_the_three_channels():
    assert own_preprocessing("resnet10t", 1).mean == (0.449,)
    assert own_preprocessing("resnet10t", 1).std == (0.226,)
    clip = own_preprocessing("vit_base_patch16_clip_224.openai", 1)
    assert clip.mean == (pytest.approx((0.48145466 + 0.4578275 + 0.40821073) / 3),)
    assert own_preprocessing("test_resnet", 1).std == (0.5,)


def test_a_backbone_that_timm_says_nothing_about_is_taken_to_see_as_most_do(monkeypatch):
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda _: None)
    found = own_preprocessing("mine")
    assert (found.mean, found.std, found.interpolation) == (
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic"
    )  # fmt: skip


def test_a_tag_of_weights_that_there_is_none_of_is_told():
    with pytest.raises(InputError, match=r"no timm backbone 'resnet18\.nope' \(Invalid pretrained tag"):
        own_preprocessing("resnet18.nope")


@pytest.mark.parametrize(
    ("backbone", "size", "said"),
    [
        ("resnet10t", (64, 96), None),
        ("resnet10t", (70, 64), "resnet10t works in steps of 32 pixels: images of 70 x 64 are extended to 96 x 64"),
        ("test_vit", (64, 48), None),
        ("test_vit", (60, 48), "--images.size 64 48 would use all of it"),
        ("test_maxvit", (160, 160), None),
        ("test_maxvit", (64, 96), "test_maxvit takes images of 160 x 160 only, and is given those of 64 x 96 scaled"),
    ],
)
def test_what_a_backbone_makes_of_a_size_is_said_in_a_line(backbone, size, said):
    model = network(backbone).train()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    found = check_size(model, backbone, size)
    assert found is None if said is None else said in found
    assert model.training
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items()), "no statistics moved"


class Picky(nn.Module):
    """A backbone that takes some sizes alone."""

    def __init__(self, backbone, takes):
        super().__init__()
        self.backbone, self.takes = backbone, takes

    def forward(self, images):
        height, width = images.shape[-2:]
        if not self.takes(height, width):
            raise ValueError(f"{height} x {width} does not\nfit")
        return self.backbone(images)

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("backbone"), name)


@pytest.mark.parametrize(
    ("takes", "works"),
    [
        (lambda height, width: height % 64 == width % 64 == 0, "--images.size 128 64 works"),
        (lambda height, width: height % 224 == width % 224 == 0, "--images.size 224 224 works"),
        (lambda height, width: (height, width) == (1000, 1000), "choose another backbone"),
    ],
)
def test_a_size_that_a_backbone_cannot_see_is_refused_with_one_that_it_can(takes, works):
    model = network("resnet10t")
    model.backbone = Picky(model.backbone, takes)
    with pytest.raises(InputError) as refused:
        check_size(model, "resnet10t", (96, 64))
    said = str(refused.value)
    assert said.startswith("--images.size 96 64: resnet10t cannot see such images (96 x 64 does not fit)")
    assert said.endswith(works)
    assert "\n" not in said


def test_a_network_whose_first_map_is_as_large_as_the_image_is_given_an_image():
    """Of VGG the first map's 64 channels were taken for those of images, and every size was refused."""
    model = MultiTaskModel("vgg11", num_classes=2, mask_channels=0, embedding_dim=0, pretrained=False)
    assert check_size(model, "vgg11", (32, 32)) is None
