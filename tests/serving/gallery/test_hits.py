"""Hits in words and as plain values."""

import datetime
import json

from triune.serving.gallery.hits import Hit, Hits


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
