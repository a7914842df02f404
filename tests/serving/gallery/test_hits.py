"""Hits in words and as plain values."""

import datetime
import json

import numpy as np
import polars as pl
import pytest

from triune.serving.gallery.hits import FEW, Hit, Hits, cells_of


def hit(row=3, **columns):
    return Hit(row, "a.png", "cup", "cup", 0.25, 0.75, columns)


def test_a_word_that_is_class_and_identity_is_said_once():
    assert repr(hit()) == "<a.png; cup, score 0.2500>"
    assert repr(Hit(0, "b.png", None, None, -1.5, 1.5)) == "<b.png; score -1.5000>"


def test_of_many_hits_three_are_shown():
    assert repr(Hits("q", ())) == "<q: 0 hits>"
    assert repr(Hits("q", (hit(),) * 5)).endswith("a.png; cup, score 0.2500>, …>")
    assert repr(Hits("q", (hit(),) * 5)).count("a.png") == 3


def test_plain_values_go_into_json_dates_too():
    plain = Hits("q", (hit(day=datetime.date(2024, 2, 29), price=1.5),)).to_dict()
    assert json.loads(json.dumps(plain))["hits"][0]["columns"] == {"day": "2024-02-29", "price": 1.5}


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 300])
def test_cells_are_those_of_the_rows_few_or_many(count):
    times = [datetime.datetime(2024, 1, 1) + datetime.timedelta(days=k) for k in range(300)]
    frame = pl.DataFrame({"row": range(300), "image": [f"{k}.png" for k in range(300)], "day": times})
    picked = np.random.default_rng(count).choice(300, count, replace=False)
    cells = cells_of(frame, np.append(np.repeat(picked, 2), -1)[None])
    assert cells == {k: {"row": k, "image": f"{k}.png", "day": times[k]} for k in picked.tolist()}


def test_where_nothing_is_found_there_are_no_cells():
    assert cells_of(pl.DataFrame({"row": [0]}), np.full((2, 3), -1)) == {}
