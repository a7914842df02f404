"""Labels that a rule compares: every pair and triplet loss against its loops, miners, and what refuses such labels."""

import pickle

import numpy as np
import pytest
import torch

from losses.pair_cases import CASES, assert_same, batch, value_and_gradients
from oracles import brute_distance, brute_loss
from triune import losses as ours
from triune.distances.embeddings import unit
from triune.losses.compared import ComparedLabels, MultiLabels
from triune.losses.mining import mine_triplets
from triune.losses.triplet import triplet_loss

WITHOUT_CLASSES = [name for name in CASES if name not in ("n-pairs", "margin")]


def tags(seed, n=14, kinds=6):
    g = torch.Generator().manual_seed(seed)
    return (torch.rand(n, kinds, generator=g) < 0.25).long()


def lists(same, own=True):
    """The positives and negatives of each anchor from a matrix of matches."""
    rows, columns = same.shape
    P = {a: [b for b in range(columns) if same[a, b] and not (own and a == b)] for a in range(rows)}
    return P, {a: [b for b in range(columns) if not same[a, b]] for a in range(rows)}


def sharing(a, b, shared=1):
    return [[sum(int(s and t) for s, t in zip(u, v)) >= shared for v in b.tolist()] for u in a.tolist()]


@pytest.mark.parametrize("name", WITHOUT_CLASSES)
def test_pair_losses_of_several_labels_an_item_are_what_the_formula_says(name):
    literal, loss = CASES[name]
    for seed in range(3):
        (x, _), t = batch(seed), tags(seed)
        P, N = lists(np.array(sharing(t, t)))
        expected = value_and_gradients(lambda x: literal(x, x, P, N, None), x)
        assert_same(value_and_gradients(lambda x: loss(x, MultiLabels(t)), x), expected)


@pytest.mark.parametrize("name", WITHOUT_CLASSES)
def test_a_reference_set_is_compared_by_the_rule(name):
    literal, loss = CASES[name]
    (x, _), (r, _), t, u = batch(1), batch(2, n=20), tags(1), tags(2, n=20)
    P, N = lists(np.array(sharing(t, u, 2)), own=False)
    expected = value_and_gradients(lambda x, r: literal(x, r, P, N, None), x, r)
    found = value_and_gradients(
        lambda x, r: loss(x, MultiLabels(t, shared=2), reference=r, reference_labels=MultiLabels(u)), x, r
    )
    assert_same(found, expected)


def brute_triplets_of(same, d, strategy, margin):
    """Triplets (a, p, n) in sorted order, from the definition of each strategy."""
    found = []
    for a in range(len(d)):
        P, N = (lists(same)[k][a] for k in (0, 1))
        if not (P and N):
            continue
        nearest = min(N, key=lambda n: (d[a, n], n))
        if strategy == "batch_hard":
            found.append((a, min(P, key=lambda p: (-d[a, p], p)), nearest))
            continue
        for p in P:
            band = [n for n in N if d[a, p] < d[a, n] < d[a, p] + margin]
            found += {
                "all": [(a, p, n) for n in N],
                "hard": [(a, p, nearest)],
                "semihard": [(a, p, min(band, key=lambda n: (d[a, n], n)))] if band else [],
            }[strategy]
    return np.array(found).reshape(-1, 3)


