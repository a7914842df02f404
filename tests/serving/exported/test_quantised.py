"""8 bits: smaller, with thresholds of their own, never mixed up with the run's embeddings; what it costs is told."""

import json

import numpy as np
import onnx
import pytest

from triune.errors import InputError
from triune.serving.exported import export as exporting
from triune.serving.exported.quantised import CALIBRATION
from triune.serving.loaded import load


@pytest.fixture(scope="module")
def made(exported, tmp_path_factory):
    folder, _ = exported
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exporting, "as_onnx", lambda *_: onnx.load(folder / "run.onnx"))  # which takes long to make
        return load(folder / "run", device="cpu").export(path, int8=True, check=12)


def test_it_is_smaller_and_says_what_it_costs_and_saves(exported, made):
    assert made.size < 0.4 * exported[1].size
    assert repr(made).endswith(f"int8.onnx: all, int8, {made.size / 1e6:.1f} MB>")
    assert [each.kind for each in made.int8] == ["validation images", "test images"]
    for costs, exact in zip(made.int8, made.checked, strict=True):
        assert exact.embedding <= 1e-4 < costs.embedding
        assert [each.before for each in costs.rates] == [each.before for each in exact.rates]
        assert costs.accuracy[0] == exact.accuracy[0]
        assert costs.iou[0] == exact.iou[0]
        assert 0 <= costs.iou[1] <= 1
    assert (made.gains.before, made.gains.after) == (pytest.approx(exported[1].size, rel=0.001), made.size)
    assert [each.batch for each in made.gains.times] == [1, 32]
    assert json.loads(json.dumps(made.to_dict()))["gains"]["times"][0][0] == 1


def test_its_answers_are_near_the_run_s_but_its_embeddings_may_not_be_mixed_with_them(exported, made):
    folder, whole = exported
    run, small = load(folder / "run", device="cpu"), load(made.path)
    images = sorted((folder / "images").glob("*.png"))[:6]
    assert (run.embed(images) * small.embed(images)).sum(1).min() > 0.9
    assert small.fingerprint != run.fingerprint == whole.card.fingerprint
    assert "by ONNX Runtime, int8" in repr(small)
    assert all(isinstance(each.unfamiliar, bool) for each in small.predict(images))


def test_its_thresholds_keep_their_budgets_on_its_own_scores(exported, made):
    folder, whole = exported
    stored, own = whole.card.thresholds.thresholds, made.card.thresholds.thresholds
    assert [each.target_fpr for each in own] == [each.target_fpr for each in stored]
    assert [each.threshold for each in own] != [each.threshold for each in stored]
    assert all(each.fpr <= each.target_fpr and each.confidence is None for each in own)
    images = sorted(path for path in (folder / "images").glob("*.png") if path.name[0] in "2345")  # for validation
    identities = np.array([path.name[0] for path in images])
    rows = load(made.path).embed(images).astype(np.float64)
    other = (identities[:, None] != identities)[np.triu_indices(len(images), 1)]
    scores = (rows @ rows.T)[np.triu_indices(len(images), 1)]
    assert (scores[other] >= own[0].threshold).mean() == pytest.approx(own[0].fpr)
    # and the pairs that a page draws are those of its own scores
    drawn = load(made.path).network.results.models[0].verification["val"].histogram
    assert (sum(drawn.impostors), sum(drawn.matches)) == (other.sum(), (~other).sum())
    assert (drawn.edges[0], drawn.edges[-1]) == pytest.approx((scores.min(), scores.max()), abs=1e-5)


def test_without_validation_images_nothing_is_calibrated(exported, tmp_path, monkeypatch):
    folder, _ = exported
    monkeypatch.setattr("triune.serving.exported.compared.Path.is_file", lambda path: path.suffix != ".png")
    with pytest.raises(InputError, match=r"8 bits are calibrated on the validation images of .* not where they were"):
        load(folder / "run", device="cpu").export(tmp_path / "m.onnx", int8=True)
    assert list(tmp_path.iterdir()) == []
    assert CALIBRATION >= 100
