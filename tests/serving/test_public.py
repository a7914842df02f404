"""A public backbone in use: timm's own preprocessing and pooled features, of unit length."""

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torch.nn.functional import normalize

from triune.errors import InputError
from triune.model.network import MultiTaskModel
from triune.model.weights import RUN_MODEL
from triune.run.card import ModelCard, Network
from triune.run.folder import save_model
from triune.run.preprocessing import earlier_preprocessing
from triune.serving.loaded import load

NAMES = ("test_efficientnet", "test_vit", "test_resnet", "test_convnext")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("public")
    g = np.random.default_rng(0)
    for k, size in enumerate([(40, 60), (200, 170), (160, 160)]):
        Image.fromarray(g.integers(0, 255, (*size, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    for name in NAMES:
        torch.manual_seed(0)
        model = timm.create_model(name, pretrained=False)
        safetensors.torch.save_file(model.state_dict(), folder / f"{name}.safetensors")
        torch.save({"state_dict": model.state_dict()}, folder / f"{name}.pth")
    return folder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_embeddings_are_the_pooled_features_of_the_images_as_timm_prepares_them(place, name, suffix):
    weights = place / f"{name}.{suffix}"
    model = timm.create_model(name, pretrained=False)
    model.load_state_dict(safetensors.torch.load_file(place / f"{name}.safetensors"))
    model.reset_classifier(0)
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    paths = sorted(place.glob("*.png"))
    with torch.inference_mode():
        expected = normalize(model.eval()(torch.stack([transform(Image.open(path)) for path in paths])))
    run = load(f"timm:{name}", weights=weights, device="cpu")
    found = run.embed(paths)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert run.dim == found.shape[1]
    assert repr(run) == f"<timm:{name}: {name} on cpu; embeddings of {run.dim}>"


def test_its_fingerprint_is_that_of_its_weights(place):
    first, again = (
        load("timm:test_vit", weights=place / f"test_vit.{s}", device="cpu") for s in ("safetensors", "pth")
    )
    assert first.fingerprint == again.fingerprint
    state = safetensors.torch.load_file(place / "test_vit.safetensors")
    name = next(iter(state))
    state[name].view(-1)[0] += 1e-3
    safetensors.torch.save_file(state, place / "changed.safetensors")
    other = load("timm:test_vit", weights=place / "changed.safetensors", device="cpu")
    assert other.fingerprint != first.fingerprint


ORIGINS = {
    "a classifier behind a prefix": lambda state: {"epoch": 3, "state_dict": prefixed(state, "module.")},
    "a teacher and its student": lambda state: {
        "student": prefixed({name: each + 1 for name, each in state.items()}, "backbone."),
        "teacher": prefixed(state, "backbone.") | {"head.mlp.0.weight": torch.zeros(2, 2)},
    },
    "without what is all ones": lambda state: {name: each for name, each in state.items() if name != "norm.weight"},
}


def prefixed(state, prefix):
    return {prefix + name: each for name, each in state.items()}


@pytest.mark.parametrize("origin", ORIGINS)
def test_weights_of_other_trainings_are_matched_by_name(place, origin):
    state = safetensors.torch.load_file(place / "test_vit.safetensors")
    torch.save(ORIGINS[origin](state), place / "other.pth")
    expected = load("timm:test_vit", weights=place / "test_vit.pth", device="cpu")
    found = load("timm:test_vit", weights=place / "other.pth", device="cpu")
    assert found.fingerprint == expected.fingerprint


def test_the_backbone_of_a_run_is_matched_by_name(place, tmp_path):
    described = Network(
        backbone="test_resnet",
        num_classes=2,
        mask_channels=0,
        embedding_dim=8,
        in_channels=3,
        decoder="unet",
        decoder_channels=(16,),
        embedding_stage=-1,
        pooling="avg",
        mask_pooling=False,
        dropout=0.0,
    )
    images = earlier_preprocessing(32, 3)
    card = ModelCard(model=described, classes=("a", "b"), metric="cosine", channels=3, **images)
    save_model(tmp_path / RUN_MODEL, MultiTaskModel(**card.model.model_dump(), weights=place / "test_resnet.pth"), card)
    expected = load("timm:test_resnet", weights=place / "test_resnet.pth", device="cpu")
    for given in (tmp_path, tmp_path / RUN_MODEL):
        found = load("timm:test_resnet", weights=given, device="cpu")
        assert found.fingerprint == expected.fingerprint
        assert "of the file not used (class_head" in found.network.card.matched


def test_what_no_training_will_mend_must_be_in_the_file(place):
    state = safetensors.torch.load_file(place / "test_vit.safetensors")
    del state["blocks.1.attn.qkv.weight"]
    torch.save(state, place / "lacking.pth")
    with pytest.raises(InputError, match=r"would be random numbers \(.*1 not in the file \(blocks.1.attn.qkv.weight\)"):
        load("timm:test_vit", weights=place / "lacking.pth", device="cpu")


@pytest.mark.parametrize(
    ("source", "weights", "said"),
    [
        ("timm:no_such_net", None, "timm has no model 'no_such_net'"),
        ("timm:test_vit", "none.safetensors", "none.safetensors does not exist"),
        ("timm:test_vit", "text.pth", "text.pth cannot be read as weights"),
        ("timm:test_vit", "test_resnet.safetensors", "test_resnet.safetensors does not fit the backbone test_vit"),
        ("run", "test_vit.pth", "weights are for timm:NAME"),
    ],
)
def test_what_cannot_be_had_is_told(place, source, weights, said):
    (place / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match=said):
        load(source, weights=None if weights is None else place / weights, device="cpu")


def test_published_weights_that_cannot_be_fetched_are_told_with_the_way_out(monkeypatch):
    def away(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("timm.create_model", away)
    with pytest.raises(InputError, match=r"of test_vit cannot be fetched \(no network\): give a local file"):
        load("timm:test_vit", device="cpu")


def test_loading_weights_runs_no_code(place, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    torch.save({"state_dict": {"x": Evil()}}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="cannot be read as weights"):
        load("timm:test_vit", weights=tmp_path / "evil.pth", device="cpu")
    assert not (tmp_path / "made").exists()


def test_it_has_no_threshold_and_no_classes(place):
    run = load("timm:test_vit", weights=place / "test_vit.pth", device="cpu")
    with pytest.raises(InputError, match="has no threshold"):
        run.verify(place / "0.png", place / "1.png")
    with pytest.raises(InputError, match="no class head"):
        run.classify(place / "0.png")
    with pytest.raises(InputError, match="no mask head"):
        run.segment(place / "0.png")
