"""Weights of any origin reach the backbone; what does not fit is told, and nothing in a file runs."""

import argparse
import os
import pickle
import shutil
import warnings

import pytest
import safetensors.torch
import timm
import torch

from model.small import SMALL, images, small
from triune.checksums import NAME as CHECKSUMS
from triune.errors import InputError
from triune.model.layers import plain_model, plain_names
from triune.model.network import MultiTaskModel
from triune.model.weights import load_weights, read_weights
from triune.run.card import ModelCard, Network
from triune.run.folder import save_model
from triune.run.preprocessing import earlier_preprocessing


def made(name, **options):
    torch.manual_seed(7)
    return timm.create_model(name, pretrained=False, **options)


def network(name, weights, **changes):
    torch.manual_seed(99)
    settings = {"num_classes": 2, "mask_channels": 0, "embedding_dim": 8, "pretrained": False, **changes}
    return MultiTaskModel(name, weights=weights, **settings)


def holds(model, source):
    """Whether every weight of a backbone is that of timm's whole model."""
    own, theirs = model.backbone.model.state_dict(), source.state_dict()
    names = plain_names(model.backbone.model, plain_model(model.name))
    return all(torch.equal(tensor, theirs[names[name]]) for name, tensor in own.items())


WRAPPED = {
    "as it is": lambda state: state,
    "state_dict of a parallel training": lambda state: {"epoch": 3, "state_dict": prefixed(state, "module.")},
    "model": lambda state: {"model": state, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}},
    "compiled": lambda state: {"model": prefixed(state, "_orig_mod.")},
    "Lightning": lambda state: {"state_dict": prefixed(state, "model.backbone.")},
    "an average beside it": lambda state: {"state_dict": other(state), "state_dict_ema": state},
    "DINO": lambda state: {
        "student": prefixed(other(state), "module.backbone."),
        "teacher": prefixed(state, "backbone.") | {"head.mlp.0.weight": torch.zeros(2, 2)},
        "args": argparse.Namespace(arch="vit", lr=0.1),
    },
    "student and teacher in one table": lambda state: {
        "state_dict": prefixed(other(state), "student.backbone.") | prefixed(state, "teacher.backbone.")
    },
}


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


def other(state):
    return {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in state.items()}


@pytest.mark.parametrize("kind", WRAPPED)
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext2", "test_vit"])
def test_a_checkpoint_of_any_training_reaches_the_backbone(name, kind, tmp_path):
    source = made(name)
    torch.save(WRAPPED[kind](source.state_dict()), tmp_path / "w.pth")
    model = network(name, tmp_path / "w.pth")
    assert holds(model, source)
    assert model.loaded.missing == model.loaded.misshapen == []


@pytest.mark.parametrize("name", [n for n in timm.list_models("test_*") if n not in ("test_resnet", "test_vit")])
def test_timm_names_of_every_family_are_found_in_a_backbone_taken_apart(name, tmp_path):
    source = made(name)
    safetensors.torch.save_file({n: t.contiguous() for n, t in source.state_dict().items()}, tmp_path / "w.safetensors")
    assert holds(network(name, tmp_path / "w.safetensors"), source)


def test_the_line_counts_what_matched_and_what_did_not(tmp_path):
    state = made("test_vit").state_dict()
    del state["norm.weight"], state["norm.bias"]
    state["blocks.0.norm1.weight"] = torch.zeros(3)
    torch.save(state, tmp_path / "w.pth")
    line = network("test_vit", tmp_path / "w.pth").loaded.line()
    assert line == (
        "75 of 78 tensors matched; 2 not in the file (norm.weight, norm.bias); 1 of another shape "
        "(blocks.0.norm1.weight); 2 of the file not used (head.weight, head.bias)"
    )


def test_counters_that_old_files_lack_are_not_missed(tmp_path):
    state = {n: t for n, t in made("test_resnet").state_dict().items() if "num_batches" not in n}
    torch.save(state, tmp_path / "w.pth")
    assert network("test_resnet", tmp_path / "w.pth").loaded.missing == []


