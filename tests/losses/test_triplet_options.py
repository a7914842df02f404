"""Swapped and smooth triplets, and losses of each triplet and of each anchor: against loops and against the peer."""

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as peer, miners, reducers

from losses.pair_cases import assert_same, batch, tied
from oracles import brute_distance, brute_triplets
from triune import losses as ours
from triune.distances.embeddings import unit
from triune.losses.mining import mine_triplets
from triune.losses.triplet import TripletLoss, triplet_loss, triplet_margin_loss

STRATEGIES = ["all", "hard", "batch_hard", "semihard"]
METRICS = ["euclidean", "squared_euclidean", "cosine"]
OPTIONS = {
    "swap": {"swap": True},
    "smooth": {"smooth": True},
    "swap and smooth": {"swap": True, "smooth": True},
    "swap with a soft margin": {"swap": True, "margin": "soft"},
}


def value_and_gradients(loss, *leaves):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    value = loss(*leaves)
    return value.item(), [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, grads(value, leaves))]


def grads(value, leaves):
    return torch.autograd.grad(value, leaves, allow_unused=True) if value.requires_grad else [None] * len(leaves)


def distance(u, v, metric):
    if metric == "cosine":
        return 1 - u @ v / (u.norm() * v.norm())
    squared = (u - v).square().sum()
    return squared.sqrt() if metric == "euclidean" and squared > 0 else squared


def literal(x, r, triplets, metric="euclidean", margin=0.3, swap=False, smooth=False):
    """What each triplet costs and its anchor, by one formula a triplet."""
    costs = []
    for a, p, n in triplets:
        d_an = distance(x[a], r[n], metric)
        if swap:
            d_an = torch.minimum(d_an, distance(r[p], r[n], metric))
        gap = distance(x[a], r[p], metric) - d_an + (0 if margin == "soft" else margin)
        costs.append(torch.nn.functional.softplus(gap) if smooth or margin == "soft" else gap.clamp(min=0))
    return torch.stack(costs) if costs else x.sum()[None][:0]


def reduced(costs, anchors, reduction, smooth):
    if reduction == "per_anchor":
        means = [costs[torch.tensor(anchors) == a].mean() for a in sorted(set(anchors))]
        return torch.stack(means).mean() if means else costs.sum()
    active = len(costs) if smooth else int((costs > 0).sum())
    return costs.sum() / {"sum": 1, "mean": max(1, len(costs)), "mean_active": max(1, active)}[reduction]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("metric", METRICS)
