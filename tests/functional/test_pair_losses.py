"""Pair losses against loops in float64 and against pytorch-metric-learning."""

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as peer
from pytorch_metric_learning import miners as peer_miners

from triune.functional import pair_losses as ours
from triune.functional.distances import unit


def batch(seed=0, n=14, classes=4, d=5, tied=False):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(-2, 3, (n, d), generator=g).double() if tied else torch.randn(n, d, generator=g).double()
    y = torch.randint(0, classes, (n,), generator=g)
    return unit(x), y


def kinds(y, a):
    same = [i for i in range(len(y)) if y[i] == y[a] and i != a]
    other = [i for i in range(len(y)) if y[i] != y[a]]
    return same, other


def mean(values):
    return sum(values) / len(values) if values else 0.0


def contrastive(x, y):
    near, far = [], []
    for a in range(len(x)):
        same, other = kinds(y, a)
        near += [max(0, math.dist(x[a], x[p]) - 0.1) for p in same]
        far += [max(0, 0.9 - math.dist(x[a], x[n])) for n in other]
    return mean([v for v in near if v > 0]) + mean([v for v in far if v > 0])


def squared_contrastive(x, y):
    near, far = [], []
    for a in range(len(x)):
        same, other = kinds(y, a)
        near += [math.dist(x[a], x[p]) ** 2 for p in same]
        far += [max(0, 1 - math.dist(x[a], x[n])) ** 2 for n in other]
    return mean([v for v in near if v > 1e-20]) + mean([v for v in far if v > 1e-20])


def lifted(x, y):
    costs = []
    for a in range(len(x)):
        same, other = kinds(y, a)
        if same and other:
            near = math.log(sum(math.exp(math.dist(x[a], x[p])) for p in same))
            far = math.log(sum(math.exp(1 - math.dist(x[a], x[n])) for n in other))
            costs.append(max(0, near + far))
    return mean(costs)


def n_pairs(x, y):
    pairs = [[i for i in range(len(y)) if y[i] == c][:2] for c in sorted(set(y.tolist()))]
    pairs = [p for p in pairs if len(p) == 2]
    costs, length = [], []
    for a, p in pairs:
        costs.append(math.log(sum(math.exp(x[a] @ x[q] - x[a] @ x[p]) for _, q in pairs)))
        length.append((x[a] @ x[a] + x[p] @ x[p]) / 2)
    return mean(costs) + 0.3 * mean(length)


def multi_similarity(x, y):
    costs = []
    for a in range(len(x)):
        same, other = kinds(y, a)
        near = math.log(1 + sum(math.exp(-2 * (x[a] @ x[p] - 0.5)) for p in same)) / 2
        far = math.log(1 + sum(math.exp(50 * (x[a] @ x[n] - 0.5)) for n in other)) / 50
        costs.append(near + far)
    return mean(costs)


def nt_xent(x, y):
    costs = []
    for a in range(len(x)):
        same, other = kinds(y, a)
        far = sum(math.exp(x[a] @ x[n] / 0.2) for n in other)
        costs += [-math.log(math.exp(x[a] @ x[p] / 0.2) / (math.exp(x[a] @ x[p] / 0.2) + far)) for p in same]
    return mean(costs)


def sup_con(x, y):
    costs = []
    for a in range(len(x)):
        same, other = kinds(y, a)
        every = sum(math.exp(x[a] @ x[i] / 0.2) for i in same + other)
        if same:
            costs.append(mean([-math.log(math.exp(x[a] @ x[p] / 0.2) / every) for p in same]))
    return mean(costs)


def circle(x, y):
    costs = []
    for a in range(len(x)):
        same, other = kinds(y, a)
        if same and other:
            near = sum(math.exp(-8 * max(0, 1.4 - x[a] @ x[p]) * (x[a] @ x[p] - 0.6)) for p in same)
            far = sum(math.exp(8 * max(0, x[a] @ x[n] + 0.4) * (x[a] @ x[n] - 0.4)) for n in other)
            costs.append(math.log(1 + near * far))
    return mean(costs)


