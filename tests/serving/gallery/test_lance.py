"""Whole batches or none: rows in LanceDB survive what kills the process that writes them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from triune.errors import InputError
from triune.serving.gallery import lance
from triune.serving.gallery.card import STAMP, GalleryCard
from triune.serving.gallery.lance import LanceStore
from triune.serving.gallery.store import Batch, Snapshot

CARD = GalleryCard(fingerprint="f", source="run", metric="cosine", dim=6)
COLUMNS = (
    dict.fromkeys(("image", "label", "identity"), pl.String()) | {"n": pl.Int64()} | dict.fromkeys(STAMP, pl.Int64())
)


def batch(names, start=0):
    frame = pl.DataFrame(
        {"image": names, "label": ["x"] * len(names), "identity": None, "n": range(start, start + len(names))}
        | dict.fromkeys(STAMP),
        schema=COLUMNS,
    )
    rows = np.arange(len(names) * 6, dtype=np.float32).reshape(-1, 6) + start
    return Batch(frame, rows, [None] * len(names))


@pytest.fixture
def store(tmp_path):
    return LanceStore.create(str(tmp_path / "G"), CARD, COLUMNS)


def test_rows_are_read_as_they_were_written(store):
    store.put(batch(["a", "it's", 'q"', "ü\n"]))
    store.put(batch(["b"], 10))
    again = LanceStore.open(store.name)
    snapshot = again.read()
    assert again.card == CARD
    assert snapshot.frame["image"].to_list() == ["a", "it's", 'q"', "ü\n", "b"]
    assert snapshot.frame["n"].to_list() == [0, 1, 2, 3, 10]
    assert snapshot.frame.columns == ["row", *COLUMNS]
    np.testing.assert_array_equal(again.embeddings(snapshot)[4], np.arange(6) + 10)
    assert snapshot.version == again.version


def test_an_image_that_is_there_takes_its_former_row_s_place_and_removed_ones_are_gone(store):
    store.put(batch(["a", "it's", "c"]))
    store.put(batch(["it's", "d"], 50))
    frame = store.read().frame
    assert sorted(zip(frame["image"], frame["n"])) == [("a", 0), ("c", 2), ("d", 51), ("it's", 50)]
    before = store.read()
    store.remove(["it's", "c", "not there"])
    assert store.embeddings(before).shape == (4, 6)  # a version that was read stays as it was
    assert sorted(store.read().frame["image"]) == ["a", "d"]


def test_many_rows_keep_the_order_in_which_they_were_added_and_stand_beside_their_embeddings(store):
    for start in range(0, 60_000, 20_000):
        store.put(batch([f"{k}" for k in range(start, start + 20_000)], start))
    snapshot = store.read()
    assert snapshot.frame["n"].to_list() == list(range(60_000))
    assert (
        store.embeddings(snapshot)[:, 0] == 6.0 * (np.arange(60_000) % 20_000) + np.arange(60_000) // 20_000 * 20_000
    ).all()
    # Rows that are updated may change places; each keeps its own embedding.
    store.put(batch([f"{k}" for k in range(15_000, 35_000)], 500_000))
    snapshot = store.read()
    assert len(snapshot.frame) == 60_000
    numbers = snapshot.frame["n"].to_numpy()
    start = np.where(numbers >= 500_000, 500_000, numbers // 20_000 * 20_000)
    assert (store.embeddings(snapshot)[:, 0] == 6.0 * (numbers - start) + start).all()
    # Whatever the order of a scan, ids say which is which.
    turned = Snapshot(snapshot.version, snapshot.frame[::-1], snapshot.ids[::-1])
    np.testing.assert_array_equal(store.embeddings(turned), store.embeddings(snapshot)[::-1])


def test_columns_are_added_empty(store):
    store.put(batch(["a"]))
    store.widen({"price": pl.Float64(), "day": pl.Date(), "word": pl.String()})
    assert store.read().frame.select("price", "day", "word").row(0) == (None, None, None)
    assert list(store.columns().items())[-3:] == [("price", pl.Float64), ("day", pl.Date), ("word", pl.String)]


def test_a_column_that_another_process_has_added_meanwhile_is_there(store):
    """Two workers that enrol for the first time both find that the column lacks."""
    store.put(batch(["a"]))
    other = LanceStore.open(store.name)
    for each in (store, other):
        each.widen({"price": pl.Float64(), **({"day": pl.Date()} if each is other else {})})
    assert {"price": pl.Float64(), "day": pl.Date()}.items() <= store.columns().items()


def test_putting_pieces_together_changes_neither_rows_nor_their_order(store):
    for k in range(5):
        store.put(batch([f"{k}-{j}" for j in range(3)], 3 * k))
    before = store.read()
    store.tidy()
    after = store.read()
    assert after.frame.equals(before.frame)
    np.testing.assert_array_equal(store.embeddings(after), store.embeddings(before))
    assert len(os.listdir(os.path.join(store.name, "items.lance", "data"))) >= 1


def test_what_lancedb_remembers_is_bounded_however_many_versions_were_read(tmp_path, monkeypatch):
    lancedb = pytest.importorskip("lancedb", reason="LanceDB is not installed (pip install 'triune[gallery]')")
    sessions, most = [], 1 << 14

    def session(*given):
        sessions.append(lancedb.Session(*given))
        return sessions[-1]

    class Watched:
        """LanceDB, whose sessions are kept to be looked at."""

        Session = staticmethod(session)
        connect = staticmethod(lancedb.connect)

    monkeypatch.setattr(lance, "REMEMBERED", most)
    monkeypatch.setattr(lance, "_lancedb", lambda: Watched)
    store = LanceStore.create(str(tmp_path / "G"), CARD, COLUMNS)
    for number in range(30):
        store.put(batch([f"{number}-{place}" for place in range(10)]))
        assert store.read().frame.height == 10 * (number + 1)
    assert sessions
    assert max(each.size_bytes for each in sessions) <= 2 * most
    assert lancedb.connect(store.name).open_table("items").count_rows() == 300


def test_a_table_of_another_program_is_no_gallery(tmp_path):
    import lancedb

    lancedb.connect(str(tmp_path / "T")).create_table("items", data=[{"a": 1}])
    with pytest.raises(InputError, match="is a table of LanceDB, but no gallery"):
        LanceStore.open(str(tmp_path / "T"))


def test_a_place_is_taken_once(store):
    with pytest.raises(InputError, match="is there already"):
        LanceStore.create(store.name, CARD, COLUMNS)


@pytest.mark.parametrize("part", ["data", "_versions"])
@pytest.mark.parametrize("kept", [0, 10, -8])
def test_a_gallery_whose_files_are_cut_short_is_told_in_a_line(store, part, kept):
    store.put(batch([f"a{k}" for k in range(50)]))
    for path in (Path(store.name) / "items.lance" / part).iterdir():
        path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(
        InputError, match=r"is damaged .*: put a copy of it in its place, or index the images anew"
    ) as caught:
        LanceStore.open(store.name).read()
    assert store.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "/rustc/" not in str(caught.value)


def test_a_file_that_is_gone_is_told_in_a_line(store):
    store.put(batch(["a", "b"]))
    for path in (Path(store.name) / "items.lance" / "data").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=f"{store.name} is damaged"):
        LanceStore.open(store.name).read()


def test_storage_that_does_not_answer_is_told_in_a_line():
    with pytest.raises((OSError, InputError), match="bogus://bucket/G"):
        LanceStore.open("bogus://bucket/G")


ADDING = """
import sys
sys.path.insert(0, sys.argv[2])
from serving.gallery.test_lance import LanceStore, batch
store = LanceStore.open(sys.argv[1])
for k in range(10_000):
    store.put(batch([f"{sys.argv[3]} {k}-{j}" for j in range(40)], 40 * k))
    print(k, flush=True)
