"""Proxy losses as modules: proxies are learnt, saved and named by their shape."""

import pytest
import torch

from triune.losses.names import PROXY_LOSSES, SubCenterArcFaceLoss


@pytest.mark.parametrize("name", PROXY_LOSSES)
def test_every_loss_trains_items_and_proxies(name):
    torch.manual_seed(0)
    x, y = torch.randn(24, 8, requires_grad=True), torch.arange(24) % 6
    criterion = PROXY_LOSSES[name](6, 8)
    start = criterion.proxies.detach().clone()
    optimizer = torch.optim.Adam([x, *criterion.parameters()], lr=0.05)
    first = criterion(x, y).item()
    for _ in range(40):
        optimizer.zero_grad()
        criterion(x, y).backward()
        optimizer.step()
    assert criterion(x, y).item() < 0.7 * first
    assert not torch.allclose(criterion.proxies, start)
    other = PROXY_LOSSES[name](6, 8)
    other.load_state_dict(criterion.state_dict())
    assert other(x, y) == criterion(x, y)


def test_the_repr_tells_shape_and_settings():
    assert "proxies 4 × 2 × 8, margin=0.5" in repr(SubCenterArcFaceLoss(4, 8, centers=2))


@pytest.mark.parametrize("name", PROXY_LOSSES)
def test_impossible_sizes_are_named(name):
    with pytest.raises(ValueError, match="num_classes is 0"):
        PROXY_LOSSES[name](0, 8)
