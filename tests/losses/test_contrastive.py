"""Contrastive and N-pairs losses beside what test_pairs.py holds of every pair loss: worked numbers and refusals."""

import pytest
import torch
from pytorch_metric_learning import losses as peer
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance

from losses.pair_cases import CLOSE, assert_same, batch, value_and_gradients
from triune import losses as ours
from triune.losses.contrastive import ContrastiveLoss, LiftedStructureLoss, NPairsLoss


def test_contrastive_by_hand():
    """Items at 0, 0.5 and 0.75 on a line: the one matching pair costs 0.5, one of two others max(0, 0.5 − 0.25)."""
    x = torch.tensor([[0.0], [0.5], [0.75]])
    assert ours.contrastive_loss(x, [0, 0, 1], negative_margin=0.5).item() == pytest.approx(0.5 + 0.25)
    squared = ours.contrastive_loss(x, [0, 0, 1], negative_margin=0.5, power=2)
    assert squared.item() == pytest.approx(0.25 + 0.0625)


def test_n_pairs_says_that_it_takes_no_reference():
    x, y = batch()
    with pytest.raises(ValueError, match="NPairsLoss compares the pairs of a batch: leave reference out"):
        NPairsLoss()(x, y, None, x, y)


def test_a_power_that_is_not_above_zero_is_refused():
    x, y = batch()
    with pytest.raises(ValueError, match="power is 0; give a number above 0"):
        ours.contrastive_loss(x, y, power=0)
    with pytest.raises(ValueError, match="power is -1"):
        ContrastiveLoss(power=-1)


DISTANCES = {"euclidean": LpDistance(), "squared_euclidean": LpDistance(power=2)}


@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("kind", ["contrastive", "lifted structure"])
def test_a_distance_that_is_chosen_is_that_of_the_peer(metric, kind):
    make, theirs = {
        "contrastive": (ContrastiveLoss, peer.ContrastiveLoss(0.3, 1.1, distance=DISTANCES[metric])),
        "lifted structure": (
            LiftedStructureLoss,
            peer.GeneralizedLiftedStructureLoss(neg_margin=1.1, pos_margin=0.3, distance=DISTANCES[metric]),
        ),
    }[kind]
    criterion = make(0.3, 1.1, metric=metric)
    for seed in range(3):
        x, _ = batch(seed)
        y = torch.arange(14) % 4
        found = value_and_gradients(lambda x: criterion(x, y), x)
        assert_same(found, value_and_gradients(lambda x: theirs(x, y), x), **CLOSE)


@pytest.mark.parametrize(("positive", "negative"), [(1.0, 0.0), (0.9, 0.2)])
def test_margins_in_cosine_similarity_are_one_minus_those_of_the_distance(positive, negative):
    theirs = peer.ContrastiveLoss(positive, negative, distance=CosineSimilarity())
    criterion = ContrastiveLoss(1 - positive, 1 - negative, metric="cosine")
    for seed in range(4):
        x, y = batch(seed)
        found = value_and_gradients(lambda x: criterion(x, y), x)
        assert_same(found, value_and_gradients(lambda x: theirs(x, y), x), **CLOSE)
        (r, other) = batch(seed + 9, n=20)
        found = value_and_gradients(lambda x, r: criterion(x, y, None, r, other), x, r)
        expected = value_and_gradients(lambda x, r: theirs(x, y, ref_emb=r, ref_labels=other), x, r)
        assert_same(found, expected, **CLOSE)


def test_cosine_by_hand():
    """Similarity 0 of the matching pair, −1 of one other, 0 of the next: below 0.5 costs 0.5, above −0.2 costs 0.2."""
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    loss = ours.contrastive_loss(x, [0, 0, 1], positive_margin=0.5, negative_margin=1.2, metric="cosine")
    assert loss.item() == pytest.approx(0.5 + 0.2)


def test_an_unknown_distance_is_refused_at_once():
    for kind in (ContrastiveLoss, LiftedStructureLoss):
        with pytest.raises(ValueError, match="metric is 'l1'; known are 'euclidean'"):
            kind(metric="l1")
