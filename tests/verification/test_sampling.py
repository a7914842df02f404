"""A sample of impostor scores, and the intervals it says will hold the thresholds."""

import itertools

import numpy as np
import pytest

from examples import tiles_of
from triune.verification import sampling
from triune.verification.collecting import impostor_scores
from triune.verification.sampling import sample_impostors, threshold_intervals


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
@pytest.mark.parametrize("gallery", [False, True])
def test_a_sample_holds_impostors_only_and_evenly(metric, gallery, monkeypatch):
    monkeypatch.setattr(sampling, "SAMPLE", (20_000, 20_000))
    monkeypatch.setattr(sampling, "SAMPLED", 3000)
    g = np.random.default_rng(0)
    x, y = g.normal(size=(60, 5)).astype(np.float32), g.integers(0, 4, 60)
    kinds = np.arange(60) % 2
    options = {"groups": kinds, "metric": metric}
    if gallery:
        options |= {"gallery": x[:30] + 1, "gallery_labels": y[:30], "gallery_groups": kinds[:30]}
    pairs = tiles_of(x, y, **options)
    sample, everything = sample_impostors(pairs), np.sort(impostor_scores(pairs))
    assert (np.diff(sample) >= 0).all()
    assert 0.3 * 20_000 < len(sample) < 0.45 * 20_000  # half of the pairs are within a group, a quarter match
    places = np.searchsorted(everything, sample).clip(1, len(everything) - 1)
    apart = np.minimum(abs(sample - everything[places]), abs(sample - everything[places - 1]))
    np.testing.assert_allclose(apart, 0, atol=1e-5)
    # Each pair is drawn about equally often: the empirical distributions agree.
    grid = np.quantile(everything, np.linspace(0.05, 0.95, 19))
    shares = np.searchsorted(sample, grid) / len(sample)
    np.testing.assert_allclose(shares, np.searchsorted(everything, grid) / len(everything), atol=0.03)


def test_intervals_hold_the_thresholds_of_the_whole_nearly_always():
    g = np.random.default_rng(1)
    for _ in range(50):
        everything = np.sort(g.normal(size=200_000).astype(np.float32))
        sample = np.sort(g.choice(everything, 20_000))
        intervals, expected = threshold_intervals(sample, len(everything), (0.05, 0.01), 1 << 30)
        held = sum(int(((everything >= low) & (everything <= high)).sum()) for low, high in intervals)
        assert held <= expected
        for place in (0, int(0.95 * 200_000) - 1, int(0.99 * 200_000) - 1, 199_999):
            assert any(low <= everything[place] <= high for low, high in intervals)
        assert all(one[1] < other[0] for one, other in itertools.pairwise(intervals))


def test_intervals_that_would_hold_too_many_scores_are_not_kept():
    sample = np.linspace(0, 1, 1000, dtype=np.float32)
    assert threshold_intervals(sample, 10**9, (0.05,), 1000) == ([], 0)
    assert threshold_intervals(sample[:0], 10**9, (0.05,), 1000) == ([], 0)
    with pytest.raises(ValueError, match=r"fprs holds 1\.5"):
        threshold_intervals(sample, 1000, (1.5,), 1 << 30)
