"""Plain transformers, and others that take one size or give no maps: every head answers, at any size of the images."""

import numpy as np
import pytest
import timm
import torch

from triune.errors import InputError
from triune.model.network import MultiTaskModel, looks_of
from triune.model.plain import DenseHead, Maps, PlainTransformer, in_own_size, is_plain, own_size, pooled

PLAIN = ("test_vit", "test_vit2", "test_vit3", "test_vit4", "test_vit_relpos")
PYRAMIDS = ("test_convnext", "test_resnet", "test_byobnet", "test_efficientnet", "test_maxvit", "test_coatnet")


def network(backbone, **options):
    torch.manual_seed(0)
    heads = {"num_classes": 3, "mask_channels": 2, "embedding_dim": 8, "decoder_channels": (16, 8, 8, 8, 8)}
    return MultiTaskModel(backbone, **(heads | options), pretrained=False).eval()


def images(*size, channels=3):
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("backbone", PLAIN + PYRAMIDS)
@pytest.mark.parametrize("size", [(70, 52), (160, 160)])
def test_every_head_answers_images_of_any_size(backbone, size):
    with torch.inference_mode():
        answer = network(backbone)(images(*size))
    assert answer.class_logits.shape == (2, 3)
    assert answer.mask_logits.shape == (2, 2, *size)
    np.testing.assert_allclose(answer.embedding.norm(dim=1), 1, atol=1e-6)


@pytest.mark.parametrize("backbone", ["test_vit", "test_vit_relpos", "test_maxvit"])
def test_gradients_reach_every_parameter_that_an_answer_rests_on(backbone):
    model = network(backbone).train()
    answer = model(images(64, 64))
    (answer.class_logits.sum() + answer.mask_logits.square().sum() + answer.embedding[:, 0].sum()).backward()
    without = {name for name, each in model.named_parameters() if each.grad is None}
    assert {name for name in without if "norm" not in name and "head" not in name} == set()


def test_patches_of_14_have_masks_too():
    with torch.inference_mode():
        answer = network("vit_tiny_patch16_224", mask_channels=0)(images(70, 52))
        assert answer.embedding.shape == (2, 8)
        masks = DenseHead(_patches_of(14), 2).eval()(_patches_of(14)(images(56, 84)))
    assert masks.shape == (2, 2, 56, 84)


def _patches_of(side):
    torch.manual_seed(0)
    backbone = PlainTransformer("test_vit", 3)
    backbone.model = timm.create_model("test_vit", patch_size=side, num_classes=0, dynamic_img_size=True)
    backbone.output_strides = [side] * len(backbone.output_strides)
    return backbone.eval()


def test_which_backbones_are_plain():
    assert [is_plain(name) for name in PLAIN] == [True] * len(PLAIN)
    assert not any(is_plain(name) for name in PYRAMIDS)
    with pytest.raises(InputError, match="no timm backbone 'no_such_net'"):
        is_plain("no_such_net")


def test_the_last_map_is_what_timm_gives():
    backbone = PlainTransformer("test_vit", 3).eval()
    with torch.inference_mode():
        maps = backbone(images(160, 160))
        whole = backbone.model.forward_features(images(160, 160))
    prefix = backbone.model.num_prefix_tokens
    expected = whole[:, prefix:].transpose(1, 2).unflatten(2, maps.levels[-1].shape[-2:])
    np.testing.assert_allclose(maps.levels[-1], expected, atol=1e-4)
    np.testing.assert_allclose(maps.tokens[-1], whole[:, :prefix], atol=1e-4)


@pytest.mark.parametrize(
    ("pooling", "width"),
    [("token", 1), ("token+avg", 2), ("avg", 1), ("gem", 1), ("grid", 16), ("attention", 1)],
)
def test_the_embedding_is_read_from_the_class_token_or_from_the_map(pooling, width):
    model = network("test_vit", pooling=pooling, mask_channels=0)
    assert model.embedding_head.weight.shape[1] == width * model.backbone.out_channels[-1]
    with torch.inference_mode():
        maps = model.maps(images(64, 64))
        pooled_now = model._pool(maps, None)
        embedding = model.embed(images(64, 64))
    token, average = maps.tokens[-1][:, 0], maps.levels[-1].mean((2, 3))
    expected = {"token": token, "token+avg": torch.cat([token, average], 1), "avg": average}.get(pooling)
    if expected is not None:
        np.testing.assert_allclose(pooled_now, expected, atol=1e-5)
    assert embedding.shape == (2, 8)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit3"])
