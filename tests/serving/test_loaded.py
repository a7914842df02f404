"""A run in use: the same answers as the network gives by hand, in order, whatever form the images have."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

import triune
from evaluation.conftest import SIDE, untrained_run, write_items
from oracles import as_input
from triune.errors import InputError
from triune.run.folder import load_model, save_model
from triune.serving.answers import Unreadable
from triune.serving.loaded import load
from triune.serving.networks import Said, Tiles
from triune.serving.trained import TrainedNetwork


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("use")
    untrained_run(folder / "run", write_items(folder))
    return folder


@pytest.fixture(scope="module")
def run(place):
    return load(place / "run", device="cpu")


def files(place, count=7):
    return sorted((place / "images").glob("*.png"))[:count]


def by_hand(place, paths):
    model, card = load_model(place / "run")
    with torch.inference_mode():
        return model(torch.stack([as_input(np.asarray(Image.open(path))) for path in paths])), card


def test_it_is_loaded_by_the_package_s_own_name_and_says_what_it_is(place, run):
    assert repr(triune.load(str(place / "run"), device="cpu")) == repr(run)
    assert repr(run) == f"<{place / 'run'}: resnet10t on cpu; 2 classes, masks, embeddings of 16>"


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_answers_are_the_network_s_in_the_order_of_the_images(place, run, batch_size):
    paths = files(place)
    expected, card = by_hand(place, paths)
    seen = []
    found = run.predict(paths, batch_size=batch_size, progress=lambda *both: seen.append(both))
    assert [each.name for each in found] == [str(path) for path in paths]
    np.testing.assert_allclose([each.embedding for each in found], expected.embedding, atol=1e-5)
    np.testing.assert_allclose(run.embed(paths, batch_size=batch_size), expected.embedding, atol=1e-5)
    shares = expected.class_logits.double().softmax(1)
    for row, each in zip(shares, found, strict=True):
        assert each.label == card.classes[int(row.argmax())]
        assert list(each.probabilities.values()) == sorted(each.probabilities.values(), reverse=True)
        assert each.probabilities == pytest.approx(dict(zip(card.classes, row.tolist(), strict=True)), abs=1e-5)
    for logits, each in zip(expected.mask_logits, found, strict=True):
        assert (each.mask != (logits[0] > 0).numpy()).mean() < 0.01  # but for the last bits of a logit near 0
    assert seen[-1] == (7, 7)
    assert len(seen) == -(-7 // batch_size)


def test_a_mask_is_as_large_as_its_image_and_stands_as_the_image_is_seen(place, run, tmp_path):
    tall = Image.open(files(place)[0]).resize((SIDE, 2 * SIDE))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    tall.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    turned = run.predict(tmp_path / "turned.jpg")[0]
    assert turned.size == turned.mask.shape == (SIDE, 2 * SIDE)
    upright = run.predict(tall)[0]
    assert upright.size == upright.mask.shape == (2 * SIDE, SIDE)
    model, card = load_model(place / "run")
    small = np.asarray(tall.resize(card.size, Image.Resampling.BICUBIC))
    with torch.inference_mode():
        logits = model(as_input(small)[None]).mask_logits
    expected = interpolate(logits, size=(2 * SIDE, SIDE), mode="bilinear")[0, 0] > 0
    assert (upright.mask != expected.numpy()).mean() < 0.01


def test_one_image_is_one_whatever_form_it_has(place, run):
    path = files(place)[0]
    image = Image.open(path)
    array = np.asarray(image)
    forms = [path, str(path), image, array, array / 255, torch.from_numpy(array.copy()).permute(2, 0, 1)]
    rows = run.embed(forms)
    np.testing.assert_allclose(rows, rows[:1].repeat(6, 0), atol=1e-6)


def test_an_image_in_the_middle_that_cannot_be_read_is_named_or_left_out_in_its_place(place, run, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(files(place)[0].read_bytes()[:60])
    given = [*files(place, 5)[:3], bad, *files(place, 5)[3:]]
    with pytest.raises(InputError, match=r"bad\.png cannot be read as an image"):
        run.embed(given)
    found = run.predict(given, skip=True, batch_size=2)
    assert [isinstance(each, Unreadable) for each in found] == [False, False, False, True, False, False]
    assert found[3].name == str(bad)
    assert [each.name for each in found] == [str(each) for each in given]
    alone = run.predict([bad], skip=True)
    assert isinstance(alone[0], Unreadable)


def test_what_a_network_cannot_say_is_told(place, run, monkeypatch):
    nothing = Said(embedding=np.full(16, np.nan, np.float32))
    monkeypatch.setattr(TrainedNetwork, "say", lambda self, images, heads: [nothing for _ in images])
    with pytest.raises(InputError, match=r"gives no finite embedding of .*0-0\.png"):
        run.embed(files(place, 1))
    with pytest.raises(InputError, match="batch_size is 0"):
        run.predict(files(place, 1), batch_size=0)
    with pytest.raises(InputError, match="one image is compared with one other, but 3 were given"):
        run.verify(files(place, 2), files(place, 1))


def test_single_heads_say_what_all_of_them_say(place, run):
    paths = files(place)
    for whole, label, mask in zip(run.predict(paths), run.classify(paths), run.segment(paths), strict=True):
        assert label.probabilities == pytest.approx(whole.probabilities)
        np.testing.assert_array_equal(mask.mask, whole.mask)
        assert (label.mask, label.embedding, mask.probabilities, mask.embedding) == (None, None, None, None)


def test_what_was_loaded_has_the_fingerprint_of_its_weights(place, run, tmp_path):
    copied = tmp_path / "elsewhere"
    shutil.copytree(place / "run", copied)
    assert load(copied, device="cpu").fingerprint == run.fingerprint
    model, card = load_model(copied)
    model.embedding_head.bias.data[0] += 1e-3
    save_model(tmp_path / "model.safetensors", model, card)
    assert load(tmp_path / "model.safetensors", device="cpu").fingerprint != run.fingerprint


def test_large_images_have_their_masks_by_tiles_and_all_else_as_without(run, tmp_path):
    large, small = tmp_path / "large.png", tmp_path / "small.png"
    Image.new("RGB", (300, 200), "red").save(large)
    Image.new("RGB", (60, 50), "blue").save(small)
    given = [large, small, tmp_path / "none.png"]
    (tmp_path / "none.png").write_text("no image")
    cut = run.predict(given, tiles=Tiles(100), skip=True)
    whole = run.predict(given, skip=True)
    assert cut[0].mask.shape == (200, 300)
    np.testing.assert_array_equal(cut[0].mask, run.network.tiled_mask(str(large), Tiles(100)))
    np.testing.assert_array_equal(cut[1].mask, whole[1].mask)
    assert cut[0].probabilities == whole[0].probabilities
    np.testing.assert_array_equal(cut[0].embedding, whole[0].embedding)
    assert isinstance(cut[2], Unreadable)
    np.testing.assert_array_equal(run.predict(large, tiles=100)[0].mask, cut[0].mask)


def test_a_run_is_loaded_and_used_without_what_only_training_and_drawing_need(place):
    code = (
        "import sys, triune; run = triune.load(sys.argv[1], device='cpu'); run.predict(sys.argv[2:]); "
        "heavy = ('torch._dynamo', 'torch._inductor', 'lightning', 'matplotlib', 'torchmetrics', 'pandas'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, place / "run", *files(place, 2)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
