"""Likes and dislikes in a gallery: what is found, what is not found again, and answers that differ."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

from serving.gallery.conftest import DIM, write_pictures
from triune.errors import InputError
from triune.retrieval.diversity import maximal_marginal_relevance
from triune.retrieval.feedback import background, taste_scores
from triune.serving.gallery import taste
from triune.serving.gallery.gallery import Gallery
from triune.serving.gallery.taste import diverse, freed, items_of, ranked_by_taste


def rows(count=40, dimensions=6, seed=0):
    x = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32) + 1
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def refuse(images):
    raise AssertionError(f"{images} had to be embedded again")


@pytest.fixture
def gallery(tmp_path, run):
    return Gallery.create(tmp_path / "G", run, write_pictures(tmp_path / "pictures", 30))


def test_the_background_is_taken_away_by_blocks_as_at_once(monkeypatch):
    x = rows(50)
    monkeypatch.setattr(taste, "BLOCK", 7)
    np.testing.assert_allclose(freed(x).rows, background(x).without(x), atol=1e-6)


def test_the_order_is_that_of_the_scores():
    x = rows()
    free = background(x).without(x)
    scores = taste_scores(free, free[[2, 5]], free[[9]]).numpy()
    candidates = np.setdiff1d(np.arange(40), [2, 5, 9])
    found, places = ranked_by_taste(freed(x), x[[2, 5]], x[[9]], candidates, 8, 0.0)
    assert places.tolist() == candidates[np.argsort(-scores[candidates], kind="stable")][:8].tolist()
    np.testing.assert_allclose(found, scores[places], atol=1e-6)


def test_diversity_chooses_among_the_best(monkeypatch):
    x = rows()
    monkeypatch.setattr(taste, "pool_size", lambda k: 12)
    everything = np.arange(40)
    scores, places = ranked_by_taste(freed(x), x[:2], None, everything, 12, 0.0)
    _, chosen = ranked_by_taste(freed(x), x[:2], None, everything, 5, 0.8)
    expected = maximal_marginal_relevance(scores, freed(x).rows[places], 5, 0.8)
    assert chosen.tolist() == places[expected].tolist()
    assert set(chosen) <= set(places)
    assert chosen.tolist() != places[:5].tolist()


def test_without_diversity_the_best_are_shown_as_they_are():
    assert diverse(np.array([0.9, 0.8, 0.7]), rows(3), 2, 0).tolist() == [0, 1]
    assert diverse(np.zeros(0), np.zeros((0, 6)), 2, 0.5).tolist() == []


def test_what_a_gallery_holds_need_not_be_read_again():
    frame = pl.DataFrame({"image": ["/gone/a.png", "/gone/b.png", "/gone/c.png"]})
    x = rows(3)
    shown = items_of(["/gone/b.png", 0], frame, x, refuse)
    assert shown.names == ("/gone/b.png", "/gone/a.png")
    assert shown.rows.tolist() == [1, 0]
    np.testing.assert_array_equal(shown.vectors, x[[1, 0]])
    with pytest.raises(InputError, match=r"/gone/d\.png does not exist"):
        items_of("/gone/d.png", frame, x, refuse)
    with pytest.raises(InputError, match="there is no row 3: the gallery has 3"):
        items_of([3], frame, x, refuse)
    with pytest.raises(InputError, match="no images were given"):
        items_of([], frame, x, refuse)


def test_liked_and_disliked_rows_are_not_found_and_others_are_listed_once(gallery):
    images = gallery.rows()["image"].to_list()
    answer = gallery.search(like=images[:3], unlike=[images[7]], k=99)
    assert len(answer) == 1
    found = [hit.image for hit in answer[0].hits]
    assert sorted(found) == sorted(set(images) - {*images[:3], images[7]})
    assert answer[0].query == "like 00.png, 01.png, 02.png; unlike 07.png"
    scores = [hit.score for hit in answer[0].hits]
    assert scores == sorted(scores, reverse=True)
    assert all(abs(hit.distance - (1 - hit.score)) < 1e-6 for hit in answer[0].hits)


def test_images_arrays_rows_and_mixtures_of_them_can_be_liked(gallery):
    images = gallery.rows()["image"].to_list()
    by_path = gallery.search(like=images[:2], exclude=images[:2])[0].hits
    by_row = gallery.search(like=[0, 1])[0].hits
    by_vector = gallery.search(like=gallery.embeddings[:2], exclude=[0, 1])[0].hits
    in_memory = gallery.search(like=[Image.open(images[0]), images[1]], exclude=[0])[0].hits
    for other in (by_row, by_vector, in_memory):
        assert [hit.image for hit in other] == [hit.image for hit in by_path]


def test_a_like_that_the_gallery_does_not_hold_is_embedded(gallery, tmp_path):
    row = gallery.rows()["image"][4]
    copy = tmp_path / "copy.png"
    Image.open(row).save(copy)
    assert gallery.search(like=str(copy), k=1)[0].hits[0].image == row


def test_conditions_and_what_was_seen_hold_for_likes_too(gallery):
    images = gallery.rows()["image"].to_list()
    found = gallery.search(like=[0], where="label = 'dog'", exclude=[images[4]], k=99)[0].hits
    assert {hit.label for hit in found} == {"dog"}
    assert len(found) == 9
    assert images[4] not in {hit.image for hit in found}
    assert gallery.search(like=[0], where="label = 'dog'", exclude=images)[0].hits == ()


def test_diversity_keeps_the_best_first_and_shows_no_copy_next_to_it(tmp_path, run):
    table = write_pictures(tmp_path / "pictures", 12)
    for k in range(5):
        Image.open(tmp_path / "pictures/cup/00.png").save(tmp_path / f"pictures/cup/copy{k}.png")
    gallery = Gallery.create(tmp_path / "G", run, [str(table), str(tmp_path / "pictures/cup")])
    query = str(tmp_path / "pictures/cup/00.png")
    plain = [hit.image for hit in gallery.search(query, k=6)[0].hits]
    assert sum("copy" in image for image in plain) == 5
    varied = gallery.search(query, k=6, diversity=0.6)[0].hits
    assert sum("copy" in hit.image or hit.image == query for hit in varied) == 1
    assert varied[0].score == pytest.approx(1, abs=1e-5)
    liked = gallery.search(like=[str(tmp_path / "pictures/cup/03.png")], unlike=None, k=6, diversity=0.9)[0].hits
    assert sum("copy" in hit.image or hit.image == query for hit in liked) <= 1


def test_what_was_added_since_is_found_too(gallery, tmp_path):
    gallery.search(like=[0])
    new = tmp_path / "new.png"
    Image.open(gallery.rows()["image"][0]).save(new)
    gallery.add(str(new))
    assert gallery.search(like=[0], k=1)[0].hits[0].image == str(new)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "give images to look for, or like"),
        ({"queries": np.ones((1, DIM)), "like": [0]}, "give images to look for, or like"),
        ({"queries": np.ones((1, DIM)), "unlike": [0]}, "unlike needs like"),
        ({"unlike": [0]}, "unlike needs like"),
        ({"like": [0], "diversity": 1.5}, "diversity is 1.5: a number from 0 to 1"),
        ({"like": [0], "k": 0}, "k is 0"),
        ({"like": np.ones((1, 3))}, "3 dimensions"),
        ({"like": ["no-such.png"]}, "no-such.png does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(gallery, asked, message):
    with pytest.raises(InputError, match=message):
        gallery.search(**asked)
