"""An exported file in use: it computes what is asked for, as the run does, and refuses what it cannot do."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from PIL import Image

from triune.data.boxes import Box
from triune.errors import InputError
from triune.serving.by_tiles import Segmenter, mask_by_tiles
from triune.serving.exported.network import load_exported, session_of
from triune.serving.loaded import load
from triune.serving.networks import COMPARED, EMBEDDING, EVERYTHING, Heads, Tiles


@pytest.fixture(scope="module")
def network(exported):
    return load_exported(exported[0] / "run.onnx", "cpu")


def test_an_image_is_read_by_the_same_preprocessing_as_the_run_s(exported, network):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 50, 3), dtype=np.uint8))
    box = Box(5, 10, 45, 60)
    read = network.read(image, box)
    assert (read.pixels.shape, read.pixels.dtype, read.size, read.box) == ((48, 48, 3), np.uint8, (70, 50), box)
    run = load(exported[0] / "run", device="cpu").network
    mean, std = (np.array(each, np.float32)[:, None, None] for each in (run.trained.mean, run.trained.std))
    by_hand = (read.pixels.transpose(2, 0, 1) / np.float32(255) - mean) / std
    np.testing.assert_allclose(run.read(image, box).pixels, by_hand, atol=1e-5)


def test_what_is_not_asked_for_is_not_computed(network):
    image = [network.read(Image.new("RGB", (48, 48), "red"))]
    (whole,), (compared,), (embedding,) = (network.say(image, each) for each in (EVERYTHING, COMPARED, EMBEDDING))
    assert whole.mask.shape == (48, 48)
    assert whole.shares.sum() == pytest.approx(1, abs=1e-6)
    assert (compared.mask, compared.shares) == (None, None)
    assert compared.unfamiliar is whole.unfamiliar is True
    assert embedding.unfamiliar is None
    np.testing.assert_allclose(embedding.embedding, whole.embedding, atol=1e-6)
    nothing = Heads(classes=False, masks=False, embedding=False, familiar=False)
    assert network.say(image * 3, nothing) == [type(whole)()] * 3


def test_a_device_that_is_not_there_says_so(exported):
    with pytest.raises(InputError, match="this ONNX Runtime has no CUDAExecutionProvider"):
        load_exported(exported[0] / "run.onnx", "cuda")


def test_threads_are_as_many_as_the_environment_says(exported, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    content = (exported[0] / "run.onnx").read_bytes()
    assert session_of(content, "m").get_session_options().intra_op_num_threads == 1


def test_a_graph_that_onnx_runtime_cannot_compute_is_one_line(exported, tmp_path):
    model = onnx.load(exported[0] / "run.onnx")
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(InputError, match=r"m\.onnx cannot be computed by ONNX Runtime: ") as raised:
        session_of(model.SerializeToString(), "m.onnx")
    assert "\n" not in str(raised.value)


def test_a_file_that_was_exported_without_thresholds_says_so(exported):
    network = load_exported(exported[0] / "run.onnx")
    object.__setattr__(network, "exported", network.exported.model_copy(update={"thresholds": None}))
    with pytest.raises(InputError, match=r"holds no threshold: its run had no thresholds\.json"):
        network.thresholds


@pytest.mark.parametrize("side", [48, 70])
def test_a_mask_by_tiles_is_the_run_s_by_tiles_of_that_size(exported, network, side):
    run = load(exported[0] / "run", device="cpu").network
    coarse = np.random.default_rng(5).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((170, 110), Image.Resampling.BICUBIC)
    found = network.tiled_mask(image, Tiles(side))
    theirs = mask_by_tiles(Segmenter(run.trained, run.trained.size, run.model.stride, run.segment), image, Tiles(side))
    assert found.shape == (110, 170)
    assert 0 < found.mean() < 1
    assert (found != theirs).mean() < 1e-3
    assert network.tiled_mask(image, Tiles(170)) is None


def test_a_file_without_masks_makes_none_by_tiles(exported, network):
    embedding = replace(network, exported=network.exported.model_copy(update={"part": "embedding"}))
    with pytest.raises(InputError, match=r"run\.onnx has no mask head"):
        embedding.tiled_mask(Image.new("RGB", (100, 100)), Tiles(48))