def smooth_ap(x, y):
    def step(t):
        return 1 / (1 + math.exp(-t / 0.1))

    costs = []
    for a in range(len(x)):
        same, other = kinds(y, a)
        parts = []
        for p in same:
            above = {j: step(x[a] @ x[j] - x[a] @ x[p]) for j in same + other if j != p}
            parts.append((1 + sum(above[j] for j in same if j != p)) / (1 + sum(above.values())))
        if same:
            costs.append(1 - mean(parts))
    return mean(costs)


def fast_ap(x, y):
    costs = []
    for a in range(len(x)):
        same, other = kinds(y, a)
        if not same:
            continue
        matching, every = np.zeros(11), np.zeros(11)
        for j in same + other:
            d = math.dist(x[a], x[j]) ** 2
            share = np.array([max(0, 1 - abs(d - 0.4 * b) / 0.4) for b in range(11)])
            every += share
            matching += share * (j in same)
        total = 0.0
        for b in range(11):
            if every[: b + 1].sum() > 0:
                total += matching[b] * matching[: b + 1].sum() / every[: b + 1].sum()
        costs.append(1 - total / len(same))
    return mean(costs)


CASES = {
    "contrastive": (contrastive, lambda x, y: ours.contrastive_loss(x, y, positive_margin=0.1, negative_margin=0.9)),
    "squared contrastive": (squared_contrastive, lambda x, y: ours.contrastive_loss(x, y, power=2)),
    "lifted structure": (lifted, ours.lifted_structure_loss),
    "n-pairs": (n_pairs, lambda x, y: ours.n_pairs_loss(x, y, l2=0.3)),
    "multi-similarity": (multi_similarity, ours.multi_similarity_loss),
    "nt-xent": (nt_xent, lambda x, y: ours.nt_xent_loss(x, y, temperature=0.2)),
    "sup-con": (sup_con, lambda x, y: ours.sup_con_loss(x, y, temperature=0.2)),
    "circle": (circle, lambda x, y: ours.circle_loss(x, y, gamma=8.0)),
    "smooth-ap": (smooth_ap, lambda x, y: ours.smooth_ap_loss(x, y, temperature=0.1)),
    "fast-ap": (fast_ap, ours.fast_ap_loss),
}


@pytest.mark.parametrize("name", CASES)
def test_a_loss_is_what_its_formula_says(name):
    literal, loss = CASES[name]
    for seed in range(8):
        x, y = batch(seed, tied=seed % 2 == 1)
        assert loss(x, y).item() == pytest.approx(literal(x.numpy(), y), abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_finite_differences(name):
    x, y = batch(3, n=7, classes=3)
    x.requires_grad_()
    if name == "circle":  # its weights carry no gradient on purpose: see the peer comparison
        return
    assert torch.autograd.gradcheck(lambda x: CASES[name][1](x, y), x, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "labels",
    [torch.zeros(6, dtype=torch.long), torch.arange(6), torch.zeros(0, dtype=torch.long), torch.zeros(1, dtype=int)],
    ids=["one class", "singletons", "empty", "one item"],
)
def test_a_batch_without_pairs_has_a_finite_loss_and_gradient(name, labels):
    x = torch.randn(len(labels), 4, requires_grad=True)
    loss = CASES[name][1](x, labels)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    x, y = batch(1)
    half = x.to(dtype)
    loss = CASES[name][1](half, y)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(CASES[name][1](half.double(), y).item(), abs=2e-4)


def test_labels_are_words_or_large_numbers():
    x, y = batch(2)
    for loss in (CASES[name][1] for name in CASES):
        expected = loss(x, y)
        assert loss(x, [f"{label}" for label in y.tolist()]) == expected
        assert loss(x, y + 2**53) == expected
        assert torch.allclose(loss(x.T.contiguous().T, y), expected, rtol=1e-12)


def test_large_scales_do_not_overflow():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]).requires_grad_()
    y = [0, 1, 0, 1]
    losses = [
        ours.nt_xent_loss(x, y, temperature=1e-3),
        ours.sup_con_loss(x, y, temperature=1e-3),
        ours.circle_loss(x, y, gamma=1e4),
        ours.multi_similarity_loss(x, y, beta=1e4, alpha=1e4),
        ours.n_pairs_loss(100 * x, y),
    ]
    sum(losses).backward()
    assert all(torch.isfinite(loss) for loss in losses)
    assert torch.isfinite(x.grad).all()


