"""torch.compile(fullgraph=True) of every public loss: no graph break at any batch size, value and gradient of eager."""

import pytest
import torch

from triune.distances.embeddings import unit
from triune.losses.names import PAIR_LOSSES, PROXY_LOSSES
from triune.losses.triplet import TripletLoss, triplet_loss, triplet_margin_loss

STRATEGIES = ["all", "hard", "batch_hard", "semihard", "random"]
CRITERIA = {
    **{f"triplet {strategy}": lambda strategy=strategy: TripletLoss(mining=strategy) for strategy in STRATEGIES},
    **{f"soft {strategy}": lambda strategy=strategy: TripletLoss("soft", mining=strategy) for strategy in STRATEGIES},
    **PAIR_LOSSES,
    "margin of classes": lambda: PAIR_LOSSES["margin"](num_classes=5, nu=0.1),
    **{name: lambda kind=kind: kind(5, 8) for name, kind in PROXY_LOSSES.items()},
}
DRAWN = ("triplet random", "soft random", "margin", "margin of classes")


def batch(count):
    g = torch.Generator().manual_seed(count)
    return torch.randn(count, 8, generator=g, requires_grad=True), torch.arange(count) // 3 % 5


def same_for_any_batch_size(loss, *parameters, backend="aot_eager", drawn=False):
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend=backend, dynamic=True)
    for count in (12, 20, 15):
        x, labels = batch(count)
        ours, expected = compiled(x, labels), loss(x, labels)
        gradients, wanted = (torch.autograd.grad(each, [x, *parameters]) for each in (ours, expected))
        if drawn:  # the compiled draws are others
            assert 0.5 < ours.item() / expected.item() < 2
            assert all(torch.isfinite(gradient).all() for gradient in gradients)
            continue
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
        for a, b in zip(gradients, wanted):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_compiles_whole(name):
    torch.manual_seed(0)
    criterion = CRITERIA[name]()
    same_for_any_batch_size(criterion, *criterion.parameters(), drawn=name in DRAWN)


@pytest.mark.slow
@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_compiles_whole_with_the_default_backend(name):
    torch.manual_seed(0)
    criterion = CRITERIA[name]()
    same_for_any_batch_size(criterion, *criterion.parameters(), backend="inductor", drawn=name in DRAWN)


def test_the_default_backend_compiles_a_loss_with_an_opaque_part():
    same_for_any_batch_size(PAIR_LOSSES["smooth-ap"](), backend="inductor")


@pytest.mark.parametrize("name", ["triplet semihard", "contrastive", "nt-xent", "smooth-ap"])
def test_indices_of_a_miner_and_a_reference_set_compile_too(name):
    criterion = CRITERIA[name]()
    bank, codes = batch(30)
    pairs = tuple(torch.tensor(column) for column in ([0, 1, 3, 3], [1, 2, 4, 5], [0, 1, 3, 5], [7, 8, 9, 10]))
    same_for_any_batch_size(lambda x, labels: criterion(x, labels, None, bank, codes))
    same_for_any_batch_size(lambda x, labels: criterion(x, labels, pairs))


def test_the_functions_compile_too():
    same_for_any_batch_size(lambda x, labels: triplet_loss(unit(x), labels, gap=(0.0, 0.3), metric="cosine").loss)
    same_for_any_batch_size(lambda x, labels: triplet_margin_loss(x, x.roll(1, 0), x.roll(2, 0)))
