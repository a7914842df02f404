"""Arguments by the names of pytorch-metric-learning mean what they mean by ours."""

import pytest
import torch

from triune.losses.joined import DistributedTripletLoss
from triune.losses.keywords import by_either_name
from triune.losses.mining import TripletMiner
from triune.losses.names import PAIR_LOSSES
from triune.losses.triplet import TripletLoss

LOSSES = {**PAIR_LOSSES, "triplet": TripletLoss, "joined triplet": DistributedTripletLoss}


def batch(seed, count=14):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, generator=g), torch.randint(0, 4, (count,), generator=g)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_takes_indices_by_either_name(name):
    (x, y), criterion = batch(0), LOSSES[name]()
    indices = TripletMiner("hard")(x, y)
    assert criterion(x, y, indices_tuple=indices) == criterion(x, y, indices) == criterion(x, y, indices=indices)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "n-pairs"])
def test_every_loss_takes_a_reference_set_by_either_name(name):
    (x, y), (r, other), criterion = batch(0), batch(1, 20), LOSSES[name]()
    ours, theirs, mixed = (
        criterion(x, y, **names, generator=torch.Generator().manual_seed(0))
        for names in (
            {"reference": r, "reference_labels": other},
            {"ref_emb": r, "ref_labels": other},
            {"ref_emb": r, "reference_labels": other, "indices_tuple": None},
        )
    )
    assert ours == theirs == mixed
    assert ours != criterion(x, y, generator=torch.Generator().manual_seed(0))


def test_a_miner_takes_a_reference_set_by_either_name():
    (x, y), (r, other) = batch(0), batch(1, 20)
    expected = TripletMiner("hard")(x, y, r, other)
    found = TripletMiner("hard")(x, y, ref_emb=r, ref_labels=other)
    assert all(torch.equal(a, b) for a, b in zip(found, expected))
    assert len(found.anchor)


def test_an_unknown_name_and_one_argument_by_both_names_are_refused():
    x, y = batch(0)
    with pytest.raises(TypeError, match="'ref_embs' is no argument here; known are indices, reference"):
        TripletLoss()(x, y, ref_embs=x)
    with pytest.raises(TypeError, match="'indices_tuple' is no argument here; known are reference"):
        TripletMiner()(x, y, indices_tuple=None)
    with pytest.raises(TypeError, match="reference and ref_emb are one argument: give one of them"):
        PAIR_LOSSES["contrastive"]()(x, y, reference=x, ref_emb=x, ref_labels=y)


def test_what_is_not_given_stays_none():
    assert by_either_name({"ref_emb": None}, reference=3, reference_labels=None) == (3, None)
    assert by_either_name({"ref_labels": 4}, reference=3, reference_labels=None) == (3, 4)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "n-pairs"])
def test_labels_may_be_left_out_beside_indices(name):
    (x, y), (r, other), criterion = batch(0), batch(1, 20), LOSSES[name]()
    indices = TripletMiner("hard")(x, y)
    assert criterion(x, indices_tuple=indices) == criterion(x, None, indices) == criterion(x, y, indices)
    beside = TripletMiner("hard")(x, y, r, other)
    assert criterion(x, indices=beside, ref_emb=r) == criterion(x, y, beside, r, other)
    with pytest.raises(ValueError, match="labels are left out: give them, or the indices of a miner"):
        criterion(x)


def test_labels_are_not_left_out_where_classes_are_counted():
    (x, y), kinds = batch(0), (PAIR_LOSSES["n-pairs"](), PAIR_LOSSES["margin"](num_classes=4))
    for criterion in kinds:
        with pytest.raises(ValueError, match="labels are compared by a rule, or left out"):
            criterion(x, indices=TripletMiner("hard")(x, y))
