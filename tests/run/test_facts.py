"""How a model came about: the record that metrics.json repeats."""

import json

import pytest

from triune.errors import InputError
from triune.files import parse_record, read_record, write_record
from triune.run.facts import TrainingFacts

FACTS = TrainingFacts(epochs=3, steps=120, seconds=4.5, seed=0, best_epoch=2, margin="soft")


@pytest.mark.parametrize("changes", [{}, {"margin": 0.25}, {"margin": None, "best_epoch": None}])
def test_facts_are_read_back_as_they_were_written(tmp_path, changes):
    facts = FACTS.model_copy(update=changes)
    write_record(tmp_path / "facts.json", facts)
    assert read_record(tmp_path / "facts.json", TrainingFacts) == facts


def test_what_a_run_may_lack_may_be_missing():
    facts = parse_record('{"epochs": 1, "steps": 2, "seconds": 3, "seed": 4}', TrainingFacts, "here")
    assert (facts.best_epoch, facts.margin) == (None, None)


@pytest.mark.parametrize(
    ("field", "value"), [("epochs", -1), ("steps", -1), ("best_epoch", -1), ("margin", "hard"), ("later", 1)]
)
def test_impossible_facts_are_refused_by_field(field, value):
    stored = json.dumps({**FACTS.model_dump(), field: value})
    with pytest.raises(InputError, match=f"here, field {field}[^\\n]*$"):
        parse_record(stored, TrainingFacts, "here")
