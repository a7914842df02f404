"""Who it is, or nobody known: names, thresholds, what is said of them, and a rate that is kept on new strangers."""

import json

import numpy as np
import polars as pl
import pytest

from serving.gallery.conftest import write_pictures
from triune.errors import InputError
from triune.serving.gallery.gallery import Gallery
from triune.serving.gallery.identified import Enrolled, as_text, enrolled_in, identified, rule_for, strangers_there
from triune.serving.gallery.strangers import Strangers


def people(count, images, seed, first=0, dimensions=8):
    """Unit embeddings of some identities."""
    g = np.random.default_rng(seed)
    x = g.normal(size=(count, 1, dimensions)) + 0.4 * g.normal(size=(count, images, dimensions))
    x = (x / np.linalg.norm(x, axis=2, keepdims=True)).reshape(-1, dimensions).astype(np.float32)
    return x, np.repeat([f"p{first + k}" for k in range(count)], images)


def enrolled_of(x, names, metric="cosine"):
    return Enrolled(x, names, [f"/e/{k}.png" for k in range(len(x))], metric)


def rule(enrolled, x, names, fpir=0.1, untouched=False):
    return rule_for(enrolled, strangers_there(enrolled, Strangers(x, names, None, untouched)), fpir, "G")


def test_the_best_row_names_it_and_the_runner_up_is_another_identity():
    x = np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    enrolled = enrolled_of(x, np.array(["ann", "ann", "bo", "cy"]))
    known = rule(enrolled, *people(20, 1, 1, 100, 3), fpir=0.5)
    (answer,) = identified(["q"], np.array([[0.6, 0.8, 0]], np.float32), enrolled, known)
    assert [each.identity for each in answer.candidates] == ["ann", "bo"]
    assert answer.identity == "ann"
    assert answer.score == pytest.approx(1)
    assert answer.candidates[0].image == "/e/1.png"
    assert answer.runner_up.score == pytest.approx(0.8)
    assert answer.runner_up.distance == pytest.approx(0.2)
    assert repr(answer) == f"<q: ann, score 1.0000 ≥ {answer.threshold:.4f}; then bo 0.8000>"


def test_a_score_below_the_threshold_is_nobody_and_the_closest_is_still_told():
    enrolled = enrolled_of(*people(5, 3, 0))
    known = rule(enrolled, *people(30, 2, 1, 100))
    x = people(40, 1, 2, 500)[0]
    found = identified([f"q{k}" for k in range(40)], x, enrolled, known)
    for answer in found:
        assert (answer.identity is not None) == (answer.score >= answer.threshold)
    nobody = next(each for each in found if each.identity is None)
    assert f"unknown, closest {nobody.candidates[0].identity}, score" in repr(nobody)
    lines = as_text(found).splitlines()
    assert len(lines) == 40
    line = lines[found.index(nobody)]
    assert line.split()[:3] == [nobody.query, "unknown", f"{nobody.score:.4f}"]
    assert f"closest {nobody.candidates[0].identity}, then {nobody.runner_up.identity}" in line


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_the_rate_is_kept_on_new_strangers_in_the_mean_whatever_the_size_of_the_gallery(metric):
    for count in (3, 60):
        rates = []
        for seed in range(40):
            enrolled = enrolled_of(*people(count, 3, seed), metric)
            known = rule(enrolled, *people(40, 2, 1000 + seed, 100), fpir=0.1)
            new = people(200, 1, 2000 + seed, 500)[0]
            answers = identified([""] * 200, new, enrolled, known)
            rates.append(np.mean([each.identity is not None for each in answers]))
        assert 0.02 < np.mean(rates) < 0.11


def test_the_more_are_enrolled_the_stricter_it_is():
    strangers = people(60, 2, 1, 1000)
    thresholds = [rule(enrolled_of(*people(count, 2, 0)), *strangers).threshold.threshold for count in (3, 30, 300)]
    assert thresholds == sorted(thresholds)
    assert thresholds[2] > thresholds[0] + 0.05


def test_a_stranger_who_is_enrolled_is_no_alarm_of_itself():
    x, names = people(20, 3, 0)
    enrolled = enrolled_of(x, names)
    there = strangers_there(enrolled, Strangers(x, names))
    assert max(each.scores.max() for each in there.sets) < 0.99


def test_one_who_is_enrolled_alone_needs_strangers_from_the_run():
    enrolled = enrolled_of(*people(1, 3, 0))
    known = rule(enrolled, *people(20, 2, 1, 100))
    assert [each.name for each in known.threshold.strangers] == ["validation identities"]
    answer = identified(["q"], enrolled.embeddings[:1], enrolled, known)[0]
    assert answer.identity == "p0"
    assert answer.runner_up is None
    there = strangers_there(enrolled, Strangers(np.zeros((0, 8), np.float32), np.zeros(0, "U1"), "run has none"))
    with pytest.raises(InputError, match="G holds one identity, and run has none: there are no strangers"):
        rule_for(enrolled, there, 0.1, "G")


