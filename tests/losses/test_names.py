"""A criterion by its name: every name, what it is given, and what is said of a wrong one."""

import pytest
import torch
from pytorch_metric_learning import losses as peer

from triune.errors import InputError
from triune.losses.joined import DistributedTripletLoss, JoinedLoss
from triune.losses.memory import CrossBatchMemory
from triune.losses.names import PAIR_LOSSES, PROXY_LOSSES, make_criterion


def made(name, options=None, **settings):
    return make_criterion(name, options, num_classes=5, embedding_dim=16, **settings)


def test_no_name_is_given_twice():
    names = ["triplet", *PAIR_LOSSES, *PROXY_LOSSES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["triplet", *PAIR_LOSSES, *PROXY_LOSSES])
def test_every_name_makes_a_criterion_of_embeddings_and_labels(name):
    torch.manual_seed(0)
    x = torch.randn(12, 16, requires_grad=True)
    loss = made(name)(x, torch.arange(12) % 5)
    loss.backward()
    assert torch.isfinite(loss)
    assert x.grad.any()


def test_options_are_those_of_the_class():
    assert made("triplet", {"margin": 0.3, "mining": "hard"}).extra_repr().startswith("margin=0.3")
    assert made("sup-con", {"temperature": 0.2}).criterion.temperature == 0.2
    assert made("arcface", {"margin": 0.4, "scale": 30}).settings == {"margin": 0.4, "scale": 30}


def test_pair_losses_and_triplets_are_of_the_joined_batch_of_all_processes():
    assert all(isinstance(made(name), JoinedLoss) for name in PAIR_LOSSES)
    assert isinstance(made("triplet"), DistributedTripletLoss)


def test_proxies_have_the_sizes_of_the_run():
    for name in PROXY_LOSSES:
        proxies = made(name).proxies
        assert (proxies.shape[0], proxies.shape[-1]) == (5, 16)


def test_the_margin_loss_has_one_boundary_unless_asked_for_one_a_class():
    assert made("margin").criterion.beta.shape == ()
    assert made("margin", {"num_classes": "auto"}).criterion.beta.shape == (5,)
    assert made("margin", {"num_classes": 7}).criterion.beta.shape == (7,)


def test_a_memory_is_for_losses_that_take_a_reference_set():
    criterion = made("triplet", {"margin": 0.4}, memory=100, memory_start=5)
    assert isinstance(criterion, CrossBatchMemory)
    assert (criterion.size, criterion.start, criterion.criterion.margin) == (100, 5, 0.4)
    for name in PAIR_LOSSES:
        if name != "n-pairs":
            criterion = made(name, memory=100, memory_start=5)
            assert isinstance(criterion.criterion, JoinedLoss)
            assert isinstance(criterion.criterion.criterion, PAIR_LOSSES[name])
            assert (criterion.size, criterion.start) == (100, 5)
            assert torch.isfinite(criterion(torch.randn(12, 16, requires_grad=True), torch.arange(12) % 5))
            assert int(criterion.filled) == 12
    for name in ("n-pairs", "arcface", "pml:TripletMarginLoss"):
        with pytest.raises(InputError, match=f"not {name}"):
            made(name, memory=100)


def test_what_is_no_single_number_cannot_be_trained_on():
    with pytest.raises(InputError, match="metric_loss triplet: reduction 'none' gives no single number"):
        made("triplet", {"reduction": "none"})
    assert made("triplet", {"reduction": "per_anchor", "swap": True, "smooth": True}).swap


@pytest.mark.parametrize(
    "name", ["TripletMarginLoss", "ArcFaceLoss", "SubCenterArcFaceLoss", "SoftTripleLoss", "P2SGradLoss"]
)
def test_any_loss_of_the_peer_is_made_with_the_sizes_it_needs(name):
    criterion = made(f"pml:{name}")
    assert isinstance(criterion, getattr(peer, name))
    x = torch.nn.functional.normalize(torch.randn(8, 16, requires_grad=True))
    assert torch.isfinite(criterion(x, torch.arange(8) % 4))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("arcfase", {}, "there is no metric_loss 'arcfase'; known are triplet, contrastive"),
        ("pml:functools", {}, "no loss 'functools'"),
        ("pml:Nothing", {}, "no loss 'Nothing'; its names are like TripletMarginLoss"),
        ("circle", {"nope": 1}, "its options are margin, gamma, normalize"),
        ("triplet", {"nope": 1}, "its options are averaged, group, margin, metric, mining, reduction"),
        ("triplet", {"margin": -1}, "metric_loss triplet: margin is -1"),
        ("sup-con", {"temperature": 0}, "metric_loss sup-con: temperature is 0"),
        ("sup-con", {"temp": 1}, "metric_loss sup-con: there is no option 'temp'; its options are temperature"),
        ("sup-con", {"temperature": "x"}, "metric_loss sup-con: an option is of another kind .*; its options are"),
        ("arcface", {"num_classes": 3}, r"num_classes is filled in \(5\): leave it out of its options"),
        ("pml:ArcFaceLoss", {"embedding_size": 3}, r"embedding_size is filled in \(16\): leave it out"),
        ("pml:ManifoldLoss", {}, "pml:ManifoldLoss: it needs 'l'; its options are l, K"),
        ("pml:TripletMarginLoss", {"margin": "big"}, "TripletMarginLoss cannot be computed of embeddings and labels: "),
        ("pml:VICRegLoss", {}, "pml:VICRegLoss cannot be computed of embeddings and labels: labels are"),
        ("pml:BaseMetricLossFunction", {}, "cannot be computed of embeddings and labels: NotImplementedError"),
        ("pml:NTXentLoss", {"reducer": torch.nn.Identity()}, "NTXentLoss cannot be computed|no single number"),
    ],
)
def test_what_cannot_be_made_says_why(name, options, words):
    with pytest.raises(InputError, match=words):
        made(name, options)
