"""The strangers that a run knows: held-out identities that it was not trained on, or why there are none."""

from collections import Counter

import numpy as np
import polars as pl
import pytest

from triune.errors import InputError
from triune.run.judged_items import write_judged_items
from triune.run.split import COLUMNS as SPLIT
from triune.serving.gallery.strangers import evenly, strangers_of

DIM = 3


def judged(folder, items, trained=()):
    """A run folder that judged ``(identity, split)`` items and was trained on some identities."""
    folder.mkdir(exist_ok=True)
    g = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "row": range(len(items)),
            "image": [f"/x/{k}.png" for k in range(len(items))],
            "mask": [None] * len(items),
            "label": ["a"] * len(items),
            "identity": [identity for identity, _ in items],
            "split": [split for _, split in items],
            "predicted_label": ["a"] * len(items),
            "embedding": g.normal(size=(len(items), DIM)).tolist(),
        },
        schema_overrides={"mask": pl.String, "identity": pl.String},
    )
    write_judged_items(folder / "embeddings.parquet", frame)
    rows = [*items, *((identity, "train") for identity in trained)]
    known = {"image": [f"/x/{k}.png" for k in range(len(rows))], "identity": [one for one, _ in rows]}
    split = pl.DataFrame(known | {"split": [each for _, each in rows]}, schema_overrides={"identity": pl.String})
    split.with_columns(pl.lit(None).alias(name) for name in list(SPLIT)[3:]).write_csv(folder / "split.csv")
    return folder, np.array(frame["embedding"].to_list(), np.float32)


def test_they_are_the_validation_identities(tmp_path):
    run, rows = judged(tmp_path / "r", [("a", "val"), ("b", "test"), ("c", "val"), (None, "val"), ("a", "val")], ["t"])
    for source in (run, run / "model.safetensors"):
        found = strangers_of(source, "r", DIM)
        assert found.identities.tolist() == ["a", "c", "a"]
        np.testing.assert_array_equal(found.embeddings, rows[[0, 2, 4]])
        assert found.lacking is None
        assert not found.untouched


def test_calibration_identities_which_chose_nothing_come_first(tmp_path):
    run, _ = judged(tmp_path / "r", [("a", "val"), ("b", "calibration"), ("c", "calibration")])
    found = strangers_of(run, "r", DIM)
    assert found.identities.tolist() == ["b", "c"]
    assert found.untouched


def test_whoever_the_run_was_trained_on_is_no_stranger(tmp_path):
    run, _ = judged(tmp_path / "r", [("a", "val"), ("b", "val")], trained=["a"])
    assert strangers_of(run, "r", DIM).identities.tolist() == ["b"]
    run, _ = judged(tmp_path / "r", [("a", "val"), ("b", "val")], trained=["a", "b"])
    found = strangers_of(run, "r", DIM)
    assert len(found.embeddings) == 0
    assert found.lacking == "r was trained on all its validation identities"


def test_a_run_without_any_says_why(tmp_path):
    assert "was not trained here" in strangers_of(None, "timm:x", DIM).lacking
    assert "embeddings.parquet is not there" in strangers_of(tmp_path, "r", DIM).lacking
    run, _ = judged(tmp_path / "r", [("a", "test")])
    assert strangers_of(run, "r", DIM).lacking == "r has no validation identities"
    assert strangers_of(run, "r", DIM).embeddings.shape == (0, DIM)


def test_damaged_files_are_named(tmp_path):
    run, _ = judged(tmp_path / "r", [("a", "val")])
    (run / "embeddings.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"embeddings\.parquet"):
        strangers_of(run, "r", DIM)


def test_of_many_images_every_identity_gives_as_nearly_equally_many_as_it_has():
    identities = np.repeat(["a", "b", "c"], [100, 3, 40])
    chosen = evenly(identities, 21)
    assert Counter(identities[chosen].tolist()) == {"a": 9, "b": 3, "c": 9}
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(evenly(identities, 1000), np.arange(143))
    assert chosen[:9].max() > 30, "the first images of an identity are no sample of it"


def test_an_exported_file_holds_nobody_and_its_run_does(tmp_path):
    found = strangers_of(tmp_path / "m.onnx", "m.onnx", DIM)
    assert (found.embeddings.shape, len(found.identities)) == ((0, DIM), 0)
    assert found.lacking == "m.onnx is an exported file, which holds nobody's embeddings (its run does: --run RUN)"
