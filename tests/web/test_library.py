"""A gallery as the service uses it: fresh before each answer, enrolments undone, copies marked, pictures of rows."""

import io
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import triune
from triune.serving.gallery.enrolments import Entrant, one_at_a_time
from triune.serving.gallery.filling import thumbnail
from triune.serving.pictures import Picture
from triune.web import library as library_module
from triune.web.library import TIDY_AFTER, Library, digest_of
from triune.web.refusals import Refused
from web.conftest import indexed


@pytest.fixture
def place(served_run, tmp_path):
    return indexed(served_run, tmp_path / "G")


@pytest.fixture
def library(place, loaded):
    return Library(triune.Gallery.open(place, loaded))


def entrant(loaded, path):
    (answer,) = loaded.embed_each([Picture(path.name, str(path))])
    return Entrant(answer, thumbnail(Picture(path.name, str(path))))


def test_two_services_on_one_gallery_lose_nothing_and_see_all(place, loaded, pictures):
    """As two workers are: each with a gallery object of its own."""
    sides = [Library(triune.Gallery.open(place, loaded)) for _ in range(2)]
    entrants = [entrant(loaded, each) for each in pictures[:10]]

    def enrolling(side):
        for number in range(side, 10, 2):
            sides[side].enrol([entrants[number]], f"number-{number}", f"new {number}", None)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(enrolling, range(2)))
    for side in sides:
        assert {each.key for each in side.enrolments()} == {f"number-{number}" for number in range(10)}
        assert side.fresh().count == 19
    assert sides[0].undo("number-1") == (1, 18)
    assert sides[1].known("number-1") is None


def test_a_key_is_done_once_and_is_one_identitys(library, loaded, pictures):
    first = library.enrol([entrant(loaded, pictures[0])], "number-1", "Ada", None)
    assert library.enrol([], "number-1", "Ada", None) == first
    with pytest.raises(Refused, match="enrolment of 'Ada' already") as refused:
        library.enrol([entrant(loaded, pictures[1])], "number-1", "Bob", None)
    assert refused.value.status == 409
    with pytest.raises(Refused, match="no enrolment number-2") as refused:
        library.undo("number-2")
    assert refused.value.status == 404


@pytest.mark.parametrize("other", ["Bob", "Ada"])
def test_of_two_workers_that_get_one_key_at_once_one_enrols(place, loaded, pictures, monkeypatch, other):
    """What the other would add to it, or write over it, was answered already."""
    sides = [Library(triune.Gallery.open(place, loaded)) for _ in range(2)]
    entrants = [entrant(loaded, each) for each in pictures[:3]]
    within, write = threading.Event(), library_module.enrol

    def slowly(*given):
        if not within.is_set():
            within.set()
            time.sleep(0.5)  # while the other, which began later, could look the key up
        return write(*given)

    monkeypatch.setattr(library_module, "enrol", slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(sides[0].enrol, entrants[:1], "one-key", "Ada", None, [pictures[0].name])
        assert within.wait(30)
        second = pool.submit(
            sides[1].enrol, entrants[1:], "one-key", other, None, [each.name for each in pictures[1:3]]
        )
        assert first.result()[0].images == (f"enrolled/one-key/0-{pictures[0].name}",)
        with pytest.raises(Refused, match="already: send another key") as refused:
            second.result()
    assert refused.value.status == 409
    (there,) = sides[1].enrolments()
    assert (there.identity, there.images) == ("Ada", first.result()[0].images)


def test_of_two_workers_that_undo_at_once_one_removes(place, loaded, pictures, monkeypatch):
    sides = [Library(triune.Gallery.open(place, loaded)) for _ in range(2)]
    sides[0].enrol([entrant(loaded, pictures[0])], "one-key", "Ada", None)
    within, remove = threading.Event(), sides[0]._store.remove

    def slowly(images):
        within.set()
        time.sleep(0.5)
        remove(images)

    monkeypatch.setattr(sides[0]._store, "remove", slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(sides[0].undo, "one-key")
        assert within.wait(30)
        second = pool.submit(sides[1].undo, "one-key")
        assert first.result() == (1, 9)
        with pytest.raises(Refused, match="no enrolment one-key"):
            second.result()


def test_what_was_undone_since_its_key_was_looked_up_is_sent_again(library):
    with pytest.raises(Refused, match="undone at this moment: send it again") as refused:
        library.enrol([], "one-key", "Ada", None, ["a.png"])
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})