def test_what_is_promised_and_what_is_not_is_said():
    enrolled = enrolled_of(*people(5, 3, 0))
    calibrated = rule(enrolled, *people(30, 2, 1, 100), untouched=True)
    assert "5 identities enrolled by 15 images" in calibrated.lines()[0]
    assert "for FPIR 10%" in calibrated.lines()[0]
    assert "of 30 calibration identities (60 images)" in calibrated.lines()[1]
    assert "promised: of strangers who are as the calibration identities are, at most 12.9%" in calibrated.lines()[-1]
    assert calibrated.no_promise is None
    assert "of 5 identities, so that 10% of strangers are (FPIR)" in calibrated.short()[0]
    assert "promised: at most 12.9%, on average, of strangers who are as the calibration" in calibrated.short()[1]
    validated = rule(enrolled, *people(30, 2, 1, 100))
    assert validated.threshold.threshold == calibrated.threshold.threshold
    assert "of 30 validation identities (60 images)" in validated.lines()[1]
    assert "nothing is promised: the validation identities chose the checkpoint, too" in validated.lines()[-1]
    assert "no promise" in validated.short()[1]
    assert len(validated.short()) == len(calibrated.short()) == 2
    few = rule(enrolled, *people(30, 2, 1, 100), fpir=0.001)
    assert few.short()[-1] == few.lines()[-1] == f"caution: {few.caution}"
    none = Strangers(np.zeros((0, 8), np.float32), np.zeros(0, "U1"), "timm:x was not trained here")
    alone = rule_for(enrolled, strangers_there(enrolled, none), 0.3, "G")
    assert "nothing is promised: timm:x was not trained here, so that the only strangers" in alone.lines()[-1]


def test_answers_are_plain_values_for_json():
    enrolled = enrolled_of(*people(5, 3, 0))
    known = rule(enrolled, *people(30, 2, 1, 100))
    answer = identified(["q"], enrolled.embeddings[:1], enrolled, known)[0]
    told = json.loads(json.dumps(answer.to_dict()))
    assert told["identity"] == "p0"
    assert told["rule"]["fpir"] == 0.1
    assert told["rule"]["threshold_distance"] == pytest.approx(1 - told["rule"]["threshold"])
    assert told["rule"]["strangers"][0]["identities"] == 30
    assert "rule" not in answer.to_dict(with_rule=False)


def test_rows_without_an_identity_are_not_enrolled_and_labels_stand_for_identities_where_none_has_one():
    frame = pl.DataFrame(
        {"row": [0, 1, 2], "image": ["a", "b", "c"], "label": ["x", "y", None], "identity": ["p", None, "q"]}
    )
    x = np.eye(3, dtype=np.float32)
    some = enrolled_in(frame, x, "cosine", "G")
    assert some.identities.tolist() == ["p", "q"]
    np.testing.assert_array_equal(some.embeddings, x[[0, 2]])
    by_label = enrolled_in(frame.with_columns(identity=pl.lit(None, pl.String)), x, "cosine", "G")
    assert by_label.identities.tolist() == ["x", "y"]
    nobody = frame.with_columns(identity=pl.lit(None, pl.String), label=pl.lit(None, pl.String))
    with pytest.raises(InputError, match="no row of G says who is on it: index a table with a column identity"):
        enrolled_in(nobody, x, "cosine", "G")
    with pytest.raises(InputError, match="G has no such rows: nobody is enrolled"):
        enrolled_in(frame.clear(), x, "cosine", "G")


def test_a_gallery_identifies_its_own_images(tmp_path, run):
    gallery = Gallery.create(tmp_path / "G", run, write_pictures(tmp_path / "pictures", 30))
    images = gallery.rows()["image"].to_list()
    found = gallery.identify(images[:4], fpir=0.3)
    assert [each.identity for each in found] == gallery.rows()["identity"].to_list()[:4]
    assert [each.query for each in found] == images[:4]
    assert "the only strangers are those who are enrolled" in found[0].rule.no_promise
    few = gallery.identify(gallery.embeddings[:1], fpir=0.3, where="label = 'dog'")[0]
    assert (few.rule.identities, few.rule.images) == (2, 10)
    gallery.remove(images[5:])
    assert gallery.identify(images[:1], fpir=0.3)[0].rule.images == 5


@pytest.mark.parametrize("fpir", [0, 1, -0.1, float("nan"), "0.1"])
def test_a_rate_that_is_none_is_refused(tmp_path, run, fpir):
    gallery = Gallery.create(tmp_path / "G", run, write_pictures(tmp_path / "pictures", 3))
    with pytest.raises(InputError, match=r"fpir is .*: a rate between 0 and 1"):
        gallery.identify(gallery.embeddings, fpir=fpir)
