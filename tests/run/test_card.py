"""What a network says of itself: written and read back, of every format, and contradictions are refused."""

import json

import pytest
from pydantic import ValidationError

from run.test_folder import FORMAT1, card
from triune.data.reading import Reading
from triune.files import parse_record
from triune.run.card import FORMAT, ModelCard, migrated


def test_a_card_is_written_and_read_back():
    given = card(image_bits=12, mask_values=(0, 255))
    assert parse_record(given.model_dump_json(), ModelCard, "card") == given
    assert given.reading == Reading(12, (0, 255))


def test_the_first_format_becomes_today_s():
    stored = migrated(json.loads((FORMAT1 / "model_card.json").read_text()))
    assert stored["format"] == FORMAT
    assert (stored["fit"], stored["boxes"]) == ("squash", False)
    assert migrated({"format": FORMAT, "size": 1}) == {"format": FORMAT, "size": 1}
    assert migrated("nothing of the kind") == "nothing of the kind"


def test_means_of_other_channels_are_refused():
    with pytest.raises(ValidationError, match="a number for each of 1 channels"):
        card(channels=1)
