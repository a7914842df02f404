"""A run finds what it reads wherever it and its data lie, or names both places."""

import json
import os
import shutil
from dataclasses import replace

import pytest

from made_items import csv, frame_of, picture
from triune.data.items import read_table
from triune.errors import InputError
from triune.run.chosen import chosen_preprocessing
from triune.run.folder import seal
from triune.run.origin import (
    NAME,
    folder_of,
    images_of,
    located,
    origin_of,
    read_origin,
    source_of,
    with_whole_paths,
    write_origin,
)
from triune.run.parser import parse_train


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with data, a root, weights and a run that was begun with relative paths to them."""
    work = tmp_path / "work"
    (work / "runs" / "a").mkdir(parents=True)
    for name in ("root", "images"):
        (work / name).mkdir()
    picture(work / "images" / "1.png")
    csv(work, "image,label\nimages/1.png,x\n")
    (work / "weights.safetensors").write_bytes(b"")
    monkeypatch.chdir(work)
    flags = ["--data", "items.csv", "--root", "root", "--model.weights", "weights.safetensors"]
    config = with_whole_paths(parse_train(flags))
    write_origin(work / "runs" / "a", origin_of(work / "runs" / "a", config, read_table("items.csv"), ["x"], ["i"]))
    monkeypatch.chdir(tmp_path)
    return work, config


def paths(config):
    return config.data, str(config.root), str(config.model.weights)


def test_from_another_working_folder_nothing_changes(place):
    work, config = place
    assert paths(config) == tuple(str(work / name) for name in ("items.csv", "root", "weights.safetensors"))
    assert located(work / "runs" / "a", config) == config


def test_moved_together_everything_is_found_from_the_run(place, tmp_path, monkeypatch):
    work, config = place
    there = tmp_path / "other" / "machine"
    shutil.move(work, there)
    found = tuple(str(there / name) for name in ("items.csv", "root", "weights.safetensors"))
    assert paths(located(there / "runs" / "a", config)) == found
    monkeypatch.chdir(there / "runs")
    assert paths(located(there.relative_to(there) / "a", config)) == found  # a run that is named relatively


def test_a_copied_run_uses_the_data_where_they_were(place, tmp_path):
    work, config = place
    shutil.copytree(work / "runs" / "a", tmp_path / "far" / "away" / "a")
    assert located(tmp_path / "far" / "away" / "a", config) == config


@pytest.mark.parametrize("name", ["data", "root", "model.weights"])
def test_what_lies_in_neither_place_is_an_error_that_names_both(place, tmp_path, name):
    work, config = place
    run = tmp_path / "x" / "y" / "a"
    shutil.copytree(work / "runs" / "a", run)
    gone = {"data": "items.csv", "root": "root", "model.weights": "weights.safetensors"}[name]
    (work / gone).rename(work / "elsewhere")
    with pytest.raises(InputError) as refused:
        located(run, config)
    for said in (f"--{name}", str(work / gone), str(tmp_path / "x" / gone)):
        assert said in str(refused.value)
    others = tuple({"data", "root", "model.weights"} - {name})
    assert located(run, config, needed=others) == config  # where it is not read it may be gone


def test_a_path_that_was_set_anew_is_taken_as_it_is(place, tmp_path):
    work, _ = place
    other = parse_train(["--data", str(tmp_path / "other.csv")])
    assert located(work / "runs" / "a", other).data == str(tmp_path / "other.csv")


def test_a_data_set_that_is_called_by_its_name_is_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    config = with_whole_paths(parse_train(["--data", "digits"]))
    assert config.data == "digits"
    made = origin_of(tmp_path, config, frame_of(["a", "b"]), [], [])
    assert (made.paths, made.folder) == ({}, None)


def test_the_folder_of_a_table_is_where_it_lies_and_that_of_a_folder_itself(tmp_path):
    picture(tmp_path / "images" / "1.png")
    path = csv(tmp_path, "image,label\nimages/1.png,x\n")
    table = read_table(path)
    assert folder_of(table) == str(tmp_path)
    assert folder_of(frame_of(["a"])) is None


def test_no_two_runs_have_the_same_name(place):
    work, config = place
    two = [origin_of(work, config, frame_of(["a"]), [], []).run for _ in range(2)]
    assert two[0] != two[1]


def test_damage_is_named_and_an_old_run_has_none(tmp_path):
    assert read_origin(tmp_path) is None
    (tmp_path / NAME).write_text('{"format": 1}')
    with pytest.raises(InputError, match=r"data\.json, field run: Field required"):
        read_origin(tmp_path)
    seal(tmp_path, [NAME])
    os.remove(tmp_path / NAME)
    with pytest.raises(InputError, match=r"data\.json is gone, though checksums\.json lists it"):
        read_origin(tmp_path)


def test_codes_are_read_back_in_their_order(place):
    work, _ = place
    origin = read_origin(work / "runs" / "a")
    assert (origin.classes, origin.identities, origin.folder) == (["x"], ["i"], str(work))


def test_what_a_table_was_read_from_is_the_same_from_any_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = frame_of(["a"])
    assert source_of(replace(table, source="items.csv")) == str(tmp_path / "items.csv")
    assert source_of(replace(table, source="digits")) == "digits"


def test_a_run_that_goes_on_prepares_images_as_it_was_begun(tmp_path):
    config = parse_train(["--images.size", "48", "32", "--images.fit", "crop", "--model.backbone", "test_resnet"])
    origin = origin_of(tmp_path, config, frame_of(["a", "b"]), [], [])
    write_origin(tmp_path, origin)
    assert images_of(config, read_origin(tmp_path)) == chosen_preprocessing(config)
    earlier = parse_train(["--images.size", "48", "--model.backbone", "test_resnet"])
    for stored in (None, origin.model_copy(update={"images": None})):
        found = images_of(earlier, stored)
        assert (found.size, found.fit, found.interpolation, found.boxes) == ((48, 48), "squash", "bicubic", False)
        assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    content = json.loads((tmp_path / "data.json").read_text())
    del content["images"]
    (tmp_path / "data.json").write_text(json.dumps(content))
    assert read_origin(tmp_path).images is None, "as earlier versions wrote it"
