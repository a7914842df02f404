"""Multi-similarity mining against the paper and the peer, and the module that mines."""

import pytest
import torch
from pytorch_metric_learning import losses as peer, miners as peer_miners

from losses.pair_cases import batch, tied
from oracles import brute_informative, listed_pairs, positives_and_negatives
from triune import losses as ours
from triune.distances.embeddings import unit
from triune.losses.weighted import MultiSimilarityLoss


@pytest.mark.parametrize("make", [batch, tied], ids=["random", "tied"])
def test_multi_similarity_mining_is_what_the_paper_says(make):
    for seed in range(5):
        x, y = make(seed)
        x = unit(x)
        mined = ours.multi_similarity_pairs(x, y, epsilon=0.2)
        P, N = brute_informative(x, x, *positives_and_negatives(y))
        for found, expected in zip((mined[:2], mined[2:]), (listed_pairs(P), listed_pairs(N))):
            assert all(torch.equal(a, b) for a, b in zip(found, expected))
        inside = ours.multi_similarity_loss(x, y, mining=True, epsilon=0.2)
        assert inside == ours.multi_similarity_loss(x, y, pairs=mined)


def test_multi_similarity_mining_equals_the_peer():
    for seed in range(5):
        x, y = batch(seed)
        mined = ours.multi_similarity_pairs(unit(x), y, epsilon=0.1)
        theirs = peer_miners.MultiSimilarityMiner(epsilon=0.1)(x, y)
        for a, b in ((0, 1), (2, 3)):
            assert set(zip(mined[a].tolist(), mined[b].tolist())) == set(zip(theirs[a].tolist(), theirs[b].tolist()))


def test_mined_pairs_feed_the_losses_of_the_peer():
    x, y = batch(3)
    mined = ours.multi_similarity_pairs(unit(x), y)
    theirs = peer.MultiSimilarityLoss(2, 50, 0.5)(x, y, tuple(mined))
    assert ours.multi_similarity_loss(unit(x), y, pairs=mined).item() == pytest.approx(theirs.item(), rel=1e-6)


def test_multi_similarity_mines_unless_told_otherwise():
    x, y = batch()
    mined = ours.multi_similarity_pairs(unit(x), y)
    assert MultiSimilarityLoss()(x, y) == ours.multi_similarity_loss(unit(x), y, pairs=mined)
    assert MultiSimilarityLoss(mining=False)(x, y) == ours.multi_similarity_loss(unit(x), y)


def test_sharpness_that_is_not_above_zero_is_refused():
    x, y = batch()
    with pytest.raises(ValueError, match="gamma is nan"):
        ours.circle_loss(x, y, gamma=float("nan"))
    with pytest.raises(ValueError, match="alpha is 0"):
        MultiSimilarityLoss(alpha=0)
    with pytest.raises(ValueError, match="beta is -2"):
        ours.multi_similarity_loss(x, y, beta=-2)
