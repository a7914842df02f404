"""A gallery keeps images with what is known of them, finds the most alike, and takes its own network's queries only."""

import io
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import triune
from serving.gallery.conftest import DIM, ColourRun
from triune.errors import InputError
from triune.serving.gallery.gallery import Gallery
from triune.serving.gallery.places import is_qdrant, is_there
from triune.serving.gallery.store import Batch


@pytest.fixture
def gallery(place, table, run):
    return Gallery.create(place, run, table, types={"price": "float"})


def paths(table, count=12):
    return sorted(str(path) for path in table.parent.glob("*/*.png"))[:count]


def test_its_rows_are_those_of_the_table_in_their_order_with_all_columns(gallery, table):
    assert triune.Gallery is Gallery
    assert gallery.rows()["row"].to_list() == list(range(12))
    frame = gallery.rows()
    assert frame.columns == ["row", "image", "label", "identity", "price", "note"]
    if is_qdrant(gallery.name):  # where rows stand in the order of their ids
        frame = frame.sort("price")
    assert frame["image"].to_list() == [
        str(table.parent / f"{('cup', 'dog', 'car')[k % 3]}/{k:02d}.png") for k in range(12)
    ]
    assert frame["price"].to_list() == [5.0 * k for k in range(12)]
    assert frame["note"][3] == "it's no. 3"
    assert gallery.embeddings.shape == (gallery.count, gallery.dim) == (12, DIM)
    assert (gallery.metric, gallery.fingerprint, len(gallery)) == ("cosine", "f1", 12)
    assert "12 images" in repr(gallery)


def test_what_is_read_back_is_what_was_written(gallery, run):
    again = Gallery.open(gallery.name, run)
    assert again.rows().equals(gallery.rows())
    np.testing.assert_array_equal(again.embeddings, gallery.embeddings)
    np.testing.assert_array_equal(again.embeddings, run.embed(gallery.rows()["image"].to_list()))
    small = again.thumbnails(gallery.rows()["image"].to_list()[:2])
    assert [Image.open(io.BytesIO(each)).size for each in small.values()] == [(16, 12)] * 2


def test_a_query_finds_itself_first_unless_it_is_left_out(gallery, table, monkeypatch):
    one, two = paths(table)[4], paths(table)[9]
    found = gallery.search([one, two], k=3)
    assert [each.query for each in found] == [one, two]
    assert [each.hits[0].image for each in found] == [one, two]
    assert found[0].hits[0].score == pytest.approx(1, abs=1e-6)
    assert found[0].hits[0].distance == pytest.approx(0, abs=1e-6)
    scores = [hit.score for hit in found[0].hits]
    assert scores == sorted(scores, reverse=True)
    without = gallery.search(one, k=2, exclude_self=True)[0]
    assert without.hits == found[0].hits[1:]
    monkeypatch.chdir(table.parent)
    assert gallery.search(os.path.relpath(one), k=2, exclude_self=True)[0].hits == without.hits


def test_hits_meet_the_condition_and_are_none_of_those_excluded(gallery, table):
    every = gallery.search(gallery.embeddings[:1], k=100)[0].hits
    assert sorted(hit.row for hit in every) == list(range(12))
    cheap = gallery.search(gallery.embeddings[:1], k=100, where="label = 'cup' and price < 20")[0].hits
    assert cheap == tuple(hit for hit in every if hit.label == "cup" and hit.columns["price"] < 20)
    assert {hit.columns["price"] for hit in cheap} == {0.0, 15.0}
    out = [every[0].image, every[3].row]
    kept = gallery.search(gallery.embeddings[:1], k=100, exclude=out)[0].hits
    assert kept == tuple(hit for place, hit in enumerate(every) if place not in (0, 3))
    assert gallery.search(gallery.embeddings[:1], where="label = 'cow'")[0].hits == ()


