"""Pair losses against loops over pairs in float64, in value and gradient, and against pytorch-metric-learning."""

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as peer, miners as peer_miners
from torch.utils._python_dispatch import TorchDispatchMode

from oracles import tied_batch
from triune import losses as ours
from triune.distances.embeddings import unit
from triune.distances.pairwise import pairwise_distance
from triune.losses import average_precision, margin as margin_module, pairs
from triune.losses.margin import MarginLoss
from triune.losses.mining import mine_triplets

# --- the formulas, as loops over pairs -----------------------------------------------------------------------------
# x: embeddings, r: what they are compared with, P[a] and N[a]: the positives and negatives of anchor a, y: labels.


def distance(u, v):
    squared = (u - v).square().sum()
    return squared.sqrt() if squared > 0 else squared * 0  # the gradient at 0 is 0


def mean(values):
    return sum(values) / len(values) if values else 0.0


def log_sum_exp(values):
    return torch.stack(values).exp().sum().log()


def contrastive(x, r, P, N, y, low=0.0, high=1.0, power=1):
    near = [(distance(x[a], r[p]) - low).clamp(min=0) ** power for a in P for p in P[a]]
    far = [(high - distance(x[a], r[n])).clamp(min=0) ** power for a in N for n in N[a]]
    return mean([v for v in near if v > 0]) + mean([v for v in far if v > 0])


def lifted(x, r, P, N, y):
    costs = []
    for a in P:
        if P[a] and N[a]:
            near = log_sum_exp([distance(x[a], r[p]) - 0.1 for p in P[a]])
            far = log_sum_exp([0.9 - distance(x[a], r[n]) for n in N[a]])
            costs.append((near + far).clamp(min=0))
    return mean(costs)


def n_pairs(x, r, P, N, y):
    first = {}
    for a in P:
        for p in P[a]:
            first.setdefault(int(y[a]), (a, p))
    pairs = list(first.values())
    costs = [log_sum_exp([x[a] @ r[q] - x[a] @ r[p] for _, q in pairs]) for a, p in pairs]
    return mean(costs) + 0.3 * mean([(x[a] @ x[a] + r[p] @ r[p]) / 2 for a, p in pairs])


def multi_similarity(x, r, P, N, y):
    costs = []
    for a in P:
        near = sum((-2 * (x[a] @ r[p] - 0.4)).exp() for p in P[a])
        far = sum((30 * (x[a] @ r[n] - 0.4)).exp() for n in N[a])
        costs.append((1 + near + x[a, 0] * 0).log() / 2 + (1 + far + x[a, 0] * 0).log() / 30)
    return mean(costs)


def informative(x, r, P, N):
    """The paper's mining: what is left of P and N."""
    kept_p, kept_n = {}, {}
    for a in P:
        kept_p[a] = [p for p in P[a] if any(x[a] @ r[p] - 0.2 < x[a] @ r[n] for n in N[a])]
        kept_n[a] = [n for n in N[a] if any(x[a] @ r[n] + 0.2 > x[a] @ r[p] for p in P[a])]
    return kept_p, kept_n


def mined_multi_similarity(x, r, P, N, y):
    return multi_similarity(x, r, *informative(x, r, P, N), y)


def nt_xent(x, r, P, N, y):
    costs = []
    for a in P:
        for p in P[a]:
            own = (x[a] @ r[p] / 0.2).exp()
            costs.append(-(own / (own + sum((x[a] @ r[n] / 0.2).exp() for n in N[a]))).log())
    return mean(costs)


def sup_con(x, r, P, N, y):
    costs = []
    for a in P:
        every = sum((x[a] @ r[i] / 0.2).exp() for i in P[a] + N[a])
        if P[a]:
            costs.append(mean([-((x[a] @ r[p] / 0.2).exp() / every).log() for p in P[a]]))
    return mean(costs)


