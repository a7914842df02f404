"""New classes by a run: the same answers whatever form the support has; what is wrong with it is one line."""

import json

import numpy as np
import pytest
from PIL import Image

from evaluation.conftest import untrained_run, write_items
from triune.data.problems import DataError
from triune.errors import InputError
from triune.serving.answers import Unreadable
from triune.serving.few_shot import embedded_support, few_shot
from triune.serving.loaded import load

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


def write_colours(folder, count, seed=0):
    """A folder for each colour, with pictures that are easy to tell apart."""
    g = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for k in range(count):
            pixels = (np.array(colour) + g.normal(0, 20, (48, 48, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shots")
    untrained_run(folder / "run", write_items(folder))
    write_colours(folder / "support", 4)
    write_colours(folder / "asked", 2, seed=1)
    return folder


@pytest.fixture(scope="module")
def run(place):
    return load(place / "run", device="cpu")


def test_images_of_new_classes_are_named(place, run):
    known = run.few_shot(place / "support", fpir=None)
    assert repr(known) == f"<3 classes from 12 images by {place / 'run'}; {known.learned.head}>"
    assert known.classes == ("blue", "green", "red")
    answers = known.classify(place / "asked")
    assert [each.label for each in answers] == ["blue"] * 2 + ["green"] * 2 + ["red"] * 2
    first = answers[0]
    assert first.name == str(place / "asked" / "blue" / "0.png")
    assert first.example.startswith(str(place / "support" / "blue"))
    assert list(first.probabilities.values()) == sorted(first.probabilities.values(), reverse=True)
    assert sum(first.probabilities.values()) == pytest.approx(1)
    assert repr(first) == f"<{first.name}: blue ({first.probability:.3f}), closeness {first.closeness:.3f}>"
    assert json.loads(json.dumps(first.to_dict() | {"threshold": None}))["label"] == "blue"


def test_what_is_far_from_all_classes_is_unknown(place, run):
    known = run.few_shot(place / "support", strangers=place / "images", fpir=0.05)
    stripes = np.zeros((48, 48, 3), np.uint8)
    stripes[::8] = stripes[:, ::8] = 255
    answers = known.classify([str(place / "asked" / "red" / "0.png"), stripes])
    assert answers[1].label is None
    assert answers[1].name == "image 1"
    assert repr(answers[1]).startswith(f"<image 1: unknown; most like {answers[1].likeliest}, closeness ")
    assert answers[1].closeness < answers[1].threshold


def test_a_support_is_a_folder_a_table_or_a_dictionary(place, run):
    lines = [f"support/{name}/{k}.png,{name}" for name in sorted(COLOURS) for k in range(4)]
    (place / "support.csv").write_text("\n".join(["image,label", *lines]) + "\n")
    images = {name: [Image.open(place / "support" / name / f"{k}.png") for k in range(4)] for name in sorted(COLOURS)}
    asked = sorted((place / "asked").rglob("*.png"))
    answers = [few_shot(run, support).classify(asked) for support in (place / "support", place / "support.csv", images)]
    for others in answers[1:]:
        for one, other in zip(answers[0], others, strict=True):
            assert one.label == other.label
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    assert answers[2][0].example == "image 0" or answers[2][0].example.startswith("image ")


def test_an_image_that_cannot_be_read_is_named_or_left_out_in_its_place(place, run, tmp_path):
    support = write_colours(tmp_path / "support", 3)
    (support / "red" / "1.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"red/1\.png cannot be read as an image"):
        few_shot(run, support)
    known = few_shot(run, support, skip=True)
    assert len(known.examples) == len(known.labels) == 8
    assert known.labels.count("red") == 2
    assert known.left_out[0].startswith(str(support / "red" / "1.png"))
    asked = [str(place / "asked" / "red" / "0.png"), str(support / "red" / "1.png"), str(support / "red" / "0.png")]
    with pytest.raises(InputError, match=r"red/1\.png cannot be read"):
        known.classify(asked)
    answers = known.classify(asked, skip=True)
    assert [isinstance(each, Unreadable) for each in answers] == [False, True, False]
    for image in support.rglob("*.png"):
        image.write_bytes(b"no image")
    with pytest.raises(InputError, match="none of 9 examples could be read"):
        few_shot(run, support, skip=True)


def test_what_cannot_be_learned_from_is_one_line(place, run, tmp_path):
    (tmp_path / "empty").mkdir()
    one = tmp_path / "one"
    (one / "red").mkdir(parents=True)
    (one / "red" / "a.png").write_bytes((place / "support" / "red" / "0.png").read_bytes())
    (tmp_path / "bare.csv").write_text("image\nsupport/red/0.png\n")
    (tmp_path / "gaps.csv").write_text(f"image,label\n{one}/red/a.png,red\n{one}/red/a.png,\n")
    for support, said in (
        (tmp_path / "gone", "gone does not exist"),
        (tmp_path / "empty", "empty holds no images"),
        (one, "one holds one class, red, and at least two are told apart: .* give the folder above"),
        (tmp_path / "bare.csv", r"bare\.csv has no column label"),
        ({}, "the support is empty"),
        ({"red": place / "support" / "red"}, "the support: the examples are of 1 class"),
    ):
        with pytest.raises(InputError, match=said):
            few_shot(run, support)
    with pytest.raises(DataError, match=r"row 3.*label.*empty"):
        few_shot(run, tmp_path / "gaps.csv")
    with pytest.raises(InputError, match="head is 'forest'"):
        few_shot(run, place / "support", head="forest")


def test_one_example_a_class_is_enough(place, run):
    support = {name: place / "support" / name / "0.png" for name in COLOURS}
    known = few_shot(run, support, fpir=None)
    assert not known.learned.calibrated
    assert [each.label for each in known.classify(place / "asked")] == ["blue"] * 2 + ["green"] * 2 + ["red"] * 2


def test_labelled_images_come_with_their_embeddings(place, run):
    rows, images, labels, left_out = embedded_support(run, place / "support", skip=False)
    names = [each.name for each in images]
    assert rows.shape == (12, run.dim)
    assert labels == ["blue"] * 4 + ["green"] * 4 + ["red"] * 4
    assert names[0] == str(place / "support" / "blue" / "0.png")
    assert left_out == []
