"""Named data sets and folders: real digits, real Omniglot, and the layouts of the others in small."""

import os
import subprocess
import sys
import zipfile
from io import BytesIO

import numpy as np
import polars as pl
import pytest
from PIL import Image

from conftest import shared_data
from triune.data.checks import check_table
from triune.data.decode import read_image, read_mask
from triune.data.sources import digits as digits_module
from triune.data.sources.digits import digits
from triune.data.sources.folder import image_folder
from triune.data.sources.lfw import lfw
from triune.data.sources.named import default_cache, load_source
from triune.data.sources.omniglot import omniglot
from triune.data.sources.oxford_pets import oxford_pets
from triune.errors import InputError


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def picture(path, seed=0, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def mask(path, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.eye(*size, dtype=np.uint8)).save(path)


def drawing(seed=0):
    content = BytesIO()
    Image.fromarray(np.random.default_rng(seed).random((105, 105)) > 0.1).save(content, "PNG")
    return content.getvalue()


def archive(path, alphabets, characters=5, drawers=3, top="images_background", extra=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for place, alphabet in enumerate(alphabets):
            for c in range(characters):
                for d in range(drawers):
                    name = f"{top}/{alphabet}/character{c + 1:02d}/{place}{c}_{d + 1:02d}.png"
                    file.writestr(name, drawing(100 * place + 10 * c + d))
        for name, content in extra:
            file.writestr(name, content)


# --- digits ----------------------------------------------------------------------------------------------------------


def test_digits_are_numbers_judged_on_numbers_never_trained_on(cache):
    table = load_source("digits", cache=cache)
    assert len(table.frame) == 2000
    assert table.split_kind == "open-set"
    assert table.is_open_set
    numbers = {s: set(table.part(s)["identity"]) for s in ("train", "val", "test")}
    assert {s: len(names) for s, names in numbers.items()} == {"train": 60, "val": 20, "test": 20}
    assert set().union(*numbers.values()) == {f"{n:02d}" for n in range(100)}
    for names in numbers.values():  # every digit in both places, as often as any other
        for place in (0, 1):
            counts = np.bincount([int(name[place]) for name in names], minlength=10)
            assert (counts == len(names) // 10).all()
    assert (table.frame["label"] == table.frame["identity"].str.head(1)).all()
    assert check_table(table, mask_ids=2) == []


def test_no_handwritten_digit_is_in_two_splits(tmp_path, monkeypatch):
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    numbered = bunch.images.copy()
    numbered[:] = np.arange(len(numbered))[:, None, None]
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: type(bunch)(images=numbered, target=bunch.target))
    used = []
    monkeypatch.setattr(
        digits_module,
        "_as_photograph",
        lambda pair, generator: used.append([int(p[0, 0]) for p in pair]) or (np.zeros((4, 4), np.uint8),) * 2,
    )
    table = digits(tmp_path)
    by_split = {s: set() for s in ("train", "val", "test")}
    for split, name, pair in zip(table.frame["split"], table.frame["identity"], used, strict=True):
        assert [str(bunch.target[i]) for i in pair] == list(name)
        by_split[split] |= set(pair)
    assert not by_split["train"] & by_split["val"]
    assert not by_split["train"] & by_split["test"]
    assert not by_split["val"] & by_split["test"]


def test_the_mask_of_a_number_is_its_ink(cache):
    frame = digits(cache).frame
    for number in (0, 17, 1000, 1996):
        row = frame.row(number, named=True)
        image, ink = read_image(row["image"], 1)[:, :, 0], read_mask(row["mask"]) > 0
        assert image.shape == ink.shape == (32, 32)
        assert 0.04 < ink.mean() < 0.35
        assert image[ink].mean() < image[~ink].mean() - 40


def test_files_are_written_once_and_whole(cache, tmp_path, monkeypatch):
    before = digits(cache).frame["image"][0]
    stamp = os.stat(before).st_mtime_ns
    assert digits(cache).frame["image"][0] == before
    assert os.stat(before).st_mtime_ns == stamp

    saved = 0

    def save_a_few(pixels, path):
        nonlocal saved
        saved += 1
        if saved > 10:
            raise KeyboardInterrupt
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")

    with monkeypatch.context() as patch:
        patch.setattr(digits_module, "save_png", save_a_few)
        with pytest.raises(KeyboardInterrupt):
            digits(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(digits(tmp_path).frame) == 2000


def test_two_processes_may_ask_at_once(tmp_path):
    code = "import sys; from pathlib import Path; from triune.data.sources.digits import digits; "
    code += "print(len(digits(Path(sys.argv[1])).frame))"
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in running] == ["2000", "2000"]
    assert [path.name for path in tmp_path.iterdir()] == ["digits-4"]


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIUNE_CACHE", str(tmp_path / "here"))
    assert default_cache() == tmp_path / "here"
    monkeypatch.delenv("TRIUNE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "triune"


# --- omniglot --------------------------------------------------------------------------------------------------------


def test_omniglot_trains_on_four_alphabets_and_is_judged_on_the_fifth(cache):
    table = load_source("omniglot", root=shared_data("omniglot"), cache=cache)
    assert len(table.frame) == 2720
    assert table.frame["identity"].n_unique() == 136
    assert table.is_open_set
    assert set(table.part("test")["label"]) == {"Latin"}
    others = {"Balinese", "Early_Aramaic", "Greek", "Korean"}
    for split in ("train", "val", "holdout"):
        assert set(table.part(split)["label"]) == others
    assert table.part("val")["identity"].n_unique() == 22
    assert set(table.part("holdout")["identity"]) == set(table.part("train")["identity"])
    assert check_table(table, mask_ids=2) == []
    row = table.frame.row(5, named=True)
    assert row["identity"].startswith(row["label"] + "/")
    assert (read_mask(row["mask"]) == (read_image(row["image"], 1)[:, :, 0] == 0)).all()
    assert 0.01 < read_mask(row["mask"]).mean() < 0.2


def test_another_alphabet_can_be_the_test(cache):
    root = shared_data("omniglot")
    assert set(omniglot(root, cache, "Greek").part("test")["label"]) == {"Greek"}
    with pytest.raises(InputError, match="no alphabet 'Klingon'; it has Balinese"):
        omniglot(root, cache, "Klingon")


def test_the_evaluation_set_is_the_test_where_it_is_there(tmp_path):
    archive(tmp_path / "images_background.zip", ["A", "B", "C"])
    archive(tmp_path / "images_evaluation.zip", ["D", "E"], top="images_evaluation")
    table = omniglot(tmp_path, tmp_path / "cache")
    assert set(table.part("test")["label"]) == {"D", "E"}
    assert set(table.part("train")["label"]) | set(table.part("val")["label"]) == {"A", "B", "C"}


def test_unpacked_folders_and_overlapping_archives_give_each_drawing_once(tmp_path):
    archive(tmp_path / "images_background.zip", ["A", "B", "C"])
    expected = omniglot(tmp_path, tmp_path / "cache").frame.select("label", "identity", "split")
    with zipfile.ZipFile(tmp_path / "images_background.zip") as file:
        file.extractall(tmp_path / "unpacked" / "omniglot-py")
    unpacked = omniglot(tmp_path / "unpacked", tmp_path / "cache").frame
    assert unpacked.select("label", "identity", "split").equals(expected)
    archive(tmp_path / "images_background_small1.zip", ["A"], top="images_background_small1")
    assert len(omniglot(tmp_path, tmp_path / "cache").frame) == len(expected)


@pytest.mark.parametrize("name", ["../../outside/character01/a.png", "/outside/character01/a.png", "a\\..\\b/c/d.png"])
def test_an_archive_that_points_outside_is_refused(tmp_path, name):
    archive(tmp_path / "images_background.zip", ["A", "B"], extra=[(name, drawing())])
    with pytest.raises(InputError, match="points outside"):
        omniglot(tmp_path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_what_lies_in_an_archive_beside_the_drawings_is_passed_over(tmp_path):
    extra = [("__MACOSX/images_background/A/character01/._x.png", b"x"), ("images_background/.DS_Store", b"x")]
    archive(tmp_path / "images_background.zip", ["A", "B"], extra=extra)
    assert len(omniglot(tmp_path, tmp_path / "cache").frame) == 30


def test_damaged_archives_are_named(tmp_path):
    path = tmp_path / "images_background.zip"
    archive(path, ["A", "B"])
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(InputError, match=r"images_background\.zip cannot be read"):
        omniglot(tmp_path, tmp_path / "cache")
    archive(path, ["A", "B"], extra=[("images_background/A/character01/broken.png", b"no picture")])
    with pytest.raises(InputError, match=r"broken\.png cannot be read"):
        omniglot(tmp_path, tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [], "nothing half written is left"


# --- downloads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "loader", "what"),
    [
        ("omniglot", "Omniglot", "images_background.zip"),
        ("oxford-pets", "OxfordIIITPet", "annotations.tar.gz"),
        ("lfw", "LFWPeople", "lfw-funneled.tgz"),
    ],
)
def test_where_nothing_can_be_fetched_the_error_says_what_to_put_where(tmp_path, monkeypatch, name, loader, what):
    def no_network(root, **options):
        assert options["download"]
        raise OSError("no route to host")

    monkeypatch.setattr(f"torchvision.datasets.{loader}", no_network)
    with pytest.raises(InputError) as caught:
        load_source(name, root=tmp_path / "root", cache=tmp_path)
    assert "no route to host" in str(caught.value)
    assert what in str(caught.value)
    assert str(tmp_path / "root") in str(caught.value)


def test_oxford_pets_are_read_from_the_layout_torchvision_leaves(tmp_path):
    base = tmp_path / "oxford-iiit-pet"
    breeds = ["Abyssinian", "Bengal", "Birman", "Bombay", "beagle", "great_pyrenees", "pug", "samoyed"]
    lines = {"trainval.txt": [], "test.txt": []}
    for number, breed in enumerate(breeds):
        species = 1 if breed[0].isupper() else 2
        for picture_number in range(1, 5):
            name = f"{breed}_{picture_number}"
            picture(base / "images" / f"{name}.jpg", number * 10 + picture_number)
            trimap = np.random.default_rng(number).integers(1, 4, (8, 8)).astype(np.uint8)
            (base / "annotations" / "trimaps").mkdir(parents=True, exist_ok=True)
            Image.fromarray(trimap).save(base / "annotations" / "trimaps" / f"{name}.png")
            part = "trainval.txt" if picture_number < 3 else "test.txt"
            lines[part].append(f"{name} {number + 1} {species} 1")
    for part, text in lines.items():
        (base / "annotations" / part).write_text("\n".join(text) + "\n")

    from torchvision.datasets import OxfordIIITPet

    theirs = OxfordIIITPet(str(tmp_path), split="trainval", target_types=["binary-category", "segmentation"])
    table = oxford_pets(tmp_path, tmp_path / "cache")
    assert len(table.frame) == 32
    for index in (0, 7, 15):
        picture_path = str(theirs._images[index])
        row = table.frame.row(by_predicate=pl.col("image") == picture_path, named=True)
        species, trimap = theirs[index][1]
        assert row["label"] == ["cat", "dog"][species]
        expected = np.array([9, 1, 0, 255])[np.asarray(trimap)]
        assert (read_mask(row["mask"]) == expected).all()
    assert "great_pyrenees" in set(table.frame["identity"])
    split = load_source("oxford-pets", root=tmp_path, cache=tmp_path / "cache")
    assert split.is_open_set
    assert split.split_kind == "open-set"
    assert check_table(split, mask_ids=2) == []


def test_lfw_leaves_out_people_with_a_single_picture_and_says_so(tmp_path):
    for person, count in {"Ann_A": 3, "Bob_B": 1, "Cy_C": 2, "Di_D": 2, "Ed_E": 2, "Flo_F": 2, "Gus_G": 4}.items():
        for number in range(count):
            picture(tmp_path / "lfw-py" / "lfw_funneled" / person / f"{person}_{number + 1:04d}.jpg", number)
    table = lfw(tmp_path)
    assert set(table.frame["identity"]) == {"Ann_A", "Cy_C", "Di_D", "Ed_E", "Flo_F", "Gus_G"}
    assert table.frame["label"].null_count() == len(table.frame)
    assert table.notes == ("lfw: 1 people with a single picture are left out, 6 stay",)
    assert load_source("lfw", root=tmp_path).is_open_set


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_by_class_with_masks_beside_it(tmp_path):
    for number in range(3):
        for name in ("cat", "dog"):
            picture(tmp_path / name / f"{number}.jpg", number)
        mask(tmp_path / "masks" / "cat" / f"{number}.png")
    picture(tmp_path / "cat" / ".hidden.jpg")
    table = image_folder(tmp_path)
    assert table.frame.select("label", "identity").rows() == [("cat", "cat")] * 3 + [("dog", "dog")] * 3
    assert table.frame["mask"].to_list()[:3] == [str(tmp_path / "masks" / "cat" / f"{n}.png") for n in range(3)]
    assert table.frame["mask"].to_list()[3:] == [None] * 3
    assert not table.has_split


def test_a_folder_by_split_class_and_identity(tmp_path):
    for split, people in {"train": "abcd", "valid": "ef", "test": "gh"}.items():
        for person in people:
            for number in range(2):
                picture(tmp_path / "images" / split / "cat" / person / f"{number}.png", number)
                mask(tmp_path / "masks" / split / "cat" / person / f"{number}.png")
    for folder in (tmp_path, tmp_path / "images"):
        table = load_source(folder)
        assert table.split_kind == "given"
        assert table.is_open_set
        assert set(table.part("val")["identity"]) == {"cat/e", "cat/f"}
        assert table.frame["mask"].null_count() == 0
        assert set(table.frame["label"]) == {"cat"}
        assert check_table(table, mask_ids=2) == []


def test_images_in_no_class_folder_are_refused(tmp_path):
    picture(tmp_path / "stray.png")
    with pytest.raises(InputError, match=r"stray\.png lies neither in a folder CLASS"):
        image_folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        image_folder(tmp_path / "empty")
    picture(tmp_path / "split" / "train" / "cat" / "a.png")
    picture(tmp_path / "split" / "cat" / "a.png")
    with pytest.raises(InputError, match="beside the split folders train"):
        image_folder(tmp_path / "split")


def test_eth80s_own_folders_are_read_with_their_masks():
    table = image_folder(shared_data("eth80"))
    assert len(table.frame) == 2624
    assert table.frame["mask"].null_count() == 0
    assert table.frame["label"].n_unique() == 8


# --- any of them -----------------------------------------------------------------------------------------------------


def test_a_name_that_is_nothing_is_refused_with_the_choices(tmp_path):
    with pytest.raises(InputError, match=r"digits, omniglot, oxford-pets, lfw, a \.csv or \.parquet file, or a folder"):
        load_source("mnist")
    with pytest.raises(InputError, match="does not exist"):
        load_source(tmp_path / "none.csv")


def test_a_table_with_splits_keeps_them_unless_told_otherwise():
    path = shared_data("eth80") / "items.csv"
    given = load_source(path)
    assert given.split_kind == "given"
    assert set(given.part("val")["identity"].str.slice(-2)) == {"06"}
    anew = load_source(path, split="open-set", seed=1)
    assert anew.split_kind == "open-set"
    assert anew.is_open_set
    assert anew.frame["split"].to_list() != given.frame["split"].to_list()
    closed = load_source(path, split="closed-set")
    assert not closed.is_open_set


def test_a_table_that_cannot_be_split_is_told_of_with_all_its_other_problems(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "items.csv").write_text("image,label\na.png,x\nb.png,x\n")
    problems = check_table(load_source(tmp_path / "items.csv"))
    assert [(p.row, p.column) for p in problems] == [(None, "label"), (3, "image")]
    assert "open-set split needs 6" in problems[0].problem
