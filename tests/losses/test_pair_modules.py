"""Pair losses as modules: settings held, embeddings normalised, something learnt."""

import pytest
import torch

from triune import losses
from triune.distances.embeddings import unit
from triune.losses.average_precision import SmoothAPLoss
from triune.losses.contrastive import ContrastiveLoss
from triune.losses.margin import MarginLoss
from triune.losses.mining import TripletMiner
from triune.losses.names import PAIR_LOSSES
from triune.losses.softmax import NTXentLoss
from triune.losses.weighted import MultiSimilarityLoss


def batch():
    g = torch.Generator().manual_seed(0)
    return 3 * torch.randn(16, 6, generator=g), torch.arange(16) // 2


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_every_loss_draws_the_items_of_a_class_together(name):
    torch.manual_seed(0)
    x, y = batch()
    raw = x.clone().requires_grad_()
    criterion = PAIR_LOSSES[name]()
    optimizer = torch.optim.Adam([raw, *criterion.parameters()], lr=0.05)
    first = criterion(raw, y).item()
    for _ in range(60):
        optimizer.zero_grad()
        criterion(raw, y).backward()
        optimizer.step()
    assert criterion(raw, y).item() < first
    similar = unit(raw.detach()) @ unit(raw.detach()).T
    same = (y[:, None] == y[None, :]) & ~torch.eye(16, dtype=bool)
    start = unit(x) @ unit(x).T
    different = y[:, None] != y[None, :]
    assert similar[same].mean() - similar[different].mean() > start[same].mean() - start[different].mean() + 0.2


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_the_repr_tells_the_settings(name):
    assert "normalize=" in repr(PAIR_LOSSES[name]())


def test_embeddings_are_divided_by_their_length_unless_told_otherwise():
    x, y = batch()
    assert NTXentLoss()(x, y) == losses.nt_xent_loss(unit(x), y)
    assert NTXentLoss(normalize=False)(x, y) == losses.nt_xent_loss(x, y)


def test_indices_of_a_miner_choose_the_pairs():
    x, y = batch()
    mined = TripletMiner("hard")(x, y)
    pairs = losses.multi_similarity_pairs(unit(x), y)
    assert ContrastiveLoss()(x, y, mined) == losses.contrastive_loss(unit(x), y, pairs=mined)
    assert SmoothAPLoss()(x, y, mined) == losses.smooth_ap_loss(unit(x), y, pairs=mined)
    expected = losses.margin_loss(unit(x), y, pairs=pairs).item()
    assert MarginLoss()(x, y, pairs).item() == pytest.approx(expected, rel=1e-5)  # its β is a float32 parameter


@pytest.mark.parametrize("name", [name for name in PAIR_LOSSES if name != "n-pairs"])
def test_a_reference_set_is_normalised_too(name):
    x, y = batch()
    criterion = PAIR_LOSSES[name]()
    plain = PAIR_LOSSES[name](normalize=False)
    bank, codes = 7 * x.flip(0), y.flip(0)
    draws = [torch.Generator().manual_seed(0) for _ in range(2)]
    expected = plain(unit(x), y, None, unit(bank), codes, generator=draws[0])
    assert criterion(x, y, None, bank, codes, generator=draws[1]).item() == expected.item()


def test_n_pairs_says_that_it_takes_no_reference():
    x, y = batch()
    with pytest.raises(ValueError, match="NPairsLoss"):
        PAIR_LOSSES["n-pairs"]()(x, y, None, x, y)


def test_settings_are_checked_when_the_module_is_made():
    with pytest.raises(ValueError, match="temperature is 0"):
        NTXentLoss(temperature=0)
    with pytest.raises(ValueError, match="cutoff is 3"):
        MarginLoss(cutoff=3)


def test_multi_similarity_mines_unless_told_otherwise():
    x, y = batch()
    mined = losses.multi_similarity_pairs(unit(x), y)
    assert MultiSimilarityLoss()(x, y) == losses.multi_similarity_loss(unit(x), y, pairs=mined)
    assert MultiSimilarityLoss(mining=False)(x, y) == losses.multi_similarity_loss(unit(x), y)


def test_the_boundary_of_the_margin_loss_is_saved():
    criterion = MarginLoss(beta=0.7)
    other = MarginLoss()
    other.load_state_dict(criterion.state_dict())
    assert other.beta.item() == pytest.approx(0.7)
    assert not [p for p in MarginLoss(learn_beta=False).parameters() if p.requires_grad]


def test_each_class_may_have_a_boundary():
    x, y = batch()
    criterion = MarginLoss(num_classes=8, nu=0.1)
    assert criterion.beta.shape == (8,)
    criterion(x, y).backward()
    assert torch.isfinite(criterion.beta.grad).all()
    with pytest.raises(ValueError, match="classes run from 0 to 7 but boundaries from 0 to 6"):
        MarginLoss(num_classes=7)(x, y)
    with pytest.raises(ValueError, match="labels are words"):
        criterion(x, [str(label) for label in y.tolist()])
    with pytest.raises(ValueError, match="num_classes is 0"):
        MarginLoss(num_classes=0)
