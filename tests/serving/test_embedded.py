"""Embeddings of many images as one file: in order, in parts that outlive a kill, by several processes."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import polars
import pytest

from evaluation.conftest import untrained_run, write_items
from forked import in_processes
from triune.cli import main
from triune.errors import InputError
from triune.evaluation.results import Results
from triune.serving import embedded
from triune.serving.embedded import write_embeddings
from triune.serving.loaded import load


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedded")
    untrained_run(folder / "run", write_items(folder))
    return folder


@pytest.fixture(scope="module")
def run(place):
    return load(place / "run", device="cpu")


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(embedded, "PART", 7)


def rows(path):
    return np.array(polars.read_parquet(path)["embedding"].to_list(), np.float32)


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_rows_stand_in_the_order_of_the_images_whatever_the_parts(place, run, tmp_path, small_parts, suffix):
    seen = []
    written = write_embeddings(
        run, place / "images", tmp_path / f"e{suffix}", progress=lambda *both: seen.append(both), batch_size=3
    )
    names = [str(each) for each in sorted((place / "images").glob("*.png"))]
    found = np.load(written.path) if suffix == ".npy" else rows(written.path)
    np.testing.assert_allclose(found, run.embed(names), atol=1e-6)
    assert (written.count, written.left_out, written.known) == (60, (), 0)
    assert sorted(os.listdir(tmp_path)) == (["e.npy", "e.txt"] if suffix == ".npy" else ["e.parquet"])
    assert seen == sorted(seen)
    assert seen[-1] == (60, 60)
    if suffix == ".npy":
        assert (tmp_path / "e.txt").read_text().splitlines() == names


def test_what_a_table_says_stands_beside_the_embeddings_and_is_judged_without_labels(place, run, tmp_path):
    path = write_embeddings(run, place / "items.csv", tmp_path / "e.parquet").path
    frame = polars.read_parquet(path)
    assert frame["identity"].to_list() == [f"id{k // 6}" for k in range(60)]
    assert frame["label"].to_list() == [("even", "odd")[k // 6 % 2] for k in range(60)]
    assert main(["evaluate", "--embeddings", str(path), "--resamples", "0", "--output", str(tmp_path / "j")]) == 0
    assert (tmp_path / "j" / "metrics.json").is_file()


def test_who_asks_who_answers_and_the_camera_stand_beside_the_embeddings_and_are_followed(place, run, tmp_path):
    table = polars.read_csv(place / "items.csv", infer_schema=False)
    row = polars.int_range(polars.len())
    roles = table.with_columns(
        *(polars.format("{}/{}", polars.lit(str(place)), polars.col(name)).alias(name) for name in ("image", "mask")),
        is_query=row % 6 < 2,
        is_gallery=polars.when(row % 6 == 5).then(None).otherwise(row % 6 >= 2),
        camera=polars.format("c{}", row % 3),
        identity=polars.when(row >= 54).then(None).otherwise(polars.col("identity")),
        label=polars.when(row >= 54).then(None).otherwise(polars.col("label")),
    )
    roles.write_csv(tmp_path / "roles.csv")
    path = write_embeddings(run, tmp_path / "roles.csv", tmp_path / "e.parquet").path
    frame = polars.read_parquet(path)
    assert frame["is_query"].to_list() == [k % 6 < 2 for k in range(60)]
    assert frame["is_gallery"].to_list() == [None if k % 6 == 5 else k % 6 >= 2 for k in range(60)]
    assert frame["camera"].to_list() == [f"c{k % 3}" for k in range(60)]
    assert main(["evaluate", "--embeddings", str(path), "--resamples", "0", "--output", str(tmp_path / "j")]) == 0
    judged = Results.read(tmp_path / "j" / "metrics.json").models[0].retrieval
    named = frame.filter(polars.col("identity").is_not_null())
    rows, flags = np.stack(frame["embedding"].to_list()), frame["is_gallery"].fill_null(value=False).to_numpy()
    hits = []
    for each, identity, camera in zip(
        *(named.filter("is_query")[name] for name in ("embedding", "identity", "camera"))
    ):
        scores = rows @ np.array(each)
        own = (frame["identity"] == identity).fill_null(value=False).to_numpy()
        scores[~flags | (own & (frame["camera"] == camera).to_numpy())] = -2
        hits.append(own[scores.argmax()])
    assert judged.recall_at[1] == pytest.approx(np.mean(hits))


def test_a_table_that_says_nothing_of_roles_gives_the_columns_that_it_always_gave(place, run, tmp_path):
    path = write_embeddings(run, place / "items.csv", tmp_path / "e.parquet").path
    assert polars.read_parquet(path).columns == ["image", "label", "identity", "embedding", "camera"]
    bare = write_embeddings(run, place / "images", tmp_path / "bare.parquet").path
    assert polars.read_parquet(bare).columns == ["image", "label", "identity", "embedding"]


def test_a_stopped_command_goes_on_with_the_parts_that_are_missing(place, run, tmp_path, small_parts, monkeypatch):
    whole = write_embeddings(run, place / "images", tmp_path / "whole.parquet").path
    reads, read = [], type(run.network).read

    def stopping(self, source, box=None):
        reads.append(source)
        if len(reads) == 30:
            raise KeyboardInterrupt
        return read(self, source, box)

    monkeypatch.setattr(type(run.network), "read", stopping)
    with pytest.raises(KeyboardInterrupt):
        write_embeddings(run, place / "images", tmp_path / "e.parquet", batch_size=7)
    assert sorted(each.name for each in (tmp_path / "e.parquet.parts").glob("*.parquet"))
    reads.clear()
    reads += [None] * 30
    written = write_embeddings(run, place / "images", tmp_path / "e.parquet", batch_size=7)
    assert written.known >= 21
    assert len(reads) - 30 == 60 - written.known
    np.testing.assert_allclose(rows(written.path), rows(whole), atol=1e-6)
    assert sorted(os.listdir(tmp_path)) == ["e.parquet", "whole.parquet"]


def test_parts_of_other_images_or_of_another_network_are_not_gone_on_with(place, run, tmp_path, small_parts):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    images = sorted((place / "images").glob("*.png"))
    given = [*images[:10], bad, *images[10:]]
    with pytest.raises(InputError, match=r"bad\.png cannot be read"):
        write_embeddings(run, given, tmp_path / "e.npy")
    assert (tmp_path / "e.npy.parts" / "000000.parquet").is_file()
    with pytest.raises(InputError, match="holds parts of other images or of another network"):
        write_embeddings(run, images, tmp_path / "e.npy")
    written = write_embeddings(run, given, tmp_path / "e.npy", skip=True)
    assert (written.known, written.count) == (7, 60)
    assert written.left_out[0].startswith(str(bad))
    np.testing.assert_allclose(np.load(written.path), run.embed(images), atol=1e-6)


def test_a_folder_that_is_in_the_way_is_left_alone(place, run, tmp_path):
    (tmp_path / "e.npy.parts").mkdir()
    (tmp_path / "e.npy.parts" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is in the way"):
        write_embeddings(run, place / "images", tmp_path / "e.npy")
    assert (tmp_path / "e.npy.parts" / "mine.txt").read_text() == "mine"


SLOW = """
import sys, time
from triune.serving import embedded, trained
embedded.PART = 5
read = trained.TrainedNetwork.read
def slow(self, source, box=None):
    time.sleep(0.05)
    return read(self, source, box)