def balanced(seed=0):
    x, _ = batch(seed, n=12)
    return x, torch.arange(12) // 3


PEERS = {
    "contrastive": (peer.ContrastiveLoss(0.1, 0.9), CASES["contrastive"][1]),
    "lifted structure": (peer.GeneralizedLiftedStructureLoss(1, 0), ours.lifted_structure_loss),
    "multi-similarity": (peer.MultiSimilarityLoss(2, 50, 0.5), ours.multi_similarity_loss),
    "nt-xent": (peer.NTXentLoss(0.2), CASES["nt-xent"][1]),
    "sup-con": (peer.SupConLoss(0.2), CASES["sup-con"][1]),
    "circle": (peer.CircleLoss(0.4, 8), CASES["circle"][1]),
    "fast-ap": (peer.FastAPLoss(10), ours.fast_ap_loss),
}
# Not Smooth-AP: the peer counts every query as a positive of itself, and is right only for as many classes as items a
# class. Ours is held by the loop above and by finite differences.


@pytest.mark.parametrize("name", PEERS)
def test_value_and_gradient_equal_the_peer(name):
    theirs, loss = PEERS[name]
    for seed in range(4):
        x, y = balanced(seed)
        results = []
        for criterion in (theirs, loss):
            raw = x.clone().requires_grad_()
            value = criterion(raw if criterion is theirs else unit(raw), y)
            value.backward()
            results.append((value.item(), raw.grad))
        assert results[1][0] == pytest.approx(results[0][0], rel=1e-5)
        torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-4, atol=1e-6)


def test_margin_loss_equals_the_peer_on_the_same_triplets():
    x, y = balanced()
    triplets = ours.distance_weighted_triplets(x, y, generator=torch.Generator().manual_seed(0))
    theirs = peer.MarginLoss(margin=0.2, nu=0, beta=1.1)(x, y, tuple(triplets))
    # The peer's triplet reducer averages a triplet's two costs together, over triplets that cost something; Wu et al.
    # average over pairs. The sums agree.
    d_ap = (x[triplets.anchor] - x[triplets.positive]).norm(dim=1)
    d_an = (x[triplets.anchor] - x[triplets.negative]).norm(dim=1)
    near, far = (0.2 + d_ap - 1.1).relu(), (1.3 - d_an).relu()
    pairs = (near > 0).sum() + (far > 0).sum()
    ours_value = ours.margin_loss(x, triplets, beta=1.1)
    assert ours_value.item() == pytest.approx(((near.sum() + far.sum()) / pairs).item())
    assert ours_value.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_margin_loss_learns_its_boundary():
    x, y = balanced()
    beta = torch.tensor(1.1, dtype=torch.float64, requires_grad=True)
    x.requires_grad_()
    triplets = ours.distance_weighted_triplets(x, y)
    assert torch.autograd.gradcheck(lambda x, b: ours.margin_loss(x, triplets, beta=b, nu=0.1), (x, beta))
    empty = torch.zeros(0, dtype=torch.long)
    assert ours.margin_loss(x, (empty, empty, empty), beta=beta, nu=0.1).item() == 0