@pytest.mark.parametrize("strategy", ["all", "hard", "batch_hard", "semihard"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_triplets_are_mined_and_cost_by_the_rule(strategy, dtype):
    for seed in range(3):
        x, t = batch(seed)[0].to(dtype), tags(seed)
        same = np.array(sharing(t, t))
        d = brute_distance(x.numpy(), x.numpy(), "euclidean")
        expected = brute_triplets_of(same, d, strategy, 0.5)
        mined = mine_triplets(x, MultiLabels(t), strategy, margin=0.5)
        assert torch.stack(list(mined), 1).tolist() == expected.tolist()
        for margin in (0.5, "soft"):
            if margin == "soft" and strategy == "semihard":
                continue  # its band has no upper bound
            outcome = triplet_loss(x, MultiLabels(t), mining=strategy, margin=margin)
            assert outcome.loss.item() == pytest.approx(brute_loss(d, expected, margin)["loss"], rel=1e-5)
            assert outcome.triplets == len(expected)


def test_random_triplets_are_valid_by_the_rule():
    x, t = batch(0, n=30)[0], tags(0, n=30)
    same = torch.tensor(sharing(t, t))
    a, p, n = mine_triplets(x, MultiLabels(t), "random", generator=torch.Generator().manual_seed(0))
    assert same[a, p].all()
    assert not same[a, n].any()
    assert (a != p).all()
    outcome = triplet_loss(x, MultiLabels(t), mining="random", generator=torch.Generator().manual_seed(0))
    assert outcome.triplets == len(a)


@pytest.mark.parametrize("strategy", ["all", "hard", "batch_hard", "semihard"])
def test_the_rule_of_equality_is_what_plain_labels_are(strategy):
    x, y = batch(2)
    rule = ComparedLabels(y, lambda a, b: a[:, None] == b[None, :])
    for z in (x, x.float()):
        assert triplet_loss(z, rule, mining=strategy).loss.item() == pytest.approx(
            triplet_loss(z, y, mining=strategy).loss.item(), rel=1e-6
        )
        for found, expected in zip(mine_triplets(z, rule, strategy), mine_triplets(z, y, strategy)):
            assert torch.equal(found, expected)


def test_a_rule_need_not_be_one_of_classes():
    """Ages less than five years apart match: 20 and 23, 23 and 27, but not 20 and 27."""
    ages = ComparedLabels([[20.0], [23.0], [27.0]], lambda a, b: (a - b.T).abs() < 5)
    x = torch.tensor([[0.0], [0.0], [1.0]])
    loss = ours.contrastive_loss(x, ages, negative_margin=2.0)
    # Matching: (0,1) at 0 and (1,2) at 1, both ways; active ones cost 1. The other pair is at 1 and costs 2 − 1.
    assert loss.item() == pytest.approx(1.0 + 1.0)


def test_modules_and_miners_take_compared_labels():
    (x, _), t = batch(3), MultiLabels(tags(3))
    pairs = ours.MultiSimilarityMiner()(x, t)
    assert len(pairs.anchor)
    assert ours.NTXentLoss()(x, t) == ours.nt_xent_loss(unit(x), t)
    assert ours.TripletLoss()(x, t, pairs) > 0
    assert ours.MarginLoss()(x, t) > 0
    half = x.half().requires_grad_()
    ours.TripletLoss()(half, t).backward()
    assert torch.isfinite(half.grad).all()


def test_labels_of_several_kinds_travel_between_processes():
    t = MultiLabels(tags(0), shared=2)
    again = pickle.loads(pickle.dumps(t))
    assert torch.equal(again.matches(again.values, again.values), t.matches(t.values, t.values))
    assert len(again) == 14
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(t.matches(t.values, t.values), again.matches(t.values, t.values))


@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_of_nothing_costs_nothing(rows):
    x, t = torch.randn(rows, 4, requires_grad=True), MultiLabels(torch.ones(rows, 3))
    for loss in (ours.contrastive_loss(x, t), triplet_loss(x, t).loss, triplet_loss(x, t, mining="hard").loss):
        assert loss == 0
        loss.backward()


def test_what_needs_one_label_an_item_says_so():
    (x, _), t = batch(0), MultiLabels(tags(0))
    refusing = [
        lambda: ours.NPairsLoss()(x, t),
        lambda: ours.MarginLoss(num_classes=3)(x, t),
        lambda: ours.CrossBatchMemory(ours.NTXentLoss(), 20, 5)(x, t),
        lambda: ours.ArcFaceLoss(3, 5)(x, t),
        lambda: ours.suggest_margin(x, t),
    ]
    for refuse in refusing:
        with pytest.raises(ValueError, match="labels are compared by a rule"):
            refuse()


def test_labels_and_rules_that_do_not_fit_are_named():
    x, y = batch(0)
    with pytest.raises(ValueError, match="labels has 3 entries but embeddings has 14 rows"):
        triplet_loss(x, MultiLabels(tags(0, n=3)))
    with pytest.raises(ValueError, match="reference_labels has 3 entries but reference has 14 rows"):
        triplet_loss(x, MultiLabels(tags(0)), reference=x, reference_labels=MultiLabels(tags(0, n=3)))
    with pytest.raises(ValueError, match="give both as ComparedLabels"):
        triplet_loss(x, MultiLabels(tags(0)), reference=x, reference_labels=y)
    with pytest.raises(ValueError, match="give both as ComparedLabels"):
        triplet_loss(x, y, reference=x, reference_labels=MultiLabels(tags(0)))
    with pytest.raises(ValueError, match=r"the rule for labels answered torch.int64, \(14, 14\); bool of shape"):
        triplet_loss(x, ComparedLabels(y, lambda a, b: a[:, None] - b))
    with pytest.raises(ValueError, match=r"the rule for labels answered torch.bool, \(14,\); bool of shape \(14, 14\)"):
        triplet_loss(x, ComparedLabels(y, lambda a, b: a == b))
    with pytest.raises(ValueError, match=r"0 or 1, shape \(N, C\), not \(14,\)"):
        MultiLabels(y)
    with pytest.raises(ValueError, match="0 or 1"):
        MultiLabels([[0, 2]])
    with pytest.raises(ValueError, match="shared is 0"):
        MultiLabels([[0, 1]], shared=0)
    with pytest.raises(ValueError, match="a single number"):
        ComparedLabels(3, torch.eq)
