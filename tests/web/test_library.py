"""A gallery as the service uses it: fresh before each answer, enrolments undone, copies marked, pictures of rows."""

import io
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import triune
from triune.serving.gallery.enrolments import Entrant
from triune.serving.gallery.filling import thumbnail
from triune.serving.pictures import Picture
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
