"""Impostor pairs that are only counted against the full list of the same scores."""

import itertools
import math
import pickle

import numpy as np
import pytest

from examples import tiles_of
from triune.kernels import counting_cpu
from triune.pairs import tiles
from triune.verification import all_pairs, counting, sampling
from triune.verification.all_pairs import verify_embeddings
from triune.verification.collecting import impostor_scores, match_scores
from triune.verification.impostors import Counted
from triune.verification.roc import from_scores

METRICS = ("cosine", "euclidean", "squared_euclidean")


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Several tiles, several flushes of the waiting scores, a small sample; nothing is listed."""
    monkeypatch.setattr(tiles, "ROWS", 16)
    monkeypatch.setattr(tiles, "COLUMNS", 32)
    monkeypatch.setattr(sampling, "SAMPLE", (2000, 2000))
    monkeypatch.setattr(sampling, "SAMPLED", 500)
    monkeypatch.setattr(all_pairs, "LISTED_PAIRS", -1)


def smooth(seed, n=120, classes=17, d=6):
    g = np.random.default_rng(seed)
    y = g.integers(0, classes, n)
    return (g.normal(size=(classes, d))[y] + 0.8 * g.normal(size=(n, d))).astype(np.float32), y


def tied(seed, n=90, classes=7):
    g = np.random.default_rng(seed)
    return g.integers(-2, 3, (n, 3)).astype(np.float32), g.integers(0, classes, n)


def both(x, y, **options):
    """The counted answer, and the list of the very same scores."""
    counted = verify_embeddings(x, y, **options)
    options.pop("fprs", None)
    prepared = tiles_of(x, y, **options)
    return counted, from_scores(match_scores(prepared), impostor_scores(prepared))


def assert_equal(counted, listed):
    assert isinstance(counted.impostor, Counted)
    assert (counted.matches, counted.impostors) == (listed.matches, listed.impostors)
    np.testing.assert_array_equal(counted.match_scores, listed.match_scores)
    assert counted.auc == listed.auc
    assert counted.eer == pytest.approx(listed.eer, abs=1e-12)
    for fpr in (0.0, 1e-3, 0.01, 0.05, 0.3, 0.77, 1.0):
        assert counted.tpr_at_fpr(fpr) == listed.tpr_at_fpr(fpr)
        assert counted.threshold_at_fpr(fpr) == listed.threshold_at_fpr(fpr)
        assert counted.operating_point(fpr) == listed.operating_point(fpr)
    for threshold in (-math.inf, -0.3, 0.0, 0.5, float(np.median(listed.impostor_scores)), math.inf):
        assert counted.confusion_at(threshold) == listed.confusion_at(threshold)
    edges, matches, impostors = counted.histogram(20)
    assert (matches.sum(), impostors.sum()) == (listed.matches, listed.impostors)
    np.testing.assert_array_equal(impostors, np.histogram(listed.impostor_scores, edges)[0])
    np.testing.assert_array_equal(matches, np.histogram(listed.match_scores, edges)[0])
    # Every corner is a point of the full curve, and the full curve has no point above the lines between corners.
    fpr, tpr, _ = listed.roc()
    corner_fpr, corner_tpr, corner_threshold = counted.roc()
    assert np.isin(corner_fpr + 1j * corner_tpr, fpr + 1j * tpr).all()
    assert np.isin(tpr, corner_tpr).all()
    assert np.trapezoid(corner_tpr, corner_fpr) == pytest.approx(listed.auc, abs=1e-12)
    some = slice(1, None, 1 + len(corner_fpr) // 200)
    for f, t, threshold in zip(corner_fpr[some], corner_tpr[some], corner_threshold[some], strict=True):
        confusion = listed.confusion_at(threshold)
        assert (confusion.fpr, confusion.tpr) == (f, t)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("example", [smooth, tied])
def test_counting_equals_listing(metric, example):
    for seed in range(3):
        x, y = example(seed)
        assert_equal(*both(x, y, metric=metric))


@pytest.mark.parametrize("exclude", ["pairs", "matches"])
def test_pairs_within_a_group_are_excluded(exclude):
    x, y = smooth(1, n=80)
    groups = np.array([f"camera {g}" for g in np.random.default_rng(5).integers(0, 4, len(x))])
    counted, listed = both(x, y, groups=groups, exclude=exclude)
    same = [(y[i] == y[j], groups[i] == groups[j]) for i, j in itertools.combinations(range(len(x)), 2)]
    assert listed.matches == sum(m and not g for m, g in same)
    assert listed.impostors == sum(not m and not (g and exclude == "pairs") for m, g in same)
    assert_equal(counted, listed)


@pytest.mark.parametrize("metric", METRICS)
def test_queries_are_scored_against_the_gallery(metric):
    x, y = smooth(2)
    options = {"gallery": x[50:], "gallery_labels": y[50:], "metric": metric}
    counted, listed = both(x[:50], y[:50], **options)
    assert listed.matches == (y[:50, None] == y[None, 50:]).sum()
    assert listed.impostors == (y[:50, None] != y[None, 50:]).sum()
    assert_equal(counted, listed)
    session = np.arange(len(x)) % 3
    counted, listed = both(x[:50], y[:50], **options, groups=session[:50], gallery_groups=session[50:])
    assert listed.impostors == ((y[:50, None] != y[None, 50:]) & (session[:50, None] != session[None, 50:])).sum()
    assert_equal(counted, listed)


def test_many_more_impostors_than_wait_at_a_time_are_counted(monkeypatch):
    monkeypatch.setattr(tiles, "ROWS", 512)
    monkeypatch.setattr(tiles, "COLUMNS", 512)
    x, y = smooth(3, n=1500, classes=300)
    assert x.shape[0] ** 2 / 2 > 20 * counting_cpu.WAITING
    assert_equal(*both(x, y))


def test_budgets_not_named_beforehand_cost_another_visit_and_are_as_exact():
    x, y = smooth(4)
    assert_equal(*both(x, y, fprs=()))


def test_detached_figures_are_the_same_and_refuse_what_takes_another_visit():
    x, y = smooth(0)
    whole = verify_embeddings(x, y, fprs=(0.05,))
    kept = pickle.loads(pickle.dumps(whole.detached()))
    assert (kept.auc, kept.eer, kept.tpr_at_fpr(0.05)) == (whole.auc, whole.eer, whole.tpr_at_fpr(0.05))
    for mine, theirs in zip(kept.roc(), whole.roc()):
        np.testing.assert_array_equal(mine, theirs)
    between = float(np.mean(np.unique(whole.match_scores)[20:22]))
    whole.confusion_at(between)
    with pytest.raises(ValueError, match="another visit of all pairs"):
        kept.confusion_at(between)
    listed = from_scores(whole.match_scores, np.array([0.1, 0.2]))
    assert listed.detached().confusion_at(0.15) == listed.confusion_at(0.15)


def test_scores_that_do_not_fit_are_found_by_selection(monkeypatch):
    monkeypatch.setattr(counting, "KEPT", 0)
    x, y = smooth(5)
    counted, listed = both(x, y)
    assert not counted.impostor.kept
    assert_equal(counted, listed)


def test_scores_tied_at_a_threshold_are_not_kept_by_the_million(monkeypatch):
    """An interval is laid by places in the order; a few values that many scores share make it hold most of them."""
    monkeypatch.setattr(counting, "KEPT", 20_000)
    g = np.random.default_rng(8)
    x, y = np.sign(g.normal(size=(700, 4))).astype(np.float32), g.integers(0, 40, 700)
    prepared = tiles_of(x, y, metric="cosine")
    sample = sampling.sample_impostors(prepared)
    fprs = (0.3, 0.05)
    assert sampling.threshold_intervals(sample, prepared.total, fprs, counting.KEPT)[0] == []
    monkeypatch.setattr(
        sampling, "threshold_intervals", lambda *_, f=sampling.threshold_intervals: (f(*_[:3], 1 << 40)[0], 100)
    )
    counted = verify_embeddings(x, y, metric="cosine", fprs=fprs)
    assert not counted.impostor.kept
    assert_equal(counted, from_scores(match_scores(prepared), impostor_scores(prepared)))


def test_bins_of_a_histogram_are_about_equal_where_only_matches_lie():
    """Cells cover what impostor scores lie in; beyond, the count below each match score is known."""
    g = np.random.default_rng(9)
    y = np.repeat(np.arange(40), 5)
    x = (g.normal(size=(40, 32))[y] + 0.5 * g.normal(size=(200, 32))).astype(np.float32)
    counted, listed = both(x, y)
    edges, matches, impostors = counted.histogram(40)
    np.testing.assert_array_equal(impostors, np.histogram(listed.impostor_scores, edges)[0])
    assert 35 <= len(impostors) <= 40
    assert np.diff(edges).max() < 2 * (edges[-1] - edges[0]) / 40
    assert (matches[-10:] > 0).all()


def test_lost_scores_are_noticed(monkeypatch):
    real = sampling.threshold_intervals
    monkeypatch.setattr(sampling, "threshold_intervals", lambda *a: (real(*a)[0], 0))
    monkeypatch.setattr(
        counting_cpu, "fresh_state", lambda table, columns, _, f=counting_cpu.fresh_state: f(table, columns, 3)
    )
    x, y = smooth(6)
    counted, listed = both(x, y)
    assert not counted.impostor.kept
    assert_equal(counted, listed)


@pytest.mark.parametrize("metric", METRICS)
def test_the_torch_path_counts_alike(metric, monkeypatch):
    x, y = tied(7)
    numba = verify_embeddings(x, y, metric=metric)
    monkeypatch.setitem(counting.COUNT, "numba", counting.count_by_torch)
    plain = verify_embeddings(x, y, metric=metric)
    for name in ("knots", "knots_below", "knots_up_to", "count"):
        np.testing.assert_array_equal(getattr(numba.impostor, name), getattr(plain.impostor, name))
    for mine, theirs in zip(numba.impostor.kept, plain.impostor.kept, strict=True):
        assert mine[:3] == theirs[:3]
        np.testing.assert_array_equal(mine.scores, theirs.scores)
    assert_equal(*both(x, y, metric=metric))


def test_degenerate_sets():
    same = np.ones((40, 3), np.float32)
    y = np.arange(40) // 4
    counted, listed = both(same, y)  # every score ties
    assert counted.auc == 0.5
    assert_equal(counted, listed)
    x, _ = smooth(8, n=40)
    one_match = np.arange(40)
    one_match[1] = 0
    assert_equal(*both(x, one_match))
    far = x.copy()
    far[0] *= 1e15  # one outlier must not spoil the bins
    assert_equal(*both(far, y, metric="euclidean"))
    with pytest.raises(ValueError, match="overflows"):
        verify_embeddings(far * 1e10, y, metric="euclidean")
    with pytest.raises(ValueError, match="no non-matching"):
        verify_embeddings(x, np.zeros(40, int))
    with pytest.raises(ValueError, match="no matching"):
        verify_embeddings(x, np.arange(40))
    with pytest.raises(ValueError, match="no matching"):
        verify_embeddings(x, y, groups=np.zeros(40, int))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gallery": np.ones((3, 6))}, "gallery_labels is missing"),
        ({"gallery_labels": [1]}, "without gallery"),
        ({"gallery": np.ones((3, 5)), "gallery_labels": [1, 2, 3]}, "dimensions"),
        ({"gallery": np.ones((3, 6)), "gallery_labels": ["a", "b", "c"]}, "cannot be equal"),
        ({"gallery": np.ones((3, 6)), "gallery_labels": [1, 2, 3], "groups": [1] * 120}, "go together"),
        ({"exclude": "everything"}, "exclude"),
        ({"groups": [1, 2]}, "groups has 2"),
        ({"fprs": (1.5,)}, "1.5"),
    ],
)
def test_what_does_not_fit_is_named(options, words):
    x, y = smooth(9)
    with pytest.raises(ValueError, match=words):
        verify_embeddings(x, y, **options)


def test_near_duplicates_keep_their_distance():
    g = np.random.default_rng(0)
    a = g.normal(size=(30, 64))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = a + 1e-3 / 8 * np.sign(g.normal(size=a.shape))
    x = np.concatenate([a, b]).astype(np.float32)
    v = verify_embeddings(x, np.tile(np.arange(30), 2), metric="euclidean")
    exact = np.linalg.norm(x[:30].astype(np.float64) - x[30:].astype(np.float64), axis=1)
    np.testing.assert_allclose(-v.match_scores[::-1], np.sort(exact), rtol=1e-3)


def test_counters_are_emptied_before_they_run_over(monkeypatch):
    x, y = smooth(10)
    taken = []
    real = counting.Totals.take
    monkeypatch.setattr(counting.Totals, "take", lambda self, *given: (taken.append(1), real(self, *given))[1])
    monkeypatch.setattr(counting, "COUNTER_PAIRS", 100)
    assert_equal(*both(x, y))
    assert len(taken) > 3