def test_an_enrolment_waits_for_another_s_but_not_for_ever(library, loaded, pictures, monkeypatch):
    monkeypatch.setattr("triune.serving.gallery.enrolments.PATIENCE", 0.1)
    with one_at_a_time(library._store), pytest.raises(OSError, match="another process has been enrolling into"):
        library.enrol([entrant(loaded, pictures[0])], "one-key", "Ada", None)
    assert library.enrolments() == []


def test_the_gallery_of_a_command_is_seen_too(library, place, loaded, pictures):
    assert library.fresh().count == 9
    triune.Gallery.open(place, loaded).add([str(pictures[3])], identity="id9")
    assert library.fresh().count == 10


def test_a_copy_of_an_earlier_hit_is_marked(library, loaded, pictures, tmp_path):
    with Image.open(pictures[0]) as image:
        image.convert("RGB").resize((60, 60)).save(tmp_path / "copy.jpg", quality=70)
    library.enrol([entrant(loaded, tmp_path / "copy.jpg")], "number-1", "copy", None)
    (hits,) = library.search(["a"], loaded.embed([pictures[0]]), k=10)
    who = {hit.row: "id9" if hit.identity == "copy" else hit.identity for hit in hits.hits}
    row = next(hit.row for hit in hits.hits if hit.identity == "copy")
    copies = library.duplicates(hits)
    order = [hit.row for hit in hits.hits]
    assert row in {*copies, *copies.values()}
    # Pictures of one pattern differ by their brightness alone, as copies do; those of two patterns are none.
    assert all(who[copy] == who[earlier] for copy, earlier in copies.items())
    assert all(order.index(copy) > order.index(earlier) for copy, earlier in copies.items())
    assert not set(copies) & set(copies.values())


def test_names_of_what_was_sent_are_those_of_the_answers(library, loaded, pictures):
    x = loaded.embed([pictures[0], pictures[7]])
    assert [each.query for each in library.search(["a", "b"], x, k=2)] == ["a", "b"]
    (liked,) = library.search_by_taste((["a"], ["b"]), x[:1], x[1:], k=2)
    assert liked.query == "like a; unlike b"
    assert library.search_by_taste((["a"], []), x[:1], None, k=2)[0].query == "like a"


def test_a_picture_of_a_row_is_that_of_its_image_also_when_rows_have_moved(library, loaded, pictures):
    images = library.gallery.rows()["image"].to_list()
    last = len(images) - 1
    before = library.thumbnail(last, digest_of(images[last]))
    assert np.asarray(Image.open(io.BytesIO(before))).shape == (40, 40, 3)
    triune.Gallery.open(library.gallery.name, loaded).remove([images[0]])
    assert library.thumbnail(last, digest_of(images[last])) == before
    with pytest.raises(Refused, match="no row 8"):
        library.thumbnail(last, None)
    with pytest.raises(Refused, match="no row 0"):
        library.thumbnail(0, digest_of(images[0]))


def test_small_files_of_many_enrolments_are_put_together(library, loaded, pictures, monkeypatch):
    tidied = []
    monkeypatch.setattr(library._store, "tidy", lambda: tidied.append(library.fresh().count))
    one = entrant(loaded, pictures[0])
    monkeypatch.setattr("triune.web.library.enrol", lambda *given: given)
    for number in range(2 * TIDY_AFTER):
        library.enrol([one], f"number-{number}", "Ada", None)
    assert len(tidied) == 2


def test_a_gallery_that_is_gone_or_damaged_is_no_fault_of_a_request(library, place, loaded, pictures):
    vectors = loaded.embed(pictures[:1])
    assert library.search(["a"], vectors, k=1)[0].hits
    for file in place.rglob("*.lance"):
        if file.is_file():
            file.write_bytes(b"damaged")
    for file in place.rglob("*.manifest"):
        file.write_bytes(b"damaged")
    with pytest.raises(OSError, match="gallery"):
        library.fresh()
    shutil.rmtree(place)
    with pytest.raises(OSError, match="gallery"):
        library.fresh()
