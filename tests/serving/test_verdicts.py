"""Two images and a run's stored threshold: the verdict, and every way in which there is none."""

import dataclasses
import json
import math
import os
import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation.conftest import untrained_run, write_items
from triune.cli import main
from triune.errors import InputError
from triune.files import write_record
from triune.model.network import MultiTaskModel, Prediction
from triune.run.folder import load_model, save_model, seal
from triune.run.places import folder_of
from triune.run.thresholds import StoredThresholds, read_thresholds
from triune.serving.loaded import load
from triune.serving.verdicts import threshold_at
from triune.verification.roc import verify_scores
from triune.verification.thresholds import fit_threshold


def verify(run, first, second, target_fpr=None):
    return load(run, device="cpu").verify(first, second, fpr=target_fpr)


def stored_threshold(run, asked=None):
    return threshold_at(read_thresholds(folder_of(run) / "thresholds.json"), asked, str(run))


def threshold(fpr, distance):
    fitted = fit_threshold(verify_scores([0.9, 0.8, 0.3, 0.2], [1, 1, 0, 0]), fpr, metric="cosine", fitted_on="v")
    return dataclasses.replace(fitted, threshold=1 - distance, fpr=fpr / 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    untrained_run(folder / "run", write_items(folder))
    several = [threshold(0.1, 2.0), threshold(0.01, 1e-9)]
    stored = StoredThresholds(metric="cosine", target_fpr=0.1, thresholds=several)
    write_record(folder / "run" / "thresholds.json", stored)
    return folder / "run"


def images(run):
    return run.parent / "images" / "0-0.png", run.parent / "images" / "5-0.png"


def test_the_run_s_own_threshold_decides_where_none_is_asked_for(run):
    verdict = verify(run, *images(run))
    assert (verdict.same, verdict.threshold, verdict.target_fpr) == (True, pytest.approx(2.0), 0.1)
    assert verdict.validation_fpr == 0.05
    assert verdict.metric == "cosine"
    assert "false positives are expected" in verdict.caution  # four pairs tell little of a rate
    assert verdict.distance > 1e-6


def test_a_stricter_budget_has_a_stricter_threshold(run):
    assert verify(run, *images(run), target_fpr=0.01).same is False
    first, _ = images(run)
    assert verify(run, first, first, target_fpr=0.1).distance == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("asked", "taken"), [(0.2, 0.1), (0.1, 0.1), (0.06, 0.01), (0.01, 0.01)])
def test_a_budget_that_was_not_stored_is_kept_by_that_of_the_largest_one_below(run, asked, taken):
    assert stored_threshold(run, asked).target_fpr == taken


def test_a_budget_below_all_stored_ones_is_refused_and_those_there_are_listed(run):
    with pytest.raises(InputError, match=r"no threshold for FPR 0\.004; it has them for 0\.1, 0\.01"):
        stored_threshold(run, 0.004)  # though its strictest let through none of the few pairs it was fitted on


def test_a_run_without_threshold_says_why(run, tmp_path):
    stored = StoredThresholds(metric="cosine", target_fpr=0.1, thresholds=[], unavailable="no validation split")
    write_record(tmp_path / "thresholds.json", stored)
    with pytest.raises(InputError, match="no validation split"):
        stored_threshold(tmp_path)
    with pytest.raises(InputError, match="none does not exist"):
        stored_threshold(tmp_path / "none")


def test_an_image_that_cannot_be_read_is_named(run, tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(InputError, match=r"a\.png cannot be read as an image"):
        verify(run, tmp_path / "a.png", images(run)[0])
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "grey.png")
    assert verify(run, tmp_path / "grey.png", tmp_path / "grey.png").same  # another size and one channel will do


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "far too large"])
def test_what_is_no_image_file_is_told_at_once(run, tmp_path, kind):
    path = tmp_path / "other.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = "/dev/zero"
    else:
        Image.new("1", (13_500, 13_300)).save(path)  # 180 million pixels
    began = time.monotonic()
    with pytest.raises(InputError, match=r"folder|pipe or a device|134 million are the most") as caught:
        verify(run, images(run)[0], path)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 5


def test_a_deep_image_is_read_with_the_depth_of_the_training_images(run, tmp_path):
    ramp = np.tile(np.arange(64, dtype=np.uint16) * 4, (64, 1))
    Image.fromarray((ramp // 16).astype(np.uint8)).save(tmp_path / "eight.png")
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    model, card = load_model(run)
    twelve = tmp_path / "twelve"
    twelve.mkdir()
    save_model(twelve / "model.safetensors", model, card.model_copy(update={"image_bits": 12}))
    shutil.copy(run / "thresholds.json", twelve)
    assert verify(twelve, tmp_path / "eight.png", tmp_path / "deep.png").distance == pytest.approx(0, abs=1e-6)
    assert verify(run, tmp_path / "eight.png", tmp_path / "deep.png").distance > 1e-4


@pytest.mark.parametrize(("score", "same", "distance"), [(-math.inf, True, math.inf), (math.inf, False, -math.inf)])
def test_an_infinite_threshold_accepts_all_or_none(run, tmp_path, capsys, score, same, distance):
    shutil.copytree(run, tmp_path / "run")
    infinite = dataclasses.replace(threshold(0.01, 0.5), threshold=score)
    stored = StoredThresholds(metric="cosine", target_fpr=0.1, thresholds=[threshold(0.1, 2.0), infinite])
    write_record(tmp_path / "run" / "thresholds.json", stored)
    verdict = verify(tmp_path / "run", *images(run), target_fpr=0.01)
    assert (verdict.same, verdict.threshold) == (same, distance)
    command = ["verify", str(tmp_path / "run"), *map(str, images(run)), "--fpr", "0.01"]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("same" if same else "different")
    assert main([*command, "--json"]) == 0

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    said = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert float(said["threshold"]) == distance


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_there_is_no_verdict_from_an_embedding_that_is_not_finite(run, monkeypatch, value):
    def answer(self, images, **_):
        rows = torch.ones(2, 4)
        rows[1, 2] = value
        return Prediction(None, None, rows)

    monkeypatch.setattr(MultiTaskModel, "answer", answer)
    with pytest.raises(InputError, match=r"gives no finite embedding of .*5-0\.png"):
        verify(run, *images(run))


def test_there_is_no_verdict_from_weights_or_a_threshold_that_are_no_numbers(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    model, card = load_model(run)
    with torch.no_grad():
        next(model.parameters())[0] = math.nan
    save_model(tmp_path / "run" / "model.safetensors", model, card)
    seal(tmp_path / "run", ["model.safetensors"])
    command = ["verify", str(tmp_path / "run"), *map(str, images(run))]
    assert main(command) == 2
    assert "are not finite" in capsys.readouterr().err
    shutil.copy(run / "model.safetensors", tmp_path / "run" / "model.safetensors")
    seal(tmp_path / "run", ["model.safetensors"])
    text = (run / "thresholds.json").read_text().replace('"threshold": -1.0', '"threshold": "NaN"')
    assert "NaN" in text
    (tmp_path / "run" / "thresholds.json").write_text(text)
    assert main(command) == 2
    assert "not a number" in capsys.readouterr().err
