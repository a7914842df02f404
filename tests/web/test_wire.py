"""What the objects of a run and a gallery become as JSON is read back as equal objects."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from triune.recognition.named_strangers import FpirThreshold, StrangersNamed
from triune.serving.answers import ImagePrediction
from triune.serving.gallery.hits import Hit, Hits
from triune.serving.gallery.identified import Candidate, Identification, IdentificationRule
from triune.serving.verdicts import Verdict
from triune.verification.decision import ExpectedFPR
from triune.web.wire import (
    Enrolment,
    embeddings_of,
    enrolment_of,
    found_of,
    hits_of,
    identifications_of,
    liked_of,
    mask_of,
    predictions_of,
    verdict_of,
)

EXPECTED = ExpectedFPR(0.05, 0.01, 0.12, 0.95, 40, 3000)
PLAIN = Verdict(True, 0.1, 0.25, 0.05, 0.049, "cosine", None, EXPECTED, None, "a.png", "b.png")


def as_json(value):
    """Once through JSON, with infinities as words."""
    text = json.dumps(value).replace("-Infinity", '"-Infinity"').replace(": Infinity", ': "Infinity"')
    return json.loads(text)


@pytest.mark.parametrize(
    "verdict",
    [
        PLAIN,
        PLAIN._replace(expected=None, confidence=0.95, caution="too few", asked_fpr=0.03),
        PLAIN._replace(threshold=float("inf")),
        PLAIN._replace(threshold=float("-inf"), same=False),
        PLAIN._replace(unfamiliar=("b.png",)),
        PLAIN._replace(unfamiliar=("a.png", "b.png")),
    ],
)
def test_a_verdict(verdict):
    assert verdict_of(as_json(verdict.to_dict()), "a.png", "b.png") == verdict
    renamed = verdict_of(as_json(verdict.to_dict()), "here/a.png", "there/a.png")
    assert (renamed.first, renamed.second) == ("here/a.png", "there/a.png")
    assert renamed.unfamiliar == tuple({"a.png": "here/a.png", "b.png": "there/a.png"}[n] for n in verdict.unfamiliar)


def png(mask):
    written = io.BytesIO()
    Image.fromarray(mask).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


def test_a_prediction_with_everything_and_with_nothing():
    g = np.random.default_rng(0)
    mask, row = g.integers(0, 256, (5, 8), dtype=np.uint8), g.normal(size=16).astype(np.float32)
    shares = {f"class {k}": float(share) for k, share in enumerate([0.5, 0.25, 0.15, 0.1])}
    full, bare = ImagePrediction("a", (5, 8), shares, mask, row, True), ImagePrediction("b", (2, 3))
    told = [
        full.to_dict() | {"probabilities": shares, "mask": png(mask)},
        bare.to_dict() | {"probabilities": None, "mask": None},
    ]
    one, other = predictions_of(as_json({"predictions": told}), ["x/a.png", "x/b.png"])
    assert (one.name, one.size, one.probabilities, one.unfamiliar) == ("x/a.png", (5, 8), shares, True)
    assert list(one.probabilities) == list(shares)
    np.testing.assert_array_equal(one.mask, mask)
    np.testing.assert_array_equal(one.embedding, row)  # float32 survives JSON bit for bit
    assert one.embedding.dtype == np.float32
    assert (other.probabilities, other.mask, other.embedding, other.unfamiliar) == (None, None, None, None)
    one.mask[0, 0] = 7  # its own memory


@pytest.mark.parametrize(
    "told", ["no base64!", base64.b64encode(b"no PNG").decode(), png(np.zeros((2, 2, 3), np.uint8))]
)
def test_what_is_no_mask_is_an_error(told):
    with pytest.raises((ValueError, OSError)):
        mask_of(told)


def test_hits_with_the_columns_of_the_table():
    hits = Hits(
        "q", (Hit(3, "a.png", "cup", None, 0.9, 0.1, {"price": 2.5, "sold": None}), Hit(0, "b", None, "p", 0, 1))
    )
    more = {"thumbnail": "/thumbnail/3", "duplicate_of": None}
    told = hits.to_dict() | {"hits": [each.to_dict() | more for each in hits.hits]}
    assert found_of(as_json({"results": [told]}), ["q"]) == [hits]
    assert liked_of(as_json({"results": [told]}), ["a", "b"]) == [hits]
    assert hits_of(as_json(told), "here") == Hits("here", hits.hits)


def test_an_identification_with_its_rule():
    strangers = (StrangersNamed("calibration identities", 20, 90, 0.04, 0.01, 0.2, 0.95, False),)
    for threshold in (
        FpirThreshold(0.8, 0.05, 0.09, strangers),
        FpirThreshold(float("-inf"), 0.9, None, (*strangers, StrangersNamed("others", 1, 2, 1, 0.5, 1, 0.95, True))),
    ):
        rule = IdentificationRule(threshold, 12, 60, "euclidean", None if threshold.promised_fpir else "too few")
        first = Identification("a", "p", (Candidate("p", 0.9, 0.1, "p.png"), Candidate("q", 0.5, 0.5, "q.png")), rule)
        second = Identification("b", None, (Candidate("p", 0.7, 0.3, "p.png"),), rule)
        told = {"rule": rule.to_dict(), "identifications": [each.to_dict(with_rule=False) for each in (first, second)]}
        assert identifications_of(as_json(told), ["a", "b"]) == [first, second]
        assert identifications_of(as_json(told), ["a", "b"])[0].rule.caution == rule.caution


def test_embeddings_and_enrolments():
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(embeddings_of(as_json({"embeddings": rows.tolist()}), "abc"), rows)
    told = {"enrolment": "k", "identity": "p", "images": ["a", "b"], "count": 7}
    assert enrolment_of(told) == Enrolment("k", "p", ("a", "b"), 7)


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (embeddings_of, {"embeddings": [[1.0, 2.0]]}),
        (embeddings_of, {"embeddings": [1.0, 2.0]}),
        (embeddings_of, {}),
        (predictions_of, {"predictions": []}),
        (found_of, {"results": [{"query": "q", "hits": []}]}),
        (liked_of, {"results": []}),
        (identifications_of, {"identifications": []}),
    ],
)
def test_an_answer_that_lacks_something_is_an_error(read, told):
    with pytest.raises((KeyError, ValueError)):
        read(told, ["a", "b"])
