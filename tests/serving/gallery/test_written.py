"""Hits as text in columns and as a CSV."""

import csv

import pytest

from triune.errors import InputError
from triune.serving.gallery.hits import Hit, Hits
from triune.serving.gallery.written import as_text, write_hits

FOUND = [
    Hits(
        "q.png",
        (
            Hit(0, "/x/a.png", "cup", "cup1", 0.98765, 0.01235, {"price": 2.5}),
            Hit(1, "/x/b.png", "tomato", None, -1.5, 2.5, {"price": None}),
        ),
    ),
    Hits("r\n.png", ()),
]


def test_text_stands_in_columns_and_a_query_without_hits_says_so():
    assert as_text(FOUND).splitlines() == [
        "q.png",
        "  1   0.9877  cup     cup1  /x/a.png",
        "  2  -1.5000  tomato  -     /x/b.png",
        "",
        "r\\n.png",
        "  nothing",
    ]


@pytest.mark.parametrize(
    ("known", "lines"),
    [
        ([("cup", None), (None, None)], ["cup  a.png", "-    a.png"]),
        ([(None, "id1"), ("cup", "cup")], ["-    id1  a.png", "cup       a.png"]),
        ([("", None), (None, "")], ["a.png", "a.png"]),
    ],
)
def test_an_empty_class_or_identity_is_a_dash_where_any_hit_has_one(known, lines):
    hits = tuple(Hit(row, "a.png", label, identity, 1.0, 0.0) for row, (label, identity) in enumerate(known))
    shown = as_text([Hits("q.png", hits[:1]), Hits("r.png", hits[1:])]).splitlines()
    assert [shown[1].split("1.0000  ")[1].split(), shown[4].split("1.0000  ")[1].split()] == [
        line.split() for line in lines
    ]


def test_paths_below_the_reader_are_told_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = [Hits(str(tmp_path / "q.png"), (Hit(0, str(tmp_path / "d" / "a.png"), None, None, 1.0, 0.0),))]
    assert as_text(found).splitlines() == ["q.png", "  1  1.0000  d/a.png"]


def test_a_csv_has_a_row_a_hit_with_the_table_s_own_columns(tmp_path):
    write_hits(tmp_path / "hits.csv", FOUND)
    with (tmp_path / "hits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["/x/a.png", "/x/b.png"]
    assert rows[0] == {
        "query": "q.png",
        "place": "1",
        "image": "/x/a.png",
        "label": "cup",
        "identity": "cup1",
        "score": "0.987650",
        "distance": "0.012350",
        "price": "2.5",
    }
    with pytest.raises(InputError, match="is there already"):
        write_hits(tmp_path / "hits.csv", FOUND)
