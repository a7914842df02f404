"""The score of a pair is one function of its two embeddings: in a list, alone, and, to the stated error, in a tile."""

import numpy as np
import pytest
import torch

from examples import tiles_of
from triune.distances.embeddings import unit
from triune.pairs.listed import score_pairs
from triune.pairs.scores import paired_scores, scores_between
from triune.verification.all_pairs import verify_embeddings
from triune.verification.thresholds import fit_threshold

METRICS = ("cosine", "euclidean", "squared_euclidean")
U = 2.0**-24
"""Half the distance from 1 to the next float32."""


def example(seed, n=40, d=16, duplicates=6):
    """Rows of few identities, some of them near-duplicates of one another."""
    g = np.random.default_rng(seed)
    y = g.integers(0, 6, n)
    x = g.normal(size=(6, d))[y] + 0.7 * g.normal(size=(n, d))
    x[:duplicates] = x[duplicates : 2 * duplicates] + 1e-4 * g.normal(size=(duplicates, d))
    return x.astype(np.float32), y


def in_tiles(x, y, metric):
    """Rows of every pair as they were given, and their scores from tiles."""
    pairs = tiles_of(x, y, metric=metric)
    first, second, scores = [], [], []

    def look(tile, _):
        i, j = (pairs.matching(tile) | pairs.impostors(tile)).nonzero(as_tuple=True)
        first.append(pairs.orders[0][i + tile.row])
        second.append(pairs.orders[1][j + tile.column])
        scores.append(tile.scores[i, j].clone())

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pairs.visit(pairs.holds_pairs, look, lambda: None)
    torch.set_num_threads(threads)
    return np.concatenate(first), np.concatenate(second), torch.cat(scores).numpy()


def stated_error(x, first, second, scores, metric):
    """What paired_scores says that a tile may differ by."""
    d = x.shape[1]
    if metric == "cosine":
        return np.full(len(scores), (d + 2) * U)
    squares = np.square(x.astype(np.float64)).sum(1)
    s, value = squares[first] + squares[second], -scores.astype(np.float64)
    if metric == "squared_euclidean":
        return np.where(value < s / 1000, (d + 3) * U * value, 2 * (d + 3) * U * s)
    with np.errstate(divide="ignore"):
        return np.where(value**2 < s / 1000, (d + 3) * U * value, (d + 3) * U * s / value)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_score_is_that_of_float64_rounded_once(metric, dtype):
    x = torch.from_numpy(example(0, n=200, d=33)[0]).to(dtype)
    a, b = (part.to(torch.promote_types(dtype, torch.float32)) for part in (x[:100], x[100:]))
    if metric == "cosine":
        a, b = unit(a), unit(b)
    a, b = a.float().double().numpy(), b.float().double().numpy()
    squared = [sum((p - q) ** 2 for p, q in zip(u, v)) for u, v in zip(a, b)]
    exact = {
        "cosine": [sum(p * q for p, q in zip(u, v)) for u, v in zip(a, b)],
        "euclidean": [-(s**0.5) for s in squared],
        "squared_euclidean": [-s for s in squared],
    }[metric]
    found = paired_scores(x[:100], x[100:], metric)
    assert found.dtype == torch.float32
    # One float32 apart at most, where sums in another order fall on either side of a middle.
    np.testing.assert_array_max_ulp(found.numpy(), np.array(exact, np.float32), 1)
    assert (found.numpy() == np.array(exact, np.float32)).mean() > 0.98


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("width", [1, 3, 16, 129, 512])
def test_one_pair_scores_as_among_many_to_the_last_bit(metric, width):
    x = torch.randn(3000, width, generator=torch.Generator().manual_seed(width))
    first, second = torch.randint(0, 3000, (2, 5000), generator=torch.Generator().manual_seed(1))
    many = score_pairs(x, first, second, metric)
    assert torch.equal(many, paired_scores(x[first], x[second], metric))
    for p in range(0, 5000, 97):
        one = paired_scores(x[first[p], None], x[second[p], None], metric)
        assert torch.equal(one, many[p, None])
        assert torch.equal(one, paired_scores(x[second[p], None], x[first[p], None], metric))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("width", [2, 16, 128, 512])
