"""``metrics.json``: written and read back, refused in one line where it is damaged."""

import json

import pytest

from triune.errors import InputError
from triune.evaluation.results import DataSummary, ModelResult, Results, Unavailable


def results(**changes):
    given = {"triune": "0", "name": "n", "created": "2026-01-01T00:00:00+00:00", "metric": "cosine", "models": []}
    return Results(**{**given, "data": DataSummary(source="x.npy"), **changes})


def verification(**changes):
    point = {"target_fpr": 0.05, "threshold": float("inf"), "tpr": 0.0, "fpr": 0.0, "reliable": True}
    curve = {"fpr": [0.0, 1.0], "tpr": [0.0, 1.0], "threshold": [float("inf"), 0.1]}
    return {"matches": 2, "impostors": 3, "auc": 0.5, "eer": 0.5, "points": [point], "roc": curve} | changes


def test_an_infinite_threshold_is_written_and_read_back_as_such(tmp_path):
    model = ModelResult(name="this model", role="model", verification={"test": verification()})
    found = results(models=[model])
    found.write(tmp_path / "metrics.json")
    again = Results.read(tmp_path / "metrics.json")
    assert again == found
    assert again.models[0].judged()[1].at(0.05).threshold == float("inf")


def test_the_judged_split_is_test_or_validation_where_test_has_no_figures():
    none = Unavailable(unavailable="one identity")
    both = ModelResult(name="m", role="model", verification={"val": verification(), "test": verification(auc=0.7)})
    assert both.judged()[0] == "test"
    assert both.judged()[1].auc == 0.7
    assert ModelResult(name="m", role="model", verification={"val": verification(), "test": none}).judged()[0] == "val"
    assert ModelResult(name="m", role="model", verification={"test": none}).judged() is None


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("models", 0, "verification", "test", "auc"), "high", "field models.0.verification.test.auc: Input should"),
        (("models", 0, "role"), "champion", "field models.0.role: Input should be 'model'"),
        (("models", 0, "verification", "test", "roc", "fpr"), None, "field models.0.verification.test.roc.fpr"),
        (("format",), 3, "field format: Input should be 2"),
        (("mood",), "good", "field mood: Extra inputs"),
    ],
)
def test_damage_is_one_line_that_names_file_and_field(tmp_path, path, value, says):
    model = ModelResult(name="this model", role="model", verification={"test": verification()})
    stored = json.loads(results(models=[model]).model_dump_json())
    place = stored
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (tmp_path / "metrics.json").write_text(json.dumps(stored))
    with pytest.raises(InputError) as raised:
        Results.read(tmp_path / "metrics.json")
    assert str(raised.value).startswith(f"{tmp_path / 'metrics.json'}, {says}")
    assert "\n" not in str(raised.value)
