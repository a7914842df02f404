"""Images enrolled under a key: together or not at all, told apart, told by it; in every kind of place."""

import datetime

import numpy as np
import polars as pl
import pytest

from triune.errors import InputError
from triune.serving.answers import ImagePrediction
from triune.serving.gallery.enrolments import COLUMNS, KEY, Entrant, enrol, enrolment_of, enrolments
from triune.serving.gallery.gallery import Gallery
from triune.serving.gallery.places import open_store

from .conftest import DIM


def entrant(seed, name="a.png"):
    row = np.random.default_rng(seed).normal(size=DIM)
    return Entrant(ImagePrediction(name, (4, 4), embedding=(row / np.linalg.norm(row)).astype(np.float32)), b"small")


@pytest.fixture
def gallery(place, run, table):
    return Gallery.create(place, run, table)


def test_what_is_enrolled_is_found_and_nothing_else_has_changed(gallery, run):
    before = gallery.rows().drop("row")
    made = enrol(open_store(gallery.name), [entrant(1), entrant(2, "b.png")], "key-0001", "Ada", "person")
    assert gallery.refresh()
    rows = gallery.rows()
    assert gallery.count == len(before) + 2
    new = rows.filter(pl.col(KEY) == "key-0001")
    assert (
        sorted(new["image"].to_list())
        == sorted(made.images)
        == ["enrolled/key-0001/0-a.png", "enrolled/key-0001/1-b.png"]
    )
    assert new.select("identity", "label").unique().rows() == [("Ada", "person")]
    assert rows.filter(pl.col(KEY).is_null()).select(before.columns).sort("image").equals(before.sort("image"))
    (hits,) = gallery.search(entrant(1).answer.embedding[None], k=1)
    assert (hits.hits[0].image, hits.hits[0].identity) == ("enrolled/key-0001/0-a.png", "Ada")
    assert gallery.thumbnails(list(made.images)) == dict.fromkeys(made.images, b"small")


def test_enrolments_are_listed_newest_first_and_told_by_their_key(gallery):
    store = open_store(gallery.name)
    assert enrolments(gallery.rows()) == []
    assert enrolment_of(gallery.rows(), "key-0001") is None
    made = [enrol(store, [entrant(k)], f"key-000{k}", f"who {k}") for k in (1, 2)]
    gallery.refresh()
    assert enrolments(gallery.rows()) == made[::-1]
    assert enrolment_of(gallery.rows(), "key-0002") == made[1]
    assert enrolment_of(gallery.rows(), "key-0003") is None
    assert abs(made[0].time - datetime.datetime.now(datetime.UTC).replace(tzinfo=None)) < datetime.timedelta(minutes=5)


def test_the_same_key_written_twice_is_one_enrolment(gallery):
    """Two workers may be asked at one moment, by a client that repeats a request."""
    before = gallery.count
    for _ in range(2):
        enrol(open_store(gallery.name), [entrant(1), entrant(2)], "key-0001", "Ada")
    gallery.refresh()
    assert gallery.count == before + 2
    assert len(enrolments(gallery.rows())) == 1


def test_the_same_picture_enrolled_twice_is_two_rows_that_are_undone_one_by_one(gallery):
    store = open_store(gallery.name)
    before = gallery.count
    first, second = (enrol(store, [entrant(1)], f"key-000{k}", who) for k, who in ((1, "Ada"), (2, "Bob")))
    store.remove(first.images)
    gallery.refresh()
    assert gallery.count == before + 1
    assert [each.identity for each in enrolments(gallery.rows())] == [second.identity] == ["Bob"]


def test_a_column_of_that_name_that_holds_something_else_is_left_alone(place, run, tmp_path, table):
    text = table.read_text().replace("price", KEY)
    table.write_text(text)
    gallery = Gallery.create(place, run, table, types={KEY: "int"})
    with pytest.raises(InputError, match="has a column enrolment of its own"):
        enrol(open_store(gallery.name), [entrant(1)], "key-0001", "Ada")
    assert enrolments(gallery.rows()) == []
    assert enrolment_of(gallery.rows(), "key-0001") is None


def test_no_table_brings_columns_that_lance_would_not_take():
    assert set(COLUMNS) == {"enrolment", "enrolled"}
