"""Proxy losses against loops in float64 and against pytorch-metric-learning with the same proxies; their modules."""

import math

import pytest
import torch
from pytorch_metric_learning import losses as peer
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance

from triune import losses as ours
from triune.losses.names import PROXY_LOSSES
from triune.losses.proxies import SubCenterArcFaceLoss

N, C, S, D = 9, 5, 3, 6


def batch(seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(N, D, generator=g).double()
    y = torch.randint(0, C - 1, (N,), generator=g)  # the last class is not in the batch
    return x, y, torch.randn(C, D, generator=g).double(), torch.randn(C, S, D, generator=g).double()


def cosine(a, b):
    return float(a @ b / a.norm() / b.norm())


def softmax_cost(logits, own):
    return -math.log(math.exp(logits[own]) / sum(map(math.exp, logits)))


def mean_cost(x, y, logits):
    return sum(softmax_cost(logits(x[i], int(y[i])), int(y[i])) for i in range(len(x))) / len(x)


def angular(c, margin):
    theta = math.acos(c)
    return math.cos(theta + margin) if theta + margin < math.pi else c - margin * math.sin(margin)


def normalized_softmax(x, y, w, _):
    return mean_cost(x, y, lambda a, own: [cosine(a, p) / 0.1 for p in w])


def arcface(x, y, w, _):
    return mean_cost(
        x, y, lambda a, o: [8 * (angular(cosine(a, p), 0.5) if k == o else cosine(a, p)) for k, p in enumerate(w)]
    )


def cosface(x, y, w, _):
    return mean_cost(x, y, lambda a, own: [8 * (cosine(a, p) - 0.35 * (k == own)) for k, p in enumerate(w)])


def subcenter(x, y, _, w):
    def logits(a, own):
        best = [max(cosine(a, p) for p in centers) for centers in w]
        return [8 * (angular(c, 0.5) if k == own else c) for k, c in enumerate(best)]

    return mean_cost(x, y, logits)


def proxy_nca(x, y, w, _):
    return mean_cost(x, y, lambda a, own: [-9 * float((a / a.norm() - p / p.norm()).square().sum()) for p in w])


def proxy_anchor(x, y, w, _):
    near, far = [], []
    for k, p in enumerate(w):
        own = [cosine(x[i], p) for i in range(len(x)) if y[i] == k]
        other = [cosine(x[i], p) for i in range(len(x)) if y[i] != k]
        if own:
            near.append(math.log(1 + sum(math.exp(-4 * (s - 0.1)) for s in own)))
        far.append(math.log(1 + sum(math.exp(4 * (s + 0.1)) for s in other)))
    return sum(near) / len(near) + sum(far) / len(far)


def soft_triple(x, y, _, w):
    def logits(a, own):
        values = []
        for k, centers in enumerate(w):
            s = [cosine(a, p) for p in centers]
            total = sum(math.exp(v / 0.1) for v in s)
            values.append(20 * (sum(v * math.exp(v / 0.1) / total for v in s) - 0.01 * (k == own)))
        return values

    apart = [
        math.sqrt(2 - 2 * cosine(c[i], c[j]) + 1e-5) for c in w for i in range(len(c)) for j in range(i + 1, len(c))
    ]
    return mean_cost(x, y, logits) + 0.2 * sum(apart) / (C * S * (S - 1))


CASES = {
    "normalized softmax": (
        normalized_softmax,
        lambda x, y, w, _: ours.normalized_softmax_loss(x, y, w, temperature=0.1),
        lambda: peer.NormalizedSoftmaxLoss(C, D, temperature=0.1),
    ),
    "arcface": (
        arcface,
        lambda x, y, w, _: ours.arcface_loss(x, y, w, scale=8),
        lambda: peer.ArcFaceLoss(C, D, margin=math.degrees(0.5), scale=8),
    ),
    "cosface": (
        cosface,
        lambda x, y, w, _: ours.cosface_loss(x, y, w, scale=8),
        lambda: peer.CosFaceLoss(C, D, margin=0.35, scale=8),
    ),
    "sub-centre arcface": (
        subcenter,
        lambda x, y, _, w: ours.subcenter_arcface_loss(x, y, w, scale=8),
        lambda: peer.SubCenterArcFaceLoss(
            num_classes=C, embedding_size=D, margin=math.degrees(0.5), scale=8, sub_centers=S
        ),
    ),
    "proxy-nca": (
        proxy_nca,
        lambda x, y, w, _: ours.proxy_nca_loss(x, y, w),
        lambda: peer.ProxyNCALoss(C, D, softmax_scale=9, distance=LpDistance(power=2)),
    ),
    "proxy-anchor": (
        proxy_anchor,
        lambda x, y, w, _: ours.proxy_anchor_loss(x, y, w, alpha=4),
        lambda: peer.ProxyAnchorLoss(C, D, margin=0.1, alpha=4),
    ),
    "soft triple": (soft_triple, lambda x, y, _, w: ours.soft_triple_loss(x, y, w), None),
}


@pytest.mark.parametrize("name", CASES)
def test_a_loss_is_what_its_formula_says(name):
    literal, loss, _ = CASES[name]
    for seed in range(6):
        arguments = batch(seed)
        assert loss(*arguments).item() == pytest.approx(literal(*arguments), abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_finite_differences(name):
    x, y, w, v = batch(1)
    loss = CASES[name][1]
    for part in (x, w, v):
        part.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w, v: loss(x, y, w, v), (x, w, v), atol=1e-6)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][2]])
