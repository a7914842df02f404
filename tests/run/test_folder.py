"""The run folder: names that do not collide, and the model file with its card."""

import json
import resource
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from triune.checksums import check_file, read_checksums
from triune.data.preprocessing import MEAN, STD, Preprocessing
from triune.errors import InputError
from triune.model.network import MultiTaskModel
from triune.ranges import MOST_PIXELS_A_SIDE
from triune.run.card import ModelCard, Network
from triune.run.folder import load_card, load_model, new_run_folder, save_model, seal

FORMAT1 = Path(__file__).parent / "format1"


def card(**changes):
    network = {
        "backbone": "resnet10t", "num_classes": 2, "mask_channels": 0, "embedding_dim": 4, "in_channels": 3,
        "decoder": "unet", "decoder_channels": (16, 8, 8, 8, 8), "embedding_stage": -1, "pooling": "avg",
        "mask_pooling": False, "dropout": 0.0,
    }  # fmt: skip
    given = {"model": Network(**network), "classes": ["a", "b"], "channels": 3, "metric": "cosine"}
    seen = {"size": (32, 32), "fit": "squash", "interpolation": "bicubic", "boxes": True}
    numbers = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    return ModelCard(**{**given, **seen, **numbers, **changes})


def saved(path, stored=None):
    torch.manual_seed(1)
    model = MultiTaskModel(**card().model.model_dump(), pretrained=False).eval()
    save_model(path, model, card())
    if stored is not None:  # the same weights with another card
        tensors = {name: each.numpy() for name, each in model.state_dict().items()}
        safetensors.numpy.save_file(tensors, path, metadata={"card": json.dumps(stored), "triune": "0"})
    return model


def test_new_run_folders_do_not_collide(tmp_path):
    assert [new_run_folder("digits", tmp_path).name for _ in range(3)] == ["digits-1", "digits-2", "digits-3"]


def test_a_model_is_read_back_with_its_card(tmp_path):
    model = saved(tmp_path / "model.safetensors")
    read, found = load_model(tmp_path)
    assert found == card()
    assert not read.training
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(read.embed(images), model.embed(images))


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_vit_relpos"])
def test_it_is_the_network_that_was_written_also_where_a_file_holds_not_all_of_it(tmp_path, backbone):
    """A transformer's relative positions are numbers that no file holds."""
    told = card(model=card().model.model_copy(update={"backbone": backbone, "embedding_dim": 4}))
    torch.manual_seed(2)
    model = MultiTaskModel(**told.model.model_dump(), pretrained=False).eval()
    save_model(tmp_path / "model.safetensors", model, told)
    read, _ = load_model(tmp_path)
    images = torch.randn(2, 3, 160, 160)
    with torch.inference_mode():
        assert torch.equal(read.embed(images), model.embed(images))
    assert all(each.requires_grad for each in read.parameters())


def test_a_network_is_built_once_and_draws_no_weights_by_chance(tmp_path):
    saved(tmp_path / "model.safetensors")
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_model(tmp_path)
    assert torch.equal(torch.rand(4), expected)


def test_a_network_that_is_read_has_memory_of_its_own(tmp_path):
    """What is done to the file afterwards, as by copying another over it, changes nothing."""
    model = saved(tmp_path / "model.safetensors")
    read, _ = load_model(tmp_path)
    file = tmp_path / "model.safetensors"
    with file.open("r+b") as opened:
        opened.truncate(100)
    images = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(read.embed(images), model.embed(images))