def test_an_answer_says_what_it_is_in_words_and_in_plain_values(gallery, table):
    found = gallery.search(paths(table)[0], k=4)[0]
    hit = found.hits[0]
    assert repr(hit) == f"<{hit.image}; car, car0, score 1.0000>"
    assert repr(found).startswith(f"<{paths(table)[0]}: 4 hits: <")
    plain = found.to_dict()
    assert plain["query"] == paths(table)[0]
    assert plain["hits"][0]["columns"] == {"price": 10.0, "note": "it's no. 2"}


def test_another_network_s_queries_and_images_are_refused(gallery, table):
    other = ColourRun(name="others", fingerprint="f2")
    for attempt in (
        lambda: Gallery.open(gallery.name, other),
        lambda: gallery.add(table, other),
    ):
        with pytest.raises(InputError, match="was made by another network"):
            attempt()
    assert gallery.count == 12


def test_a_run_that_is_not_there_any_more_is_named(gallery, table):
    with pytest.raises(InputError, match=r"made by colours, which cannot be loaded.*--run"):
        Gallery.open(gallery.name).search(paths(table)[0])


def test_adding_again_changes_nothing_and_what_changed_is_updated(gallery, run, table):
    version = gallery.version
    done = gallery.add(table, run)
    assert (done.added, done.updated, done.unchanged) == (0, 0, 12)
    assert gallery.version == version
    changed = paths(table)[5]
    Image.fromarray(np.full((9, 9, 3), 200, np.uint8)).save(changed)
    Image.fromarray(np.full((9, 9, 3), 20, np.uint8)).save(table.parent / "cup/new.png")
    done = gallery.add(table.parent, run)
    assert (done.added, done.updated, done.unchanged) == (1, 1, 11)
    frame = gallery.rows()
    assert frame["image"].n_unique() == len(frame) == 13
    # What a folder does not say of an image stays as the table said it.
    assert frame.filter(image=changed)["note"].to_list() == ["it's no. 3"]
    row = frame.filter(image=changed)["row"][0]
    np.testing.assert_array_equal(gallery.embeddings[row], run.embed(changed)[0])
    text = table.read_text().replace("it's no. 4", "changed")
    table.write_text(text)
    done = gallery.add(table, run)
    assert (done.added, done.updated, done.unchanged) == (0, 1, 11)
    assert gallery.rows("note = 'changed'")["price"].to_list() == [20.0]


