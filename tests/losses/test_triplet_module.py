"""The loss and miner modules hold settings and agree with the functions they wrap."""

import pytest
import torch

from triune.distances.embeddings import unit
from triune.losses.mining import TripletMiner, mine_triplets
from triune.losses.triplet import TripletLoss, triplet_loss

LABELS = torch.arange(24) % 5


def embeddings():
    return torch.randn(24, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)


@pytest.mark.parametrize("normalize", [True, False])
def test_the_module_is_the_function_with_its_settings(normalize):
    x = embeddings()
    criterion = TripletLoss(0.3, "squared_euclidean", "semihard", "mean", normalize)
    expected = triplet_loss(
        unit(x) if normalize else x, LABELS, margin=0.3, metric="squared_euclidean", mining="semihard", reduction="mean"
    )
    assert criterion(x, LABELS).item() == expected.loss.item()
    for ours, theirs in zip(criterion.outcome(x, LABELS), expected):
        assert ours.item() == theirs.item()


@pytest.mark.parametrize("strategy", ["all", "hard", "batch_hard", "semihard"])
def test_mined_indices_as_third_argument_equal_mining_inside(strategy):
    x = embeddings()
    indices = TripletMiner(strategy, margin=0.3)(x, LABELS)
    inside = TripletLoss(0.3, mining=strategy)(x, LABELS)
    assert TripletLoss(0.3)(x, LABELS, indices).item() == pytest.approx(inside.item(), rel=1e-6)


def test_a_miner_measures_unit_vectors_as_the_loss_does():
    x = embeddings() * torch.linspace(0.1, 10, 24)[:, None]
    for normalize in (True, False):
        ours = TripletMiner("semihard", normalize=normalize)(x, LABELS)
        expected = mine_triplets(unit(x) if normalize else x, LABELS, "semihard")
        assert all(torch.equal(a, b) for a, b in zip(ours, expected))


def test_a_reference_set_is_normalised_too():
    x, bank = embeddings(), 7 * torch.randn(50, 6)
    bank_labels = torch.arange(50) % 8
    loss = TripletLoss()(x, LABELS, None, bank, bank_labels)
    expected = triplet_loss(unit(x), LABELS, reference=unit(bank), reference_labels=bank_labels).loss
    assert loss.item() == expected.item()
    own = TripletLoss()(x, LABELS, None, x, LABELS)
    assert own.item() == pytest.approx(TripletLoss()(x, LABELS).item(), rel=1e-6)


def test_settings_are_checked_at_once_and_shown():
    with pytest.raises(ValueError, match=r"metric is 'l2'"):
        TripletLoss(metric="l2")
    with pytest.raises(ValueError, match=r"mining strategy is 'easy'"):
        TripletMiner("easy")
    assert "margin='soft'" in repr(TripletLoss("soft"))
    assert not list(TripletLoss().parameters())
    assert not TripletLoss().state_dict()