def test_value_and_gradients_equal_the_peer(name):
    x, y, w, v = batch(2)
    _, loss, make = CASES[name]
    criterion = make().double()
    mine = (v if "sub" in name else w).clone().requires_grad_()
    with torch.no_grad():
        if "sub" in name:  # the peer keeps them as (D, C·S), the centres of a class side by side
            criterion.W.copy_(v.reshape(C * S, D).T)
        elif hasattr(criterion, "W"):
            criterion.W.copy_(w.T)
        else:
            criterion.proxies.copy_(w)
    theirs = criterion.W if hasattr(criterion, "W") else criterion.proxies
    x_mine, x_theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    value = loss(x_mine, y, mine, mine)
    value.backward()
    expected = criterion(x_theirs, y)
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(x_mine.grad, x_theirs.grad, rtol=1e-5, atol=1e-8)
    gradient = theirs.grad if theirs is not getattr(criterion, "W", None) else theirs.grad.T
    torch.testing.assert_close(mine.grad, gradient.reshape(mine.shape), rtol=1e-5, atol=1e-8)


def test_soft_triple_without_its_regulariser_equals_the_peer():
    x, y, _, v = batch(2)
    criterion = peer.SoftTripleLoss(C, D, centers_per_class=S).double()
    with torch.no_grad():
        criterion.fc.copy_(v.reshape(C * S, D).T)
    x_mine, x_theirs, mine = x.clone().requires_grad_(), x.clone().requires_grad_(), v.clone().requires_grad_()
    value, expected = ours.soft_triple_loss(x_mine, y, mine, regularization=0), criterion(x_theirs, y)
    value.backward()
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(x_mine.grad, x_theirs.grad, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(mine.grad, criterion.fc.grad.T.reshape(C, S, D), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_autocast_does_not_round_the_cosines(name):
    x, y, w, v = (part.float() if part.is_floating_point() else part for part in batch())
    x.requires_grad_()
    exact = CASES[name][1](x, y, w, v)
    with torch.autocast("cpu", torch.bfloat16):
        value = CASES[name][1](x, y, w, v)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-6)
    torch.testing.assert_close(torch.autograd.grad(value, x), torch.autograd.grad(exact, x))


@pytest.mark.parametrize("name", CASES)
def test_an_empty_batch_costs_nothing_with_a_graph(name):
    _, _, w, v = batch()
    x = torch.zeros(0, D, requires_grad=True)
    loss = CASES[name][1](x, torch.zeros(0, dtype=torch.long), w.float(), v.float())
    assert loss.item() == 0
    loss.backward()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    x, y, w, v = (part.to(dtype) if part.is_floating_point() else part for part in batch())
    loss = CASES[name][1]
    value = loss(x, y, w, v)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(x.double(), y, w.double(), v.double()).item(), rel=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_arcface_has_a_finite_gradient_at_its_proxy_and_opposite_to_it(sign):
    w = torch.eye(3)
    x = (sign * torch.eye(3)).requires_grad_()
    ours.arcface_loss(x, torch.arange(3), w).backward()
    assert torch.isfinite(x.grad).all()


def test_arcface_costs_the_more_the_farther_the_angle_all_the_way_to_the_opposite():
    """Beside a second proxy at a right angle to all of them; also beyond π − margin, where cos(θ + m) rises again."""
    angles = torch.linspace(0, math.pi, 200, dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin(), torch.zeros(200)], 1)
    w = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    costs = torch.stack([ours.arcface_loss(row[None], torch.tensor([0]), w, scale=4) for row in x])
    assert (costs.diff() > 0).all()


