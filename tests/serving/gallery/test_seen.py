"""A history of what was seen: a table or a list, its paths as written, from its folder, or from where we are."""

import polars as pl
import pytest

from triune.errors import InputError
from triune.serving.gallery.seen import seen_of

IMAGES = ["/photos/a.jpg", "/photos/b, c.jpg", "/photos/ü.jpg", "image 12ab"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("image\n/photos/a.jpg\n", ["/photos/a.jpg"]),
        ("Path,when\n/photos/a.jpg,monday\n/photos/none.jpg,tuesday\n", ["/photos/a.jpg"]),
        ('when;image\nmonday;"/photos/b, c.jpg"\n', ["/photos/b, c.jpg"]),
        ("/photos/b, c.jpg\n\n  /photos/ü.jpg  \n", ["/photos/b, c.jpg", "/photos/ü.jpg"]),
        ("﻿image\r\n/photos/ü.jpg\r\n", ["/photos/ü.jpg"]),
        ("image 12ab\n", ["image 12ab"]),
        ("image\n", []),
        ("", []),
    ],
)
def test_tables_and_lists_are_read(tmp_path, text, found):
    history = tmp_path / "history.csv"
    history.write_text(text, encoding="utf-8")
    assert sorted(seen_of(history, IMAGES).images) == found


def test_paths_are_looked_for_from_the_history_and_from_here(tmp_path, monkeypatch):
    (tmp_path / "logs").mkdir()
    history = tmp_path / "logs" / "history.csv"
    history.write_text("image\n../a.jpg\nphotos/b.jpg\nphotos/b.jpg\n")
    monkeypatch.chdir(tmp_path)
    there = [str(tmp_path / "a.jpg"), str(tmp_path / "photos/b.jpg"), str(tmp_path / "c.jpg")]
    assert seen_of(history, there) == (frozenset(there[:2]), 2)


def test_a_parquet_file_is_read_and_empty_cells_are_passed_over(tmp_path):
    pl.DataFrame({"image": ["/photos/a.jpg", None], "when": [1, 2]}).write_parquet(tmp_path / "h.parquet")
    assert seen_of(tmp_path / "h.parquet", IMAGES) == (frozenset(["/photos/a.jpg"]), 1)


@pytest.mark.parametrize("name", ["none.csv", "none.parquet"])
def test_a_history_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(InputError, match=name):
        seen_of(tmp_path / name, IMAGES)


@pytest.mark.parametrize(
    "text",
    ["foo,bar\n1,2\n", "foo;bar\n1;/photos/a.jpg\n", 'foo\tbar\n"a\tb"\tc.jpg\n', '"user","picture"\n"1","a.jpg"\n'],
)
def test_a_table_of_other_columns_is_no_list(tmp_path, text):
    (tmp_path / "h.csv").write_text(text)
    with pytest.raises(InputError, match="has no column 'image'"):
        seen_of(tmp_path / "h.csv", IMAGES)


@pytest.mark.parametrize("text", ["/old/x, y.jpg\n/old/a, b.jpg\n", "/old/x, y\n/photos/b, c.jpg\n", "/old/x\n"])
def test_a_list_of_paths_with_commas_is_no_table(tmp_path, text):
    (tmp_path / "h.csv").write_text(text)
    assert seen_of(tmp_path / "h.csv", IMAGES).listed == len(text.splitlines())


def test_what_is_no_history_is_refused(tmp_path):
    (tmp_path / "h.csv").write_bytes(b"\x00\xff\x00")
    with pytest.raises(InputError, match=r"h\.csv is not UTF-8 text"):
        seen_of(tmp_path / "h.csv", IMAGES)
    pl.DataFrame({"picture": ["a"]}).write_parquet(tmp_path / "h.parquet")
    with pytest.raises(InputError, match="has no column 'image'"):
        seen_of(tmp_path / "h.parquet", IMAGES)
