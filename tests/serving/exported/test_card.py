"""What an exported file says of itself: read back as it was written, and refused in one line where it is damaged."""

import json

import pytest

from triune.errors import InputError
from triune.run.card import FORMAT
from triune.serving.exported.card import in_other_words, parse_card


def test_it_is_read_back_as_it_was_written(exported):
    card = exported[1].card
    assert parse_card(card.model_dump_json(), "m.onnx") == card
    assert card.checked.images == 24
    assert card.source == "run"


def test_the_run_s_own_records_in_it_may_be_of_an_earlier_format(exported):
    stored = json.loads(exported[1].card.model_dump_json())
    later = ("fit", "interpolation", "mean", "std", "boxes")
    stored["card"] = {name: value for name, value in stored["card"].items() if name not in later}
    stored["card"] |= {"format": 2, "size": 48}
    found = parse_card(json.dumps(stored), "m.onnx")
    assert (found.card.format, found.card.size, found.card.boxes) == (FORMAT, (48, 48), False)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"opset": 0}, "field opset"),
        ({"precision": "int4"}, "field precision"),
        ({"card": {"format": 3}}, "field card"),
        ({"thresholds": {"metric": "cosine"}}, "field thresholds"),
        ({"other": 1}, "field other"),
    ],
)
def test_what_is_damaged_is_named(exported, change, says):
    stored = json.loads(exported[1].card.model_dump_json()) | change
    with pytest.raises(InputError) as raised:
        parse_card(json.dumps(stored), "m.onnx")
    assert str(raised.value).startswith("m.onnx, metadata")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_run_without_heads_says_no_classes_and_no_masks(exported):
    card = exported[1].card
    part = card.model_copy(update={"part": "embedding"})
    assert (card.classes, card.masks) == (("even", "odd"), True)
    assert (part.classes, part.masks) == ((), False)
    assert json.loads(in_other_words(part)["classes"]) == []
    assert "thresholds" not in in_other_words(card.model_copy(update={"thresholds": None}))
    assert in_other_words(card.model_copy(update={"licence": None}))["licence"] == "not stated"
