"""`triune index` and `triune search` on a real run: images in, answers out, and one line for whatever goes wrong."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from commands.running import ran, refused
from evaluation.conftest import untrained_run, write_items
from triune.cli import main
from triune.run.folder import load_model, save_model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    untrained_run(folder / "run", write_items(folder))
    assert main(["index", str(folder / "run"), str(folder / "items.csv"), "--output", str(folder / "G")]) == 0
    return folder


def test_what_is_indexed_is_found_with_its_label_and_identity(place, capsys):
    query = place / "images" / "3-2.png"
    code, out, err = ran(capsys, "search", place / "G", query, "-k", 3)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == str(query)
    assert lines[1].split() == ["1", "1.0000", "odd", "id3", str(query)]
    assert len(lines) == 4


def test_answers_come_as_json_and_as_a_csv_too(place, capsys, tmp_path):
    images = [place / "images" / f"{k}-0.png" for k in range(3)]
    code, out, _ = ran(
        capsys, "search", place / "G", *images, "--k", 2, "--json", "--csv", tmp_path / "h.csv",
        "--where", "camera = 'c1' and label = 'odd'",
    )  # fmt: skip
    found = json.loads(out)
    assert code == 0
    assert [each["query"] for each in found] == list(map(str, images))
    assert all(hit["columns"]["camera"] == "c1" and hit["label"] == "odd" for each in found for hit in each["hits"])
    with (tmp_path / "h.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [hit["image"] for each in found for hit in each["hits"]]
    assert len(rows) == 6


def test_indexing_goes_on_with_what_is_new(place, capsys, tmp_path):
    shutil.copytree(place / "images", tmp_path / "images")
    args = ("index", place / "run", tmp_path / "images", "--output", tmp_path / "H")
    code, out, err = ran(capsys, *args, "--add")  # nothing is there to go on with: it is made
    assert (code, out) == (0, f"{tmp_path / 'H'}\n")
    assert "60 added, 0 updated, 0 unchanged" in err
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "images" / "new.png")
    code, _, err = ran(capsys, *args, "--add", "--identity", "me")
    assert "1 added, 60 updated, 0 unchanged" in err
    assert "is there already" in refused(capsys, *args)


def test_what_goes_wrong_is_told_in_one_line(place, capsys, tmp_path):
    image, gallery = place / "images" / "0-0.png", place / "G"
    (tmp_path / "empty").mkdir()
    assert "no-such-run" in refused(capsys, "index", "no-such-run", image, "--output", tmp_path / "X")
    assert "holds no images" in refused(capsys, "index", place / "run", tmp_path / "empty", "--output", tmp_path / "X")
    assert "absent does not exist" in refused(capsys, "search", tmp_path / "absent", image)
    assert "is no gallery" in refused(capsys, "search", place / "images", image)
    assert "holds no images" in refused(capsys, "search", gallery, tmp_path / "empty")
    assert "bogus" in refused(capsys, "search", gallery, image, "--where", "bogus = 3")
    assert "--k is 0" in refused(capsys, "search", gallery, image, "-k", 0)
    assert "missing.png does not exist" in refused(capsys, "search", gallery, tmp_path / "missing.png")
    assert not (tmp_path / "X").exists()


def test_a_gallery_smaller_than_k_and_a_condition_that_nothing_meets_are_said_beside_the_answer(place, capsys):
    image = place / "images" / "0-0.png"
    code, out, err = ran(capsys, "search", place / "G", image, "-k", 100)
    assert (code, len(out.splitlines())) == (0, 61)
    assert err == f"{place / 'G'} holds 60 rows to be found: all are listed\n"
    code, out, err = ran(capsys, "search", place / "G", image, "--where", "label = 'neither'")
    assert (code, out.splitlines()[1:]) == (0, ["  nothing"])
    assert err == f"no row of {place / 'G'} meets \"label = 'neither'\"\n"


def test_a_run_of_other_weights_is_refused_and_the_same_run_moved_elsewhere_is_taken(place, capsys, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    model, card = load_model(place / "run")
    model.embedding_head.bias.data[0] += 1e-3
    save_model(other / "model.safetensors", model, card)
    image = place / "images" / "0-0.png"
    assert "another network" in refused(capsys, "search", place / "G", image, "--run", other / "model.safetensors")
    assert "another network" in refused(capsys, "index", other, image, "--output", place / "G", "--add")
    shutil.copytree(place / "run", tmp_path / "moved")
    assert ran(capsys, "search", place / "G", image, "--run", tmp_path / "moved")[0] == 0


def test_a_damaged_image_among_many_is_named_or_left_out(place, capsys, tmp_path):
    shutil.copytree(place / "images", tmp_path / "images")
    (tmp_path / "images" / "4-3.png").write_bytes(b"\x89PNG damaged")
    args = ("index", place / "run", tmp_path / "images", "--output", tmp_path / "D")
    assert "4-3.png cannot be read as an image" in refused(capsys, *args)
    code, _, err = ran(capsys, *args, "--skip")
    assert code == 0
    assert "1 image could not be read and was left out:" in err
    assert "59 added" in err


def test_how_many_cells_are_looked_into_is_a_choice_that_small_galleries_need_not_make(place, capsys, tmp_path):
    image, gallery = place / "images" / "0-0.png", place / "G"
    exact = ran(capsys, "search", gallery, image, "--exact")
    assert exact == ran(capsys, "search", gallery, image, "--approximate") == ran(capsys, "search", gallery, image)
    assert "--approximate and --exact" in refused(capsys, "search", gallery, image, "--exact", "--approximate")
    args = ("index", place / "run", image, "--output", tmp_path / "small", "--approximate")
    assert "no index is built" in ran(capsys, *args)[2]


def test_indexing_that_was_interrupted_goes_on_with_the_images_that_are_not_there(place, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("triune.serving.gallery.filling.ROWS", 16)

    def stop(done, of):
        if done > 40:
            raise KeyboardInterrupt

    monkeypatch.setattr("triune.commands.index.progress", lambda word: stop)
    args = ("index", place / "run", place / "images", "--output", tmp_path / "I", "--batch_size", 8)
    assert ran(capsys, *args)[0] == 130
    monkeypatch.setattr("triune.commands.index.progress", lambda word: None)
    code, _, err = ran(capsys, *args, "--add")
    assert code == 0
    assert "12 added, 0 updated, 48 unchanged; 60 images" in err