trained.TrainedNetwork.read = slow
from triune.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_after_a_kill_the_same_command_ends_with_the_same_file(place, run, tmp_path, monkeypatch):
    out = tmp_path / "e.parquet"
    command = ["embed", str(place / "run"), str(place / "images"), "--output", str(out), "--batch_size", "5"]
    process = subprocess.Popen([sys.executable, "-c", SLOW, *command], stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("e.parquet.parts/00000[1-9].parquet")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    monkeypatch.setattr(embedded, "PART", 5)
    written = write_embeddings(run, [str(place / "images")], out)
    assert written.known >= 10
    np.testing.assert_allclose(rows(out), run.embed(place / "images"), atol=1e-6)
    assert os.listdir(tmp_path) == ["e.parquet"]


def test_two_processes_write_the_file_of_one_and_say_it_once(place, run, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    images = [str(place / "images"), str(bad)]
    command = ["embed", str(place / "run"), *images, "--skip", "--output", str(tmp_path / "two.parquet")]
    done, refused = in_processes([command, [*command[:-1], str(tmp_path / "e.csv")]], tmp_path)
    (code, printed, told), silent = done
    assert (code, printed, silent) == (0, f"{tmp_path / 'two.parquet'}\n", [0, "", ""]), told
    assert told.count("1 image could not be read") == 1
    np.testing.assert_allclose(rows(tmp_path / "two.parquet"), run.embed(place / "images"), atol=1e-5)
    assert [code for code, *_ in refused] == [2, 2]
    assert "".join(told for *_, told in refused).count("is neither .parquet nor .npy") == 1


def test_an_image_that_was_replaced_is_not_taken_for_the_one_before(place, run, tmp_path, small_parts, monkeypatch):
    folder = tmp_path / "i"
    shutil.copytree(place / "images", folder)
    monkeypatch.setattr(embedded, "_joined", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_embeddings(run, folder, tmp_path / "e.parquet")
    monkeypatch.undo()
    monkeypatch.setattr(embedded, "PART", 7)
    shutil.copy(folder / "5-0.png", folder / "0-0.png")
    with pytest.raises(InputError, match="holds parts of other images"):
        write_embeddings(run, folder, tmp_path / "e.parquet")


def stopped(*_):
    raise KeyboardInterrupt


def test_a_part_with_other_rows_is_refused(place, run, tmp_path, small_parts, monkeypatch):
    monkeypatch.setattr(embedded, "_joined", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_embeddings(run, place / "images", tmp_path / "e.parquet")
    monkeypatch.undo()
    monkeypatch.setattr(embedded, "PART", 7)
    part = tmp_path / "e.parquet.parts" / "000001.parquet"
    polars.read_parquet(part).head(3).write_parquet(part)
    with pytest.raises(InputError, match="does not hold the images that it should"):
        write_embeddings(run, place / "images", tmp_path / "e.parquet")


def test_where_nothing_could_be_read_nothing_is_left_to_go_on_with(place, run, tmp_path):
    (tmp_path / "a.png").write_text("no image")
    out = tmp_path / "new" / "e.parquet"
    with pytest.raises(InputError, match="none of 1 image"):
        write_embeddings(run, tmp_path / "a.png", out, skip=True)
    assert sorted(os.listdir(tmp_path)) == ["a.png"]


def test_names_that_no_table_can_hold_are_refused_in_a_line(place, run, tmp_path):
    odd = os.path.join(os.fsencode(tmp_path), b"\xff.png")
    shutil.copy(place / "images" / "0-0.png", odd)
    with pytest.raises(InputError, match="is not UTF-8"):
        write_embeddings(run, tmp_path, tmp_path / "e.npy")
