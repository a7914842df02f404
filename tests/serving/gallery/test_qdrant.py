"""What is Qdrant's own: names of servers, a server that is not there; all else is tested as of any store."""

import datetime
import uuid

import numpy as np
import polars as pl
import pytest

from serving.gallery.test_lance import CARD, COLUMNS, batch
from triune.errors import InputError
from triune.serving.gallery import qdrant
from triune.serving.gallery.qdrant import QdrantStore
from triune.serving.gallery.store import Batch


@pytest.fixture
def name():
    made = f"qdrant:///{uuid.uuid4().hex}"
    yield made
    client, collection = qdrant._connected(made)
    client.delete_collection(collection)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("qdrant://localhost:6333/items", ("localhost:6333", "items")),
        ("qdrants://cloud.example/items/", ("cloud.example", "items")),
        ("qdrant:///items", ("", "items")),
    ],
)
def test_a_name_is_a_server_and_a_collection(name, parts):
    assert qdrant._parts(name) == parts


@pytest.mark.parametrize("name", ["qdrant://localhost:6333", "qdrant://localhost:6333/", "qdrant://localhost/a/b"])
def test_a_name_without_a_collection_is_refused(name):
    with pytest.raises(InputError, match="write qdrant://host:port/name"):
        QdrantStore.open(name)


def test_without_a_server_nothing_is_written_to_where_it_would_be_lost(monkeypatch):
    monkeypatch.setattr(qdrant, "_STAND_IN", [])
    with pytest.raises(InputError, match="qdrant:///items names no server"):
        QdrantStore.create("qdrant:///items", CARD, COLUMNS)


def test_a_server_that_does_not_answer_is_named():
    with pytest.raises(OSError, match="qdrant://localhost:1/items: the server does not answer"):
        QdrantStore.open("qdrant://localhost:1/items")


def test_cells_of_every_type_come_back_as_they_were(name):
    columns = COLUMNS | {"x": pl.Float64(), "ok": pl.Boolean(), "day": pl.Date(), "at": pl.Datetime("us")}
    store = QdrantStore.create(name, CARD, columns)
    own = {"x": 2.0, "ok": False, "day": datetime.date(2024, 2, 29), "at": datetime.datetime(2024, 1, 1, 12, 30)}
    frame = batch(["a", "b"]).frame.with_columns(
        pl.Series(each, [value, None], columns[each]) for each, value in own.items()
    )
    rows = np.array([[0.1, 0.2, 0.3, 1e-30, -5.0, 7.7]] * 2, np.float32)
    store.put(Batch(frame, rows, [b"small", None]))
    snapshot = QdrantStore.open(name).read()
    assert snapshot.frame.schema == {"row": pl.Int64(), **columns}
    assert snapshot.frame.drop("row").sort("image").equals(frame)
    np.testing.assert_array_equal(store.embeddings(snapshot), rows)
    assert store.thumbnails(["a", "b", "c"]) == {"a": b"small"}


def test_rows_that_come_and_go_are_a_new_version_and_one_image_is_one_point(name):
    store = QdrantStore.create(name, CARD, COLUMNS)
    store.put(batch(["a", "b", "c"]))
    before = store.version
    store.put(batch(["b"], 40))
    store.remove(["c", "not there"])
    assert store.version > before
    frame = store.read().frame
    assert sorted(zip(frame["image"], frame["n"])) == [("a", 0), ("b", 40)]


def test_a_reader_of_a_former_version_is_told_to_open_it_again(name):
    store = QdrantStore.create(name, CARD, COLUMNS)
    store.put(batch(["a", "b", "c"]))
    snapshot = store.read()
    store.remove(["c"])
    with pytest.raises(InputError, match="has changed since it was opened"):
        store.embeddings(snapshot)
    store.put(batch(["new"], 900))
    with pytest.raises(InputError, match="has changed since it was opened"):
        store.search(snapshot, False).nearest(np.ones((1, 6), np.float32), 3)


def test_a_collection_of_another_program_is_no_gallery(name):
    from qdrant_client import models

    client, collection = qdrant._connected(name)
    client.create_collection(collection, vectors_config=models.VectorParams(size=3, distance=models.Distance.DOT))
    with pytest.raises(InputError, match="is a collection of Qdrant, but no gallery"):
        QdrantStore.open(name)
