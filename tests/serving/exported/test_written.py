"""A model and its card as the bytes of a file."""

import onnx
import pytest

from triune.errors import InputError
from triune.serving.exported import written
from triune.serving.exported.file import digest_of
from triune.serving.exported.written import content_of, opset_of


def test_the_bytes_hold_the_model_its_card_and_their_digest(exported):
    folder, export = exported
    proto = onnx.load(folder / "run.onnx")
    content, card = content_of(proto, export.card.model_copy(update={"digest": "", "source": "other"}), None)
    assert card.digest == digest_of(content)
    read = onnx.load_model_from_string(content)
    assert "triune.familiar" not in {each.key for each in read.metadata_props}
    assert read.graph == proto.graph
    assert read.producer_name == "triune"
    assert opset_of(read) == export.card.opset


def test_weights_beyond_what_a_file_can_hold_are_refused(exported, monkeypatch):
    monkeypatch.setattr(written, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match=r"resnet10t takes 0\.0 GiB, and no ONNX file holds more than 2"):
        content_of(onnx.load(exported[0] / "run.onnx"), exported[1].card, None)
