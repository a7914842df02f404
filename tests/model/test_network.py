import pytest
import torch

from model.small import images, small
from triune.errors import InputError
from triune.model.backbone import build_segmenter
from triune.model.network import MultiTaskModel
from triune.model.without_memory import without_memory


@pytest.fixture(scope="module")
def model():
    return small().eval()


def test_three_heads_have_the_shapes_they_promise(model):
    out = model(images())
    assert out.class_logits.shape == (2, 5)
    assert out.mask_logits.shape == (2, 1, 64, 64)
    assert out.embedding.shape == (2, 16)
    torch.testing.assert_close(out.embedding.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("size", [(30, 50), (33, 33), (64, 96), (7, 200)])
def test_any_size_goes_in_and_the_mask_comes_out_as_large(model, size):
    out = model(images(size=size))
    assert out.mask_logits.shape[-2:] == size
    assert torch.isfinite(out.embedding).all()


def test_a_seed_gives_the_weights_that_a_decoder_over_the_backbone_alone_would_have():
    torch.manual_seed(3)
    alone = build_segmenter("resnet10t", "unet", 3, 1, (64, 32, 16, 16, 8), 0.0).state_dict()
    torch.manual_seed(3)
    model = MultiTaskModel("resnet10t", 5, 1, 16, decoder_channels=(64, 32, 16, 16, 8), pretrained=False)
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, alone[f"encoder.{name}"]), name


def test_grey_images_need_only_one_channel():
    assert small(in_channels=1).eval()(images(channels=1)).class_logits.shape == (2, 5)


@pytest.mark.parametrize("left_out", ["num_classes", "mask_channels", "embedding_dim"])
def test_each_head_can_be_left_out(left_out):
    model = small(**{left_out: 0}).eval()
    out = model(images())
    missing = {"num_classes": "class_logits", "mask_channels": "mask_logits", "embedding_dim": "embedding"}[left_out]
    assert [name for name, value in out._asdict().items() if value is None] == [missing]
    if left_out == "mask_channels":
        assert model.decoder is None


@pytest.mark.parametrize("pooling", ["avg", "gem", "grid", "attention"])
@pytest.mark.parametrize("stage", [-1, -3])
def test_the_embedding_is_read_from_the_stage_and_pooled_as_told(pooling, stage):
    model = small(pooling=pooling, embedding_stage=stage).eval()
    width = [w for w in model.backbone.out_channels[1:] if w][stage]
    assert model.embedding_head.in_features == width * (16 if pooling == "grid" else 1)
    assert model.embed(images()).shape == (2, 16)


@pytest.mark.parametrize(
    ("backbone", "more", "stages"),
    [
        ("test_resnet", {}, [-2, -2, -1]),
        ("test_resnet", {"mask_channels": 0}, [-2, -2, -1]),
        ("test_vit", {}, [-1, -1, -1]),  # all maps have one size
        ("pit_ti_224", {"mask_channels": 0}, [-1, -1, -1]),  # pooled by timm
        ("pit_ti_224", {}, [-1, -1, -1]),  # made for one size, which images are scaled to
    ],
)
def test_the_embedding_is_best_read_from_a_map_of_four_by_four_cells_or_more(backbone, more, stages):
    with without_memory():
        model = MultiTaskModel(
            **{"backbone": backbone, "mask_channels": 1, "embedding_dim": 8} | more, pretrained=False
        )
    assert [model.suited_stage(size) for size in ((64, 64), (200, 127), (128, 200))] == stages
    if backbone == "test_resnet":
        maps = MultiTaskModel(backbone, mask_channels=0, pretrained=False).eval().features(torch.zeros(1, 3, 64, 64))
        assert [each.shape[-1] for each in maps[-2:]] == [4, 2]


def test_gem_with_exponent_one_is_the_average():
    gem, average = small(pooling="gem").eval(), small(pooling="avg").eval()
    state = gem.state_dict()
    state.pop("exponent")
    average.load_state_dict(state)
    with torch.no_grad():
        gem.exponent.fill_(1.0)
    torch.testing.assert_close(gem.embed(images()), average.embed(images()), atol=1e-5, rtol=1e-4)


def test_embed_gives_the_embedding_of_the_full_pass(model):
    x = images()
    torch.testing.assert_close(model.embed(x), model(x).embedding)


def test_an_image_has_the_same_answer_alone_as_in_a_batch(model):
    x = images(3)
    together, alone = model(x), model(x[1:2])
    for whole, part in zip(together, alone, strict=True):
        torch.testing.assert_close(whole[1:2], part, atol=1e-5, rtol=1e-4)


def test_under_autocast_the_embedding_is_float32_of_unit_length(model):
    with torch.autocast("cpu", torch.bfloat16):
        out = model(images())
    assert out.embedding.dtype == torch.float32
    torch.testing.assert_close(out.embedding.norm(dim=1), torch.ones(2), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": "resnet1008"}, "resnet1008"),
        ({"decoder": "unot"}, "unot"),
        ({"embedding_stage": -9}, "-9"),
        ({"embedding_stage": 0}, "0"),
        ({"mask_pooling": True, "mask_channels": 0}, "mask_pooling"),
        ({"num_classes": 0, "mask_channels": 0, "embedding_dim": 0}, "every head"),
        ({"weights": "no-such-file.pt"}, "no-such-file.pt"),
    ],
)
def test_what_cannot_be_built_says_why(changes, words):
    with pytest.raises(InputError, match=words):
        small(**changes)