def test_a_single_class_is_always_right():
    x = torch.randn(9, D, generator=torch.Generator().manual_seed(0))
    for loss in (ours.arcface_loss, ours.cosface_loss, ours.normalized_softmax_loss):
        assert loss(x, torch.zeros(9, dtype=torch.long), torch.ones(1, D)).item() == 0


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (torch.full((N,), C), f"from {C} to {C}"),
        (torch.full((N,), -1), "from -1"),
        (torch.zeros(N), "float32"),
        (torch.zeros(N - 1, dtype=torch.long), f"each of {N}"),
    ],
)
def test_classes_that_have_no_proxy_are_named(classes, words):
    x, _, w, _ = batch()
    with pytest.raises(ValueError, match=words):
        ours.arcface_loss(x, classes, w)


def test_proxies_of_another_width_are_named():
    x, y, w, _ = batch()
    with pytest.raises(ValueError, match="dimensions"):
        ours.cosface_loss(x, y, w[:, :3])


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


LOGITS = {
    "normalized-softmax": (peer.NormalizedSoftmaxLoss(C, D, 0.2, distance=CosineSimilarity()), {"temperature": 0.2}, 1),
    "arcface": (peer.ArcFaceLoss(C, D, scale=8), {"scale": 8}, 1),
    "cosface": (peer.CosFaceLoss(C, D, scale=8), {"scale": 8}, 1),
    "subcenter-arcface": (
        peer.SubCenterArcFaceLoss(num_classes=C, embedding_size=D, scale=8, sub_centers=S),
        {"scale": 8, "centers": S},
        1,
    ),
    "proxy-nca": (peer.ProxyNCALoss(C, D), {"temperature": 0.5}, -2),  # theirs are distances
    "proxy-anchor": (peer.ProxyAnchorLoss(C, D), {}, 1),
    "soft-triple": (peer.SoftTripleLoss(C, D, S), {"centers": S, "scale": 20.0}, 20),  # theirs lack the scale
}


def peer_logits(name, theirs, x, proxies):
    theirs.double()
    flat = proxies.reshape(-1, D)
    with torch.no_grad():
        if hasattr(theirs, "proxies"):
            theirs.proxies.copy_(flat)
        else:
            (theirs.W if hasattr(theirs, "W") else theirs.fc).copy_(flat.T)
    return theirs.get_logits(x)


@pytest.mark.parametrize("name", LOGITS)
def test_logits_equal_the_peer(name):
    theirs, settings, factor = LOGITS[name]
    criterion = PROXY_LOSSES[name](C, D, **settings).double()
    x, *_ = batch(3)
    expected = factor * peer_logits(name, theirs, x, criterion.proxies)
    torch.testing.assert_close(criterion.get_logits(x), expected, rtol=1e-6, atol=1e-6)
    assert criterion.get_logits(x[:0]).shape == (0, C)
    assert criterion.get_logits(x.half()).shape == (N, C)


@pytest.mark.parametrize("name", [name for name in PROXY_LOSSES if name != "proxy-anchor"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_without_a_margin_the_loss_is_the_smoothed_entropy_of_the_logits(name, smoothing):
    x, y, *_ = batch(1)
    takes_margin = name in ("arcface", "cosface", "subcenter-arcface", "soft-triple")
    settings = {"margin": 0.0} if takes_margin else {}
    if name == "soft-triple":
        settings["regularization"] = 0.0
    criterion = PROXY_LOSSES[name](C, D, label_smoothing=smoothing, **settings).double()
    target = smoothing / C + (1 - smoothing) * torch.nn.functional.one_hot(y, C)
    x.requires_grad_()
    expected = -(target * criterion.get_logits(x).log_softmax(1)).sum() / N
    found = criterion(x, y)
    assert found.item() == pytest.approx(expected.item(), rel=1e-7)
    leaves = [x, criterion.proxies]
    for a, b in zip(torch.autograd.grad(found, leaves), torch.autograd.grad(expected, leaves)):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)
    assert ("label_smoothing" in repr(criterion)) == bool(smoothing)


def test_smoothing_keeps_the_margin():
    x, y, w, _ = batch(2)
    smoothed = ours.arcface_loss(x, y, w, scale=8, label_smoothing=0.2)
    rows = []
    for i in range(N):
        row = [8 * (angular(cosine(x[i], p), 0.5) if k == y[i] else cosine(x[i], p)) for k, p in enumerate(w)]
        rows.append(0.8 * softmax_cost(row, int(y[i])) + 0.2 * sum(softmax_cost(row, k) for k in range(C)) / C)
    assert smoothed.item() == pytest.approx(sum(rows) / N, rel=1e-9)


def test_a_share_of_smoothing_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"label_smoothing is 1\.0; give a share from 0 to below 1"):
        PROXY_LOSSES["arcface"](C, D, label_smoothing=1.0)
    with pytest.raises(TypeError, match="label_smoothing"):
        PROXY_LOSSES["proxy-anchor"](C, D, label_smoothing=0.1)
