"""``metrics.json``: written and read back, refused in one line where it is damaged."""

import json

import pytest
from pydantic import ValidationError

from triune.errors import InputError
from triune.evaluation.results import (
    ClassResult,
    ConditionResult,
    DataSummary,
    ModelResult,
    Rate,
    Results,
    SplitCounts,
    Unavailable,
    Uncertainty,
)


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


def test_shares_and_counts_have_their_ranges():
    for level, count in ((0.0, 0), (1.0, 0), (0.5, 7)):
        made = Uncertainty(level=level, resamples=count, identities=count, seed=0)
        assert (made.level, made.resamples) == (level, count)
    for wrong in ({"level": -0.001}, {"level": 1.001}, {"resamples": -1}, {"identities": -1}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            Uncertainty(**{"level": 0.5, "resamples": 1, "identities": 1, "seed": 0, **wrong})


def test_what_earlier_files_did_not_say_stands_for_nothing_unusual():
    assert Uncertainty(level=0.9, resamples=1, identities=1, seed=0).reliable
    counts = SplitCounts(images=3, identities=2, classes=1)
    assert (counts.nameless, counts.trained) == (0, 0)
    rate = Rate(estimate=0.5, low=0.1, high=0.9)
    row = ConditionResult(condition="x", items=1, identities=1, matches=1, impostors=1, tpr=rate, fpr=rate)
    assert row.reliable


MORE = "more test images are left out: their classes"


@pytest.mark.parametrize(
    ("untrained", "said"),
    [
        ({}, None),
        ({"cow": 3}, "3 more test images are left out: their class was never trained (cow)"),
        ({"dog": 1, "cow": 3}, "4 more test images are left out: their classes were never trained (cow, dog)"),
        (dict.fromkeys("abcdefghij", 1), f"10 {MORE} were never trained (a, b, c, d, e, f, g, h, i, j)"),
        (dict.fromkeys("abcdefghijk", 2), f"22 {MORE} were never trained (a, b, c, d, e, f, g, h, i, j, …)"),
    ],
)
def test_images_of_classes_that_were_never_trained_are_told(untrained, said):
    found = ClassResult(split="test", items=1, accuracy=1, classes=["a"], confusion=[[1]], untrained=untrained)
    assert found.left_out() == said
