"""What is said of an image, in short and as plain values."""

import json

import numpy as np

from triune.serving.answers import ImagePrediction, Unreadable, readable


def test_an_answer_says_the_likeliest_first_and_how_much_is_masked():
    mask = np.array([[0, 1, 1, 0], [0, 0, 2, 0]], dtype=np.uint8)
    shares = {"cup": 0.6, "cow": 0.3, "car": 0.07, "dog": 0.03}
    said = ImagePrediction("a.jpg", (2, 4), shares, mask, np.array([0.6, 0.8], dtype=np.float32))
    assert (said.label, said.probability, said.mask_share) == ("cup", 0.6, 3 / 8)
    assert said.top() == {"cup": 0.6, "cow": 0.3, "car": 0.07}
    assert said.top(1) == {"cup": 0.6}
    assert repr(said) == "<a.jpg, 4 x 2; cup (0.600); mask on 37.5%; embedding of 2>"
    plain = json.loads(json.dumps(said.to_dict()))
    assert (plain["label"], plain["top"], plain["mask_share"], plain["size"]) == ("cup", said.top(), 3 / 8, [2, 4])
    np.testing.assert_allclose(plain["embedding"], [0.6, 0.8])


def test_heads_that_are_not_there_say_nothing():
    said = ImagePrediction("a.jpg", (2, 4))
    assert (said.label, said.probability, said.mask_share, said.top()) == (None, None, None, {})
    assert repr(said) == "<a.jpg, 4 x 2>"
    assert said.to_dict()["embedding"] is None
    assert Unreadable("b.jpg", "cut short").reason == "cut short"


def test_what_could_not_be_read_is_told_apart_with_its_reason():
    left_out = []
    one = ImagePrediction("a.png", (1, 1))
    assert list(readable([one, Unreadable("b.png", "cut short"), one], left_out)) == [one, one]
    assert left_out == ["b.png: cut short"]


def test_the_share_of_a_mask_is_of_what_was_seen():
    ids = np.array([[0, 1, 255, 255], [2, 0, 255, 255]], np.uint8)
    assert ImagePrediction("a", (2, 4), mask=ids).mask_share == 0.5
    assert ImagePrediction("a", (2, 4), mask=np.full((2, 4), 255, np.uint8)).mask_share == 0
