"""Sums over triplets and what they are reduced to, by hand."""

import math

import pytest
import torch

from triune.losses.outcome import (
    TripletCosts,
    anchor_sums,
    check_reduction,
    no_triplets,
    per_anchor,
    reduce,
    sums_of,
)

D_AP = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
D_AN = torch.tensor([1.1, 1.0, 3.0], dtype=torch.float64)


def test_sums_of_three_triplets_by_hand():
    """Margin 0.2: losses 0.1, 1.2 and 0."""
    sums = sums_of(D_AP, D_AN, 0.2)
    assert [float(part) for part in sums] == pytest.approx([1.3, 3, 2, 3.5, 5.1])
    soft = sums_of(D_AP, D_AN, "soft")
    assert float(soft.loss) == pytest.approx(sum(math.log1p(math.exp(gap)) for gap in (-0.1, 1.0, -2.5)))
    assert float(soft.active) == 3


def test_triplets_that_are_not_kept_are_in_no_sum():
    sums = sums_of(D_AP, D_AN, 0.2, torch.tensor([True, False, True]))
    assert [float(part) for part in sums] == pytest.approx([0.1, 2, 1, 1.5, 4.1])


def test_the_three_reductions():
    sums = sums_of(D_AP, D_AN, 0.2)
    losses = {reduction: float(reduce(sums, reduction).loss) for reduction in ("sum", "mean", "mean_active")}
    assert losses == pytest.approx({"sum": 1.3, "mean": 1.3 / 3, "mean_active": 0.65})
    outcome = reduce(sums, "mean")
    assert (int(outcome.triplets), int(outcome.active)) == (3, 2)
    assert float(outcome.positive_distance) == pytest.approx(3.5 / 3)
    assert float(outcome.negative_distance) == pytest.approx(1.7)


def test_no_triplet_is_a_loss_of_zero_with_a_graph():
    distances = torch.zeros(0, 4, requires_grad=True)
    outcome = reduce(no_triplets(distances), "mean_active")
    assert outcome.loss.requires_grad
    assert (outcome.loss.item(), outcome.triplets.item()) == (0, 0)
    assert outcome.positive_distance.isnan()


def test_an_unknown_reduction_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="reduction is 'median'; known are 'mean_active', 'mean', 'sum'"):
        check_reduction("median")


def test_the_mean_over_anchors_is_that_of_their_own_means_and_adds_up_over_parts():
    anchor, loss = torch.tensor([0, 0, 2, 2, 2]), torch.tensor([1.0, 0.0, 3.0, 0.0, 0.0], requires_grad=True)
    costs = TripletCosts(anchor, loss, torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.ones(5))
    outcome = per_anchor(anchor_sums(costs, 4))
    assert outcome.loss.item() == pytest.approx((0.5 + 1.0) / 2)
    assert (int(outcome.triplets), int(outcome.active), outcome.positive_distance.item()) == (5, 2, 3.0)
    outcome.loss.backward()
    assert loss.grad.tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 6, 1 / 6, 1 / 6])
    parts = [TripletCosts(*(column[rows] for column in costs)) for rows in (slice(0, 2), slice(2, 5))]
    assert per_anchor(sum(anchor_sums(part, 4) for part in parts)).loss.item() == pytest.approx(outcome.loss.item())
