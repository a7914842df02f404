"""The network of a run behind the protocol: the same answers as by hand, and none that were not asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from PIL import Image

from evaluation.conftest import untrained_run, write_items
from oracles import as_input
from triune.data.boxes import Box
from triune.errors import InputError
from triune.run.folder import seal
from triune.serving.networks import EMBEDDING, Heads, Tiles
from triune.serving.trained import load_trained


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    untrained_run(folder / "run", write_items(folder))
    return folder


def test_it_says_what_it_is_asked_for_alone(place):
    network = load_trained(place / "run", torch.device("cpu"))
    read = [network.read(str(place / "images" / name)) for name in ("0-0.png", "1-0.png")]
    everything = network.say(read, Heads())
    alone = network.say(read, EMBEDDING)
    for one, both in zip(alone, everything, strict=True):
        assert (one.shares, one.mask) == (None, None)
        np.testing.assert_allclose(one.embedding, both.embedding, atol=1e-6)
        assert both.mask.shape == read[0].size
        assert both.shares.sum() == pytest.approx(1)
    assert network.say(read, Heads(embedding=False))[0].embedding is None


def test_the_file_of_the_weights_and_its_folder_are_one_network(place):
    folder = load_trained(place / "run", torch.device("cpu"))
    file = load_trained(place / "run" / "model.safetensors", torch.device("cpu"))
    assert folder.fingerprint == file.fingerprint
    assert (folder.card.dim, folder.card.classes, folder.card.masks) == (16, ("even", "odd"), True)
    assert folder.card.name == str(place / "run")
    assert Path(file.card.name).name == "model.safetensors"


def test_an_image_by_tiles_at_the_scale_of_training_is_the_network_on_all_of_it(place):
    network = load_trained(place / "run", torch.device("cpu"))
    side, stride = network.trained.size[0], network.model.stride
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 255, (10, 12, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((6 * side, 5 * side), Image.Resampling.BICUBIC)
    mask = network.tiled_mask(image, Tiles(side, 0.5))
    assert mask.shape == (5 * side, 6 * side)
    with torch.inference_mode():
        whole = network.model(as_input(np.asarray(image))[None]).mask_logits[0, 0]
    # Tiles see less around them than the whole image lets them: most pixels agree, whatever the untrained weights.
    assert (mask == (whole > 0).numpy()).mean() > 0.8
    assert stride <= side


def test_tiles_of_another_scale_give_a_mask_in_the_image_s_own_size_and_small_images_are_left_whole(place):
    network = load_trained(place / "run", torch.device("cpu"))
    image = Image.new("RGB", (700, 400), "red")
    assert network.tiled_mask(image, Tiles(200)).shape == (400, 700)
    assert network.tiled_mask(image, Tiles(700)) is None


def test_tiles_that_would_enlarge_an_image_without_bounds_are_refused_with_those_that_do_not(place):
    network = load_trained(place / "run", torch.device("cpu"))
    image = Image.new("RGB", (3000, 20), "red")
    with pytest.raises(InputError, match="choose a tile of") as refused:
        network.tiled_mask(image, Tiles(1))
    least = int(str(refused.value).split()[-3])
    assert network.tiled_mask(Image.new("RGB", (64, 20), "red"), Tiles(max(least, 32))).shape == (20, 64)


def run_of(folder, items, *flags):
    untrained_run(folder, items, "--model.backbone", "test_resnet", "--model.decoder", "fpn", *flags)
    return load_trained(folder, torch.device("cpu"))


def embedded(network, source, box=None):
    return network.say([network.read(str(source), box)], EMBEDDING)[0].embedding


def by_hand(network, pixels, mean, std):
    """The embedding of uint8 pixels ``(H, W, 3)`` of the size that the network sees."""
    images = torch.from_numpy(((np.asarray(pixels) / 255 - mean) / std).transpose(2, 0, 1)).float()[None]
    with torch.inference_mode():
        return network.model.embed(images)[0].numpy()


def test_a_network_sees_new_images_as_its_backbone_was_trained_to(place, tmp_path):
    """This backbone was trained with mean and deviation 0.5 and a bilinear filter."""
    network = run_of(tmp_path / "run", place / "items.csv")
    wide = Image.open(place / "images" / "3-0.png").resize((200, 90))
    wide.save(tmp_path / "wide.png")
    small = wide.resize(network.trained.size, Image.Resampling.BILINEAR)
    np.testing.assert_allclose(embedded(network, tmp_path / "wide.png"), by_hand(network, small, 0.5, 0.5), atol=1e-5)


def test_a_run_from_before_that_gives_its_old_numbers_on_whole_images(place, tmp_path):
    network = run_of(tmp_path / "run", place / "items.csv")
    path = tmp_path / "run" / "model.safetensors"
    with safetensors.safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["card"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dictionary
    side = card["size"][0]
    old = {k: v for k, v in card.items() if k not in ("fit", "interpolation", "mean", "std", "boxes")}
    old |= {"format": 2, "size": side}
    path.write_bytes(safetensors.torch.save(tensors, metadata={"card": json.dumps(old)}))
    seal(tmp_path / "run", ["model.safetensors"])
    network = load_trained(tmp_path / "run", torch.device("cpu"))
    wide = Image.open(place / "images" / "3-0.png").resize((200, 90))
    wide.save(tmp_path / "wide.png")
    small = wide.resize((side, side), Image.Resampling.BICUBIC)
    expected = by_hand(network, small, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for box in (None, Box(10, 10, 50, 50)):
        np.testing.assert_allclose(embedded(network, tmp_path / "wide.png", box), expected, atol=1e-5)


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
def test_a_box_is_looked_at_as_if_it_were_the_image(place, tmp_path, fit):
    network = run_of(tmp_path / "run", place / "items.csv", "--images.size", "64", "32", "--images.fit", fit)
    image = Image.open(place / "images" / "4-0.png").resize((90, 120))
    image.save(tmp_path / "a.png")
    box = Box(20, 30, 80, 110)
    image.crop(box).save(tmp_path / "cut.png")
    np.testing.assert_array_equal(embedded(network, tmp_path / "a.png", box), embedded(network, tmp_path / "cut.png"))
    cut = network.say([network.read(str(tmp_path / "cut.png"))], Heads())[0].mask
    whole = network.say([network.read(str(tmp_path / "a.png"), box)], Heads())[0].mask
    assert whole.shape == (120, 90)
    assert np.array_equal(whole[box.place], cut)
    whole[box.place] = 255
    assert (whole == 255).all()
    assert (cut == 255).any() == (fit == "crop")
    tiled = network.tiled_mask(str(tmp_path / "a.png"), Tiles(40), box)
    assert np.array_equal(tiled[box.place], network.tiled_mask(str(tmp_path / "cut.png"), Tiles(40)))
    tiled[box.place] = 255
    assert (tiled == 255).all()


def test_tiles_are_prepared_in_the_same_way_and_see_the_whole_image_whatever_the_fit(place, tmp_path):
    masks = []
    for fit in ("squash", "crop"):
        network = run_of(tmp_path / fit, place / "items.csv", "--images.size", "64", "32", "--images.fit", fit)
        image = Image.open(place / "images" / "4-0.png").resize((150, 100))
        masks.append(network.tiled_mask(image, Tiles(64)))
    assert masks[0].shape == (100, 150)
    assert np.array_equal(*masks)
    assert not (masks[0] == 255).any()
