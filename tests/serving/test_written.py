"""Predictions and embeddings as files, by the command line."""

import os
import shutil

import numpy as np
import polars
import pytest
from PIL import Image

from evaluation.conftest import untrained_run, write_items
from triune.cli import main
from triune.serving.loaded import load


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    untrained_run(folder / "run", write_items(folder))
    return folder


def test_predictions_are_a_table_with_masks_and_overlays_beside_it(place, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["predict", str(place / "run"), str(place / "items.csv"), "--output", str(out), "--overlays"]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{out}\n"
    table = polars.read_csv(out / "predictions.csv")
    expected = load(place / "run", device="cpu").predict(place / "items.csv")
    assert table["image"].to_list() == [each.name for each in expected]
    assert table["label"].to_list() == [each.label for each in expected]
    assert table["label_2"].to_list() == [list(each.probabilities)[1] for each in expected]
    np.testing.assert_allclose(table["probability"], [each.probability for each in expected], atol=1e-6)
    np.testing.assert_allclose(table["mask_share"], [each.mask_share for each in expected], atol=1e-9)
    for name, each in zip(table["mask"], expected, strict=True):
        mask = np.asarray(Image.open(out / name))
        np.testing.assert_array_equal(mask, each.mask)
        overlay = np.asarray(Image.open(out / name.replace("masks", "overlays"))).astype(int)
        image = np.asarray(Image.open(each.name).convert("RGB")).astype(int)
        np.testing.assert_array_equal(overlay[mask == 0], image[mask == 0])
        np.testing.assert_array_equal(overlay[mask == 1], (image[mask == 1] + [230, 60, 20]) // 2)
    assert main(command) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_embeddings_are_read_by_evaluate_and_stand_with_their_names(place, tmp_path, suffix):
    path = tmp_path / f"e{suffix}"
    assert main(["embed", str(place / "run"), str(place / "images"), "--output", str(path)]) == 0
    names = [str(each) for each in sorted((place / "images").glob("*.png"))]
    expected = load(place / "run", device="cpu").embed(names)
    if suffix == ".npy":
        np.testing.assert_allclose(np.load(path), expected, atol=1e-6)
        assert path.with_suffix(".txt").read_text().splitlines() == names
        (tmp_path / "l.txt").write_text("".join(f"{os.path.basename(name)[0]}\n" for name in names))
        asked = ["evaluate", "--embeddings", str(path), "--labels", str(tmp_path / "l.txt"), "--resamples", "0"]
        assert main([*asked, "--output", str(tmp_path / "judged")]) == 0
    else:
        frame = polars.read_parquet(path)
        assert frame["image"].to_list() == names
        np.testing.assert_allclose(np.array(frame["embedding"].to_list()), expected, atol=1e-6)


def test_images_that_cannot_be_read_stop_it_with_nothing_written_or_are_left_out_and_counted(place, tmp_path, capsys):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    good = str(place / "images" / "0-0.png")
    for command in ("predict", "embed"):
        out = tmp_path / ("out" if command == "predict" else "out.npy")
        given = [command, str(place / "run"), good, str(bad), good, "--output", str(out)]
        assert main(given) == 2
        assert "bad.png cannot be read as an image" in capsys.readouterr().err
        assert sorted(os.listdir(tmp_path)) == ["bad.png"]
        assert main([*given, "--skip"]) == 0
        assert "1 image could not be read and was left out:" in capsys.readouterr().err
        assert main([command, str(place / "run"), str(bad), "--skip", "--output", str(tmp_path / "x.npy")]) == 2
        assert "none of 1 image could be read" in capsys.readouterr().err
        for each in tmp_path.iterdir():
            if each != bad:
                shutil.rmtree(each) if each.is_dir() else each.unlink()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["embed", "RUN", "IMAGE", "--output", "e.csv"], "neither .parquet nor .npy"),
        (["embed", "RUN"], "images"),
        (["embed", "nowhere", "IMAGE"], "nowhere/model.safetensors does not exist"),
        (["predict", "RUN", "none.jpg"], "none.jpg does not exist"),
        (["predict", "RUN", "IMAGE", "--batch_size", "0"], "batch_size"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(place, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    known = {"RUN": str(place / "run"), "IMAGE": str(place / "images" / "0-0.png")}
    assert main([known.get(word, word) for word in words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.iterdir())
