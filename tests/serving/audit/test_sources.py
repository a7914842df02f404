"""What an audit looks at: every item once, with its label and split, or one line that says what is lacking."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

from evaluation.conftest import untrained_run, write_items
from serving.audit.planted import pixels, write_mistakes
from triune.data.problems import DataError
from triune.errors import InputError
from triune.serving.audit.sources import items_of_files, items_of_run
from triune.serving.loaded import load


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audited")
    untrained_run(folder / "run", write_items(folder))
    return folder


@pytest.fixture(scope="module")
def run(place):
    return load(place / "run", device="cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    rows, _, _ = write_mistakes(folder)
    np.save(folder / "e.npy", pixels(folder, rows))
    return folder, rows


def test_the_data_of_a_run_are_all_its_items_those_it_was_trained_on_too(place, run):
    items = items_of_run(run)
    assert len(items.names) == len(items.embeddings) == 60
    assert [items.splits.count(split) for split in ("train", "val", "test")] == [12, 24, 24]
    assert (items.column, items.metric, items.has_images, items.trained) == ("identity", "cosine", True, True)
    assert items.labels[:7] == ["id0"] * 6 + ["id1"]
    np.testing.assert_allclose(items.embeddings[:3], run.embed(items.names[:3]), atol=1e-5)
    classes = items_of_run(run, column="label")
    assert set(classes.labels) == {"even", "odd"}
    assert (items.other_column, classes.other_column) == ("label", "identity")


def test_a_column_that_says_the_same_or_nothing_is_no_other_one(tmp_path):
    np.save(tmp_path / "e.npy", np.eye(3))
    for text in ("image,label\na.png,x\nb.png,x\nc.png,y\n", "image,identity\na.png,x\nb.png,x\nc.png,y\n"):
        (tmp_path / "i.csv").write_text(text)
        for name in ("a.png", "b.png", "c.png"):
            Image.new("RGB", (8, 8)).save(tmp_path / name)
        assert items_of_files(tmp_path / "e.npy", images=tmp_path / "i.csv").other_column is None


def test_other_data_are_embedded_by_the_run(made, run):
    folder, rows = made
    items = items_of_run(run, str(folder / "items.csv"), column="label")
    assert items.labels == [row["label"] for row in rows]
    assert items.splits == [row["split"] for row in rows]
    assert not items.trained
    for row in rows:
        (folder / "classes" / row["label"]).mkdir(parents=True, exist_ok=True)
    (folder / "classes" / "id0" / "a.png").write_bytes((folder / rows[0]["image"]).read_bytes())
    (folder / "classes" / "id1" / "b.png").write_bytes((folder / rows[1]["image"]).read_bytes())
    items = items_of_run(run, str(folder / "classes"))
    assert items.labels == ["id0", "id1"]
    assert items.splits == [None, None]


def test_an_image_that_cannot_be_read_is_named_or_left_out(made, run, tmp_path):
    folder, rows = made
    (tmp_path / "bad.png").write_bytes(b"no image")
    lines = [f"{folder / row['image']},{row['label']}" for row in rows[:4]]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["image,label", *lines[:2], "bad.png,id0", *lines[2:]]) + "\n")
    with pytest.raises(InputError, match=r"bad\.png cannot be read as an image"):
        items_of_run(run, str(table))
    items = items_of_run(run, str(table), skip=True)
    assert [name.rpartition("/")[2] for name in items.names] == [row["image"].rpartition("/")[2] for row in rows[:4]]
    assert len(items.labels) == len(items.splits) == len(items.embeddings) == 4
    assert items.left_out[0].startswith(str(tmp_path / "bad.png"))
    table.write_text("image,label\nbad.png,id0\n")
    with pytest.raises(InputError, match="none of 1 image could be read"):
        items_of_run(run, str(table), skip=True)


def test_what_is_lacking_is_said_in_one_line(place, run, tmp_path):
    (tmp_path / "t.csv").write_text("image\na.png\n")
    with pytest.raises(InputError, match="has no column identity that says what the images show"):
        items_of_run(run, str(tmp_path / "t.csv"))
    with pytest.raises(InputError, match="is no data set, table or folder"):
        items_of_run(run, str(tmp_path / "gone"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        items_of_run(run, str(tmp_path / "empty"))
    (tmp_path / "t.csv").write_text("image,label,split\na.png,a,learn\n")
    with pytest.raises(DataError, match="'learn' is not a known value"):
        items_of_run(run, str(tmp_path / "t.csv"))
    with pytest.raises(InputError, match="has no data of its own: name a table or a folder of images with --data"):
        items_of_run(load(place / "run" / "model.safetensors", device="cpu"))


def test_files_of_embeddings_with_labels_or_a_table(made, tmp_path):
    folder, rows = made
    (tmp_path / "l.txt").write_text("".join(f"{row['label']}\n" for row in rows))
    items = items_of_files(folder / "e.npy", tmp_path / "l.txt", metric="euclidean")
    assert items.labels == [row["label"] for row in rows]
    assert (items.names[0], items.has_images, items.metric, items.column) == ("row 0", False, "euclidean", "label")
    items = items_of_files(folder / "e.npy", images=folder / "items.csv")
    assert items.names[0] == str(folder / rows[0]["image"])
    assert (items.has_images, items.splits[0], items.column) == (True, rows[0]["split"], "identity")


def test_what_embed_wrote_is_read_with_its_images(made, tmp_path):
    folder, rows = made
    e = np.load(folder / "e.npy")
    names = [str(folder / row["image"]) for row in rows]
    frame = pl.DataFrame({"image": names, "embedding": pl.Series(e.tolist(), dtype=pl.List(pl.Float32))})
    frame.write_parquet(tmp_path / "e.parquet")
    np.save(tmp_path / "l.npy", np.arange(len(rows)) % 3)
    items = items_of_files(tmp_path / "e.parquet", tmp_path / "l.npy")
    assert items.names == names
    np.testing.assert_array_equal(items.embeddings, e)
    assert items.labels[:4] == ["0", "1", "2", "0"]
    labelled = frame.with_columns(pl.Series("label", [row["label"] for row in rows]))
    labelled.write_parquet(tmp_path / "labelled.parquet")
    items = items_of_files(tmp_path / "labelled.parquet")
    assert (items.labels, items.column) == ([row["label"] for row in rows], "identity")
    labelled.drop("image").write_parquet(tmp_path / "bare.parquet")
    items = items_of_files(tmp_path / "bare.parquet")
    assert (items.labels, items.names[1], items.has_images) == ([row["label"] for row in rows], "row 1", False)
    with pytest.raises(
        InputError, match=r"e\.parquet has no column identity that says anything: add it, or give --labels"
    ):
        items_of_files(tmp_path / "e.parquet")
    frame.rename({"embedding": "vector"}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(InputError, match="embedding"):
        items_of_files(tmp_path / "other.parquet", tmp_path / "l.npy")


def test_files_that_do_not_fit_are_said(made, tmp_path):
    folder, rows = made
    with pytest.raises(InputError, match="comes without labels: give --labels"):
        items_of_files(folder / "e.npy")
    np.save(tmp_path / "short.npy", np.ones((3, 4), np.float32))
    with pytest.raises(InputError, match=r"items\.csv has 124 rows but .*short\.npy has 3"):
        items_of_files(tmp_path / "short.npy", images=folder / "items.csv")
    (tmp_path / "l.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match=r"l\.txt has 2 labels but .*short\.npy has 3"):
        items_of_files(tmp_path / "short.npy", tmp_path / "l.txt")
    (tmp_path / "t.csv").write_text("image\n" + "".join(f"{row['image']}\n" for row in rows[:3]))
    with pytest.raises(InputError, match="has no column identity"):
        items_of_files(tmp_path / "short.npy", images=tmp_path / "t.csv")