def circle(x, r, P, N, y):
    costs = []
    for a in P:
        if P[a] and N[a]:
            s_p, s_n = [x[a] @ r[p] for p in P[a]], [x[a] @ r[n] for n in N[a]]
            near = sum((-8 * (1.4 - s).detach().clamp(min=0) * (s - 0.6)).exp() for s in s_p)
            far = sum((8 * (s + 0.4).detach().clamp(min=0) * (s - 0.4)).exp() for s in s_n)
            costs.append((1 + near * far).log())
    return mean(costs)


def margin(x, r, P, N, y):
    near = [(0.2 + distance(x[a], r[p]) - 1.1).clamp(min=0) for a in P for p in P[a]]
    far = [(0.2 + 1.1 - distance(x[a], r[n])).clamp(min=0) for a in N for n in N[a]]
    return mean([v for v in near + far if v > 0])


def smooth_ap(x, r, P, N, y):
    costs = []
    for a in P:
        s = {j: x[a] @ r[j] for j in P[a] + N[a]}
        parts = []
        for p in P[a]:
            above = {j: ((s[j] - s[p]) / 0.1).sigmoid() for j in s if j != p}
            parts.append((1 + sum(above[j] for j in P[a] if j != p)) / (1 + sum(above.values())))
        if P[a]:
            costs.append(1 - mean(parts))
    return mean(costs)


def fast_ap(x, r, P, N, y):
    costs = []
    for a in P:
        if not P[a]:
            continue
        matching, every = [0.0] * 11, [0.0] * 11
        for j in P[a] + N[a]:
            place = (x[a] - r[j]).square().sum() / 0.4
            below = min(int(place), 9)
            for b, share in ((below, 1 - (place - below)), (below + 1, place - below)):
                every[b] += share
                matching[b] += share if j in P[a] else 0
        hits = [matching[b] * sum(matching[: b + 1]) / sum(every[: b + 1]) for b in range(11) if sum(every[: b + 1])]
        costs.append(1 - sum(hits) / len(P[a]))
    return mean(costs)


def margin_of_all_pairs(x, y, reference=None, reference_labels=None, pairs=None, **where):
    """The margin loss of every pair: the other losses' batch, without the draws."""
    if pairs is None:
        P, N = kinds(y, reference_labels, where.get("own_rows"))
        pairs = listed(P) + listed(N)
    return ours.margin_loss(
        x, y, beta=1.1, pairs=pairs, reference=reference, reference_labels=reference_labels, **where
    )


def kinds(y, other=None, own=None):
    """The positives and negatives of each anchor, from labels."""
    y = [str(label) for label in (y.tolist() if isinstance(y, torch.Tensor) else y)]
    if other is None:
        own = range(len(y))
    elif own is None:
        own = [-1] * len(y)
    other = y if other is None else [str(label) for label in other.tolist()]
    P = {a: [j for j in range(len(other)) if other[j] == y[a] and j != own[a]] for a in range(len(y))}
    N = {a: [j for j in range(len(other)) if other[j] != y[a]] for a in range(len(y))}
    return P, N


def listed(partners):
    pairs = [(a, j) for a in partners for j in partners[a]]
    return tuple(torch.tensor([pair[side] for pair in pairs], dtype=torch.long) for side in (0, 1))


CASES = {
    "contrastive": (
        lambda *args: contrastive(*args, 0.1, 0.9),
        lambda x, y, **k: ours.contrastive_loss(x, y, positive_margin=0.1, negative_margin=0.9, **k),
    ),
    "squared contrastive": (
        lambda *args: contrastive(*args, power=2),
        lambda x, y, **k: ours.contrastive_loss(x, y, power=2, **k),
    ),
    "lifted structure": (
        lifted,
        lambda x, y, **k: ours.lifted_structure_loss(x, y, positive_margin=0.1, negative_margin=0.9, **k),
    ),
    "n-pairs": (n_pairs, lambda x, y, **k: ours.n_pairs_loss(x, y, l2=0.3, **k)),
    "multi-similarity": (multi_similarity, lambda x, y, **k: ours.multi_similarity_loss(x, y, beta=30, base=0.4, **k)),
    "mined multi-similarity": (
        mined_multi_similarity,
        lambda x, y, **k: ours.multi_similarity_loss(x, y, beta=30, base=0.4, mining=True, epsilon=0.2, **k),
    ),
    "nt-xent": (nt_xent, lambda x, y, **k: ours.nt_xent_loss(x, y, temperature=0.2, **k)),
    "sup-con": (sup_con, lambda x, y, **k: ours.sup_con_loss(x, y, temperature=0.2, **k)),
    "circle": (circle, lambda x, y, **k: ours.circle_loss(x, y, gamma=8.0, **k)),
    "margin": (margin, margin_of_all_pairs),
    "smooth-ap": (smooth_ap, lambda x, y, **k: ours.smooth_ap_loss(x, y, temperature=0.1, **k)),
    "fast-ap": (fast_ap, ours.fast_ap_loss),
}
WITH_REFERENCE = [name for name in CASES if name != "n-pairs"]


