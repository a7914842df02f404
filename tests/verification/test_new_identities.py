"""The interval for the false-positive rate of new identities, against leaving out each identity by hand."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

import triune
from triune.verification.new_identities import expected_fpr, jackknife_interval


def items(identities, images, seed=0, dim=6):
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(identities, 1, dim, generator=g)
    x = (centres + 0.7 * torch.randn(identities, images, dim, generator=g)).reshape(-1, dim)
    return x, np.repeat(np.arange(identities), images)


def by_hand(x, labels, threshold, level, groups=None):
    unit = np.float64(x) / np.linalg.norm(np.float64(x), axis=1, keepdims=True)
    accepted = unit @ unit.T >= threshold
    known = labels[:, None] != labels[None, :]
    if groups is not None:
        known &= groups[:, None] != groups[None, :]

    def rate(kept):
        part = known[np.ix_(kept, kept)]
        return (accepted[np.ix_(kept, kept)] & part).sum() / part.sum()

    whole = rate(np.full(len(labels), True))
    names = np.unique(labels)
    left = np.array([rate(labels != name) for name in names])
    count = len(names)
    error = math.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum())
    half = stats.t(count - 1).ppf(0.5 + level / 2) * error / (whole * (1 - whole))
    logits = [math.log(whole / (1 - whole)) + sign * half for sign in (-1, 1)]
    return whole, *(1 / (1 + math.exp(-each)) for each in logits)


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("identities", [3, 7, 40])
def test_each_identity_is_left_out_once_with_all_its_pairs(identities, level):
    x, labels = items(identities, 5)
    order = np.random.default_rng(0).permutation(len(labels))
    x, labels = x[order], labels[order]
    found = expected_fpr(x, labels, threshold=0.3, level=level)
    assert (found.estimate, found.low, found.high) == pytest.approx(by_hand(x, labels, 0.3, level))
    assert (found.level, found.identities) == (level, identities)
    assert found.impostors == identities * (identities - 1) // 2 * 25


def test_identities_count_by_their_pairs_and_pairs_within_a_group_are_left_out():
    x, labels = items(9, 6)
    kept = np.random.default_rng(1).random(len(labels)) < 0.6
    x, labels = x[torch.from_numpy(kept)], labels[kept]
    groups = np.random.default_rng(2).integers(0, 4, len(labels))
    found = expected_fpr(x, labels, threshold=0.2, groups=groups)
    assert (found.estimate, found.low, found.high) == pytest.approx(by_hand(x, labels, 0.2, 0.95, groups))
    prepared = triune.prepare(x, labels, groups=groups)
    assert expected_fpr(prepared, threshold=0.2) == found


def test_a_distance_is_a_score_of_the_other_sign():
    x, labels = items(8, 4)
    unit = torch.nn.functional.normalize(x)
    by_cosine = expected_fpr(x, labels, threshold=0.4)
    by_distance = expected_fpr(unit, labels, threshold=-math.sqrt(2 - 2 * 0.4), metric="euclidean")
    assert by_distance.low == pytest.approx(by_cosine.low)
    assert by_distance.high == pytest.approx(by_cosine.high)


def test_no_false_positive_leaves_room_for_some_by_the_number_of_disjoint_pairs_of_identities():
    x, labels = items(20, 3)
    none = expected_fpr(x, labels, threshold=math.inf)
    assert (none.estimate, none.low) == (0, 0)
    assert (1 - none.high) ** 10 == pytest.approx(0.025)
    every = expected_fpr(x, labels, threshold=-math.inf)
    assert (every.estimate, every.high, every.low) == (1, 1, 1 - none.high)


def test_two_identities_say_nothing_of_others():
    x, labels = items(2, 30)
    found = expected_fpr(x, labels, threshold=0.0)
    assert 0 < found.estimate < 1
    assert (found.low, found.high, found.identities) == (0, 1, 2)


def test_where_one_identity_is_in_every_pair_nothing_can_be_said():
    # Identities 1, 2 and 3 were seen by one camera only: all pairs left are with identity 0.
    accepted, pairs = np.array([3.0, 1.0, 1.0, 1.0]), np.array([6.0, 2.0, 2.0, 2.0])
    assert jackknife_interval(accepted, pairs, 0.95) == (0, 1)


def test_an_identity_without_pairs_does_not_count():
    x, labels = items(4, 3)
    prepared = triune.prepare(x, labels)
    fewer = prepared.take(np.flatnonzero(prepared.codes != 2))
    assert fewer.identities == 4
    expected = expected_fpr(x[torch.from_numpy(labels != 2)], labels[labels != 2], threshold=0.1)
    assert expected_fpr(fewer, threshold=0.1) == expected
    assert expected.identities == 3


def test_what_cannot_be_judged_is_refused():
    x, labels = items(3, 2)
    with pytest.raises(ValueError, match="no non-matching pair"):
        expected_fpr(x, np.zeros(6, dtype=int), threshold=0.0)
    with pytest.raises(ValueError, match="threshold is NaN"):
        expected_fpr(x, labels, threshold=math.nan)
    with pytest.raises(ValueError, match="level is 95"):
        expected_fpr(x, labels, threshold=0.0, level=95)


def test_the_interval_covers_the_rate_of_the_population():
    """Eight kinds of identities, of which 12 are seen; the rate of the population is that of 2,000 others."""
    g = np.random.default_rng(3)
    kinds = g.normal(size=(8, 8))

    def draw(identities, images):
        centres = kinds[g.integers(0, 8, identities)] + 0.7 * g.normal(size=(identities, 8))
        x = (centres[:, None] + 0.4 * g.normal(size=(identities, images, 8))).reshape(-1, 8)
        return torch.from_numpy(x), np.repeat(np.arange(identities), images)

    unit = torch.nn.functional.normalize(draw(2000, 1)[0]).numpy()
    population = np.sort((unit @ unit.T)[np.triu_indices(2000, 1)])
    covered = 0
    for _ in range(150):
        prepared = triune.prepare(*draw(12, 5))
        threshold = triune.fit_threshold(triune.verify_embeddings(prepared), 0.1, prepared=prepared)
        truth = 1 - np.searchsorted(population, threshold.threshold) / len(population)
        covered += threshold.expected.low <= truth <= threshold.expected.high
    assert covered >= 0.91 * 150  # 95% less two standard errors


@pytest.mark.parametrize(("identities", "pairs", "accepted"), [(4, 6, 1), (4, 8, 3), (4, 9, 1), (10, 7, 3)])
def test_where_all_identities_are_alike_the_rate_lies_in_its_interval_to_the_last_bit(identities, pairs, accepted):
    """A threshold with a rate beside its interval would be written, and then refused when it is read."""
    counts = np.full(identities, accepted), np.full(identities, pairs)
    low, high = jackknife_interval(*counts, 0.95)
    rate = float(counts[0].sum() / counts[1].sum())
    assert low <= rate <= high
    assert high - low < 1e-12