def test_images_are_enrolled_with_an_identity_and_new_columns_are_empty_before(gallery, run, table, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    Image.fromarray(np.full((9, 9, 3), 90, np.uint8)).save(more / "a.png")
    (more / "t.csv").write_text("image,colour\na.png,grey\n")
    gallery.add(more / "t.csv", run, identity="alice", label="person")
    last = gallery.rows("colour = 'grey'").to_dicts()[0]
    assert (last["identity"], last["label"], last["price"]) == ("alice", "person", None)
    assert gallery.rows("colour is null").height == 12


@pytest.mark.parametrize("cells", ["text", "float"])
def test_a_table_with_a_cell_that_does_not_fit_its_column_leaves_a_gallery_as_it_was(place, run, table, cells):
    gallery = Gallery.create(place, run, table, types={"price": "int"})
    version, columns = gallery.version, gallery.rows().columns
    more = pl.DataFrame({"image": paths(table, 3), "new": [1, 2, 3], "price": [1.0, 3.7, 4.2]})
    if cells == "text":
        more = more.with_columns(pl.Series("price", ["1", "dear", "2"]))
    more.write_parquet(table.parent / "more.parquet")
    with pytest.raises(InputError, match=r"column price .* holds Int64, and (3\.7|'dear') of .*05\.png is none"):
        gallery.add(table.parent / "more.parquet", run)
    assert (gallery.version, gallery.rows().columns) == (version, columns)
    more.with_columns(pl.Series("price", [1.0, None, 4.0])).write_parquet(table.parent / "more.parquet")
    assert gallery.add(table.parent / "more.parquet", run).updated == 3
    assert gallery.rows("new = 3")["price"].to_list() == [4]


def test_rows_are_removed_by_path_by_folder_by_pattern_and_by_condition(gallery, table):
    assert gallery.remove([paths(table)[0]]) == 1
    assert gallery.remove([table.parent / "dog"]) == 4
    assert gallery.remove([str(table.parent / "cup/0*.png")]) == 4
    assert gallery.rows()["label"].to_list() == ["car"] * 3
    assert gallery.remove(where="price > 30") == 2
    assert gallery.count == 1
    with pytest.raises(InputError, match=r"holds no image nothing\.png"):
        gallery.remove(["nothing.png"])
    assert gallery.count == 1


def test_an_empty_path_is_not_the_working_directory(gallery, table, monkeypatch):
    monkeypatch.chdir(table.parent)
    for asked in (
        lambda: gallery.remove([""]),
        lambda: gallery.search(""),
        lambda: gallery.search(like=[paths(table)[0], ""]),
        lambda: gallery.add(""),
    ):
        with pytest.raises(InputError, match=r"path of an image.* is empty"):
            asked()
    assert gallery.count == 12
    assert gallery.remove(["."]) == 12


def test_what_another_has_written_is_taken_up_when_asked_for(gallery, run, table):
    other = Gallery.open(gallery.name, run)
    assert other.count == 12
    assert not other.refresh()
    gallery.remove([paths(table)[0]])
    assert other.count == 12
    assert other.refresh()
    assert other.count == 11


def test_an_image_that_cannot_be_read_is_named_or_left_out(place, tmp_path, run, table):
    bad = table.parent / "cup/05bad.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"05bad\.png cannot be read"):
        Gallery.create(place, run, table.parent)
    assert not is_there(place)
    gallery = Gallery.create(place, run, table.parent, skip=True)
    assert gallery.count == 12
    bad_alone = tmp_path / "bad"
    bad_alone.mkdir()
    (bad_alone / "x.png").write_bytes(b"")
    with pytest.raises(InputError, match="none of 1 image could be read"):
        Gallery.create(tmp_path / "H", run, bad_alone, skip=True)


def test_what_was_written_before_a_fault_stays_and_adding_goes_on(place, tmp_path, run, table, monkeypatch):
    monkeypatch.setattr("triune.serving.gallery.filling.ROWS", 5)
    bad = table.parent / "dog/05bad.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"05bad.*the 10 images before it are in .*--skip.*--add"):
        Gallery.create(place, run, table.parent)
    gallery = Gallery.open(place, run)
    assert gallery.count == 10
    done = gallery.add(table.parent, run, skip=True)
    assert (done.added, done.unchanged, len(done.left_out)) == (2, 10, 1)


def test_a_place_that_is_taken_or_empty_is_refused_in_a_line(place, tmp_path, run, table):
    Gallery.create(place, run, table)
    with pytest.raises(InputError, match="is there already"):
        Gallery.create(place, run, table)
    with pytest.raises(InputError, match=r"_absent (does not exist|is no gallery)"):
        Gallery.open(place + "_absent")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="plain is there already"):
        Gallery.create(tmp_path / "plain", run, table)
    with pytest.raises(InputError, match="plain is no gallery"):
        Gallery.open(tmp_path / "plain")
    with pytest.raises(InputError, match="absent does not exist"):
        Gallery.open(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("k", [0, -3])
def test_k_is_one_at_least(gallery, k):
    with pytest.raises(InputError, match=f"k is {k}"):
        gallery.search(gallery.embeddings[:1], k=k)


def test_embeddings_of_another_width_or_not_finite_are_refused(gallery):
    with pytest.raises(InputError, match="queries have 5 dimensions"):
        gallery.search(np.ones((2, 5), np.float32))
    bad = gallery.embeddings[:2].copy()
    bad[1, 0] = np.nan
    with pytest.raises(ValueError, match="row 1"):
        gallery.search(bad)


def test_images_in_memory_have_a_name_of_their_pixels_and_are_not_doubled(place, tmp_path, run):
    g = np.random.default_rng(0)
    images = [Image.fromarray(g.integers(0, 256, (8, 8, 3)).astype(np.uint8)) for _ in range(3)]
    gallery = Gallery.create(place, run, images)
    gallery.add([images[1], images[2].rotate(90)], run)
    assert gallery.count == 4
    assert gallery.rows()["image"].n_unique() == 4


def test_half_precision_and_float64_queries_are_searched_as_float32(gallery):
    for kind in (np.float16, np.float64):
        found = gallery.search(gallery.embeddings[:3].astype(kind), k=1)
        assert [each.hits[0].row for each in found] == [0, 1, 2]


def test_a_gallery_is_searched_approximately_where_that_is_asked_for(gallery, run):
    before = gallery.embeddings[:4].copy()
    g, n = np.random.default_rng(0), 600 if is_qdrant(gallery.name) else 12_000
    x = g.normal(size=(n, DIM)) + 3 * g.normal(size=(600, DIM))[np.arange(n) % 600]
    names = pl.DataFrame({"image": [f"r{k}" for k in range(n)]})
    frame = names.with_columns(
        pl.lit(None, dtype=kind).alias(name) for name, kind in gallery._store.columns().items() if name != "image"
    )
    rows = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    gallery._store.put(Batch(frame, rows, [None] * n))
    assert gallery.refresh()
    quick = Gallery.open(gallery.name, run, approximate=True)
    assert gallery.recall is None
    if not is_qdrant(gallery.name):
        assert quick.recall > 0.95
    assert quick.search(before, k=1) == gallery.search(before, k=1)
    assert quick.search(before, k=3, where="price < 30") == gallery.search(before, k=3, where="price < 30")


def test_groups_of_near_duplicates_are_told_from_their_lowest_row(gallery, run, table):
    copy = table.parent / "cup/copy.png"
    copy.write_bytes((table.parent / "dog/04.png").read_bytes())
    gallery.add([copy], run)
    found = gallery.near_duplicates(1e-6)
    assert len(found) == 1
    both = [found[0].query, *(hit.image for hit in found[0].hits)]
    assert sorted(both) == [str(copy), str(table.parent / "dog/04.png")]
    assert found[0].query == gallery.rows().filter(pl.col("image").is_in(both))["image"][0]
    assert found[0].hits[0].score == pytest.approx(1, abs=1e-6)
    assert len(gallery.near_duplicates(2.0)[0].hits) == 12


def test_a_gallery_goes_back_to_a_former_version_where_its_place_keeps_them(gallery, table):
    before, number = gallery.rows(), gallery.version
    gallery.remove([paths(table)[0]])
    if is_qdrant(gallery.name):
        with pytest.raises(InputError, match="Qdrant keeps no versions"):
            gallery.restore(number)
        return
    gallery.restore(number)
    assert gallery.rows().equals(before)
    assert gallery.version > number + 1
    assert [each.count for each in gallery.versions()][-3:] == [12, 11, 12]
    with pytest.raises(InputError, match="has no version 99"):
        gallery.restore(99)


def test_a_gallery_that_was_emptied_says_so_and_takes_images_again(gallery, run, table):
    embeddings = gallery.embeddings[:1]
    assert gallery.remove(where="1 = 1") == 12
    assert gallery.count == 0
    for asked in ({"queries": embeddings}, {"like": embeddings}):
        with pytest.raises(InputError, match="holds no images"):
            gallery.search(**asked)
    assert gallery.add(table, run).added == 12
    assert gallery.search(embeddings, k=1)[0].hits[0].score == pytest.approx(1, abs=1e-6)


def test_what_another_writes_while_images_are_embedded_is_not_written_back(place, run, table):
    gallery = Gallery.create(place, run, table, types={"price": "int"})
    other, some = Gallery.open(place, run), paths(table, 3)
    pl.DataFrame({"image": some, "note": ["mine"] * 3}).write_parquet(table.parent / "note.parquet")
    pl.DataFrame({"image": some, "price": [9] * 3, "late": [7] * 3}).write_parquet(table.parent / "price.parquet")
    waiting = [True]

    def meanwhile(done, count):
        if waiting and waiting.pop():
            other.add(table.parent / "price.parquet", run)

    assert gallery.add(table.parent / "note.parquet", run, progress=meanwhile).updated == 3
    frame = gallery.rows().filter(pl.col("image").is_in(some))
    assert frame.select("note", "price", "late").rows() == [("mine", 9, 7)] * 3
    assert gallery.rows("note != 'mine'")["late"].to_list() == [None] * 9


def test_columns_may_be_called_as_others_with_an_end(place, run, table):
    more = pl.DataFrame({"image": paths(table, 2), "price": [1, 2], "price__before": [3, 4]})
    more.write_parquet(table.parent / "more.parquet")
    gallery = Gallery.create(place, run, table.parent / "more.parquet")
    assert gallery.add(table.parent / "more.parquet", run).unchanged == 2
    more.with_columns(price__before=pl.Series([3, 5])).write_parquet(table.parent / "more.parquet")
    assert gallery.add(table.parent / "more.parquet", run).updated == 1
    assert sorted(gallery.rows()["price__before"].to_list()) == [3, 5]


@pytest.mark.parametrize("name", ["a.b", "a`b"])
def test_a_name_that_no_gallery_takes_is_told_before_anything_is_there(place, tmp_path, run, table, name):
    (table.parent / "odd.csv").write_text(f"image,{name}\ncup/00.png,1\n")
    with pytest.raises(InputError, match=r"odd\.csv has a column .* rename it"):
        Gallery.create(place, run, table.parent / "odd.csv")
    assert not is_there(place)
    assert not list(tmp_path.glob("G/*"))


def test_one_path_is_excluded_as_a_list_of_it_is(gallery, table):
    query, (first, second, *_) = gallery.embeddings[:1], paths(table)
    for one, several in ((first, [first]), (Path(first), [Path(first)]), (3, [3]), (np.int64(3), (3,))):
        found = {hit.row for hit in gallery.search(query, k=12, exclude=one)[0].hits}
        assert len(found) == 11
        assert found == {hit.row for hit in gallery.search(query, k=12, exclude=several)[0].hits}
    assert len(gallery.search(query, k=12, exclude=[Path(first), second])[0].hits) == 10
    for wrong in ([1.5], [None], True, [""]):
        with pytest.raises(InputError, match="exclude"):
            gallery.search(query, exclude=wrong)


def test_queries_of_other_floats_are_the_same_and_faulty_settings_are_told_in_a_line(gallery):
    x = gallery.embeddings[:3].astype(np.float16)
    asked = {kind: gallery.search(x.astype(kind), k=12) for kind in ("f4", ">f4", "f8", np.longdouble, "f2")}
    assert asked["f2"] == asked[">f4"] == asked["f4"]
    assert asked[np.longdouble] == asked["f8"]
    bad = gallery.embeddings[:2].copy()
    bad[1, 0] = np.nan
    for ask, named in (
        (lambda: gallery.search(bad), "row 1"),
        (lambda: gallery.search(x, k=2.5), "k is 2.5"),
        (lambda: gallery.search(x, k="3"), "k is '3'"),
        (lambda: gallery.restore(True), "version is True"),
        (lambda: gallery.restore(1.0), "version is 1.0"),
    ):
        with pytest.raises(InputError, match=named) as caught:
            ask()
        assert "\n" not in str(caught.value)
