"""A run as one file: its answers are the run's own, it says what it is, and nothing is written that is not so."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import triune
from run.test_folder import card
from triune._version import __version__
from triune.errors import InputError
from triune.run.folder import load_model
from triune.serving.exported import export as exporting
from triune.serving.loaded import load


def files(folder, count=7):
    return sorted((folder / "images").glob("*.png"))[:count]


def test_the_file_is_checked_on_validation_and_test_images_and_verifies_as_the_run_does(exported):
    folder, written = exported
    assert repr(written) == f"<{folder / 'run.onnx'}: all, float32, {written.size / 1e6:.1f} MB>"
    assert [(each.shown, each.kind) for each in written.checked] == [(24, "validation images"), (24, "test images")]
    for each in written.checked:
        assert 0 < each.embedding <= 1e-4
        assert 0 < each.probability <= 1e-4
        assert each.masks <= 0.005
        assert each.rates[0].fpr == 0.1
        assert all(rates.before == rates.after for rates in each.rates)
    assert json.loads(json.dumps(written.to_dict()))["checked"][0]["kind"] == "validation images"


def test_it_is_used_in_the_place_of_the_run(exported):
    folder, _ = exported
    run, file = load(folder / "run", device="cpu"), triune.load(str(folder / "run.onnx"))
    assert (file.classes, file.dim, file.metric, file.fingerprint) == (
        run.classes, run.dim, run.metric, run.fingerprint
    )  # fmt: skip
    assert repr(file).startswith(f"<{folder / 'run.onnx'}: resnet10t on cpu by ONNX Runtime; 2 classes, masks")
    for ours, theirs in zip(run.predict(files(folder)), file.predict(files(folder), batch_size=3), strict=True):
        assert (ours.name, ours.size, ours.label, ours.unfamiliar) == (
            theirs.name, theirs.size, theirs.label, theirs.unfamiliar
        )  # fmt: skip
        np.testing.assert_allclose(ours.embedding, theirs.embedding, atol=1e-4)
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-4)
        assert (ours.mask != theirs.mask).mean() < 0.005
    for fpr in (None, 0.05, 0.1):
        ours, theirs = (each.verify(*files(folder, 2), fpr=fpr) for each in (run, file))
        assert ours._replace(distance=0) == theirs._replace(distance=0)
        assert ours.distance == pytest.approx(theirs.distance, abs=1e-5)


def test_any_program_can_run_it_on_bytes_of_any_number_of_images(exported):
    folder, _ = exported
    model, card = load_model(folder / "run")
    session = onnxruntime.InferenceSession(folder / "run.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 5):
        images = np.random.default_rng(count).integers(0, 256, (count, *card.size, 3), dtype=np.uint8)
        found = dict(zip([each.name for each in session.get_outputs()], session.run(None, {"images": images})))
        mean, std = (np.array(each, np.float32) for each in (card.mean, card.std))
        by_hand = torch.from_numpy((images / 255 - mean) / std).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            expected = model(by_hand)
        np.testing.assert_allclose(found["embedding"], expected.embedding, atol=1e-4)
        np.testing.assert_allclose(found["probabilities"], expected.class_logits.softmax(1), atol=1e-4)
        np.testing.assert_allclose(found["mask_logits"], expected.mask_logits, atol=1e-3)


def test_its_metadata_say_in_plain_words_what_it_is(exported):
    folder, _ = exported
    said = {each.key: each.value for each in onnx.load(folder / "run.onnx").metadata_props}
    assert json.loads(said["classes"]) == ["even", "odd"]
    assert (said["licence"], said["metric"], said["triune_version"]) == ("CC0-1.0", "cosine", __version__)
    assert "uint8 (batch, 48, 48, 3), RGB" in said["preprocessing"]
    stored = json.loads((folder / "run" / "thresholds.json").read_text())
    assert json.loads(said["triune"])["thresholds"] == stored
    assert [each["target_fpr"] for each in json.loads(said["thresholds"])] == [
        each["target_fpr"] for each in stored["thresholds"]
    ]


def test_the_embedding_alone_makes_a_smaller_file(exported, tmp_path):
    folder, whole = exported
    part = load(folder / "run", device="cpu").export(tmp_path / "e.onnx", part="embedding", check=3)
    assert part.size < whole.size
    assert [each.shown for each in part.checked] == [3, 3]
    file = load(tmp_path / "e.onnx")
    assert (file.classes, file.network.card.masks, file.dim) == ((), False, 16)
    both = [each.embed(files(folder)) for each in (file, load(folder / "run.onnx"))]
    np.testing.assert_allclose(*both, atol=1e-6)
    with pytest.raises(InputError, match="no class head"):
        file.classify(files(folder))


def test_a_file_that_does_not_answer_as_the_run_does_is_not_written(exported, tmp_path, monkeypatch):
    folder, _ = exported
    monkeypatch.setattr(exporting, "CLOSE", 1e-12)
    monkeypatch.setattr(exporting, "as_onnx", lambda *_: onnx.load(folder / "run.onnx"))
    with pytest.raises(InputError, match=r"does not answer as the network does: of 24 validation images .*"):
        load(folder / "run", device="cpu").export(tmp_path / "e.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_says_why(exported, tmp_path):
    folder, _ = exported
    run = load(folder / "run", device="cpu")
    with pytest.raises(InputError, match=r"no name of an ONNX file: let it end in \.onnx \(or in \.pt2"):
        run.export(tmp_path / "model.bin")
    (tmp_path / "there.onnx").write_text("mine")
    with pytest.raises(InputError, match="is there already: name a new file"):
        run.export(tmp_path / "there.onnx")
    assert (tmp_path / "there.onnx").read_text() == "mine"
    with pytest.raises(InputError, match="is no run that was trained here"):
        load(folder / "run.onnx").export(tmp_path / "again.onnx")


def test_images_that_moved_are_replaced_by_generated_ones(exported, tmp_path, monkeypatch):
    folder, _ = exported
    monkeypatch.setattr("triune.serving.exported.compared.Path.is_file", lambda path: path.suffix != ".png")
    found = exporting.images_to_show(folder / "run", "val", 5, card())
    assert found.kind == "generated images"
    assert all(isinstance(each.source, Image.Image) for each in found.images)