"""


def adding(store, word):
    tests = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    command = [sys.executable, "-c", ADDING, store.name, tests, word]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def kill_once(store, word, wait):
    """Start a process that adds, kill it, and say up to which batch it had reported."""
    process = adding(store, word)
    try:
        process.stdout.readline()
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        reported = [0, *(int(line) for line in process.stdout)]
    finally:
        process.kill()
        process.wait()
    return max(reported)


def whole_batches(store, word):
    """How many batches of a process are there; each must be whole, and none may be missing before another."""
    snapshot = store.read()
    frame = snapshot.frame.filter(pl.col("image").str.starts_with(word + " "))
    numbers = frame["n"].to_numpy()
    assert sorted(numbers) == list(range(len(numbers)))
    assert len(numbers) % 40 == 0
    expected = 6 * (numbers % 40)[:, None] + np.arange(6) + 40 * (numbers // 40)[:, None]
    np.testing.assert_array_equal(store.embeddings(snapshot)[frame["row"].to_numpy()], expected)
    return len(numbers) // 40


@pytest.mark.slow
def test_what_was_committed_survives_twenty_kills(store):
    g = np.random.default_rng(0)
    for k in range(20):
        reported = kill_once(store, f"p{k}", float(g.uniform(0, 0.3)))
        there = whole_batches(LanceStore.open(store.name), f"p{k}")
        assert there in (reported + 1, reported + 2)  # the last commit may have come before its report


def test_two_processes_that_add_at_once_and_are_killed_lose_nothing(store):
    both = {word: adding(store, word) for word in ("left", "right")}
    for process in both.values():
        for _ in range(6):
            assert process.stdout.readline()
    for process in both.values():
        process.kill()
    for word, process in both.items():
        process.wait()
        reported = 5 + len(list(process.stdout))
        assert whole_batches(store, word) in (reported + 1, reported + 2)