def test_a_card_of_version_0_1_0_is_read(tmp_path):
    stored = json.loads((FORMAT1 / "model_card.json").read_text())
    assert "format" not in stored
    stored["model"] |= {"num_classes": 2, "mask_channels": 0, "embedding_dim": 4}
    saved(tmp_path / "model.safetensors", stored)
    _, found = load_model(tmp_path)
    assert (found.classes, found.model.backbone, found.metric) == (["disc", "square"], "resnet10t", "cosine")
    assert found.preprocessing == Preprocessing(
        (32, 32), "squash", "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )
    assert not found.boxes, "it was trained on whole images"


@pytest.mark.parametrize(("channels", "mean", "std"), [(1, (0.449,), (0.226,)), (3, MEAN[3], STD[3])])
def test_a_card_of_format_2_squashes_and_normalises_as_it_was_trained_to(tmp_path, channels, mean, std):
    today = json.loads(card(model=card().model.model_copy(update={"in_channels": channels}), channels=channels,
                            mean=mean, std=std).model_dump_json())  # fmt: skip
    later = ("fit", "interpolation", "mean", "std", "boxes")
    stored = {name: value for name, value in today.items() if name not in later}
    saved(tmp_path / "model.safetensors", {**stored, "format": 2, "size": 40})
    found = load_card(tmp_path)
    assert found.preprocessing == Preprocessing((40, 40), "squash", "bicubic", mean, std)
    assert not found.boxes
    assert json.loads(found.model_dump_json())["format"] == 3
    saved(tmp_path / "model.safetensors", {**stored, "format": 2, "size": "large"})
    with pytest.raises(InputError, match=r"model card, field size\.0: Input should be a valid integer"):
        load_card(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": [32, "large"]}, "model card, field size.1: Input should be a valid integer"),
        ({"size": [32]}, "model card, field size"),
        ({"fit": "stretch"}, "model card, field fit: Input should be 'squash', 'pad' or 'crop'"),
        ({"interpolation": "sharp"}, "model card, field interpolation"),
        ({"mean": [0.5, 0.5]}, "mean and std need a number for each of 3 channels"),
        ({"std": [0.5, 0.0, 0.5]}, "model card, field std.1: Input should be greater than 0"),
        ({"std": [0.5, None, 0.5]}, "model card, field std.1"),
        ({"metric": "manhattan"}, "model card, field metric"),
        ({"model": {"backbone": "resnet10t"}}, "model card, field model.num_classes: Field required"),
    ],
)
def test_a_damaged_card_is_one_line_that_names_the_field(tmp_path, change, says):
    saved(tmp_path / "model.safetensors", {**json.loads(card().model_dump_json()), **change})
    with pytest.raises(InputError) as raised:
        load_model(tmp_path)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_damaged_or_foreign_model_file_says_so(tmp_path):
    path = tmp_path / "model.safetensors"
    saved(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="cut short or damaged"):
        load_model(tmp_path)
    safetensors.numpy.save_file({"a": np.zeros(1)}, path)
    with pytest.raises(InputError, match="no Triune model card"):
        load_model(tmp_path)
    other = json.loads(card(classes=["a", "b", "c"]).model_dump_json())
    other["model"]["num_classes"] = 3
    saved(path, other)
    with pytest.raises(InputError, match="its weights are not those of the network") as raised:
        load_model(tmp_path)
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="does not exist"):
        load_model(tmp_path / "none")


@pytest.mark.parametrize(
    "change",
    [
        {"embedding_dim": 10**12},
        {"num_classes": 10**12},
        {"decoder_channels": [10**9] * 5, "mask_channels": 1},
        {"backbone": "resnet99"},
        {"embedding_stage": 77},
    ],
)
def test_a_card_that_claims_another_network_takes_no_memory_for_it(tmp_path, change):
    stored = json.loads(card().model_dump_json())
    saved(tmp_path / "model.safetensors", {**stored, "model": {**stored["model"], **change}})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"model\.safetensors: ") as refused:
        load_model(tmp_path)
    assert "\n" not in str(refused.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 << 10  # KiB


@pytest.mark.parametrize("size", [0, -1, MOST_PIXELS_A_SIDE + 1])
def test_a_card_whose_images_have_no_size_is_refused(tmp_path, size):
    saved(tmp_path / "model.safetensors", {**json.loads(card().model_dump_json()), "size": [32, size]})
    with pytest.raises(InputError, match=r"model card, field size\.1"):
        load_model(tmp_path)


def test_the_card_stands_alone_so_that_the_same_network_has_the_same_bytes_in_every_process(tmp_path):
    """Of several entries safetensors leaves the order to chance, which differs from process to process."""
    saved(tmp_path / "model.safetensors")
    with safetensors.safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert list(file.metadata()) == ["card"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path, value):
    model = MultiTaskModel(**card().model.model_dump(), pretrained=False)
    with torch.no_grad():
        model.embedding_head.bias[1] = value
    save_model(tmp_path / "model.safetensors", model, card())
    with pytest.raises(InputError, match=r"the weights embedding_head\.bias are not finite"):
        load_model(tmp_path)


def test_a_flipped_byte_of_the_weights_is_seen_also_where_the_file_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, MultiTaskModel(**card().model.model_dump(), pretrained=False), card())
    seal(tmp_path, [path.name])
    assert load_model(tmp_path)[1] == load_card(tmp_path) == card()
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    for place in (tmp_path, path):
        with pytest.raises(InputError, match=r"model\.safetensors is damaged or of another run"):
            load_model(place)


def test_checksums_are_added_outdated_and_taken_away_one_by_one(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    seal(tmp_path, ["a", "b", "c", "none"])
    assert set(read_checksums(tmp_path)) == {"a", "b", "c"}
    (tmp_path / "a").write_text("new")
    seal(tmp_path, ["a"], outdated=["b", "none"], unchecked=["c", "none"])
    listed = read_checksums(tmp_path)
    assert (set(listed), listed["b"]) == ({"a", "b"}, None)
    check_file(tmp_path / "a")


def test_while_a_network_is_written_there_is_no_file_but_the_one_that_is_cleared_after_a_kill(tmp_path, monkeypatch):
    seen, replace = [], Path.replace

    def noted(self, target):
        seen.extend(path.name for path in tmp_path.iterdir())
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    monkeypatch.setattr(safetensors.torch, "save_file", None)  # it has a temporary file of its own
    saved(tmp_path / "model.safetensors")
    assert len(seen) == 1
    assert seen[0].startswith(".model.safetensors.")
