"""NT-Xent and SupCon beside what test_pairs.py holds of every pair loss: worked numbers and refusals."""

import math

import pytest
import torch
from pytorch_metric_learning import losses as peer
from pytorch_metric_learning.distances import CosineSimilarity, DotProductSimilarity, LpDistance

from losses.pair_cases import CLOSE, assert_same, batch, value_and_gradients
from triune import losses as ours
from triune.losses.softmax import NTXentLoss, SupConLoss

X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])


def test_nt_xent_by_hand():
    """Anchor 0: its positive at similarity 0, one negative at −1; anchor 1: its positive at 0, one negative at 0."""
    expected = (math.log(1 + math.exp(-1 / 0.5)) + math.log(2)) / 2
    assert ours.nt_xent_loss(X, [0, 0, 1], temperature=0.5).item() == pytest.approx(expected, rel=1e-6)


def test_sup_con_with_one_positive_an_anchor_is_nt_xent():
    x, y = batch()
    y = torch.arange(14) // 2
    assert ours.sup_con_loss(x, y, temperature=0.3).item() == pytest.approx(
        ours.nt_xent_loss(x, y, temperature=0.3).item(), rel=1e-12
    )


def test_other_positives_stand_in_the_denominator_of_sup_con_and_not_in_that_of_nt_xent():
    """One class only: NT-Xent has no negative and costs 0; SupCon still tells its positives apart."""
    x = X.double()
    assert ours.nt_xent_loss(x, [0, 0, 0]).item() == 0
    assert ours.sup_con_loss(x, [0, 0, 0]).item() > 0


@pytest.mark.parametrize("kind", [NTXentLoss, SupConLoss])
def test_a_temperature_that_is_not_above_zero_is_refused(kind):
    with pytest.raises(ValueError, match="temperature is 0; give a number above 0"):
        kind(temperature=0)
    loss = {NTXentLoss: ours.nt_xent_loss, SupConLoss: ours.sup_con_loss}[kind]
    with pytest.raises(ValueError, match="temperature is -1"):
        loss(X, [0, 0, 1], temperature=-1)


DISTANCES = {
    "euclidean": LpDistance(),
    "squared_euclidean": LpDistance(power=2),
    "cosine": CosineSimilarity(),
    "inner_product": CosineSimilarity(),
}


@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("kinds", [(NTXentLoss, peer.NTXentLoss), (SupConLoss, peer.SupConLoss)], ids=["xent", "con"])
def test_a_distance_that_is_chosen_is_that_of_the_peer(metric, kinds):
    criterion, theirs = kinds[0](0.3, metric=metric), kinds[1](0.3, distance=DISTANCES[metric])
    for seed in range(3):
        x, y = batch(seed)
        found = value_and_gradients(lambda x: criterion(x, y), x)
        assert_same(found, value_and_gradients(lambda x: theirs(x, y), x), **CLOSE)
        r, other = batch(seed + 9, n=20)
        found = value_and_gradients(lambda x, r: criterion(x, y, None, r, other), x, r)
        expected = value_and_gradients(lambda x, r: theirs(x, y, ref_emb=r, ref_labels=other), x, r)
        assert_same(found, expected, **CLOSE)


@pytest.mark.parametrize("kinds", [(NTXentLoss, peer.NTXentLoss), (SupConLoss, peer.SupConLoss)], ids=["xent", "con"])
def test_rows_that_keep_their_length_are_compared_by_inner_products_as_by_the_peer(kinds):
    x, y = batch(0)
    criterion = kinds[0](0.9, normalize=False)
    theirs = kinds[1](0.9, distance=DotProductSimilarity(normalize_embeddings=False))
    assert criterion(x, y).item() == pytest.approx(theirs(x, y).item(), rel=1e-6)


@pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean", "cosine"])
@pytest.mark.parametrize("loss", [ours.nt_xent_loss, ours.sup_con_loss])
def test_half_precision_and_equal_rows_have_finite_gradients(metric, loss):
    x, y = batch(1)
    x[1] = x[0]
    half = x.half().requires_grad_()
    value = loss(half, y, metric=metric)
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(half.detach().double(), y, metric=metric).item(), rel=1e-4)
    assert torch.isfinite(half.grad).all()


@pytest.mark.parametrize("kind", [NTXentLoss, SupConLoss])
def test_an_unknown_distance_is_refused_at_once(kind):
    with pytest.raises(ValueError, match="metric is 'dot'; known are 'inner_product', 'euclidean'"):
        kind(metric="dot")
