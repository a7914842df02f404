"""Many pairs: each image is embedded once, and each verdict is that of the pair alone."""

import numpy as np
import pytest
from PIL import Image

from triune.data.boxes import Box
from triune.serving.answers import ImagePrediction, Unreadable
from triune.serving.compared import distinct_images, verdicts_of
from triune.serving.pictures import Picture
from triune.verification.roc import verify_scores
from triune.verification.thresholds import fit_threshold

ROWS = {"a": [1, 0], "b": [0.8, 0.6], "c": [0, 1], "far": [-1, 0]}
THRESHOLD = fit_threshold(verify_scores([0.9, 0.7, 0.3, 0.2], [1, 1, 0, 0]), 0.4, metric="cosine", fitted_on="v")


def pairs(*names):
    return [(Picture(first, first), Picture(second, second)) for first, second in names]


def answered(images):
    known = {name: np.array(row, np.float32) for name, row in ROWS.items()}
    said = {name: ImagePrediction(name, (1, 1), embedding=row, unfamiliar=name == "far") for name, row in known.items()}
    return [said.get(each.name, Unreadable(each.name, "cut")) for each in images]


def test_an_image_that_is_named_often_is_one():
    given = pairs("ab", "ba", "ac", "cc")
    images, first, second = distinct_images(given)
    assert [each.name for each in images] == ["a", "b", "c"]
    assert [(images[i].name, images[j].name) for i, j in zip(first, second)] == [
        ("a", "b"),
        ("b", "a"),
        ("a", "c"),
        ("c", "c"),
    ]


def test_images_in_memory_are_each_their_own():
    one, other = Image.new("L", (2, 2)), Image.new("L", (2, 2))
    images, first, second = distinct_images([(Picture("image 0", one), Picture("image 0", other))])
    assert (len(images), first.tolist(), second.tolist()) == (2, [0], [1])


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_verdicts_come_in_order_with_the_distance_of_the_pair(monkeypatch, at_once):
    monkeypatch.setattr("triune.serving.compared.PAIRS_AT_ONCE", at_once)
    given = pairs("ab", "ac", "bc", ("a", "lost"), ("b", "far"))
    distinct = distinct_images(given)
    found = list(verdicts_of(given, distinct, answered(distinct.images), "cosine", THRESHOLD))
    assert [each.distance for each in found if not isinstance(each, Unreadable)] == pytest.approx([0.2, 1, 0.4, 1.8])
    assert [each.same for each in found if not isinstance(each, Unreadable)] == [True, False, True, False]
    assert (found[3].name, found[3].reason) == ("lost", "cut")
    assert [each.unfamiliar for each in (*found[:3], found[4])] == [(), (), (), ("far",)]
    assert (found[4].first, found[4].second) == ("b", "far")


def test_two_boxes_of_one_file_are_two_images():
    boxes = (None, Box(0, 0, 2, 2), Box(0, 0, 3, 3))
    named = [Picture("a.png", "a.png", box=box) for box in boxes]
    found = distinct_images([(named[0], named[1]), (named[2], named[1])])
    assert [each.box for each in found.images] == list(boxes)
    assert (found.first.tolist(), found.second.tolist()) == ([0, 2], [1, 1])
