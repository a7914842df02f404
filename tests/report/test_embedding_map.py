"""Embeddings laid out on a plane."""

import numpy as np
import pytest

from triune.report.embedding_map import embedding_map


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 40])
def test_the_map_takes_any_number_of_points(size: int) -> None:
    rows = np.random.default_rng(size).normal(size=(size, 5)).astype(np.float32)
    places = embedding_map(rows)
    assert places.shape == (size, 2)
    assert np.isfinite(places).all()
    assert ((places >= 0) & (places <= 1)).all()


def test_the_map_takes_equal_points_and_narrow_embeddings() -> None:
    repeated = np.repeat(np.random.default_rng(0).normal(size=(12, 4)), 9, axis=0).astype(np.float32)
    collapsed = (1 + 1e-7 * np.random.default_rng(1).normal(size=(40, 4))).astype(np.float32)
    equal, line, single = np.ones((20, 4), np.float32), np.arange(20.0)[:, None], np.ones((5, 1), np.float32)
    for rows in (equal, line, single, repeated, collapsed):
        places = embedding_map(rows)
        assert np.isfinite(places).all()
        assert places.shape == (len(rows), 2)
    assert (np.ptp(embedding_map(repeated).reshape(12, 9, 2), axis=1) == 0).all()


def test_the_map_keeps_neighbours_and_is_repeatable() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 25)
    rows = (rng.normal(size=(100, 16)) + 12 * np.eye(4, 16)[groups]).astype(np.float32)
    places = embedding_map(rows)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (groups[distance.argmin(axis=1)] == groups).mean() == 1
    assert (embedding_map(rows) == places).all()