def test_distance_weighted_negatives_follow_their_weights():
    g = torch.Generator().manual_seed(0)
    x = unit(torch.randn(6, 8, generator=g).double())
    y = torch.tensor([0, 0, 1, 2, 3, 4])
    d = torch.cdist(x, x)[0, 2:].clamp(min=0.5)
    weight = (d ** (2 - 8)) * (1 - d**2 / 4) ** (-(8 - 3) / 2)
    weight = weight * (torch.cdist(x, x)[0, 2:] < 1.6)
    draws = torch.cat(
        [ours.distance_weighted_triplets(x, y, farthest=1.6, generator=g).negative[:1] for _ in range(4000)]
    )
    shares = torch.stack([(draws == n).double().mean() for n in range(2, 6)])
    torch.testing.assert_close(shares, weight / weight.sum(), atol=0.03, rtol=0)


def test_distance_weighted_triplets_are_valid_and_repeatable():
    x, y = batch(5, n=30)
    first, second = (
        ours.distance_weighted_triplets(x, y, generator=torch.Generator().manual_seed(7)) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert len(first.anchor) == sum(len(kinds(y, a)[0]) for a in range(len(y)))
    assert (y[first.anchor] == y[first.positive]).all()
    assert (first.anchor != first.positive).all()
    assert (y[first.anchor] != y[first.negative]).all()
    assert len(ours.distance_weighted_triplets(x, torch.zeros(30, dtype=int)).anchor) == 0


def test_multi_similarity_mining_equals_the_peer():
    for seed in range(5):
        x, y = batch(seed)
        mine = ours.multi_similarity_pairs(x, y, epsilon=0.1)
        theirs = peer_miners.MultiSimilarityMiner(epsilon=0.1)(x, y)
        for a, b in ((0, 1), (2, 3)):
            assert set(zip(mine[a].tolist(), mine[b].tolist(), strict=True)) == set(
                zip(theirs[a].tolist(), theirs[b].tolist(), strict=True)
            )
        assert ours.multi_similarity_loss(x, y, pairs=mine).item() == pytest.approx(
            peer.MultiSimilarityLoss(2, 50, 0.5)(x, y, theirs).item(), rel=1e-6
        )


def test_pairs_of_a_miner_restrict_a_loss():
    x, y = batch(6)
    a, p = torch.tensor([0]), torch.tensor([int((y[1:] == y[0]).nonzero()[0]) + 1])
    n = torch.tensor([int((y != y[0]).nonzero()[0])])
    expected = math.log(1 + math.exp((x[0] @ x[n[0]] - x[0] @ x[p[0]]).item() / 0.07))
    assert ours.nt_xent_loss(x, y, pairs=(a, p, a, n)).item() == pytest.approx(expected)
    assert ours.nt_xent_loss(x, y, pairs=(a, p, n)).item() == pytest.approx(expected)
    with pytest.raises(ValueError, match="2 tensors"):
        ours.nt_xent_loss(x, y, pairs=(a, p))


def test_blocks_of_smooth_ap_are_one_loss(monkeypatch):
    x, y = batch(7, n=20)
    results = []
    for cells in (1, 500, 1 << 22):
        monkeypatch.setattr(ours, "ANCHORS_A_BLOCK", cells)
        raw = x.clone().requires_grad_()
        loss = ours.smooth_ap_loss(raw, y)
        loss.backward()
        results.append((loss.item(), raw.grad))
    for value, gradient in results[1:]:
        assert value == pytest.approx(results[0][0], abs=1e-12)
        torch.testing.assert_close(gradient, results[0][1])


def test_settings_out_of_range_are_named():
    x, y = batch()
    with pytest.raises(ValueError, match="temperature is 0"):
        ours.nt_xent_loss(x, y, temperature=0)
    with pytest.raises(ValueError, match="bins is 0"):
        ours.fast_ap_loss(x, y, bins=0)
    with pytest.raises(ValueError, match="14 rows"):
        ours.circle_loss(x, y[:3])