@pytest.mark.parametrize("state", [{}, {"a": {"b": 1}}, {"conv9.weight": torch.zeros(3)}])
def test_a_file_in_which_nothing_matches_is_refused_in_one_line(state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth does not fit the backbone test_resnet \(0 of \d+ tensors") as refused:
        network("test_resnet", tmp_path / "w.pth")
    assert "\n" not in str(refused.value)


def test_weights_of_another_backbone_are_refused(tmp_path):
    torch.save(made("test_vit2").state_dict(), tmp_path / "w.pth")
    with pytest.raises(InputError, match="does not fit"):
        network("test_vit3", tmp_path / "w.pth")


def test_position_embeddings_of_another_size_are_stretched(tmp_path):
    torch.save(made("test_vit", img_size=224).state_dict(), tmp_path / "w.pth")
    model = network("test_vit", tmp_path / "w.pth")
    assert model.loaded.misshapen == model.loaded.missing == []
    assert model.backbone.model.pos_embed.shape == (1, 101, 64)


@pytest.mark.parametrize(("given", "wanted"), [(3, 1), (1, 3)])
def test_a_first_convolution_is_adapted_to_grey_and_colour(given, wanted, tmp_path):
    source = made("test_resnet", in_chans=given)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    model = network("test_resnet", tmp_path / "w.pth", in_channels=wanted).eval()
    grey = images(channels=1, size=(32, 32))
    # Grey images as colour: three equal channels give what the other network makes of one.
    with torch.no_grad():
        theirs = source.eval().forward_features(grey.expand(-1, given, -1, -1))
        torch.testing.assert_close(model.maps(grey.expand(-1, wanted, -1, -1)).features[-1], theirs)


def test_a_run_and_its_file_of_weights_are_taken(tmp_path):
    torch.manual_seed(3)
    settings = {"backbone": "test_resnet", "num_classes": 3, "mask_channels": 1, "embedding_dim": 8}
    trained = MultiTaskModel(**settings, pretrained=False)
    more = {"in_channels": 3, "decoder": "unet", "decoder_channels": (128, 64, 32, 16, 16), "embedding_stage": -1}
    described = Network(**settings, **more, pooling="avg", mask_pooling=False, dropout=0.0)
    images = earlier_preprocessing(32, 3)
    card = ModelCard(model=described, classes=["a", "b", "c"], channels=3, metric="cosine", **images)
    run = tmp_path / "run"
    run.mkdir()
    save_model(run / "model.safetensors", trained, card)
    for weights in (run, run / "model.safetensors"):
        model = network("test_resnet", weights)
        own = trained.backbone.model.state_dict()
        assert all(torch.equal(t, own[n]) for n, t in model.backbone.model.state_dict().items())
    (run / CHECKSUMS).write_text('{"format": 1, "files": {"model.safetensors": "blake2b:00"}}')
    with pytest.raises(InputError):
        read_weights(run)
    shutil.rmtree(run)
    run.mkdir()
    with pytest.raises(InputError, match=r"is a folder without model\.safetensors"):
        read_weights(run)


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("content", [{"w": Harmful()}, Harmful(), {"model": torch.nn.Linear(2, 2)}])
def test_no_code_in_a_file_is_run(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "w.pth")
    with pytest.raises(InputError, match=r"w\.pth cannot be read as weights: it holds \S+ beside tensors") as refused:
        load_weights(torch.nn.Linear(3, 2), tmp_path / "w.pth")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "harm").exists()


def test_weights_that_are_not_finite_are_named(tmp_path):
    state = torch.nn.Linear(3, 2).state_dict()
    state["bias"][0] = float("nan")
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match="weights bias are not finite"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "w.pth")


@pytest.mark.parametrize("content", [[torch.zeros(2)], torch.zeros(2), 3])
def test_what_holds_no_names_is_told(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match="not tensors by name"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "w.pth")


def test_a_pickle_of_python_is_refused_in_our_words_alone(tmp_path):
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"a": os.system}, protocol=4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="cannot be read as weights"):
            read_weights(tmp_path / "w.pth")


def test_a_file_of_another_kind_is_told(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"w\.pth cannot be read as weights: it is damaged, or of another kind$"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_cut_short_is_named(suffix, tmp_path):
    path, state = tmp_path / f"w{suffix}", torch.nn.Linear(3, 2).state_dict()
    torch.save(state, path) if suffix == ".pth" else safetensors.torch.save_file(state, path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"cannot be read as weights") as refused:
        load_weights(torch.nn.Linear(3, 2), path)
    assert "\n" not in str(refused.value)


def test_weights_that_do_not_fit_name_a_tensor(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="does not fit"):
        small(weights=path)


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_of_a_checkpoint_may_lie_under_state_dict_and_among_others(tmp_path, wrapped):
    source, target = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    state = {**source.state_dict(), "fc.weight": torch.zeros(1)}  # a classification head that features have not
    torch.save({"state_dict": state} if wrapped else state, tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert torch.equal(target.weight, source.weight)
    assert torch.equal(target.bias, source.bias)


def test_weights_from_a_local_file_reach_the_backbone(tmp_path):
    source = small()
    path = tmp_path / "backbone.safetensors"
    safetensors.torch.save_file({k: v.contiguous() for k, v in source.backbone.model.state_dict().items()}, path)
    torch.manual_seed(99)
    loaded = MultiTaskModel(**SMALL, num_classes=3, weights=path)
    for name, tensor in loaded.backbone.model.state_dict().items():
        torch.testing.assert_close(tensor, source.backbone.model.state_dict()[name])


@pytest.mark.parametrize("kind", [torch.int8, torch.complex64])
def test_numbers_of_another_kind_are_not_taken_for_weights(kind, tmp_path):
    source = torch.nn.Linear(3, 2)
    torch.save({name: tensor.to(kind) for name, tensor in source.state_dict().items()}, tmp_path / "w.pth")
    name = str(kind).removeprefix("torch.")
    with pytest.raises(InputError, match=rf"w\.pth: its weights weight are {name}, as of a quantised network"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "it is a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html>404</html>", "it is a page of the web: download the file itself"),
    ],
)
def test_what_lies_in_the_place_of_weights_is_told(content, said, tmp_path):
    for suffix in (".safetensors", ".pth"):
        path = tmp_path / f"w{suffix}"
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"w{suffix} cannot be read as weights: {said}"):
            read_weights(path)


def test_why_safetensors_cannot_be_read_is_said_in_words(tmp_path):
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(torch.nn.Linear(3, 2).state_dict(), path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"weights: it is damaged, cut short, or no safetensors \(incomplete metadata"):
        read_weights(path)
