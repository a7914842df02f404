"""Approximate search finds what exact search finds, nearly always, and its index is kept with the version it is of."""

import json

import numpy as np
import pytest

from triune.serving.gallery import approximate
from triune.serving.gallery.approximate import ABOUT, FILE, approximate_search
from triune.serving.gallery.exact import nearest


def clustered(n, d, seed=0):
    """Rows about centres of twenty each, as embeddings of images of the same things lie."""
    g = np.random.default_rng(seed)
    centres = g.normal(size=(n // 20, d))
    x = centres[np.arange(n) % (n // 20)] + 0.7 * g.normal(size=(n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def x():
    return clustered(12_000, 32)


@pytest.fixture(scope="module")
def kept(x, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    return folder, approximate_search(x, "cosine", "f", 3, folder)


def test_its_recall_on_new_queries_is_the_one_it_tells(x, kept):
    search = kept[1]
    queries = clustered(12_000, 32, seed=0)[::40] + 0.02 * clustered(12_000, 32, seed=5)[::40]
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    scores, rows = search.nearest(queries, 10)
    expected_scores, expected = nearest(x, queries, 10, "cosine")
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows.tolist(), expected.tolist())])
    assert search.about.recall >= approximate.WANTED
    assert recall > search.about.recall - 0.03
    assert recall >= 0.95
    # What is found has its exact score.
    for a, b, of, true in zip(rows, expected, scores, expected_scores):
        both = dict(zip(b.tolist(), true))
        assert all(score == both[row] for row, score in zip(a.tolist(), of) if row in both)


def test_the_kept_index_is_used_for_its_version_only(x, kept, monkeypatch):
    folder, search = kept
    monkeypatch.setattr(approximate, "_built", lambda _: pytest.fail("it was built anew"))
    again = approximate_search(x, "cosine", "f", 3, folder)
    assert again.about == search.about
    assert (again.nearest(x[:50], 5)[1] == search.nearest(x[:50], 5)[1]).all()
    for changed in ((x, "g", 3), (x[1:], "f", 4), (x[::-1].copy(), "f", 4), (x[:-1], "f", 3)):
        with pytest.raises(pytest.fail.Exception):
            approximate_search(changed[0], "cosine", *changed[1:], folder)


def test_rows_that_were_only_added_are_put_into_the_index_that_there_is(x, kept, tmp_path, monkeypatch):
    for each in (FILE, ABOUT):
        (tmp_path / each).write_bytes((kept[0] / each).read_bytes())
    built = approximate._built
    monkeypatch.setattr(approximate, "_built", lambda _: pytest.fail("it was built anew"))
    more = np.concatenate([x, clustered(2000, 32, seed=8)])
    search = approximate_search(more, "cosine", "f", 4, tmp_path)
    assert (search.nearest(more[12_000::40], 1)[1][:, 0] == np.arange(12_000, 14_000, 40)).all()
    assert (search.about.count, search.about.tuned, search.about.version) == (14_000, 12_000, 4)
    again = approximate_search(more, "cosine", "f", 4, tmp_path)
    assert (again.nearest(more[::70], 5)[1] == search.nearest(more[::70], 5)[1]).all()
    monkeypatch.setattr(approximate, "_built", built)
    grown = np.concatenate([x, clustered(4000, 32, seed=9)])  # by more than a quarter: cells are chosen anew
    assert approximate_search(grown, "cosine", "f", 5, tmp_path).about.tuned == 16_000


@pytest.mark.parametrize("name", [FILE, ABOUT])
def test_a_damaged_index_is_built_anew(x, kept, tmp_path, name):
    for each in (FILE, ABOUT):
        (tmp_path / each).write_bytes((kept[0] / each).read_bytes())
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:40])
    search = approximate_search(x, "cosine", "f", 3, tmp_path)
    assert search.nearest(x[:5], 1)[1][:, 0].tolist() == [0, 1, 2, 3, 4]
    assert (tmp_path / name).read_bytes() == (kept[0] / name).read_bytes()


@pytest.mark.parametrize("change", [{"probed": 10**30}, {"probed": 10**6}, {"cells": 7}, {"file": ""}, {"factor": "x"}])
def test_what_is_said_beside_an_index_and_was_changed_by_hand_is_not_believed(x, kept, tmp_path, change):
    (tmp_path / FILE).write_bytes((kept[0] / FILE).read_bytes())
    told = json.loads((kept[0] / ABOUT).read_text())
    (tmp_path / ABOUT).write_text(json.dumps(told | change))
    search = approximate_search(x, "cosine", "f", 3, tmp_path)
    assert search.about == kept[1].about


def test_an_index_of_which_some_bytes_changed_is_built_anew(x, kept, tmp_path):
    """FAISS reads it without a word, and would name rows that there are not."""
    whole = bytearray((kept[0] / FILE).read_bytes())
    for place in range(len(whole) // 2, len(whole) // 2 + 4000):
        whole[place] ^= 0x7F
    (tmp_path / FILE).write_bytes(whole)
    (tmp_path / ABOUT).write_bytes((kept[0] / ABOUT).read_bytes())
    search = approximate_search(x, "cosine", "f", 3, tmp_path)
    assert search.nearest(x[:500], 1)[1][:, 0].tolist() == list(range(500))
    assert (tmp_path / FILE).read_bytes() == (kept[0] / FILE).read_bytes()


def test_among_some_rows_the_search_is_exact(x, kept):
    some = np.arange(7, 12_000, 100)
    scores, rows = kept[1].nearest(x[:20], 9, some)
    expected_scores, expected = nearest(x[some], x[:20], 9, "cosine")
    assert (rows == some[expected]).all()
    assert (scores == expected_scores).all()


@pytest.mark.parametrize("d", [8, 18])
def test_widths_that_codes_do_not_divide_are_searched_too(d):
    x = clustered(10_000, d)
    search = approximate_search(x, "euclidean", "f", 1, None)
    scores, rows = search.nearest(x[:100], 1)
    assert (rows[:, 0] == np.arange(100)).mean() > 0.95
    assert scores.max() == 0
