"""Gradients in chunks against the gradient of the whole batch."""

import copy

import pytest
import torch
from torch import nn

from triune.losses.cached_gradients import grad_cache
from triune.losses.names import ArcFaceLoss
from triune.losses.softmax import SupConLoss
from triune.losses.triplet import TripletLoss


def network(dropout=0.0):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 4)).double()


def data(n=50):
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, 6, generator=g).double(), torch.randint(0, 6, (n,), generator=g)


def gradients(model):
    return [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("chunk", [1, 7, 25, 50, 1000])
@pytest.mark.parametrize(
    "criterion",
    [TripletLoss(mining=m) for m in ("all", "hard", "semihard", "batch_hard")]
    + [TripletLoss(margin="soft", metric="cosine"), SupConLoss()],
    ids=str,
)
def test_the_gradient_is_that_of_the_whole_batch(chunk, criterion):
    x, y = data()
    whole, cached = network(), network()
    expected = criterion(whole(x), y)
    expected.backward()
    loss = grad_cache(cached, x, lambda e: criterion(e, y), chunk)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
    assert not loss.requires_grad
    for mine, theirs in zip(gradients(cached), gradients(whole), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def test_gradients_are_added_to_those_that_are_there():
    x, y = data()
    model = network()
    for _ in range(2):
        grad_cache(model, x, lambda e: TripletLoss()(e, y), 10)
    once = network()
    grad_cache(once, x, lambda e: TripletLoss()(e, y), 10)
    for twice, single in zip(gradients(model), gradients(once), strict=True):
        torch.testing.assert_close(twice, 2 * single)


def test_what_the_loss_learns_gets_its_gradient():
    x, y = data()
    criterion = ArcFaceLoss(6, 4).double()
    other = copy.deepcopy(criterion)
    grad_cache(network(), x, lambda e: criterion(e, y), 8)
    other(network()(x), y).backward()
    torch.testing.assert_close(criterion.proxies.grad, other.proxies.grad)


def test_both_passes_drop_the_same_units():
    x, y = data()
    model = network(dropout=0.5)
    masks = []
    model[2].register_forward_hook(lambda m, i, o: masks.append((o != 0).clone()))
    torch.manual_seed(3)
    grad_cache(model, x, lambda e: TripletLoss()(e, y), 20)
    for first, second in zip(masks[:3], masks[3:], strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(masks[0][:10], masks[1][:10])
    # What is drawn afterwards is what a single pass would have left to draw.
    after = torch.rand(1)
    torch.manual_seed(3)
    for part in x.split(20):
        model(part)
    assert torch.equal(after, torch.rand(1))


def test_running_statistics_are_counted_once():
    x, y = data()
    model, once = (nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)).double() for _ in range(2))
    once.load_state_dict(model.state_dict())
    grad_cache(model, x, lambda e: TripletLoss()(e, y), 25)
    for part in x.split(25):
        once(part)
    for mine, theirs in zip(model.buffers(), once.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_inputs_may_be_nested():
    x, y = data()

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, inputs):
            return self.net(inputs["images"] + inputs["extra"][0])

    nested, plain = Two(), Two()
    inputs = {"images": x, "extra": [torch.ones_like(x)]}
    grad_cache(nested, inputs, lambda e: TripletLoss()(e, y), 9)
    TripletLoss()(plain(inputs), y).backward()
    for mine, theirs in zip(gradients(nested), gradients(plain), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def test_autocast_and_a_scaler_are_respected():
    x, y = data()
    x = x.float()
    whole, cached = network().float(), network().float()
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = TripletLoss()(whole(x), y)
        grad_cache(cached, x, lambda e: TripletLoss()(e, y), 25, scaler=scaler)
    (8 * loss).backward()
    for mine, theirs in zip(gradients(cached), gradients(whole), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0.05, atol=0.02)


def test_a_loss_without_a_gradient_leaves_none():
    x, _ = data()
    model = network()
    assert grad_cache(model, x, lambda e: torch.tensor(3.0), 10) == 3
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_cannot_be_split_is_named():
    x, _ = data()
    with pytest.raises(ValueError, match="chunk_size is 0"):
        grad_cache(network(), x, torch.sum, 0)
    with pytest.raises(ValueError, match="no item"):
        grad_cache(network(), x[:0], torch.sum, 4)
    with pytest.raises(ValueError, match=r"\[3, 50\]"):
        grad_cache(network(), [x, x[:3]], torch.sum, 4)
