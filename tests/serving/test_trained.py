"""The network of a run behind the protocol: the same answers as by hand, and none that were not asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation.conftest import untrained_run, write_items
from oracles import as_input
from triune.errors import InputError
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
