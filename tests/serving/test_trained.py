"""The network of a run behind the protocol: the same answers as by hand, and none that were not asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.conftest import untrained_run, write_items
from triune.serving.networks import EMBEDDING, Heads
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