def test_a_class_token_that_is_not_there_is_told(backbone):
    has_one = backbone == "test_vit3" and PlainTransformer(backbone, 3).has_class_token
    if has_one:
        pytest.fail("this test needs a transformer without a class token")
    with pytest.raises(InputError, match=f"needs a class token, and {backbone} has none"):
        network(backbone, pooling="token")


@pytest.mark.parametrize("stage", [-1, -2])
def test_the_embedding_is_read_from_an_earlier_block(stage):
    model = network("test_vit", embedding_stage=stage, mask_channels=0)
    with torch.inference_mode():
        maps = model.maps(images(64, 64))
        np.testing.assert_allclose(model._pool(maps, None), maps.features[stage].mean((2, 3)), atol=1e-5)


def test_grey_images_and_weights_of_a_file(tmp_path):
    assert network("test_vit", in_channels=1)(images(64, 64, channels=1)).embedding.shape == (2, 8)
    torch.manual_seed(3)
    published = timm.create_model("test_vit", pretrained=False)
    torch.save(published.state_dict(), tmp_path / "weights.pth")
    model = MultiTaskModel("test_vit", 3, 0, 8, weights=tmp_path / "weights.pth")
    for name, tensor in model.backbone.model.state_dict().items():
        assert torch.equal(tensor, published.state_dict()[name])


def test_a_backbone_that_gives_no_maps_gives_its_pooled_features_and_no_masks():
    model = network("pit_ti_224", mask_channels=0)
    with torch.inference_mode():
        answer = model(images(70, 52))
        alone = pooled("pit_ti_224", 3)
        alone.load_state_dict(model.backbone.state_dict())
        expected = alone.eval().model(in_own_size(images(70, 52), (224, 224)))
        np.testing.assert_allclose(model.maps(images(70, 52)).levels[-1][:, :, 0, 0], expected, atol=1e-5)
    assert answer.embedding.shape == (2, 8)


def test_what_takes_one_size_is_given_it():
    assert own_size(timm.create_model("test_maxvit")) is not None
    assert own_size(timm.create_model("test_resnet")) is None
    assert in_own_size(images(30, 40), None).shape == (2, 3, 30, 40)
    assert in_own_size(images(30, 40), (30, 40)) is not None
    assert in_own_size(images(30, 40), (16, 8)).shape == (2, 3, 16, 8)


def test_looks_are_told_from_all_blocks():
    maps = network("test_vit", mask_channels=0).maps(images(64, 64))
    assert isinstance(maps, Maps)
    fine, deep = looks_of(maps)
    assert fine.shape[1] + deep.shape[1] == sum(each.shape[1] for each in maps.features)


def test_classes_and_masks_of_a_batch_are_learnt_by_heart():
    torch.manual_seed(0)
    model = network("test_vit", mask_channels=1, embedding_dim=0).train()
    given, classes = images(64, 64).repeat(2, 1, 1, 1) + torch.arange(4.0)[:, None, None, None], torch.arange(4) % 3
    masks = torch.zeros(4, 1, 64, 64)
    masks[::2, :, :32] = 1
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(60):
        answer = model(given)
        loss = torch.nn.functional.cross_entropy(answer.class_logits, classes)
        loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(answer.mask_logits, masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        answer = model(given)
    assert answer.class_logits.argmax(1).tolist() == classes.tolist()
    assert ((answer.mask_logits > 0) == (masks > 0)).float().mean() > 0.9


@pytest.mark.parametrize("backbone", ["test_vit", "pit_ti_224", "test_resnet"])
def test_published_weights_are_taken_whole_whatever_the_kind(backbone, monkeypatch):
    made = timm.create_model

    def published(name, **options):
        torch.manual_seed(7)
        return made(name, **(options | {"pretrained": False}))

    monkeypatch.setattr(timm, "create_model", published)
    model = MultiTaskModel(backbone, 3, 0, 8, pretrained=True)
    torch.manual_seed(7)
    options = {} if backbone == "test_resnet" else {"num_classes": 0}
    expected = made(backbone, pretrained=False, **options).state_dict()
    for name, tensor in model.backbone.model.state_dict().items():
        if name in expected and tensor.is_floating_point() and tensor.ndim > 1 and "head" not in name:
            assert torch.equal(tensor, expected[name]), name
