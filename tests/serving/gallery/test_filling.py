"""What is there and has not changed is passed over; types are asked for in one word each."""

import polars as pl
import pytest

from serving.gallery.conftest import ColourRun
from triune.errors import InputError
from triune.serving.gallery.filling import Filling, changed, embedded, types_of
from triune.serving.gallery.listing import listed


def test_types_are_names_with_types():
    assert types_of(()) == {}
    assert types_of(("price=float", "seats=int")) == {"price": "float", "seats": "int"}
    assert types_of(("a=b=int",)) == {"a=b": "int"}
    for wrong in ("price", "=float"):
        with pytest.raises(InputError, match="write NAME=TYPE"):
            types_of((wrong,))


def test_batches_come_in_order_with_what_is_known_of_each_image(table, monkeypatch):
    monkeypatch.setattr("triune.serving.gallery.filling.ROWS", 5)
    listing = listed(table)
    found = list(embedded(ColourRun(), listing, Filling()))
    assert [len(batch.frame) for batch, _ in found] == [5, 5, 2]
    assert pl.concat([batch.frame for batch, _ in found]).equals(listing.frame)
    assert all(small.startswith(b"\xff\xd8") for batch, _ in found for small in batch.thumbnails)
    without = list(embedded(ColourRun(), listing, Filling(thumbnails=False)))
    assert [small for batch, _ in without for small in batch.thumbnails] == [None] * 12


def test_a_changed_file_or_cell_is_what_is_left_to_do(table):
    listing = listed(table)
    before = listing.frame
    assert changed(listing, before).frame.is_empty()
    assert changed(listing, before[3:]).frame.equals(before[:3])
    other = before.with_columns(pl.when(pl.col("price") == "15").then(None).otherwise("price").alias("price"))
    assert changed(listing, other).frame.equals(before[3:4])
    touched = before.with_columns(file_time=pl.when(pl.col("price") == "20").then(1).otherwise("file_time"))
    assert changed(listing, touched).frame.equals(before[4:5])