def test_value_and_gradient_are_what_the_formula_says(strategy, options, metric):
    options = {"margin": 0.3, **options}
    smooth = options["margin"] == "soft" or options.get("smooth", False)
    for seed, reduction in enumerate(["mean_active", "mean", "sum", "per_anchor"]):
        x, y = batch(seed, n=10)
        d = brute_distance(x.numpy(), x.numpy(), metric)
        triplets = brute_triplets(d, y.numpy(), strategy, options["margin"])
        anchors = triplets[:, 0].tolist()
        expected = value_and_gradients(
            lambda x: reduced(literal(x, x, triplets, metric, **options), anchors, reduction, smooth), x
        )
        loss = lambda x: triplet_loss(x, y, metric=metric, mining=strategy, reduction=reduction, **options).loss  # noqa: E731
        assert_same(value_and_gradients(loss, x), expected)
        # float32 goes by the kernels where they can, and mines the same triplets
        single = value_and_gradients(loss, x.float())
        assert single[0] == pytest.approx(expected[0], rel=1e-4, abs=1e-5)
        torch.testing.assert_close(single[1][0].double(), expected[1][0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_reference_set_is_swapped_among_itself(options):
    (x, y), (r, other) = batch(1, n=7), batch(2, n=9)
    options = {"margin": 0.3, **options}
    d = brute_distance(x.numpy(), r.numpy(), "euclidean")
    triplets = brute_triplets(d, y.numpy(), "all", reference_labels=other.numpy())
    for reduction in ("mean", "per_anchor"):
        expected = value_and_gradients(
            lambda x, r: reduced(literal(x, r, triplets, **options), triplets[:, 0].tolist(), reduction, True), x, r
        )
        found = value_and_gradients(
            lambda x, r: triplet_loss(x, y, reduction=reduction, reference=r, reference_labels=other, **options).loss,
            x, r,
        )  # fmt: skip
        assert_same(found, expected)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("mined", [False, True])
def test_value_and_gradient_equal_the_peer(swap, smooth, mined):
    for seed in range(3):
        x, y = batch(seed)
        indices = miners.TripletMarginMiner(0.3)(x, y) if mined else None
        theirs = peer.TripletMarginLoss(0.3, swap=swap, smooth_loss=smooth)
        criterion = TripletLoss(0.3, swap=swap, smooth=smooth)
        expected = value_and_gradients(lambda x: theirs(x, y, indices), x)
        assert_same(value_and_gradients(lambda x: criterion(x, y, indices), x), expected)


@pytest.mark.parametrize("options", [{}, *OPTIONS.values()], ids=["plain", *OPTIONS])
@pytest.mark.parametrize("strategy", [*STRATEGIES, "random"])
@pytest.mark.parametrize("gap", [None, (-0.2, 0.5)])
def test_the_loss_of_each_triplet_stands_in_the_order_of_mining(options, strategy, gap):
    for make in (batch, tied):
        x, y = make(3)
        options = {"margin": 0.3, **options}
        triplets = mine_triplets(
            x, y, strategy, margin=options["margin"], gap=gap, generator=torch.Generator().manual_seed(5)
        )
        found = triplet_loss(
            x, y, mining=strategy, reduction="none", gap=gap, generator=torch.Generator().manual_seed(5), **options
        )
        expected = literal(x, x, torch.stack(list(triplets), 1).tolist(), **options)
        torch.testing.assert_close(found.loss, expected, rtol=1e-9, atol=1e-9)
        assert found.triplets == len(expected)
        assert found.active == (expected > 0).sum()
        d_ap = brute_distance(x.numpy(), x.numpy(), "euclidean")[triplets.anchor, triplets.positive]
        assert found.positive_distance.item() == pytest.approx(
            d_ap.mean() if len(d_ap) else np.nan, rel=1e-5, nan_ok=True
        )


def test_the_losses_of_each_triplet_equal_the_peer():
    x, y = batch(2)
    theirs = peer.TripletMarginLoss(0.3, reducer=reducers.DoNothingReducer())(x, y)["loss"]
    listed = {tuple(t): v for t, v in zip(torch.stack(theirs["indices"], 1).tolist(), theirs["losses"].tolist())}
    found = TripletLoss(0.3, reduction="none")(x, y)
    triplets = ours.TripletMiner("all")(x, y)
    assert len(found) == len(listed)
    for triplet, value in zip(torch.stack(list(triplets), 1).tolist(), found.tolist()):
        assert value == pytest.approx(listed[tuple(triplet)], rel=1e-9, abs=1e-12)


def test_given_indices_keep_their_order_and_their_gap():
    x, y = batch(1)
    triplets = mine_triplets(x, y, "all")
    order = torch.randperm(len(triplets.anchor), generator=torch.Generator().manual_seed(0))
    shuffled = tuple(column[order] for column in triplets)
    whole = triplet_loss(x, y, reduction="none", indices=triplets).loss
    torch.testing.assert_close(triplet_loss(x, y, reduction="none", indices=shuffled).loss, whole[order])
    inside = triplet_loss(x, y, reduction="none", indices=triplets, gap=(0.0, 0.4)).loss
    torch.testing.assert_close(inside, triplet_loss(x, y, reduction="none", gap=(0.0, 0.4)).loss)
    assert 0 < len(inside) < len(whole)


@pytest.mark.parametrize("options", [{"reduction": "none"}, {"reduction": "per_anchor"}, *OPTIONS.values()], ids=str)
@pytest.mark.parametrize("labels", [[0] * 5, list(range(5)), [], [1]], ids=["one class", "singletons", "none", "one"])
def test_a_batch_without_triplets_costs_nothing_and_has_a_graph(options, labels):
    for strategy in ("all", "hard"):
        x = torch.randn(len(labels), 3, requires_grad=True)
        loss = triplet_loss(x, torch.tensor(labels).long(), mining=strategy, **options).loss
        assert loss.numel() == (options.get("reduction") != "none")
        loss.sum().backward()
        assert not loss.detach().any()
        assert not x.grad.any()


@pytest.mark.parametrize("options", [{"reduction": "none"}, {"reduction": "per_anchor"}, *OPTIONS.values()], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(options, dtype):
    x, y = batch(0)
    half = unit(x).to(dtype).requires_grad_()
    loss = triplet_loss(half, y, **options).loss
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, triplet_loss(half.detach().float(), y, **options).loss)
    loss.sum().backward()
    assert half.grad.dtype == dtype
    assert torch.isfinite(half.grad).all()


@pytest.mark.parametrize("options", [{"reduction": "none"}, {"reduction": "per_anchor"}, *OPTIONS.values()], ids=str)
def test_a_row_that_is_not_finite_is_not_hidden(options):
    x, y = batch(0)
    x[3, 1] = np.nan
    for z in (x, x.float()):
        for mining in ("all", "hard"):
            loss = triplet_loss(z, y, mining=mining, **options).loss
            assert loss.isnan().all()
            assert loss.numel()
        if options.get("reduction") != "none":
            assert triplet_loss(z, [0] * 14, **options).loss.isnan()  # without a triplet, too


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_given_rows_cost_the_same(options):
    x, y = batch(1)
    options = {"margin": 0.3, **options}
    a, p, n = mine_triplets(x, y, "all")
    whole = triplet_loss(x, y, reduction="mean", **options).loss
    alone = triplet_margin_loss(x[a], x[p], x[n], reduction="mean", **options)
    assert alone.item() == pytest.approx(whole.item(), rel=1e-12)
    each = triplet_margin_loss(x[a], x[p], x[n], reduction="none", **options)
    torch.testing.assert_close(each, triplet_loss(x, y, reduction="none", **options).loss)


def test_a_large_smooth_gap_neither_overflows_nor_vanishes():
    x = torch.tensor([[0.0], [500.0], [1.0]], dtype=torch.float64, requires_grad=True)
    loss = triplet_loss(x, [0, 0, 1], smooth=True, margin=1.0, mining="hard", reduction="sum").loss
    assert loss.item() == pytest.approx(500.0 + (500 - 499 + 1) + np.log1p(np.exp(-2.0)), rel=1e-6)
    assert torch.isfinite(torch.autograd.grad(loss, x)[0]).all()


@pytest.mark.parametrize("options", [{"smooth": True}, {"smooth": True, "mining": "semihard"}])
def test_a_smooth_margin_compiles_whole(options):
    torch._dynamo.reset()
    x, y = batch(0)
    x.requires_grad_()

    def loss(x, y):
        return triplet_loss(x, y, margin=0.3, **options).loss

    found = torch.compile(loss, fullgraph=True, backend="aot_eager")(x, y)
    torch.testing.assert_close(found, loss(x, y))
    torch.testing.assert_close(torch.autograd.grad(found, x)[0], torch.autograd.grad(loss(x, y), x)[0])


def test_settings_that_do_not_go_together_are_refused():
    x, _ = batch(0)
    with pytest.raises(ValueError, match="margin='soft' is smooth without a margin: give smooth=True a number"):
        TripletLoss("soft", smooth=True)
    with pytest.raises(ValueError, match="reduction is 'per_anchor'; known are 'mean_active', 'mean', 'sum', 'none'"):
        triplet_margin_loss(x, x, x, reduction="per_anchor")
    assert "swap=True" in repr(TripletLoss(swap=True))
