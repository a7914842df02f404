"""Templates pooled and verified, against means written out."""

import math

import numpy as np
import pytest
import torch

from examples import score
from triune.verification.templates import pool_templates, verify_templates


def test_templates_are_means_of_means_of_media():
    g = np.random.default_rng(0)
    x, templates, media = g.normal(size=(60, 5)), g.integers(0, 7, 60), g.integers(0, 4, 60)
    pooled, ids = pool_templates(x, templates, media)
    assert ids.tolist() == sorted(set(templates.tolist()))
    for row, t in zip(pooled, ids):
        means = [x[(templates == t) & (media == m)].mean(axis=0) for m in set(media[templates == t].tolist())]
        mean = np.mean(means, axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-12)
    alone, _ = pool_templates(x, templates)
    mean = x[templates == ids[0]].mean(axis=0)
    np.testing.assert_allclose(alone[0], mean / np.linalg.norm(mean), atol=1e-12)


def test_a_long_video_counts_no_more_than_a_photograph():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    pooled, _ = pool_templates(x, ["t"] * 4, [0, 1, 1, 1])
    np.testing.assert_allclose(pooled[0], [math.sqrt(0.5)] * 2, atol=1e-7)


def test_pairs_of_templates_are_scored_by_their_ids():
    g = np.random.default_rng(1)
    x, templates = g.normal(size=(50, 6)), np.array([f"t{i % 12}" for i in range(50)])
    first, second = g.choice(templates, 80), g.choice(templates, 80)
    match = np.arange(80) % 3 == 0
    v = verify_templates(x, templates, first, second, match)
    pooled = {t: x[templates == t].mean(axis=0) for t in set(templates)}
    expected = np.array([score(pooled[a], pooled[b], "cosine") for a, b in zip(first, second)])
    np.testing.assert_allclose(v.match_scores, np.sort(expected[match]), atol=1e-6)
    np.testing.assert_allclose(v.impostor_scores, np.sort(expected[~match]), atol=1e-6)


def test_template_ids_are_exact_beyond_float_precision():
    ids = torch.tensor([2**53, 2**53 + 1, 2**53 + 2])
    v = verify_templates(torch.eye(3), ids, ids[[0, 1]], ids[[0, 2]], [True, False])
    assert v.match_scores.tolist() == [1.0]
    assert v.impostor_scores.tolist() == [0.0]


def test_templates_without_images_or_direction_are_named():
    x = torch.eye(2)
    with pytest.raises(ValueError, match=r"second\[1\] asks for template 9, which no image belongs to"):
        verify_templates(x, [4, 5], [4, 4], [5, 9], [True, False])
    with pytest.raises(ValueError, match="template 'b' cancel out"):
        pool_templates([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], ["a", "b", "b"])
    with pytest.raises(ValueError, match="cannot be equal"):
        verify_templates(x, [4, 5], ["4"], ["5"], [True])