def test_tiles_and_lists_differ_by_less_than_the_stated_error(metric, width):
    for seed in range(3):
        x, y = example(seed, n=120, d=width)
        first, second, scores = in_tiles(x, y, metric)
        listed = score_pairs(x, first, second, metric).numpy()
        apart = np.abs(scores.astype(np.float64) - listed)
        assert (apart <= stated_error(x, first, second, listed, metric)).all()
        if metric == "cosine":
            assert np.quantile(apart, 0.99) <= 4 * U


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("half", [False, True])
def test_a_stored_threshold_decides_alike_in_tiles_in_a_list_and_of_one_pair(metric, half):
    decided = differing = without_room = as_observed = 0
    for seed in range(150):
        x, y = example(seed)
        given = torch.from_numpy(x).to(torch.float16 if half else torch.float32)
        x = given.float().numpy()
        first, second, scores = in_tiles(given, y, metric)
        listed = score_pairs(given, first, second, metric).numpy()
        error = stated_error(x, first, second, listed, metric)
        verification = verify_embeddings(given, y, metric=metric)
        for fpr in (0.0, 0.01, 0.05, 0.3):
            fitted = fit_threshold(verification, fpr, metric=metric)
            rejected, accepted, _ = verification.bracket_at_fpr(fpr)
            by_tile, by_list = fitted.accepts(scores), fitted.accepts(listed)
            assert by_tile[y[first] != y[second]].mean() == fitted.fpr <= fpr
            near = np.abs(listed - np.float64(fitted.threshold)) <= error
            np.testing.assert_array_equal(by_tile[~near], by_list[~near])
            nearest = error[np.isin(scores, [rejected, accepted])].max(initial=0)
            if accepted - rejected > 2 * nearest:  # there is room for the error on either side
                np.testing.assert_array_equal(by_tile, by_list)
            else:
                without_room += 1
            decided, differing = decided + len(scores), differing + int((by_tile != by_list).sum())
            lowest = np.float64(fitted.lowest_accepted)  # a threshold with no room below
            as_observed += int(((scores >= lowest) != (listed >= lowest)).sum())
            for p in np.argsort(np.abs(listed - np.float64(min(fitted.threshold, 1e30))))[:3]:
                one = paired_scores(given[first[p], None], given[second[p], None], metric)
                assert fitted.accepts(one).tolist() == [by_list[p]]
    assert decided > 400_000
    # Near-duplicates of two identities have cosines that differ in the last bits alone.
    assert without_room < 60  # of 600 thresholds
    assert differing < 20
    assert as_observed > 100


def test_ties_are_decided_together_everywhere():
    g = np.random.default_rng(0)
    x, y = g.integers(-2, 3, (60, 3)).astype(np.float32), g.integers(0, 6, 60)
    for metric in METRICS[1:]:  # of whole numbers both ways find exactly the same scores
        first, second, scores = in_tiles(x, y, metric)
        listed = score_pairs(x, first, second, metric).numpy()
        np.testing.assert_array_equal(scores, listed)
        verification = verify_embeddings(x, y, metric=metric)
        for fpr in (0.01, 0.1, 0.5):
            fitted = fit_threshold(verification, fpr, metric=metric)
            for value in np.unique(scores):
                assert len(np.unique(fitted.accepts(listed[listed == value]))) == 1
            assert fitted.accepts(listed)[y[first] != y[second]].mean() <= fpr


def test_all_scores_of_two_sets_are_those_of_their_pairs():
    x, _ = example(0, n=20)
    for metric in METRICS:
        rows = unit(torch.from_numpy(x)) if metric == "cosine" else torch.from_numpy(x)
        i, j = np.meshgrid(np.arange(8), np.arange(8, 20), indexing="ij")
        listed = score_pairs(x, i.ravel(), j.ravel(), metric).reshape(8, 12)
        torch.testing.assert_close(scores_between(rows[:8], rows[8:], metric), listed, rtol=1e-4, atol=1e-6)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"x has shape \(1, 2\) but y has \(1, 3\)"):
        paired_scores(torch.ones(1, 2), torch.ones(1, 3))
    with pytest.raises(ValueError, match="metric is 'manhattan'"):
        paired_scores(torch.ones(1, 2), torch.ones(1, 2), "manhattan")
