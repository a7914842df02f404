"""Two views of each item: the losses of SimCLR and of the peer's wrapper, and what is refused."""

import math

import pytest
import torch
from pytorch_metric_learning import losses as peer

from losses.pair_cases import CLOSE, assert_same, value_and_gradients
from triune import losses as ours
from triune.distances.embeddings import unit
from triune.losses.two_views import SelfSupervisedLoss

PEERS = {
    "nt-xent": (ours.NTXentLoss(0.3), peer.NTXentLoss(0.3)),
    "sup-con": (ours.SupConLoss(0.3), peer.SupConLoss(0.3)),
    "contrastive": (ours.ContrastiveLoss(0.1, 0.9), peer.ContrastiveLoss(0.1, 0.9)),
    "triplet": (ours.TripletLoss(0.2), peer.TripletMarginLoss(0.2)),
    "the peer's": (peer.NTXentLoss(0.3), peer.NTXentLoss(0.3)),
}


def views(seed, n=7, d=5):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=g).double()
    return x, x + 0.5 * torch.randn(n, d, generator=g)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_value_and_gradients_equal_the_peer(name, symmetric):
    criterion, theirs = PEERS[name]
    for seed in range(3):
        x, y = views(seed, n=7 + seed)
        found = value_and_gradients(SelfSupervisedLoss(criterion, symmetric), x, y)
        expected = value_and_gradients(peer.SelfSupervisedLoss(theirs, symmetric=symmetric), x, y)
        assert_same(found, expected, **CLOSE)
        assert found[1][1].any()


def test_it_is_the_loss_of_simclr():
    """Chen et al. 2020, eq. 1: the mean over the 2N views of −log softmax of the partner among all others."""
    x, y = views(0, n=4)
    z, costs = unit(torch.cat([x, y])), []
    for i in range(8):
        partner = (i + 4) % 8
        s = [math.exp(float(z[i] @ z[j]) / 0.5) for j in range(8)]
        costs.append(-math.log(s[partner] / (sum(s) - s[i])))
    found = SelfSupervisedLoss(ours.NTXentLoss(0.5))(x, y)
    assert found.item() == pytest.approx(sum(costs) / 8, rel=1e-12)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("n", [0, 1])
def test_no_item_and_one_item_have_no_negative(symmetric, n):
    x, y = views(0, n=n)
    loss = SelfSupervisedLoss(ours.NTXentLoss(), symmetric)(x.requires_grad_(), y)
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    x, y = (view.to(dtype).requires_grad_() for view in views(1))
    loss = SelfSupervisedLoss(ours.NTXentLoss())(x, y)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(x.grad).all()
    assert x.grad.dtype == dtype


def test_labels_of_another_process_are_others(monkeypatch):
    seen = []

    class Criterion(torch.nn.Module):
        def forward(self, x, labels):
            seen.append(labels)
            return x.sum()

    criterion = SelfSupervisedLoss(Criterion())
    criterion(*views(0))
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 3)
    criterion(*views(0))
    assert not set(seen[0].tolist()) & set(seen[1].tolist())
    assert all(labels[:7].tolist() == labels[7:].tolist() for labels in seen)


def test_what_cannot_be_is_refused():
    x, y = views(0)
    with pytest.raises(ValueError, match="first has shape"):
        SelfSupervisedLoss(ours.NTXentLoss())(x, y[:3])
    with pytest.raises(ValueError, match="CrossBatchMemory needs labels that mean the same in every batch"):
        SelfSupervisedLoss(ours.CrossBatchMemory(ours.NTXentLoss(), 10, 5))
    with pytest.raises(ValueError, match="ArcFaceLoss needs labels"):
        SelfSupervisedLoss(ours.ArcFaceLoss(3, 5))
    with pytest.raises(ValueError, match="JoinedLoss takes no reference set"):
        SelfSupervisedLoss(ours.JoinedLoss(ours.NTXentLoss()), symmetric=False)
    assert SelfSupervisedLoss(ours.JoinedLoss(ours.NTXentLoss()))(x, y) == SelfSupervisedLoss(ours.NTXentLoss())(x, y)
    assert "symmetric=True" in repr(SelfSupervisedLoss(ours.NTXentLoss()))
