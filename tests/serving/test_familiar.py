"""What lies far from a run's validation images: against brute force, and on clouds of points."""

import numpy as np
import polars
import pytest

from triune.run.judged_items import COLUMNS, write_judged_items
from triune.serving.familiar import familiar_of, highest_scores, read_familiar


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def cloud(seed, count, centre):
    return unit(np.random.default_rng(seed).normal(size=(count, 8)) * 0.1 + centre)


HERE, THERE = np.eye(8)[0], np.eye(8)[4]


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_the_highest_score_is_that_of_the_nearest_row_of_another_identity(metric):
    rows, y = cloud(0, 50, HERE), np.repeat(np.arange(10), 5).astype(str)
    gaps = np.linalg.norm(rows[:, None].astype(float) - rows, axis=2)
    scores = {"cosine": rows.astype(float) @ rows.T, "euclidean": -gaps, "squared_euclidean": -(gaps**2)}[metric]
    np.testing.assert_allclose(highest_scores(rows[:7], rows, metric), scores[:7].max(1), atol=1e-3)
    others = np.where(y[:, None] == y, -np.inf, scores)
    np.testing.assert_allclose(highest_scores(rows, rows, metric, y), others.max(1), atol=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_new_images_of_the_same_kind_are_familiar_and_others_lie_far(metric):
    known = familiar_of(cloud(0, 400, HERE), np.repeat(np.arange(40), 10), metric)
    assert known.is_far(cloud(1, 1000, HERE)).mean() < 0.03
    assert known.is_far(cloud(2, 1000, THERE)).mean() > 0.97


def test_the_limit_is_told_from_other_identities_since_new_images_show_new_ones():
    rows = cloud(0, 60, HERE)
    twins = np.concatenate([rows, rows])  # each image has a copy of its own identity at distance 0
    known = familiar_of(twins, np.tile(np.arange(60), 2), "cosine")
    assert known.least == pytest.approx(familiar_of(rows, np.arange(60), "cosine").least, abs=1e-6)


def test_one_identity_tells_nothing():
    assert familiar_of(cloud(0, 9, HERE), np.zeros(9), "cosine") is None


def test_only_validation_images_with_an_embedding_count(tmp_path):
    assert read_familiar(tmp_path, "cosine") is None
    rows = cloud(0, 6, HERE)
    frame = polars.DataFrame(
        {
            "row": list(range(6)),
            "image": ["a"] * 6,
            "mask": [None] * 6,
            "label": [None] * 6,
            "identity": ["a", "b", "c", "a", "b", "c"],
            "split": ["val"] * 3 + ["test"] * 3,
            "predicted_label": [None] * 6,
            "embedding": rows.tolist(),
        },
        schema=COLUMNS,
    )
    write_judged_items(tmp_path / "embeddings.parquet", frame)
    np.testing.assert_allclose(read_familiar(tmp_path, "cosine").rows, rows[:3])
    write_judged_items(tmp_path / "embeddings.parquet", frame.with_columns(split=polars.lit("test")))
    assert read_familiar(tmp_path, "cosine") is None