def batch(seed=0, n=14, classes=4, d=5):
    """Raw embeddings, not yet unit, and labels that may leave a class one item."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g).double(), torch.randint(0, classes, (n,), generator=g)


def tied(seed):
    """Duplicates and many equal distances, all exact."""
    x, y = tied_batch(np.random.default_rng(seed), "cosine")
    return torch.from_numpy(x[:16]), torch.from_numpy(y[:16])


def value_and_gradients(loss, *leaves):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    value = torch.as_tensor(loss(*map(unit, leaves)), dtype=torch.float64)
    if not value.requires_grad:  # a formula without a term
        return value.item(), [torch.zeros_like(leaf) for leaf in leaves]
    grads = torch.autograd.grad(value, leaves, allow_unused=True)
    return value.item(), [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, grads)]


def assert_same(ours_result, expected, **tolerance):
    assert ours_result[0] == pytest.approx(expected[0], rel=tolerance.get("rel", 1e-9), abs=1e-10)
    for gradient, literal in zip(ours_result[1], expected[1]):
        torch.testing.assert_close(
            gradient, literal, rtol=tolerance.get("rtol", 1e-7), atol=tolerance.get("atol", 1e-9)
        )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("make", [batch, tied], ids=["random", "tied"])
def test_value_and_gradient_are_what_the_formula_says(name, make):
    literal, loss = CASES[name]
    for seed in range(6):
        x, y = make(seed)
        expected = value_and_gradients(lambda x: literal(x, x, *kinds(y), y), x)
        assert_same(value_and_gradients(lambda x: loss(x, y), x), expected)


DEGENERATE = {"one class": [0] * 6, "singletons": list(range(6)), "two of one": [3, 3], "one item": [0], "empty": []}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("labels", DEGENERATE.values(), ids=DEGENERATE)
def test_a_batch_without_some_kind_of_pair_costs_what_the_formula_says(name, labels):
    literal, loss = CASES[name]
    x, y = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(0)).double(), torch.tensor(labels).long()
    expected = value_and_gradients(lambda x: literal(x, x, *kinds(y), y), x)
    assert_same(value_and_gradients(lambda x: loss(x, y), x), expected)
    assert loss(x.requires_grad_(), y).requires_grad


@pytest.mark.parametrize("name", [name for name in CASES if name != "circle"])  # its weights carry no gradient
def test_gradients_are_those_of_finite_differences(name):
    x, y = batch(3, n=7, classes=3)
    assert torch.autograd.gradcheck(lambda x: CASES[name][1](unit(x), y), x.requires_grad_(), atol=1e-5)


@pytest.mark.parametrize("name", WITH_REFERENCE)
@pytest.mark.parametrize("own_rows", [None, [2, -1, 4, 0, -1, 6, 1]], ids=["strangers", "own rows"])
def test_a_reference_takes_the_place_of_the_batch(name, own_rows):
    literal, loss = CASES[name]
    x, y = batch(1, n=7, classes=3)
    r, other = batch(2, n=9, classes=4)
    own = None if own_rows is None else torch.tensor(own_rows)
    P, N = kinds(y, other, own_rows)
    expected = value_and_gradients(lambda x, r: literal(x, r, P, N, y), x, r)
    where = {"reference_labels": other, "own_rows": own}
    assert_same(value_and_gradients(lambda x, r: loss(x, y, reference=r, **where), x, r), expected)


@pytest.mark.parametrize("name", CASES)
def test_pairs_of_a_miner_take_the_place_of_all(name):
    literal, loss = CASES[name]
    for seed in range(3):
        x, y = batch(seed)
        P, N = kinds(y)
        keep = np.random.default_rng(seed).random((len(y), len(y))) < 0.4
        P = {a: [p for p in P[a] if keep[a, p]] for a in P}
        N = {a: [n for n in N[a] if keep[a, n]] for a in N}
        expected = value_and_gradients(lambda x: literal(x, x, P, N, y), x)
        assert_same(value_and_gradients(lambda x: loss(x, y, pairs=listed(P) + listed(N)), x), expected)


def test_triplets_of_a_miner_mean_their_two_pairs_each_once():
    x, y = batch(4)
    x = unit(x)
    a, p, n = mine_triplets(x, y, "all")
    assert len(a) > len(set(zip(a.tolist(), p.tolist())))
    for name in CASES:
        if name != "margin":  # there a pair counts as often as it is listed, as its sampling wants
            assert CASES[name][1](x, y, pairs=(a, p, n)).item() == pytest.approx(
                CASES[name][1](x, y, pairs=(a, p, a, n)).item(), rel=1e-12
            )
    anchored = torch.tensor([bool(P and N) for P, N in zip(*(each.values() for each in kinds(y)))])
    assert anchored.all()
    assert ours.nt_xent_loss(x, y, pairs=(a, p, n)).item() == pytest.approx(ours.nt_xent_loss(x, y).item())
    once = ours.margin_loss(x, y, margin=1, pairs=(a[:1], p[:1], n[:1]))
    again = ours.margin_loss(x, y, margin=1, pairs=(a[:1], p[:1], a[:1].repeat(3), n[:1].repeat(3)))
    near, far = (x[a[0]] - x[p[0]]).norm() + 1 - 1.2, 1 + 1.2 - (x[a[0]] - x[n[0]]).norm()
    assert near > 0
    assert far > 0
    assert once.item() == pytest.approx(((near + far) / 2).item())
    assert again.item() == pytest.approx(((near + 3 * far) / 4).item())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    x, y = batch(1)
    half = unit(x).to(dtype).requires_grad_()
    loss = CASES[name][1](half, y)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(CASES[name][1](half.double(), y).item(), abs=2e-4)
    assert half.grad.dtype == dtype
    assert torch.isfinite(half.grad).all()


@pytest.mark.parametrize("name", CASES)
def test_autocast_does_not_round_the_similarities(name):
    x, y = batch(1)
    x = unit(x).float()
    expected = CASES[name][1](x, y)
    with torch.autocast("cpu", torch.bfloat16):
        assert CASES[name][1](x, y).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_labels_are_words_or_large_numbers_and_rows_may_be_strided(name):
    x, y = batch(2)
    x, loss = unit(x), CASES[name][1]
    expected = loss(x, y)
    assert loss(x, [f"class {label}" for label in y.tolist()]).item() == pytest.approx(expected.item(), rel=1e-12)
    assert loss(x, y + 2**53) == expected  # 2**24 and 2**24 + 1 are one number in float32, these in float64
    assert loss(x.T.contiguous().T, y).item() == pytest.approx(expected.item(), rel=1e-12)
    assert loss(x.numpy(), y.numpy()).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_embedding_that_is_not_finite_is_not_hidden_by_a_mask(name, bad):
    x, y = batch(2)
    x = unit(x)
    x[3, 1] = bad
    assert CASES[name][1](x, y).isnan()
    if name in WITH_REFERENCE:
        assert CASES[name][1](unit(batch(0)[0]), y, reference=x, reference_labels=y).isnan()


def test_miners_name_the_row_that_is_not_finite():
    x, y = batch(2)
    x[3, 1] = math.nan
    for mine in (ours.multi_similarity_pairs, ours.distance_weighted_triplets):
        with pytest.raises(ValueError, match="row 3"):
            mine(x, y)
        with pytest.raises(ValueError, match=r"reference .*row 3"):
            mine(batch(0)[0], y, reference=x, reference_labels=y)


def test_large_exponents_do_not_overflow():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]).requires_grad_()
    y = [0, 1, 0, 1]
    # Each anchor's positive is at similarity −1, and one negative at 1; of a sum of exponentials the largest is left.
    expected = {
        ours.nt_xent_loss(x, y, temperature=1e-3): 2e3,
        ours.sup_con_loss(x, y, temperature=1e-3): 2e3,
        ours.circle_loss(x, y, gamma=1e4): 1e4 * (2.4 * 1.6 + 1.4 * 0.6),
        ours.multi_similarity_loss(x, y, alpha=1e4, beta=1e4): 1.5 + 0.5,
        ours.n_pairs_loss(100 * x[[0, 2, 3, 1]], y): 2e4,
        ours.lifted_structure_loss(1e4 * x, y): 2e4 + 1,
        ours.smooth_ap_loss(x, y, temperature=1e-6): 1 - 1 / 2.5,
    }
    for loss, value in expected.items():
        assert loss.item() == pytest.approx(value, rel=1e-3)
    sum(expected).backward()
    assert torch.isfinite(x.grad).all()


class Largest(TorchDispatchMode):
    """How many cells the largest tensor has that is made in here, in the backward pass too."""

    cells = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.cells = max(self.cells, storage.nbytes() // tensor.element_size())
        return out


@pytest.mark.parametrize("name", [*CASES, "drawn margin"])
def test_no_tensor_is_larger_than_the_matrix_of_pairs(name, monkeypatch):
    monkeypatch.setattr(average_precision, "CPU_BLOCK_CELLS", 1)
    loss = ours.margin_loss if name == "drawn margin" else CASES[name][1]
    x, y = batch(0, n=64, classes=2)
    x.requires_grad_()
    with Largest() as largest:
        loss(unit(x), y).backward()
    assert largest.cells <= 64 * 64


def test_blocks_of_smooth_ap_are_one_loss(monkeypatch):
    x, y = batch(7, n=20)
    results = []
    for cells in (1, 500, 1 << 22):
        monkeypatch.setattr(average_precision, "CPU_BLOCK_CELLS", cells)
        results.append(value_and_gradients(lambda x: ours.smooth_ap_loss(x, y), x))
    for result in results[1:]:
        assert_same(result, results[0])


# --- mining and sampling -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [batch, tied], ids=["random", "tied"])
def test_multi_similarity_mining_is_what_the_paper_says(make):
    for seed in range(5):
        x, y = make(seed)
        x = unit(x)
        mined = ours.multi_similarity_pairs(x, y, epsilon=0.2)
        P, N = informative(x, x, *kinds(y))
        for found, expected in zip((mined[:2], mined[2:]), (listed(P), listed(N))):
            assert all(torch.equal(a, b) for a, b in zip(found, expected))
        inside = ours.multi_similarity_loss(x, y, mining=True, epsilon=0.2)
        assert inside == ours.multi_similarity_loss(x, y, pairs=mined)


def test_multi_similarity_mining_equals_the_peer():
    for seed in range(5):
        x, y = batch(seed)
        mined = ours.multi_similarity_pairs(unit(x), y, epsilon=0.1)
        theirs = peer_miners.MultiSimilarityMiner(epsilon=0.1)(x, y)
        for a, b in ((0, 1), (2, 3)):
            assert set(zip(mined[a].tolist(), mined[b].tolist())) == set(zip(theirs[a].tolist(), theirs[b].tolist()))


def test_mined_pairs_feed_the_losses_of_the_peer():
    x, y = batch(3)
    mined = ours.multi_similarity_pairs(unit(x), y)
    theirs = peer.MultiSimilarityLoss(2, 50, 0.5)(x, y, tuple(mined))
    assert ours.multi_similarity_loss(unit(x), y, pairs=mined).item() == pytest.approx(theirs.item(), rel=1e-6)


def test_distance_weighted_negatives_follow_their_weights():
    g = torch.Generator().manual_seed(0)
    x, negatives = unit(torch.randn(1, 8, generator=g).double()), unit(torch.randn(9, 8, generator=g).double())
    negatives[0] = unit(x + 0.01 * negatives[:1])  # nearer than the cutoff
    d = (x - negatives).norm(dim=1)
    farthest = d.sort().values[5:7].mean().item()  # of nine, three are not drawn
    weight = 1 / (d.clamp(min=0.5) ** 6 * (1 - d.clamp(min=0.5) ** 2 / 4) ** 2.5) * (d < farthest)
    # Every positive of the one anchor draws: 40,000 draws in one call.
    reference, labels = torch.cat([negatives, x.expand(40_000, 8)]), torch.tensor([1] * 9 + [0] * 40_000)
    drawn = ours.distance_weighted_triplets(
        x, [0], farthest=farthest, reference=reference, reference_labels=labels, generator=g
    )
    assert len(drawn.negative) == 40_000
    shares = drawn.negative.bincount(minlength=9) / 40_000
    expected = weight / weight.sum()
    assert (shares[expected == 0] == 0).all()
    # Five standard deviations of a share.
    assert ((shares - expected).abs() <= 5 * (expected * (1 - expected) / 40_000).sqrt()).all()


def test_distance_weighted_triplets_are_valid_and_repeatable():
    x, y = batch(5, n=30)
    draws = [ours.distance_weighted_triplets(unit(x), y, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*draws))
    anchor, positive, negative = draws[0]
    P, _ = kinds(y)
    assert all(torch.equal(a, b) for a, b in zip((anchor, positive), listed(P)))
    assert (y[anchor] != y[negative]).all()
    assert len(negative.unique()) > 10
    loss = ours.margin_loss(unit(x), y, generator=torch.Generator().manual_seed(7))
    assert loss == ours.margin_loss(unit(x), y, pairs=draws[0])


def test_a_far_negative_is_drawn_where_there_is_no_other_and_none_where_there_is_none():
    x = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]])
    drawn = ours.distance_weighted_triplets(x, [0, 0, 1])
    assert [column.tolist() for column in drawn] == [[0, 1], [1, 0], [2, 2]]
    for labels in ([0, 0, 0], [0, 1, 2]):
        assert len(ours.distance_weighted_triplets(x, labels).anchor) == 0
    assert len(ours.distance_weighted_triplets(x[:0], []).anchor) == 0


def test_weights_of_wide_embeddings_do_not_overflow():
    x = torch.randn(12, 4096, generator=torch.Generator().manual_seed(0))
    x[1] = x[6] + 1e-3  # a negative much nearer than the others: its weight is beyond float64
    y = torch.arange(12) // 3
    drawn = ours.distance_weighted_triplets(unit(x), y, farthest=1.9)
    assert drawn.negative[drawn.anchor == 6].tolist() == [1, 1]
    assert (y[drawn.anchor] != y[drawn.negative]).all()


def test_the_boundary_of_the_margin_loss_is_learnt():
    x, y = batch(0)
    beta = torch.tensor(1.1, dtype=torch.float64, requires_grad=True)
    drawn = ours.distance_weighted_triplets(unit(x), y)
    assert torch.autograd.gradcheck(
        lambda x, b: ours.margin_loss(unit(x), y, pairs=drawn, beta=b, nu=0.1), (x.requires_grad_(), beta)
    )
    empty = torch.zeros(0, dtype=torch.long)
    assert ours.margin_loss(x, y, pairs=(empty, empty, empty), beta=beta, nu=0.1).item() == 0
    of_anchors = beta.detach().expand(14).clone().requires_grad_()
    assert ours.margin_loss(x, y, pairs=(empty, empty, empty), beta=of_anchors, nu=0.1).item() == 0


def test_a_boundary_of_each_class_is_what_the_paper_says():
    x, y = batch(3)
    beta = torch.linspace(0.8, 1.3, 4, dtype=torch.float64, requires_grad=True)
    drawn = ours.distance_weighted_triplets(unit(x), y, generator=torch.Generator().manual_seed(1))

    def formula(x, beta):
        costs, total = [], 0.0
        for a, p, n in zip(*(column.tolist() for column in drawn)):
            mine = 2 * beta[int(y[a])]
            costs.append((0.2 + distance(x[a], x[p]) - mine).clamp(min=0))
            costs.append((0.2 + mine - distance(x[a], x[n])).clamp(min=0))
            total = total + 0.1 * mine
        return (sum(costs) + total) / sum(cost > 0 for cost in costs)

    expected = value_and_gradients(formula, x, beta)  # which scales β, too, to length 1
    for given in ({"pairs": drawn}, {"generator": torch.Generator().manual_seed(1)}):
        result = value_and_gradients(lambda x, beta: ours.margin_loss(x, y, beta=2 * beta[y], nu=0.1, **given), x, beta)
        assert_same(result, expected)
    with pytest.raises(ValueError, match=r"beta has shape \(3,\)"):
        ours.margin_loss(x, y, beta=torch.ones(3))


def test_fixed_slots_draw_as_the_compact_ones_do(monkeypatch):
    """On a GPU, and compiled, every anchor has M slots: the same pairs, with negatives drawn by the same weights."""
    x, y = batch(0, n=30)
    d, sets = pairwise_distance(unit(x), unit(x)), pairs.pair_batch(unit(x), y, None, None, None, None)
    compact = margin_module._draw_negatives(d, sets, 0.5, 1.4, None)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    fixed = margin_module._draw_negatives(d, sets, 0.5, 1.4, None)
    assert fixed.kept.shape == (30, 30)
    assert fixed.kept.shape[1] > compact.kept.shape[1]
    assert torch.equal(fixed.kept.sum(1), compact.kept.sum(1))
    assert torch.equal(fixed.positive[fixed.kept], compact.positive[compact.kept])
    anchors = torch.arange(30)[:, None].expand(30, 30)[fixed.kept]
    assert (y[anchors] != y[fixed.negative[fixed.kept]]).all()


# --- the peer ------------------------------------------------------------------------------------------------------

PEERS = {
    "contrastive": (peer.ContrastiveLoss(0.1, 0.9), CASES["contrastive"][1]),
    "lifted structure": (
        peer.GeneralizedLiftedStructureLoss(neg_margin=0.9, pos_margin=0.1),
        CASES["lifted structure"][1],
    ),
    "n-pairs": (peer.NPairsLoss(), ours.n_pairs_loss),
    "multi-similarity": (peer.MultiSimilarityLoss(2, 30, 0.4), CASES["multi-similarity"][1]),
    "nt-xent": (peer.NTXentLoss(0.2), CASES["nt-xent"][1]),
    "sup-con": (peer.SupConLoss(0.2), CASES["sup-con"][1]),
    "circle": (peer.CircleLoss(0.4, 8), CASES["circle"][1]),
    "fast-ap": (peer.FastAPLoss(10), ours.fast_ap_loss),
}
# The peer adds the smallest float of a type, or 1e-16, to some denominators.
CLOSE = {"rel": 1e-6, "rtol": 1e-5, "atol": 1e-7}


@pytest.mark.parametrize("name", PEERS)
def test_value_and_gradient_equal_the_peer(name):
    theirs, loss = PEERS[name]
    for seed in range(4):
        x, y = batch(seed)
        if name == "lifted structure":  # the peer takes an absent logarithm for 0; ours leaves such an anchor out
            y = torch.arange(14) % 4
        result = value_and_gradients(lambda x: loss(x, y), x)
        assert_same(result, value_and_gradients(lambda x: theirs(x, y), x), **CLOSE)


@pytest.mark.parametrize("name", [name for name in PEERS if name not in ("n-pairs", "fast-ap")])
def test_a_reference_equals_the_peer(name):
    theirs, loss = PEERS[name]
    (x, y), (r, other) = batch(1), batch(2, n=20)
    expected = value_and_gradients(lambda x, r: theirs(x, y, ref_emb=r, ref_labels=other), x, r)
    result = value_and_gradients(lambda x, r: loss(x, y, reference=r, reference_labels=other), x, r)
    assert_same(result, expected, **CLOSE)


def test_margin_loss_equals_the_peer_on_the_same_triplets():
    for seed in range(4):
        x, y = batch(seed)
        drawn = ours.distance_weighted_triplets(unit(x), y)
        theirs = peer.MarginLoss(margin=0.2, nu=0.1, beta=1.1, learn_beta=True)
        beta = torch.tensor(1.1, requires_grad=True)
        expected = value_and_gradients(lambda x: theirs(x, y, tuple(drawn)), x)
        result = value_and_gradients(lambda x: ours.margin_loss(x, y, pairs=drawn, beta=beta, nu=0.1), x)
        assert_same(result, expected, **CLOSE)
        theirs(unit(x), y, tuple(drawn)).backward()
        ours.margin_loss(unit(x), y, pairs=drawn, beta=beta, nu=0.1).backward()
        assert beta.grad.item() == pytest.approx(theirs.beta.grad.item(), rel=1e-5)


def test_boundaries_of_classes_equal_the_peer():
    for seed in range(4):
        x, y = batch(seed)
        drawn = ours.distance_weighted_triplets(unit(x), y)
        theirs = peer.MarginLoss(margin=0.2, nu=0.1, beta=1.1, learn_beta=True, num_classes=4)
        mine = MarginLoss(margin=0.2, nu=0.1, beta=1.1, num_classes=4)
        with torch.no_grad():
            for criterion in (theirs, mine):
                criterion.beta += torch.tensor([0.0, 0.1, -0.1, 0.2])
        expected = value_and_gradients(lambda x: theirs(x, y, tuple(drawn)), x)
        assert_same(value_and_gradients(lambda x: mine(x, y, drawn), x), expected, **CLOSE)
        theirs(x, y, tuple(drawn)).backward()
        mine(x, y, drawn).backward()
        torch.testing.assert_close(mine.beta.grad, theirs.beta.grad, rtol=1e-5, atol=1e-7)


def test_smooth_ap_equals_the_peer_that_counts_a_query_as_its_own_positive():
    # The peer, like the authors' code, has each query among its own positives: for ours that is a reference which
    # does not know its own rows. And it takes the number of classes for the number of items a class: 3 and 3 here.
    y = torch.arange(9) // 3
    own = torch.full((9,), -1)
    for seed in range(4):
        x, _ = batch(seed, n=9)
        expected = value_and_gradients(lambda x: peer.SmoothAPLoss(0.1)(x, y), x)
        result = value_and_gradients(
            lambda x: ours.smooth_ap_loss(x, y, temperature=0.1, reference=x, reference_labels=y, own_rows=own), x
        )
        assert_same(result, expected, **CLOSE)


# --- errors --------------------------------------------------------------------------------------------------------


def test_settings_out_of_range_are_named():
    x, y = batch()
    with pytest.raises(ValueError, match="temperature is 0"):
        ours.nt_xent_loss(x, y, temperature=0)
    with pytest.raises(ValueError, match="bins is 0"):
        ours.fast_ap_loss(x, y, bins=0)
    with pytest.raises(ValueError, match="gamma is nan"):
        ours.circle_loss(x, y, gamma=math.nan)
    with pytest.raises(ValueError, match="cutoff is 2"):
        ours.distance_weighted_triplets(x, y, cutoff=2)


def test_shapes_that_disagree_are_named():
    x, y = batch()
    a = torch.tensor([0])
    with pytest.raises(ValueError, match="14 rows"):
        ours.circle_loss(x, y[:3])
    with pytest.raises(ValueError, match="hold 2 tensors"):
        ours.nt_xent_loss(x, y, pairs=(a, a))
    with pytest.raises(ValueError, match="equal in twos"):
        ours.nt_xent_loss(x, y, pairs=(a, a, a, a.repeat(2)))
    with pytest.raises(ValueError, match="without reference_labels"):
        ours.nt_xent_loss(x, y, reference=x)
