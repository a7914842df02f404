"""Runs of every way to see images, exported: the file says of image files what the run says, also by tiles."""

import numpy as np
import pytest
import torch
from PIL import Image

from serving.exported.test_families import made
from triune.data.boxes import Box
from triune.model.adapters import add_adapters, merge_adapters
from triune.run.folder import save_model
from triune.serving.loaded import load
from triune.serving.networks import EVERYTHING, Tiles

CASES = {
    # 128 pixels are eight strides of 16: the run's tiles have the size that the file takes.
    "a ViT with merged adapters, grey, 12 bits, cropped": (
        {"backbone": "test_vit", "in_channels": 1, "size": (128, 128), "decoder_channels": (8, 8, 8, 8, 8)},
        {"fit": "crop", "image_bits": 12, "interpolation": "bilinear"},
    ),
    "padded, not square, several mask channels, 16 bits": (
        {"size": (40, 72), "mask_channels": 3},
        {"fit": "pad", "image_bits": 16},
    ),
}


def with_merged_adapters(model, backbone):
    """As training with ``--model.adapters`` leaves a network: other weights under the old names."""
    add_adapters(model, backbone, rank=2)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                weights.normal_(0, 0.2, generator=torch.Generator().manual_seed(1))
    merge_adapters(model)


@pytest.fixture(scope="module", params=CASES, ids=str)
def both(request, tmp_path_factory):
    """The run, and its file."""
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (pip install 'triune[export]')")
    case, changes = CASES[request.param]
    folder = tmp_path_factory.mktemp("whole")
    model, card = made(**case)
    if "adapters" in request.param:
        pytest.importorskip("peft", reason="peft is not installed (pip install 'triune[adapters]')")
        before = {name: each.clone() for name, each in model.state_dict().items()}
        with_merged_adapters(model, case["backbone"])
        assert list(model.state_dict()) == list(before)
        assert any((each != before[name]).any() for name, each in model.state_dict().items())
    save_model(folder / "model.safetensors", model, card.model_copy(update=changes))
    run = load(folder, device="cpu")
    run.export(folder / "run.onnx")
    return run, load(folder / "run.onnx")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Wide and tall ones, in colour and grey, 8 and 16 bits, one turned by its EXIF, one with a box."""
    folder, g = tmp_path_factory.mktemp("images"), np.random.default_rng(0)

    def smooth(*size):
        return Image.fromarray(g.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)

    smooth(310, 190).save(folder / "wide.png")
    smooth(90, 200).convert("L").save(folder / "tall.png")
    Image.fromarray(np.asarray(smooth(160, 150).convert("L")).astype(np.uint16) * 16).save(folder / "deep.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    smooth(130, 70).save(folder / "turned.jpg", exif=turned)
    paths = sorted(map(str, folder.iterdir()))
    return [(path, None) for path in paths] + [(str(folder / "wide.png"), Box(20, 30, 170, 150))]


def test_a_file_says_of_images_what_its_run_does(both, images):
    run, file = (each.network for each in both)
    for path, box in images:
        (ours,), (theirs,) = (each.say([each.read(path, box)], EVERYTHING) for each in (run, file))
        np.testing.assert_allclose(theirs.embedding, ours.embedding, atol=1e-4)
        np.testing.assert_allclose(theirs.shares, ours.shares, atol=1e-4)
        assert theirs.mask.shape == ours.mask.shape
        assert (theirs.mask != ours.mask).mean() < 0.005
        assert np.array_equal(theirs.mask == 255, ours.mask == 255)


def test_the_images_are_told_apart(both, images):
    """Otherwise equality above would say nothing."""
    rows = np.stack([both[1].network.say([both[1].network.read(*each)], EVERYTHING)[0].embedding for each in images])
    apart = np.abs(rows[:, None] - rows).max(axis=2)
    assert apart[np.triu_indices(len(rows), 1)].min() > 1e-3


@pytest.mark.parametrize("side", [128, 100])
def test_where_the_run_s_tiles_have_the_size_that_the_file_takes_masks_by_tiles_are_equal(both, images, side):
    run, file = (each.network for each in both)
    if run.trained.size != (128, 128):
        pytest.skip("its tiles are larger: eight strides")
    for path, box in (images[3], images[4]):
        ours, theirs = (each.tiled_mask(path, Tiles(side), box) for each in (run, file))
        assert ours is not None
        assert ours.shape == theirs.shape
        assert (ours != theirs).mean() < 0.005
